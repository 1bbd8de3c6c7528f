//! The recorder at the boundary: every frame that leaves this host is written down before it is
//! encrypted, so that an administrator, or a test, can see all that others learn. Off unless a
//! file is named.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes a line for each frame: what it is for, to whom it goes, its bytes in hexadecimal.
pub(crate) struct Recorder {
    file: BufWriter<File>,
}

impl Recorder {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Self { file: BufWriter::new(file) })
    }

    /// A failure to write is the recorder's alone: frames go out all the same.
    pub(crate) fn note(&mut self, what: &str, to: &str, frame: &[u8]) {
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        let written = writeln!(self.file, "{what} {to} {hex}").and_then(|()| self.file.flush());
        if let Err(error) = written {
            tracing::warn!(%error, "a frame could not be recorded");
        }
    }
}
