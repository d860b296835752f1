//! Becoming another user once the sockets are bound, which for ports below 1024 takes root.
//!
//! Flow: `server.user`, `server.group` → numbers, from `/etc/passwd` and `/etc/group` → what was
//! made so far is given to that user → the process is that user's. Children inherit it.
//!
//! Invariants:
//! - The kernel keeps a user for each thread, and safe code sets this thread's only: it is done
//!   while there is no other.
//! - The groups first and the user last; what cannot be done ends the start.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::conf::Settings;
use crate::error::{Error, Kind, Result};

/// Whom to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    user: u32,
    group: u32,
    /// The user's other groups.
    groups: Vec<u32>,
}

/// Whom the settings want this process to become; `None`: to stay who it is.
pub(super) fn wanted(settings: &Settings) -> Result<Option<Identity>> {
    let server = &settings.server;
    if server.user.is_empty() && server.group.is_empty() {
        return Ok(None);
    }
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (passwd, groups) = (read("/etc/passwd"), read("/etc/group"));
    let wanted = identity(&server.user, &server.group, &passwd, &groups)?;
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    if (user.as_raw(), group.as_raw()) == (wanted.user, wanted.group) {
        return Ok(None);
    }
    if !user.is_root() {
        let words = "server.user and server.group take root: only it can become somebody else";
        return Err(Error::usage(words));
    }
    Ok(Some(wanted))
}

fn identity(user: &str, group: &str, passwd: &str, groups: &str) -> Result<Identity> {
    let unknown = |key: &str, name: &str| {
        Error::usage(format!("server.{key}: there is no {key} {name:?}; a number works always"))
    };
    let mut name = user;
    let (user, own_group) = match user.parse() {
        Ok(number) => {
            let found = lines(passwd).find(|fields| fields.get(2) == Some(&user));
            name = found.as_ref().map_or("", |fields| fields[0]);
            let own_group = found.and_then(|fields| fields.get(3)?.parse().ok());
            (number, own_group)
        }
        Err(_) if user.is_empty() => (rustix::process::geteuid().as_raw(), None),
        Err(_) => {
            let found = lines(passwd).find(|fields| fields[0] == user);
            let fields = found.ok_or_else(|| unknown("user", user))?;
            let number = |index: usize| fields.get(index).and_then(|field| field.parse().ok());
            (number(2).ok_or_else(|| unknown("user", user))?, number(3))
        }
    };
    let number = |fields: Vec<&str>| fields.get(2).and_then(|field| field.parse::<u32>().ok());
    let group = match group.parse() {
        Ok(number) => number,
        Err(_) if group.is_empty() => own_group.unwrap_or(user),
        Err(_) => lines(groups)
            .find(|fields| fields[0] == group)
            .and_then(number)
            .ok_or_else(|| unknown("group", group))?,
    };
    let is_in = |fields: &Vec<&str>| {
        !name.is_empty() && fields.get(3).is_some_and(|names| names.split(',').any(|n| n == name))
    };
    let mut others: Vec<u32> = lines(groups).filter(is_in).filter_map(number).collect();
    others.push(group);
    others.sort_unstable();
    others.dedup();
    Ok(Identity { user, group, groups: others })
}

fn lines(file: &str) -> impl Iterator<Item = Vec<&str>> {
    file.lines().map(|line| line.split(':').collect())
}

impl Identity {
    /// Gives the user what is there of `paths`.
    pub(super) fn own(&self, paths: impl IntoIterator<Item = PathBuf>) -> Result<()> {
        for path in paths.into_iter().filter(|path| path.exists()) {
            chown(&path, Some(self.user), Some(self.group))
                .map_err(|error| failed(&format!("giving {} away", path.display()), error))?;
        }
        Ok(())
    }

    /// Becomes it, for good.
    pub(super) fn assume(&self) -> Result<()> {
        let threads = fs::read_dir("/proc/self/task").map(Iterator::count).unwrap_or(0);
        if threads != 1 {
            let words = format!("becoming user {}: there are {threads} threads", self.user);
            return Err(Error::of(Kind::Server, words));
        }
        let groups: Vec<Gid> = self.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
        let doing = format!("becoming user {} of group {}", self.user, self.group);
        set_thread_groups(&groups).map_err(|error| failed(&doing, error))?;
        set_thread_res_gid(Some(group), Some(group), Some(group)).map_err(|e| failed(&doing, e))?;
        set_thread_res_uid(Some(user), Some(user), Some(user)).map_err(|e| failed(&doing, e))?;
        tracing::info!(user = self.user, group = self.group, "became another user");
        Ok(())
    }
}

/// The mask of permissions new files lack, as an octal number.
pub(super) fn set_umask(settings: &Settings) -> Result<()> {
    let text = &settings.server.umask;
    if text.is_empty() {
        return Ok(());
    }
    let mask = u32::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777);
    let words = || format!("server.umask: {text:?} is no octal number up to 777");
    let mask = mask.ok_or_else(|| Error::usage(words()))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
    Ok(())
}

/// The folders that lie in `path`'s way, the outermost first, which are not there yet.
pub(super) fn missing_folders(path: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> =
        path.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
    missing.reverse();
    missing
}

fn failed(doing: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::because(Kind::Server, doing, error)
}

#[cfg(test)]
mod tests {
    use super::identity;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/false\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:50:ann,web\nadmins:x:60:webmaster\n";

    #[track_caller]
    fn check(user: &str, group: &str, expected: Option<(u32, u32, &[u32])>) {
        let found = identity(user, group, PASSWD, GROUP).ok();
        let found = found.as_ref().map(|who| (who.user, who.group, &who.groups[..]));
        assert_eq!(found, expected, "{user:?} {group:?}");
    }

    #[test]
    fn a_user_is_a_name_or_a_number_and_brings_its_groups() {
        check("web", "", Some((33, 34, &[34, 50])));
        check("33", "", Some((33, 34, &[34, 50])));
        check("web", "logs", Some((33, 50, &[50])));
        check("web", "60", Some((33, 60, &[50, 60])));
        check("4711", "", Some((4711, 4711, &[4711])));
        check("nobody", "", None);
        check("web", "nobodies", None);
    }
}
