//! Programs that end with the process that started them, however it ends.
//!
//! Guarantees that after a drop, a normal exit, a panic or `kill -9` of this process, the programs are gone and so is
//! their directory. Must never signal a process that it did not start itself.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};

use anyhow::{Context, Result, bail};

use crate::{paths, shell};

/// A small shell that is the parent of the programs; it watches a pipe that only this process holds.
#[derive(Debug)]
pub(super) struct Supervisor {
    dir: PathBuf,
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Supervisor {
    /// Takes charge of a directory: it is removed when the supervisor ends.
    pub fn start(dir: &Path) -> Result<Self> {
        paths::create_dir(&dir.join("run"))?;
        paths::create_dir(&dir.join("log"))?;
        let mut shell = shell::command("sh")
            .args(["-c", include_str!("supervisor.sh"), "supervisor"])
            .arg(dir)
            .process()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C at the terminal reaches the harness; the shell hears of it through the pipe, and cleans up.
            .process_group(0)
            .spawn()
            .context("cannot start sh")?;
        let pipe = shell.stdin.take();
        Ok(Self { dir: dir.to_path_buf(), shell, pipe })
    }

    /// Starts a program in the directory; its output goes to `log/<name>.log`.
    pub fn run(&mut self, name: &str, program: &Path, arguments: &[String]) -> Result<()> {
        let mut script = format!("exec {}", quoted(&program.display().to_string()));
        for argument in arguments {
            script.push(' ');
            script.push_str(&quoted(argument));
        }
        fs::write(self.dir.join(format!("run/{name}.sh")), script).context("cannot write a start script")?;
        let Some(pipe) = &mut self.pipe else { bail!("the supervisor has ended") };
        writeln!(pipe, "{name}").context("the supervisor is gone")
    }

    /// Fails with the last words of a program that has ended.
    pub fn check(&self, name: &str) -> Result<()> {
        let Ok(pid) = fs::read_to_string(self.dir.join(format!("run/{name}.pid"))) else { return Ok(()) };
        // The shell has not waited for it, so an ended program is still listed, as a zombie.
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        if matches!(state, None | Some('Z')) && !pid.trim().is_empty() {
            bail!("{name} ended; its last words:\n{}", shell::last_lines_of(&self.log(name), 20));
        }
        Ok(())
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("log/{name}.log"))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.pipe.take());
        if let Err(error) = self.shell.wait() {
            eprintln!("cannot wait for the supervisor of {}: {error}", self.dir.display());
        }
    }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_directory_are_gone_after_drop() {
        let dir = tempfile::tempdir().unwrap().keep();
        let mut supervisor = Supervisor::start(&dir).unwrap();
        supervisor.run("sleeper", Path::new("/bin/sleep"), &["600".to_owned()]).unwrap();
        let pid = loop {
            match fs::read_to_string(dir.join("run/sleeper.pid")) {
                Ok(pid) if pid.ends_with('\n') => break pid.trim().to_owned(),
                _ => std::thread::yield_now(),
            }
        };
        drop(supervisor);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        assert!(!dir.exists());
    }

    #[test]
    fn program_that_ends_is_reported_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap().keep();
        let mut supervisor = Supervisor::start(&dir).unwrap();
        let script = "echo no 'such' luck".to_owned();
        supervisor.run("quitter", Path::new("/bin/sh"), &["-c".to_owned(), script]).unwrap();
        let error = loop {
            if let Err(error) = supervisor.check("quitter") {
                break error.to_string();
            }
            std::thread::yield_now();
        };
        assert_eq!(error, "quitter ended; its last words:\nno such luck");
    }
}
