//! The file tree of an image while it is being made.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::paths;
use crate::shell::command;

/// A directory that becomes the root of a container. Paths given to it are absolute inside the image.
#[derive(Debug)]
pub(super) struct Root {
    dir: PathBuf,
}

impl Root {
    /// An empty tree with the directories that a runtime mounts onto.
    pub fn new(dir: &Path) -> Result<Self> {
        let root = Self { dir: dir.to_path_buf() };
        for path in ["/dev", "/etc", "/proc", "/run", "/sys", "/usr/bin"] {
            paths::create_dir(&root.at(path))?;
        }
        root.shared_dir("/tmp")?;
        Ok(root)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a path of the image lies on this machine.
    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.join(path.trim_start_matches('/'))
    }

    /// A directory any user may write to.
    pub fn shared_dir(&self, path: &str) -> Result<()> {
        paths::create_dir(&self.at(path))?;
        self.set_mode(path, 0o1777)
    }

    /// A file of this content.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let target = self.at(path);
        if let Some(parent) = target.parent() {
            paths::create_dir(parent)?;
        }
        fs::write(&target, content).with_context(|| format!("cannot write {}", target.display()))?;
        self.set_mode(path, mode)
    }

    /// A program copied from this machine.
    pub fn program(&self, from: &Path, path: &str) -> Result<()> {
        let target = self.at(path);
        if let Some(parent) = target.parent() {
            paths::create_dir(parent)?;
        }
        fs::copy(from, &target).with_context(|| format!("cannot copy {} into an image", from.display()))?;
        self.set_mode(path, 0o755)
    }

    /// A symbolic link.
    pub fn link(&self, path: &str, to: &str) -> Result<()> {
        symlink(to, self.at(path)).with_context(|| format!("cannot link {path} in an image"))
    }

    /// Removes files and directories that nothing at run time reads.
    pub fn remove(&self, paths: &[&str]) -> Result<()> {
        for path in paths {
            let target = self.at(path);
            if target.is_dir() {
                fs::remove_dir_all(&target).with_context(|| format!("cannot remove {path} from an image"))?;
            } else if target.exists() {
                fs::remove_file(&target).with_context(|| format!("cannot remove {path} from an image"))?;
            }
        }
        Ok(())
    }

    /// Runs a program of the image in the image, and returns what it printed. It sees neither /proc nor /dev.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        command("env")
            .args(["-i", "PATH=/usr/local/bin:/usr/bin:/usr/sbin", "PYTHONHASHSEED=0", "USER=root", "chroot"])
            .arg(&self.dir)
            .args(arguments)
            .output()
            .context("a program of an image does not run in it")
    }

    fn set_mode(&self, path: &str, mode: u32) -> Result<()> {
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the mode of {path} in an image"))
    }
}
