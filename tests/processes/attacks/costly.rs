//! Bodies that cost as much as can be had for their length.

use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use hulse_tests::Pulse;
use rustix::process::Pid;

use super::{Browser, FORM, PARTS, part, start};

/// Bodies at once.
const MANY: usize = 20;

/// Processor time the workers have used.
fn cpu_time(pulse: &Pulse) -> Duration {
    let ticks = pulse.workers().into_iter().map(|worker| {
        let path = format!("/proc/{}/stat", worker.as_raw_nonzero());
        let stat = fs::read_to_string(path).expect("it lives");
        let (_, behind_name) = stat.rsplit_once(')').expect("a name in brackets");
        let fields = behind_name.split_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().expect("a number")).sum::<u64>()
    });
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

fn peak_kib(process: Pid) -> u64 {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = fs::read_to_string(path).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Bodies that cost as much as can be had for their length.
fn costly(size: usize) -> Vec<(&'static str, String)> {
    let fields = 900;
    let each = size / fields;
    let field = |text: &str| text.repeat(each / text.len() + 1)[..each].to_owned();
    let urlencoded: String = (0..fields).map(|n| format!("&a{n}={}", field("%C3%A4+"))).collect();
    let parts: String = (0..fields).map(|_| part("a\"", &field("\r\n--c\r"))).collect();
    let boundaries = part("a\"", &"\r\n--".repeat(size / 4));
    vec![
        (FORM, format!("csrfmiddlewaretoken=x{urlencoded}")),
        (FORM, "&".repeat(size)),
        (FORM, "%".repeat(size)),
        (PARTS, format!("{parts}--b--\r\n")),
        (PARTS, format!("{boundaries}--b--\r\n")),
    ]
}

#[tokio::test]
async fn costly_bodies_take_linear_time_and_bounded_memory() {
    let long = std::env::var_os("HULSE_TEST_LONG").is_some_and(|long| !long.is_empty());
    let at_once = if long { MANY } else { 2 };
    // On a machine that is busy elsewhere it may be long until the worker's turn.
    let patience = ["--timeout", "60", "--header-timeout", "60", "--body-timeout", "60"];
    let pulse = start("1", &[], &patience).await;
    let browser = Browser::new(&pulse).await;
    let header = "X-CSRFToken: TOKEN";
    let mut took = Vec::new();
    let before = pulse.workers().into_iter().map(peak_kib).max().unwrap();
    for size in [600_000, 2_400_000] {
        let mut times = Vec::new();
        for (kind, body) in costly(size) {
            let begun = cpu_time(&pulse);
            let lines = [kind, "COOKIE", header];
            let posts = (0..at_once).map(|_| browser.ask("POST /form/", &lines, &body));
            for reply in join_all(posts).await {
                assert!([200, 400, 413].contains(&reply.status), "{kind}: {}", reply.status);
            }
            times.push(cpu_time(&pulse) - begun);
        }
        took.push(times);
    }
    // So many of one kind, in the short form too.
    let (kind, body) = costly(2_400_000).swap_remove(0);
    let lines = [kind, "COOKIE", header];
    let posts = (0..MANY).map(|_| browser.ask("POST /form/", &lines, &body));
    assert!(join_all(posts).await.iter().all(|reply| reply.status == 200));
    let grown = pulse.workers().into_iter().map(peak_kib).max().unwrap() - before;
    println!("{took:?}, {grown} KiB more");
    for (small, large) in took[0].iter().zip(&took[1]) {
        // Quadratic is sixteen times. The kernel counts in hundredths of a second.
        let bound = *small * 8 + Duration::from_millis(200);
        assert!(*large < bound, "four times as much: {small:?}, then {large:?}");
    }
    assert!(grown < 64 * 1024, "{grown} KiB");
    assert_eq!(pulse.stop().await, 0);
}
