//! Files of a program, secrets filled in: runs to its end before the program starts.
//!
//! Guarantees: a file is there with its whole content or not at all; running again changes nothing that is as it must be;
//! files are readable for the pod's user and group only. A missing secret is named, a value never.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use clap::Args;
use zeroize::Zeroizing;

use super::template::fill;

/// Name of this program where it is installed.
const PROGRAM: &str = "his-agent";
/// Readable for the pod's user and group.
const FILE: u32 = 0o440;
/// Executable for everybody, writable for nobody.
const EXECUTABLE: u32 = 0o555;

/// What to prepare.
#[derive(Args, Clone, Debug, Default)]
#[group(required = true, multiple = true)]
pub struct Arguments {
    /// Directory of templates (a volume of a config map); `${secret:NAME/KEY}` in them is filled in.
    #[arg(long, value_name = "DIR", requires = "secrets", requires = "files")]
    templates: Option<PathBuf>,
    /// Directory that has one directory per Secret.
    #[arg(long, value_name = "DIR", requires = "templates")]
    secrets: Option<PathBuf>,
    /// Directory that the files are written to.
    #[arg(long, value_name = "DIR", requires = "templates")]
    files: Option<PathBuf>,
    /// Directory that this program is copied to.
    #[arg(long, value_name = "DIR")]
    install: Option<PathBuf>,
}

/// Why a pod cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The templates are not there.
    #[error("templates in {path} cannot be read: {source}; mount the ConfigMap of templates there")]
    ReadTemplates {
        /// Directory or file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A secret is not there.
    #[error("{template}: key {key} of Secret {secret} cannot be read: {source}; mount that Secret with that key")]
    ReadSecret {
        /// Template that names it.
        template: String,
        /// Name of the Secret.
        secret: String,
        /// Key in it.
        key: String,
        /// Cause.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{path} cannot be written: {source}; mount a writable volume there")]
    WriteFile {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// This program cannot be found.
    #[error("his-agent does not find itself: {0}; start it by its full path")]
    ReadProgram(io::Error),
}

impl Arguments {
    /// Writes files and installs, as far as asked for.
    pub(super) fn run(&self) -> Result<(), Error> {
        if let (Some(templates), Some(secrets), Some(files)) = (&self.templates, &self.secrets, &self.files) {
            write_files(templates, secrets, files)?;
        }
        self.install.as_deref().map_or(Ok(()), install)
    }
}

fn write_files(templates: &Path, secrets: &Path, files: &Path) -> Result<(), Error> {
    for (name, path) in regular_files(templates).map_err(|source| unreadable(templates, source))? {
        let template = fs::read(&path).map_err(|source| unreadable(&path, source))?;
        let content = fill(&template, |secret, key| {
            read_secret(secrets, secret, key).map_err(|source| Error::ReadSecret {
                template: name.clone(),
                secret: secret.to_owned(),
                key: key.to_owned(),
                source,
            })
        })?;
        let content = Zeroizing::new(content);
        let target = files.join(&name);
        let same = || fs::read(&target).map(Zeroizing::new).is_ok_and(|there| *there == *content);
        if !(is_file_with(&target, FILE) && same()) {
            write(files, &name, FILE, &mut content.as_slice())?;
        }
    }
    Ok(())
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::ReadTemplates { path: path.to_owned(), source }
}

/// Names and paths; the volume of a config map is a directory of links into a hidden one.
fn regular_files(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && fs::metadata(entry.path())?.is_file() {
            files.push((name, entry.path()));
        }
    }
    files.sort();
    Ok(files)
}

/// The value without the newline that editors and `echo` add.
fn read_secret(secrets: &Path, name: &str, key: &str) -> io::Result<Vec<u8>> {
    let mut value = fs::read(secrets.join(name).join(key))?;
    if value.last() == Some(&b'\n') {
        value.pop();
    }
    Ok(value)
}

/// A link is never followed: what it leads to may change.
fn is_file_with(path: &Path, mode: u32) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| there.is_file() && there.permissions().mode() & 0o7777 == mode)
}

/// Copies this very program, so that containers without it can run it. A copy that is there is left alone: a second one
/// might not fit into the volume.
fn install(directory: &Path) -> Result<(), Error> {
    let program = || std::env::current_exe().and_then(File::open).map(BufReader::new).map_err(Error::ReadProgram);
    let target = directory.join(PROGRAM);
    let mut source = program()?;
    let mut same = || File::open(&target).and_then(|there| is_same(BufReader::new(there), &mut source));
    if is_file_with(&target, EXECUTABLE) && same().is_ok_and(|same| same) {
        return Ok(());
    }
    write(directory, PROGRAM, EXECUTABLE, &mut program()?)
}

/// Piece by piece: the pod has little memory.
fn is_same(mut one: impl BufRead, mut other: impl BufRead) -> io::Result<bool> {
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let both = left.len().min(right.len());
        if both == 0 {
            return Ok(left.is_empty() && right.is_empty());
        }
        if left.get(..both) != right.get(..both) {
            return Ok(false);
        }
        one.consume(both);
        other.consume(both);
    }
}

/// Under a hidden name first: whoever looks sees the old file or the new one, never a part.
fn write(directory: &Path, name: &str, mode: u32, content: &mut dyn io::Read) -> Result<(), Error> {
    let hidden = directory.join(format!(".{name}.new"));
    let target = directory.join(name);
    let mut written = || {
        match fs::remove_file(&hidden) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&hidden)?;
        io::copy(content, &mut file)?;
        file.flush()?;
        file.set_permissions(Permissions::from_mode(mode))?;
        fs::rename(&hidden, &target)
    };
    written().map_err(|source| Error::WriteFile { path: target.clone(), source })
}
