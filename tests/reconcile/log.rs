//! What the operator says while it is tested.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
};

use tracing_subscriber::fmt::MakeWriter;

/// Everything that was logged in this process; also in a file, for whoever looks for the reason of a failure.
#[derive(Clone, Debug)]
pub struct Log(Arc<Mutex<(Vec<u8>, File)>>);

impl Log {
    /// In a file of that name.
    pub fn create(file: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        eprintln!("the operator's log is in {}", path.display());
        Self(Arc::new(Mutex::new((Vec::new(), File::create(path).unwrap()))))
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().0.len()
    }

    /// Everything after that many bytes.
    pub fn after(&self, mark: usize) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap().0[mark..]).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap();
        log.0.extend_from_slice(bytes);
        log.1.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
