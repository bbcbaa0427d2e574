//! GNU Health on Tryton, from pinned wheels on Debian's Python.
//!
//! The image runs as any user with a read-only root: nothing in it is written to, and only /tmp must be writable.

use anyhow::{Context, Result};

use super::debian;
use super::root::Root;
use crate::packages;
use crate::progress::Step;
use crate::shell::command;

const PACKAGES: &str = include_str!("../../images/gnuhealth/packages.txt");
const REQUIREMENTS: &str = include_str!("../../images/gnuhealth/requirements.txt");
const READY: &str = include_str!("../../images/gnuhealth/gnuhealth-ready");

/// Without USER a process whose user is in no passwd file crashes in `getpass.getuser`.
pub(super) const ENV: &[&str] = &[
    "PATH=/usr/local/bin:/usr/bin",
    "LANG=C.UTF-8",
    "USER=gnuhealth",
    "HOME=/tmp",
    "TMPDIR=/tmp",
    "PYTHONDONTWRITEBYTECODE=1",
    "PYTHONUNBUFFERED=1",
];

const SITE: &str = "/usr/local/lib/python3.11/dist-packages";
const PROGRAMS: [&str; 5] = ["gunicorn", "trytond", "trytond-admin", "trytond-cron", "trytond-worker"];

/// Everything beside the packages' own content that decides what the image is.
pub(super) fn words() -> String {
    format!("{PACKAGES}{REQUIREMENTS}{READY}{PROGRAMS:?}1")
}

pub(super) fn fill(root: &Root, step: &Step) -> Result<()> {
    debian::unpack(root, PACKAGES, step)?;
    step.note("installing GNU Health's wheels");
    install(root)?;
    for program in PROGRAMS {
        let path = root.at(&format!("{SITE}/bin/{program}"));
        let script = std::fs::read_to_string(&path).with_context(|| format!("the wheels bring no {program}"))?;
        // pip wrote the Python of this machine into the first line.
        let body = script.split_once('\n').map_or("", |(_, body)| body);
        root.file(&format!("/usr/local/bin/{program}"), format!("#!/usr/bin/python3\n{body}"), 0o755)?;
    }
    root.file("/usr/local/bin/gnuhealth-ready", READY, 0o755)?;
    step.note("leaving out tests and documents");
    root.remove(
        &["bin", "docs", "gnuhealth-all-modules", "share", "tests"]
            .map(|name| format!("{SITE}/{name}"))
            .each_ref()
            .map(String::as_str),
    )?;
    command("find")
        .arg(root.at(SITE))
        .args(["-depth", "-type", "d", "-name", "tests", "-exec", "rm", "-r", "{}", "+"])
        .output()?;
    step.note("compiling Python files");
    // Nothing can be compiled at run time on a read-only root. Times in the image are all zero, so the compiled files
    // must not be judged by them.
    root.run(&[
        "python3",
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "unchecked-hash",
        SITE,
        "/usr/lib/python3.11",
    ])?;
    root.run(&["python3", "-c", "import gunicorn, psycopg2, ssl, trytond.application"])?;
    Ok(())
}

fn install(root: &Root) -> Result<()> {
    let requirements = root.dir().with_extension("requirements");
    std::fs::write(&requirements, REQUIREMENTS).context("cannot write requirements")?;
    if !command("python3").args(["-m", "pip", "--version"]).succeeds().unwrap_or(false) {
        packages::ensure(&["python3-pip"])?;
    }
    // Wheels for the image's Python, whichever Python runs here.
    command("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"])
        .args(["--no-deps", "--no-compile", "--require-hashes", "--only-binary=:all:"])
        .args(["--implementation=cp", "--python-version=3.11"])
        .args([
            "--platform=manylinux_2_28_x86_64",
            "--platform=manylinux_2_27_x86_64",
            "--platform=manylinux_2_17_x86_64",
        ])
        .args(["--platform=manylinux2014_x86_64", "--target"])
        .arg(root.at(SITE))
        .arg("--requirement")
        .arg(&requirements)
        .output()?;
    std::fs::remove_file(&requirements).context("cannot remove requirements")
}
