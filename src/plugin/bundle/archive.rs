//! Files in one compressed archive.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use chrono::{DateTime, Utc};
use flate2::{Compression, write::GzEncoder};
use tar::{Builder, Header};

use super::Part;

/// Writes a new file that only its owner can read; all parts are below one directory.
pub(super) fn write(file: &Path, directory: &str, parts: &[Part], at: DateTime<Utc>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    let mut archive = Builder::new(GzEncoder::new(file, Compression::default()));
    for part in parts {
        let mut header = Header::new_gnu();
        header.set_size(u64::try_from(part.text.len()).map_err(io::Error::other)?);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(at.timestamp()).unwrap_or_default());
        archive.append_data(&mut header, format!("{directory}/{}", part.path), part.text.as_bytes())?;
    }
    archive.into_inner()?.finish()?.flush()
}
