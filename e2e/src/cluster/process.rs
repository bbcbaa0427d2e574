//! Daemons of the cluster: started once, found again by any later run of the harness, stopped for certain.
//!
//! A daemon enters our control group and writes down its own pid and start time before it becomes the program, so
//! there is no moment at which it runs and cannot be found. Must never signal a process outside that group.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup;
use super::layout::{Layout, Node};
use crate::shell;

const POLL: Duration = Duration::from_millis(50);

/// `$1` control group, `$2` record, then the program: enters the group, writes the record, becomes the program.
const ENTER: &str =
    r#"echo "$$" >"$1/cgroup.procs" && cat "/proc/$$/stat" >"$2.new" && mv "$2.new" "$2" && shift 2 && exec "$@""#;

/// A program to keep running.
#[derive(Debug)]
pub(super) struct Daemon<'a> {
    pub name: &'a str,
    pub node: Node,
    /// Whether it lives in the network of its node; otherwise in that of the host.
    pub inside: bool,
    pub program: &'a Path,
    pub arguments: &'a [String],
}

/// Starts a daemon unless it is running.
pub(super) fn start(layout: &Layout, daemon: &Daemon) -> Result<()> {
    if is_running(layout, daemon.name) {
        return Ok(());
    }
    let record = layout.run().join(daemon.name);
    let log = layout.log(daemon.name);
    let mut command =
        shell::command("setsid").args(["--fork", "sh", "-c", ENTER, "sh"]).arg(cgroup::daemons()?).arg(&record);
    if daemon.inside {
        command = command.arg("nsenter").arg(format!("--net=/run/netns/{}", daemon.node.netns())).arg("--");
    }
    command.arg(daemon.program).args(daemon.arguments).dir(layout.dir()).output_to(&log)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !record.exists() {
        if Instant::now() > deadline {
            bail!("{} did not start; its last words:\n{}", daemon.name, shell::last_lines_of(&log, 20));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Whether the daemon that wrote the record is still the process with that pid.
pub(super) fn is_running(layout: &Layout, name: &str) -> bool {
    let recorded = fs::read_to_string(layout.run().join(name)).unwrap_or_default();
    let Some(then) = Identity::parse(&recorded) else { return false };
    let current = fs::read_to_string(format!("/proc/{}/stat", then.pid)).unwrap_or_default();
    Identity::parse(&current).is_some_and(|now| now == then && !is_zombie(&current))
}

/// Polls a condition; gives up when the daemon has ended or the time is over.
pub(super) fn wait_for(layout: &Layout, name: &str, limit: Duration, ready: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !ready() {
        let ended = !is_running(layout, name);
        if ended || Instant::now() > deadline {
            let what = if ended { "ended".to_owned() } else { format!("is not ready after {limit:?}") };
            bail!("{name} {what}; its last words:\n{}", shell::last_lines_of(&layout.log(name), 20));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Kills everything in our control groups until nothing is left. What was forked meanwhile is found in the next round.
pub(super) fn kill_all() -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let pids = cgroup::members()?;
        if pids.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("processes {pids:?} of the cluster do not end, even when killed");
        }
        pids.iter().try_for_each(|pid| send(*pid, Signal::SIGKILL))?;
        thread::sleep(POLL);
    }
}

fn send(pid: i32, signal: Signal) -> Result<()> {
    match kill(Pid::from_raw(pid), signal) {
        // It ended by itself in between.
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot send {signal} to process {pid}")),
    }
}

/// A pid may be used again; together with the start time it may not.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    pid: i32,
    started: u64,
}

impl Identity {
    /// From /proc/PID/stat: the start time is the 20th field after the name, which ends with the last parenthesis.
    fn parse(stat: &str) -> Option<Self> {
        let (head, rest) = stat.rsplit_once(") ")?;
        let pid = head.split(' ').next()?.parse().ok()?;
        let started = rest.split(' ').nth(19)?.parse().ok()?;
        Some(Self { pid, started })
    }
}

fn is_zombie(stat: &str) -> bool {
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_read_past_a_name_with_blanks_and_parentheses() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10";
        assert_eq!(Identity::parse(stat), Some(Identity { pid: 42, started: 987_654 }));
    }
}
