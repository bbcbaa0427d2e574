//! Daemons of the cluster: started once, found again by any later run of the harness, stopped for certain.
//!
//! A daemon enters our control group and writes down its own pid and start time before it becomes the program, so
//! there is no moment at which it runs and cannot be found. Must never signal a process outside that group.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::cgroup;
use super::layout::Layout;
use crate::shell;

const POLL: Duration = Duration::from_millis(50);

/// `$1` control group, `$2` record, then the program: enters the group, writes the record, becomes the program.
const ENTER: &str =
    r#"echo "$$" >"$1/cgroup.procs" && cat "/proc/$$/stat" >"$2.new" && mv "$2.new" "$2" && shift 2 && exec "$@""#;

/// A program to keep running.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Daemon {
    pub name: String,
    /// The network namespace it lives in; otherwise that of the host.
    pub netns: Option<String>,
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

/// Starts a daemon, and remembers how, so that [`revive`] can start it again.
pub(super) fn start(layout: &Layout, daemon: &Daemon) -> Result<()> {
    let recipe = serde_json::to_vec(daemon).context("cannot describe a daemon")?;
    fs::write(recipe_path(layout, &daemon.name), recipe).context("cannot write down a daemon")?;
    revive(layout, &daemon.name)
}

/// Starts a daemon again unless it is running.
pub(super) fn revive(layout: &Layout, name: &str) -> Result<()> {
    if is_running(layout, name) {
        return Ok(());
    }
    let recipe = fs::read(recipe_path(layout, name)).with_context(|| format!("the cluster has no daemon {name}"))?;
    let daemon: Daemon = serde_json::from_slice(&recipe).with_context(|| format!("daemon {name} is not described"))?;
    let record = layout.run().join(name);
    if record.exists() {
        fs::remove_file(&record).context("cannot remove the record of an ended daemon")?;
    }
    let log = layout.log(name);
    let mut command =
        shell::command("setsid").args(["--fork", "sh", "-c", ENTER, "sh"]).arg(cgroup::daemons()?).arg(&record);
    if let Some(netns) = &daemon.netns {
        command = command.arg("nsenter").arg(format!("--net=/run/netns/{netns}")).arg("--");
    }
    command.arg(&daemon.program).args(&daemon.arguments).dir(layout.dir()).output_to(&log)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !record.exists() {
        if Instant::now() > deadline {
            bail!("{name} did not start; its last words:\n{}", shell::last_lines_of(&log, 20));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Ends one daemon at once, as a crash would.
pub(super) fn crash(layout: &Layout, name: &str) -> Result<()> {
    let recorded = fs::read_to_string(layout.run().join(name)).unwrap_or_default();
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_running(layout, name) {
        let Some(identity) = Identity::parse(&recorded) else { break };
        if Instant::now() > deadline {
            bail!("{name} does not end, even when killed");
        }
        send(identity.pid, Signal::SIGKILL)?;
        thread::sleep(POLL);
    }
    Ok(())
}

fn recipe_path(layout: &Layout, name: &str) -> PathBuf {
    layout.run().join(format!("{name}.json"))
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
