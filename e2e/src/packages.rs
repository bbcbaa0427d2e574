//! Debian packages the harness needs. Installs what is missing when it may, and otherwise says the exact command.

use anyhow::{Context, Result, bail};

use crate::progress;
use crate::shell::command;

/// Makes sure that the named Debian packages are installed.
pub fn ensure(names: &[&str]) -> Result<()> {
    let missing = missing(names)?;
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !nix::unistd::geteuid().is_root() {
        bail!("Debian packages are missing; install them with: sudo apt-get install --no-install-recommends {list}");
    }
    progress::step(format!("installing Debian packages {list}")).run(|step| {
        step.note("reading the package lists");
        apt(&["update", "-qq"])?;
        step.note("installing");
        let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
        arguments.extend(&missing);
        apt(&arguments)
    })
}

fn missing<'a>(names: &[&'a str]) -> Result<Vec<&'a str>> {
    // The exit code tells only whether some name is unknown, so the listing decides.
    let listing = command("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(names)
        .output_even_if_failed()
        .context("this needs a Debian machine (dpkg-query)")?;
    let installed: Vec<&str> = listing.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    Ok(names.iter().filter(|name| !installed.contains(name)).copied().collect())
}

fn apt(arguments: &[&str]) -> Result<()> {
    // Another apt may hold the lock: wait for it instead of failing.
    command("apt-get")
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_package_counts_as_missing() {
        assert_eq!(missing(&["dpkg", "no-such-package-at-all"]).unwrap(), ["no-such-package-at-all"]);
    }
}
