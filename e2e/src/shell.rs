//! Runs programs and keeps what they said: an error carries the command, how it ended and its last lines.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail};

const TAIL: usize = 20;

/// A program to run, with nothing inherited but the environment.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    Command { program: program.as_ref().to_owned(), args: Vec::new(), env: Vec::new(), dir: None, stdin: Vec::new() }
}

/// The same program inside a network namespace made with `ip netns add`.
///
/// Only the network changes: `ip netns exec` would also remount /sys and hide the control groups.
pub fn nsenter_net(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    command("nsenter").arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(program)
}

/// The program that runs this, also when cargo has put another one in its place since; valid as long as it runs.
pub fn this_program() -> PathBuf {
    PathBuf::from(format!("/proc/{}/exe", std::process::id()))
}

/// One invocation of a program, built up and then run.
#[derive(Debug, Clone)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    stdin: Vec<u8>,
}

impl Command {
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn envs(mut self, variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> Self {
        let owned = variables.into_iter().map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned()));
        self.env.extend(owned);
        self
    }

    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_path_buf());
        self
    }

    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Runs to the end and returns standard output; a failure carries the last lines of both streams.
    pub fn output(&self) -> Result<String> {
        let output = self.finish()?;
        self.check(output.status, || [&*output.stdout, &*output.stderr].concat())?;
        self.text(output.stdout)
    }

    /// Runs to the end and returns standard output whatever the exit code; fails only if the program cannot run.
    pub fn output_even_if_failed(&self) -> Result<String> {
        let output = self.finish()?;
        self.text(output.stdout)
    }

    /// Runs to the end and tells whether it succeeded; fails only if the program cannot run.
    pub fn succeeds(&self) -> Result<bool> {
        Ok(self.finish()?.status.success())
    }

    /// Runs to the end with both output streams appended to a file, for programs that talk a lot.
    pub fn output_to(&self, log: &Path) -> Result<()> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open log {}", log.display()))?;
        let mut child = self.spawn_with(file.try_clone()?.into(), file.into())?;
        let feeder = self.feed(&mut child);
        let status = child.wait().with_context(|| format!("cannot wait for `{self}`"))?;
        drop(feeder);
        self.check(status, || std::fs::read(log).unwrap_or_default()).with_context(|| format!("see {}", log.display()))
    }

    /// Runs with the terminal of the caller and returns the exit code.
    pub fn interactive(&self) -> Result<i32> {
        let status = self.process().status().with_context(|| format!("cannot run `{self}`"))?;
        Ok(status.code().unwrap_or(1))
    }

    /// The standard library's command, for callers that keep the process.
    pub fn process(&self) -> std::process::Command {
        let mut process = std::process::Command::new(&self.program);
        process.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.dir {
            process.current_dir(dir);
        }
        process
    }

    fn finish(&self) -> Result<Output> {
        let mut child = self.spawn_with(Stdio::piped(), Stdio::piped())?;
        let feeder = self.feed(&mut child);
        let output = child.wait_with_output().with_context(|| format!("cannot wait for `{self}`"))?;
        drop(feeder);
        Ok(output)
    }

    fn spawn_with(&self, stdout: Stdio, stderr: Stdio) -> Result<Child> {
        let stdin = if self.stdin.is_empty() { Stdio::null() } else { Stdio::piped() };
        self.process()
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot run `{self}`: is {} installed?", self.program.display()))
    }

    /// Standard input is written beside the reading of output, so that neither side can block the other. A program
    /// that closes its input early is judged by its exit code alone.
    fn feed(&self, child: &mut Child) -> Option<std::thread::JoinHandle<std::io::Result<()>>> {
        let bytes = self.stdin.clone();
        child.stdin.take().map(|mut stdin| std::thread::spawn(move || stdin.write_all(&bytes)))
    }

    fn check(&self, status: ExitStatus, said: impl FnOnce() -> Vec<u8>) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let said = said();
        bail!("`{self}` ended with {status}; its last words:\n{}", last_lines(&String::from_utf8_lossy(&said), TAIL))
    }

    fn text(&self, bytes: Vec<u8>) -> Result<String> {
        String::from_utf8(bytes).with_context(|| format!("`{self}` printed something that is not UTF-8"))
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.program.display())?;
        self.args.iter().try_for_each(|arg| write!(formatter, " {}", arg.display()))
    }
}

/// The last `count` lines of a text.
pub fn last_lines(text: &str, count: usize) -> String {
    let mut lines = VecDeque::with_capacity(count + 1);
    for line in text.lines() {
        lines.push_back(line);
        if lines.len() > count {
            lines.pop_front();
        }
    }
    Vec::from(lines).join("\n")
}

/// The last `count` lines of a file that may not exist yet.
pub fn last_lines_of(path: &Path, count: usize) -> String {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => last_lines(&String::from_utf8_lossy(&bytes), count),
        Err(error) => format!("({}: {error})", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_carries_command_exit_code_and_last_lines() {
        let error = command("sh").args(["-c", "seq 30; echo oh >&2; exit 3"]).output().unwrap_err().to_string();
        assert!(error.contains("`sh -c seq 30"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.ends_with("29\n30\noh") && !error.contains("\n5\n"), "{error}");
    }

    #[test]
    fn large_input_and_output_do_not_block_each_other() {
        let input = "x".repeat(1 << 20);
        assert_eq!(command("cat").stdin(input.clone()).output().unwrap(), input);
    }

    #[test]
    fn missing_program_is_named() {
        let error = format!("{:#}", command("no-such-program").output().unwrap_err());
        assert!(error.contains("is no-such-program installed?"), "{error}");
    }
}
