//! Where the harness keeps things. Outputs that can be rebuilt live in the cache, facts about a running cluster in
//! the state directory, and the checkout is only ever read.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

/// `${XDG_CACHE_HOME:-~/.cache}/his-operator`: programs, images and downloads, keyed by content.
pub fn cache_dir() -> Result<PathBuf> {
    under_home("XDG_CACHE_HOME", ".cache")
}

/// `${XDG_STATE_HOME:-~/.local/state}/his-operator`: what a running cluster consists of.
pub fn state_dir() -> Result<PathBuf> {
    under_home("XDG_STATE_HOME", ".local/state")
}

fn under_home(variable: &str, default: &str) -> Result<PathBuf> {
    let base = match env::var_os(variable).filter(|value| Path::new(value).is_absolute()) {
        Some(value) => PathBuf::from(value),
        None => env::home_dir()
            .filter(|home| home.is_absolute())
            .with_context(|| format!("no home directory: set HOME or {variable}"))?
            .join(default),
    };
    Ok(base.join("his-operator"))
}

/// The root of the checkout. Cargo names a package directory when it runs something; otherwise the current
/// directory or the program's own place under `target/` leads there. Nothing is remembered from compile time, so
/// a clone may be moved.
pub fn repo_root() -> Result<PathBuf> {
    let starts =
        [env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from), env::current_dir().ok(), env::current_exe().ok()];
    starts
        .iter()
        .flatten()
        .flat_map(|start| start.ancestors())
        .find(|dir| dir.join("e2e/parts").is_dir() && dir.join("Cargo.toml").is_file())
        .map(Path::to_path_buf)
        .ok_or_else(|| anyhow!("not inside a checkout of his-operator: run this from the repository"))
}

/// Creates a directory and its parents.
pub fn create_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot create directory {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_root_is_found_from_a_package_directory() {
        let root = repo_root().unwrap();
        assert!(root.join("e2e/src/paths.rs").is_file());
    }
}
