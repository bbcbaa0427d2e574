//! A program whose CPU time and memory are watched.
//!
//! Guarantees that it ends with this process, however that ends.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::shell::{self, Command};

/// Unit of times in `/proc/PID/stat`: fixed by the kernel's interface, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;
const POLL: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Clocked {
    child: Child,
    log: PathBuf,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub cpu_seconds: f64,
    pub now_mib: f64,
    pub peak_mib: f64,
}

/// A program that is to be started, and ends with this process.
pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
    shell::command("setpriv").args(["--pdeathsig", "KILL"]).arg(program)
}

impl Clocked {
    /// Starts a [`command`] with its output in a file.
    pub(super) fn start(command: &Command, log: &Path) -> Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let child = command
            .process()
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("cannot share a log")?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run `{command}`"))?;
        Ok(Self { child, log: log.to_path_buf() })
    }

    /// What it has used so far; fails with its last words if it has ended.
    pub(super) fn usage(&mut self) -> Result<Usage> {
        if let Some(status) = self.child.try_wait().context("cannot look at a process")? {
            bail!("it ended with {status}; its last words:\n{}", shell::last_lines_of(&self.log, 20));
        }
        self.look()
    }

    /// Waits until it ends by itself, well.
    pub(super) async fn finish(mut self) -> Result<Usage> {
        let mut last = Usage::default();
        loop {
            // One that has ended and was not waited for still shows its CPU time, but no memory any more.
            let usage = self.look()?;
            last = Usage { peak_mib: usage.peak_mib.max(last.peak_mib), ..usage };
            if self.has_ended() {
                let status = self.child.wait().context("cannot wait for a process")?;
                if !status.success() {
                    bail!("it ended with {status}; its last words:\n{}", shell::last_lines_of(&self.log, 20));
                }
                return Ok(last);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends it as a crash of its machine would.
    pub(super) fn kill(mut self) -> Result<()> {
        self.child.kill().context("cannot kill a process")?;
        self.child.wait().context("cannot wait for a process").map(|_| ())
    }

    fn has_ended(&self) -> bool {
        self.stat().is_none_or(|stat| stat.starts_with('Z'))
    }

    /// Everything behind the name in `/proc/PID/stat`, beginning with the state.
    fn stat(&self) -> Option<String> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned())
    }

    fn look(&self) -> Result<Usage> {
        let stat = self.stat().context("a process has vanished")?;
        // proc(5): utime and stime are fields 14 and 15, the state is field 3.
        let ticks: f64 = stat.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let mib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or_default() / 1024.0
        };
        Ok(Usage { cpu_seconds: ticks / TICKS_PER_SECOND, now_mib: mib("VmRSS:"), peak_mib: mib("VmHWM:") })
    }
}

impl Drop for Clocked {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and that is as well.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_program_used_is_known_after_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let clocked = Clocked::start(&command("/bin/sh").args(["-c", script]), &dir.path().join("log")).unwrap();
        let usage = clocked.finish().await.unwrap();
        assert!(usage.cpu_seconds > 0.0 && usage.peak_mib > 0.0, "{usage:?}");
    }

    #[tokio::test]
    async fn a_program_that_fails_is_reported_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let failing = command("/bin/sh").args(["-c", "echo no luck; exit 3"]);
        let clocked = Clocked::start(&failing, &dir.path().join("log")).unwrap();
        let error = clocked.finish().await.unwrap_err().to_string();
        assert!(error.contains("status: 3") && error.ends_with("no luck"), "{error}");
    }
}
