//! The product's image as it is released: optimised, static, made from a clean build, with its bill of materials.
//!
//! Guarantees: no path of this machine is in the programs, so that another machine with the same toolchain makes the same
//! digest; [`make`] with `twice` builds it again somewhere else and compares.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Image, ImageKind, ensure, sbom};
use crate::{paths, progress, shell};

/// What a release consists of.
#[derive(Debug)]
pub struct Release {
    /// The image.
    pub image: Image,
    /// Its bill of materials, beside the archive.
    pub bill: PathBuf,
}

/// Builds from nothing; again in another place, if `twice`, and fails unless both are the same.
///
/// # Errors
/// When a build fails, a program is not static, or two builds differ.
pub fn make(twice: bool) -> Result<Release> {
    let home = paths::cache_dir()?.join("release");
    let first = build(&home.join("first"))?;
    if twice {
        let second = build(&home.join("second"))?;
        for (one, other) in first.iter().zip(&second) {
            let same =
                fs::read(one).context("cannot read a program")? == fs::read(other).context("cannot read a program")?;
            if !same {
                bail!("{} and {} differ: the build is not reproducible", one.display(), other.display());
            }
        }
    }
    let [operator, agent] = first;
    for program in [&operator, &agent] {
        if !is_static(program)? {
            bail!("{} is not static: the image would need a C library", program.display());
        }
    }
    let image = ensure(&ImageKind::Operator { operator, agent })?;
    let bill = image.tar.with_file_name("image.cdx.json");
    let lock = paths::repo_root()?.join("Cargo.lock");
    let lock = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    fs::write(&bill, sbom::of_lock(&lock)?).with_context(|| format!("cannot write {}", bill.display()))?;
    Ok(Release { image, bill })
}

/// A clean build in a directory of its own.
fn build(target: &Path) -> Result<[PathBuf; 2]> {
    if target.exists() {
        fs::remove_dir_all(target).with_context(|| format!("cannot remove {}", target.display()))?;
    }
    paths::create_dir(target)?;
    let root = paths::repo_root()?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let triple = triple()?;
    progress::step(format!("building the release in {}", target.display())).run(|_| {
        shell::command(cargo)
            .args(["build", "--quiet", "--release", "--locked", "--package", "his-operator"])
            .args(["--bin", "his-operator", "--bin", "his-agent", "--target", &triple])
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_INCREMENTAL", "0")
            .env("SOURCE_DATE_EPOCH", "0")
            .env("CARGO_ENCODED_RUSTFLAGS", flags(&root, target)?.join("\u{1f}"))
            .dir(&root)
            .output()
    })?;
    let program = |name: &str| target.join(&triple).join("release").join(name);
    Ok([program("his-operator"), program("his-agent")])
}

/// Static, and with the same words for the places of every machine.
fn flags(root: &Path, target: &Path) -> Result<Vec<String>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).context("no home directory")?;
    let renamed = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok(vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        renamed(&home, "/cargo"),
        renamed(root, "/source"),
        // The last that fits wins.
        renamed(target, "/target"),
    ])
}

fn triple() -> Result<String> {
    let answer = shell::command("rustc").args(["--print", "host-tuple"]).output()?;
    Ok(answer.trim().to_owned())
}

/// Without an interpreter nothing is loaded at run time: ELF's program header `PT_INTERP`.
fn is_static(program: &Path) -> Result<bool> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    Ok(!has_interpreter(&bytes).with_context(|| format!("{} is no 64-bit ELF program", program.display()))?)
}

fn has_interpreter(elf: &[u8]) -> Option<bool> {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, length: usize| {
        let bytes = elf.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    // 64 bits, little endian.
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table = usize::try_from(number(0x20, 8)?).ok()?;
    let (size, count) = (usize::try_from(number(0x36, 2)?).ok()?, usize::try_from(number(0x38, 2)?).ok()?);
    let kinds = (0..count).map(|index| number(table.checked_add(index.checked_mul(size)?)?, 4));
    let kinds: Option<Vec<u64>> = kinds.collect();
    Some(kinds?.contains(&u64::from(INTERPRETER)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kind: u8) -> Vec<u8> {
        let mut elf = vec![0; 0x40 + 0x38];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[0x20], elf[0x36], elf[0x38], elf[0x40]) = (0x40, 0x38, 1, kind);
        elf
    }

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        assert_eq!(has_interpreter(&elf(3)), Some(true));
        assert_eq!(has_interpreter(&elf(1)), Some(false));
        assert_eq!(has_interpreter(b"#!/bin/sh"), None);
        assert_eq!(has_interpreter(&elf(1)[..0x42]), None);
    }

    #[test]
    fn no_place_of_this_machine_is_left_in_the_programs() {
        let flags = flags(Path::new("/somewhere/checkout"), Path::new("/elsewhere/target")).unwrap().join(" ");
        assert!(flags.contains("--remap-path-prefix=/somewhere/checkout=/source"), "{flags}");
        assert!(flags.contains("--remap-path-prefix=/elsewhere/target=/target"), "{flags}");
        assert!(flags.contains("crt-static"), "{flags}");
    }
}
