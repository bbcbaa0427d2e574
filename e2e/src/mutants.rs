//! Breaks the operator on purpose, one small way at a time, and shows that a test notices.
//!
//! Guarantees: the checkout is only read. All mutants are built at once, each behind a switch that an environment variable
//! turns on, so that one build serves all, and a few are tried at a time; a test that fails without any mutant ends the run,
//! because it would prove nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;

use crate::{paths, progress, shell};

/// Turns a mutant on.
const SWITCH: &str = "HIS_MUTANT";
/// Of the mutants that must be noticed.
const PERCENT: usize = 95;
/// Tests that run at the same time: most of what they do is wait.
const AT_ONCE: usize = 3;
/// Seconds after which a test that does not end has noticed the mutant too.
const LONGEST: &str = "300";

/// One way to break the operator, as its file says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    #[serde(skip)]
    name: String,
    /// What is broken, in words.
    why: String,
    /// What should notice it.
    oracle: String,
    /// Source file.
    file: PathBuf,
    /// Text that occurs once in the file.
    within: String,
    /// An expression, or a statement, that occurs once in that text.
    old: String,
    /// What stands in its place.
    new: String,
    /// `lib`, or the name of an integration test.
    test: String,
    /// Only tests with this in their name.
    filter: Option<String>,
    /// The fault plan that shows it.
    plan: Option<String>,
}

/// What became of one mutant.
#[derive(Clone)]
struct Row {
    mutant: Mutant,
    killed: bool,
    took: Duration,
}

/// Runs all mutants, or those with `only` in their name.
pub fn run(only: Option<&str>) -> Result<()> {
    let root = paths::repo_root()?;
    let mutants = read(&root.join("tests/mutants"))?;
    let scratch = tempfile::Builder::new().prefix("his-mutants-").tempdir().context("no scratch directory")?;
    copy(&root, scratch.path())?;
    plant(&mutants, scratch.path())?;
    let wanted: Vec<Mutant> =
        mutants.into_iter().filter(|mutant| only.is_none_or(|only| mutant.name.contains(only))).collect();
    ensure!(!wanted.is_empty(), "no mutant has {:?} in its name", only.unwrap_or_default());
    let bench = Bench { programs: build(&wanted, scratch.path())?, root: scratch.path(), sound: Mutex::default() };
    let queue = Mutex::new(wanted.into_iter());
    let work = || -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let next = || held(&queue).next();
        while let Some(mutant) = next() {
            // Nobody else begins another one after a failure.
            rows.push(bench.judge(mutant).inspect_err(|_| held(&queue).by_ref().for_each(drop))?);
        }
        Ok(rows)
    };
    let mut rows = thread::scope(|scope| {
        let workers: Vec<_> = std::iter::repeat_with(|| scope.spawn(work)).take(AT_ONCE).collect();
        let ended = workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a worker has panicked"))?);
        ended.collect::<Result<Vec<_>>>()
    })?
    .concat();
    rows.sort_by(|a, b| a.mutant.name.cmp(&b.mutant.name));
    finish(&rows)
}

fn held<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The built tests.
struct Bench<'a> {
    programs: BTreeMap<String, PathBuf>,
    /// The copied sources.
    root: &'a Path,
    /// Tests and plans that were begun without any mutant.
    sound: Mutex<BTreeSet<(String, Option<String>)>>,
}

impl Bench<'_> {
    fn judge(&self, mutant: Mutant) -> Result<Row> {
        let program = self.programs.get(&mutant.test).with_context(|| format!("no test {} was built", mutant.test))?;
        let first = held(&self.sound).insert((mutant.test.clone(), mutant.plan.clone()));
        if first {
            let sound = execute(program, &mutant, "none", self.root)?;
            ensure!(sound, "{} {:?} fails without any mutant: it proves nothing", mutant.test, mutant.plan);
        }
        let started = Instant::now();
        let killed = !execute(program, &mutant, &mutant.name, self.root)?;
        let took = started.elapsed();
        println!("{:<10} {:<28} {:>6.1?}", if killed { "killed" } else { "SURVIVED" }, mutant.name, took);
        Ok(Row { mutant, killed, took })
    }
}

fn finish(rows: &[Row]) -> Result<()> {
    let killed = rows.iter().filter(|row| row.killed).count();
    println!("\n{:<28} {:<10} {:<10} {:>7}  noticed by", "mutant", "result", "test", "seconds");
    for Row { mutant, killed, took } in rows {
        let result = if *killed { "killed" } else { "SURVIVED" };
        println!("{:<28} {:<10} {:<10} {:>7}  {}", mutant.name, result, mutant.test, took.as_secs(), mutant.oracle);
    }
    for Row { mutant, .. } in rows.iter().filter(|row| !row.killed) {
        println!("{} survived: {}", mutant.name, mutant.why);
    }
    println!("\n{killed} of {} mutants killed", rows.len());
    ensure!(killed * 100 >= rows.len() * PERCENT, "fewer than {PERCENT} % of the mutants are killed");
    Ok(())
}

/// All mutants of a directory, by name.
fn read(dir: &Path) -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut mutant: Mutant =
            serde_yaml_ng::from_str(&text).with_context(|| format!("{} is no mutant", path.display()))?;
        mutant.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        mutants.push(mutant);
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}

/// Where a mutant goes: from and to, in the text of its file.
fn place(mutant: &Mutant, text: &str) -> Result<(usize, usize)> {
    let once = |text: &str, part: &str, what: &str| -> Result<usize> {
        let mut found = text.match_indices(part).map(|(at, _)| at);
        match (found.next(), found.next()) {
            (Some(at), None) => Ok(at),
            (None, _) => bail!("{}: {what} is not in {}", mutant.name, mutant.file.display()),
            (Some(_), Some(_)) => bail!("{}: {what} is in {} more than once", mutant.name, mutant.file.display()),
        }
    };
    let from = once(text, &mutant.within, "`within`")? + once(&mutant.within, &mutant.old, "`old`")?;
    Ok((from, from + mutant.old.len()))
}

/// Puts every mutant into the copied sources, behind its switch.
fn plant(mutants: &[Mutant], root: &Path) -> Result<()> {
    let mut files: BTreeMap<&Path, Vec<&Mutant>> = BTreeMap::new();
    for mutant in mutants {
        files.entry(&mutant.file).or_default().push(mutant);
    }
    for (file, mutants) in files {
        let path = root.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        fs::write(&path, switched(&mutants, &text)?).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let library = root.join("src/lib.rs");
    let mut text = fs::read_to_string(&library).context("cannot read src/lib.rs")?;
    text.push_str("\n/// Whether this mutant is on.\npub fn mutant(name: &str) -> bool {\n");
    text.push_str(&format!("    std::env::var(\"{SWITCH}\").is_ok_and(|on| on == name)\n}}\n"));
    fs::write(&library, text).context("cannot write src/lib.rs")
}

/// The text of a file with all its mutants.
fn switched(mutants: &[&Mutant], text: &str) -> Result<String> {
    let mut places = mutants.iter().map(|mutant| Ok((place(mutant, text)?, *mutant))).collect::<Result<Vec<_>>>()?;
    places.sort_by_key(|(place, _)| *place);
    let (mut result, mut done) = (String::new(), 0);
    for ((from, to), mutant) in places {
        ensure!(from >= done, "{} overlaps with another mutant", mutant.name);
        let (name, new, old) = (&mutant.name, &mutant.new, &mutant.old);
        let both = format!("if crate::mutant(\"{name}\") {{ {new} }} else {{ {old} }}");
        result.push_str(text.get(done..from).unwrap_or_default());
        // A statement is a block, an expression is in parentheses: each is valid where it stands.
        result.push_str(&if old.ends_with(';') { format!("{{ {both} }}") } else { format!("({both})") });
        done = to;
    }
    result.push_str(text.get(done..).unwrap_or_default());
    Ok(result)
}

/// The checkout without what is built from it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if [".git", "target"].iter().any(|skipped| name == *skipped) {
            continue;
        }
        if kind.is_dir() {
            paths::create_dir(&to.join(&name))?;
            copy(&entry.path(), &to.join(&name))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(&name))
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Builds every test that is needed; its program by name.
fn build(mutants: &[Mutant], root: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build = shell::command(cargo).args(["test", "--workspace", "--no-run"]).dir(root);
    build = build.arg("--message-format=json");
    let tests: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.test.as_str()).collect();
    for test in tests {
        build = if test == "lib" { build.arg("--lib") } else { build.args(["--test", test]) };
    }
    // Of their own: cargo tells packages apart by where they are in their workspace, so that it would take these programs for
    // those of the checkout.
    let target = match env::var_os("CARGO_TARGET_DIR") {
        Some(target) => PathBuf::from(target),
        None => paths::repo_root()?.join("target"),
    };
    build = build.env("CARGO_TARGET_DIR", target.join("mutants"));
    let said = progress::step("building all mutants at once").run(|_| build.output())?;
    let mut programs = BTreeMap::new();
    for line in said.lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let text = |at: &str| message.pointer(at).and_then(serde_json::Value::as_str).map(ToOwned::to_owned);
        let (Some(program), Some(name)) = (text("/executable"), text("/target/name")) else { continue };
        let is_lib = text("/target/kind/0").is_some_and(|kind| kind == "lib") && name == "his_operator";
        programs.insert(if is_lib { "lib".to_owned() } else { name }, PathBuf::from(program));
    }
    Ok(programs)
}

/// Whether the test passes with that mutant on.
fn execute(program: &Path, mutant: &Mutant, name: &str, root: &Path) -> Result<bool> {
    let run = shell::command("timeout").args(["--kill-after=10", LONGEST]).arg(program);
    let mut run = run.env(SWITCH, name).env("CARGO_MANIFEST_DIR", root).dir(root);
    if let Some(plan) = &mutant.plan {
        run = run.env("HIS_PLAN", plan).arg("whatever_goes_wrong");
    } else if let Some(filter) = &mutant.filter {
        run = run.arg(filter);
    }
    let title = format!("{} with {name}", mutant.test);
    progress::step(title).run(|_| run.succeeds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_still_applies_exactly_once() {
        let root = paths::repo_root().unwrap();
        let mutants = read(&root.join("tests/mutants")).unwrap();
        assert!(mutants.len() >= 20, "{} mutants", mutants.len());
        for mutant in &mutants {
            let text = fs::read_to_string(root.join(&mutant.file)).unwrap();
            let both = switched(&[mutant], &text).unwrap();
            assert!(both.contains(&mutant.new) && both.contains(&mutant.old), "{}", mutant.name);
            let named = mutant.test == "lib" || root.join(format!("tests/{}.rs", mutant.test)).is_file();
            assert!(named, "{}: there is no test {}", mutant.name, mutant.test);
        }
    }

    #[test]
    fn a_mutant_that_is_stale_or_ambiguous_is_refused() {
        let mutant = |within: &str, old: &str| Mutant {
            name: "m".to_owned(),
            why: String::new(),
            oracle: String::new(),
            file: PathBuf::from("f"),
            within: within.to_owned(),
            old: old.to_owned(),
            new: "n".to_owned(),
            test: "lib".to_owned(),
            filter: None,
            plan: None,
        };
        assert_eq!(
            switched(&[&mutant("a(b)", "b")], "x a(b) y").unwrap(),
            "x a((if crate::mutant(\"m\") { n } else { b })) y"
        );
        for (within, old) in [("z", "z"), ("a", "b"), ("x", "x")] {
            assert!(switched(&[&mutant(within, old)], "x a(b) x").is_err(), "{within} {old}");
        }
    }
}
