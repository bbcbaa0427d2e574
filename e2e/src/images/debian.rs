//! Debian packages as files of an image: unpacked, without maintainer scripts, package database or service set-up.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::root::Root;
use crate::paths;
use crate::progress::Step;
use crate::shell::command;

/// The release whose package names the lists in `e2e/images/` use.
const RELEASE: &str = "bookworm";

/// What nobody reads in a container.
const CLUTTER: [&str; 14] = [
    "/boot",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/srv",
    "/usr/games",
    "/usr/lib/x86_64-linux-gnu/gconv",
    "/usr/share/bash-completion",
    "/usr/share/doc",
    "/usr/share/info",
    "/usr/share/lintian",
    "/usr/share/locale",
    "/usr/share/man",
];

/// Puts exactly the listed packages into a root; dependencies are the list's business.
pub(super) fn unpack(root: &Root, list: &str, step: &Step) -> Result<()> {
    let names: Vec<&str> =
        list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    check_release()?;
    merge_usr(root)?;
    let archives = root.dir().with_extension("debs");
    paths::create_dir(&archives)?;
    step.note(format!("downloading {} Debian packages", names.len()));
    download(&names, &archives)?;
    step.note("unpacking Debian packages");
    // Archives are named after their packages, so the shell's sorted order is stable. dpkg-deb -x would replace the
    // links of a merged /usr by directories.
    command("sh")
        .args(["-euc", r#"for deb in "$1"/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$2"; done"#, "sh"])
        .arg(&archives)
        .arg(root.dir())
        .output()?;
    std::fs::remove_dir_all(&archives).context("cannot remove downloaded packages")?;
    root.remove(&CLUTTER)?;
    forbid_set_user_id(root)?;
    accounts(root)
}

fn check_release() -> Result<()> {
    let file = std::fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    if !file.lines().any(|line| line == format!("VERSION_CODENAME={RELEASE}")) {
        bail!("images are made from packages of Debian 12 ({RELEASE}): run this on Debian 12");
    }
    Ok(())
}

fn merge_usr(root: &Root) -> Result<()> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        paths::create_dir(&root.at(&format!("/usr/{name}")))?;
        root.link(&format!("/{name}"), &format!("usr/{name}"))?;
    }
    Ok(())
}

fn download(names: &[&str], into: &Path) -> Result<()> {
    let download = command("apt-get").args(["-o", "APT::Sandbox::User=root", "-qq", "download"]).args(names).dir(into);
    // Lists that are missing or too old name archives that do not exist; fresh ones are then worth their time.
    if download.succeeds()? {
        return Ok(());
    }
    command("apt-get").args(["update", "-qq"]).output()?;
    download.output().map(drop)
}

/// Nothing in these images needs to gain rights, so nothing may.
fn forbid_set_user_id(root: &Root) -> Result<()> {
    command("find")
        .arg(root.dir())
        .args(["-xdev", "-type", "f", "-perm", "/6000", "-exec", "chmod", "a-s", "{}", "+"])
        .output()?;
    Ok(())
}

fn accounts(root: &Root) -> Result<()> {
    root.file(
        "/etc/passwd",
        "root:x:0:0:root:/root:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        0o644,
    )?;
    root.file("/etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644)
}
