//! Says what the harness is doing and for how long: a spinner for people, plain lines with a heartbeat elsewhere.
//!
//! Guarantees that a step that takes long is never silent for more than [`HEARTBEAT`]. Must never write to standard
//! output, which belongs to the results of a command.

use std::fmt;
use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

const HEARTBEAT: Duration = Duration::from_secs(20);

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Starts a step. It counts as failed unless [`Step::done`] ends it.
pub fn step(title: impl Into<String>) -> Step {
    let title = title.into();
    let note = Arc::new(Mutex::new(String::new()));
    let sign = if std::io::stderr().is_terminal() {
        Sign::Spinner(spinner(&title))
    } else {
        eprintln!("   {title}");
        heartbeat(title.clone(), Arc::clone(&note))
    };
    Step { title, started: Instant::now(), note, sign, finished: false }
}

/// One thing in progress.
pub struct Step {
    title: String,
    started: Instant,
    note: Arc<Mutex<String>>,
    sign: Sign,
    finished: bool,
}

enum Sign {
    Spinner(ProgressBar),
    Heartbeat(Option<(Sender<()>, JoinHandle<()>)>),
}

impl Step {
    /// Runs the work of this step and marks it done or failed by what the work returns.
    pub fn run<T>(self, work: impl FnOnce(&Step) -> Result<T>) -> Result<T> {
        let value = work(&self).with_context(|| self.title.clone())?;
        self.done();
        Ok(value)
    }

    /// Adds a word about where the step is now; the latest one is shown.
    pub fn note(&self, text: impl Into<String>) {
        let text = text.into();
        if let Sign::Spinner(bar) = &self.sign {
            bar.set_message(format!("{} – {text}", self.title));
        }
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// Ends the step as done.
    pub fn done(mut self) {
        self.end("✓", "");
    }

    fn end(&mut self, mark: &str, remark: &str) {
        self.finished = true;
        let line = format!("{mark}  {} ({}){remark}", self.title, seconds(self.started.elapsed()));
        match &mut self.sign {
            Sign::Spinner(bar) => {
                bar.finish_and_clear();
                // A terminal that went away must not fail the work itself.
                BARS.println(line).unwrap_or_default();
            }
            Sign::Heartbeat(thread) => {
                if let Some((stop, thread)) = thread.take() {
                    drop(stop);
                    thread.join().unwrap_or_default();
                }
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.finished {
            self.end("✗", " failed");
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Step").field("title", &self.title).finish_non_exhaustive()
    }
}

/// Prints one line of information without disturbing a spinner.
pub fn say(line: impl AsRef<str>) {
    if std::io::stderr().is_terminal() {
        BARS.println(line.as_ref()).unwrap_or_default();
    } else {
        eprintln!("{}", line.as_ref());
    }
}

fn spinner(title: &str) -> ProgressBar {
    let bar = BARS.add(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("{spinner}  {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(title.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn heartbeat(title: String, note: Arc<Mutex<String>>) -> Sign {
    let started = Instant::now();
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        while stopped.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
            let note = note.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let note = if note.is_empty() { note } else { format!(" – {note}") };
            eprintln!("…  {title}{note} ({})", seconds(started.elapsed()));
        }
    });
    Sign::Heartbeat(Some((stop, thread)))
}

fn seconds(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        whole if whole >= 60 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{:.1} s", elapsed.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_of_a_step_names_the_step() {
        let error = step("counting to three").run(|_| -> Result<()> { anyhow::bail!("two is missing") }).unwrap_err();
        assert_eq!(format!("{error:#}"), "counting to three: two is missing");
    }

    #[test]
    fn long_steps_are_shown_in_minutes() {
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 5 s");
    }
}
