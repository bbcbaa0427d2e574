//! Tools that cargo installs, each built once per machine and version, outside of the checkout.

use std::path::PathBuf;

use anyhow::Result;

use crate::{paths, progress, shell};

/// Checks licences, bans and sources.
pub fn cargo_deny() -> Result<PathBuf> {
    installed("cargo-deny", "0.20.2")
}

fn installed(name: &str, version: &str) -> Result<PathBuf> {
    let home = paths::cache_dir()?.join("tools").join(format!("{name}-{version}"));
    let program = home.join("bin").join(name);
    if !program.is_file() {
        paths::create_dir(&home)?;
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        // Outside of the checkout, so that its build settings do not apply.
        let install = shell::command(cargo)
            .args(["install", "--quiet", "--locked", "--no-default-features", "--version", version, name, "--root"])
            .arg(&home)
            .dir(&home);
        progress::step(format!("building {name} (once per machine)")).run(|_| install.output())?;
    }
    Ok(program)
}
