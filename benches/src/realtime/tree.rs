//! A server's processes: what they have used of the CPU and hold of the memory.

use std::fs;

use super::Done;

/// Kernel ticks a second, as `/proc` counts them on Linux.
const TICKS: f64 = 100.0;
/// Bytes of a page.
const PAGE_BYTES: u64 = 4096;

/// All processes of one process group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree {
    pub(crate) group: u32,
}

impl Tree {
    /// CPU time of all of them, user and system.
    pub(crate) fn cpu_seconds(self) -> Done<f64> {
        Ok(self.sum(|fields| fields[11] + fields[12])? as f64 / TICKS)
    }

    /// Resident memory of all of them.
    pub(crate) fn resident_bytes(self) -> Done<u64> {
        Ok(self.sum(|fields| fields[21])? * PAGE_BYTES)
    }

    /// Adds up what `of` takes from the numbers after the name in each `/proc/ID/stat`.
    fn sum(self, of: impl Fn(&[u64]) -> u64) -> Done<u64> {
        let mut sum = 0;
        for entry in fs::read_dir("/proc")? {
            // Processes come and go while the folder is read.
            let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
            let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
            let fields: Vec<u64> =
                rest.split(' ').map(|field| field.trim().parse().unwrap_or(0)).collect();
            if fields.get(2) == Some(&u64::from(self.group)) && fields.len() > 21 {
                sum += of(&fields);
            }
        }
        Ok(sum)
    }
}
