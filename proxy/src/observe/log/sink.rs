//! What a log is written to.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How often a writer that waits for a reader looks whether it should give up, in milliseconds.
const LOOK_EVERY: u16 = 100;

/// The end of a log that only its writer thread touches.
#[derive(Debug)]
pub(crate) struct Sink {
    out: File,
    /// The file's path and mode, to open it anew; none for a stream of the process.
    named: Option<(PathBuf, u32)>,
    /// The last write ended within a line.
    in_line: bool,
}

/// A write that failed.
#[derive(Debug)]
pub(super) struct WriteFailed {
    /// How many bytes had been written before.
    pub(super) written: usize,
    pub(super) cause: io::Error,
}

impl Sink {
    /// Standard output.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub(crate) fn stdout() -> io::Result<Self> {
        // A duplicate: the standard library's own handle has a lock, which a writer that hangs would keep.
        io::stdout().as_fd().try_clone_to_owned().map(Self::stream)
    }

    /// Standard error.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub(super) fn stderr() -> io::Result<Self> {
        io::stderr().as_fd().try_clone_to_owned().map(Self::stream)
    }

    fn stream(descriptor: OwnedFd) -> Self {
        Self {
            out: File::from(descriptor),
            named: None,
            in_line: false,
        }
    }

    /// A file, appended to, and created with `mode` if there is none.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn file(path: &Path, mode: u32) -> io::Result<Self> {
        Ok(Self {
            out: open(path, mode)?,
            named: Some((path.to_owned(), mode)),
            in_line: false,
        })
    }

    /// Opens the file anew. If that fails the old one stays: better in the wrong file than lost.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some((path, mode)) = &self.named {
            self.out = open(path, *mode)?;
            self.in_line = false;
        }
        Ok(())
    }

    /// Writes whole lines. Waits for a slow reader until `give_up` says to stop.
    pub(super) fn write(
        &mut self,
        lines: &[u8],
        give_up: impl Fn() -> bool,
    ) -> Result<(), WriteFailed> {
        if self.in_line {
            // What is left of a line that was cut must not swallow the next one.
            self.write_all(b"\n", &give_up).map_err(|mut failed| {
                failed.written = 0;
                failed
            })?;
            self.in_line = false;
        }
        let done = self.write_all(lines, &give_up);
        if let Err(failed) = &done
            && let Some(last) = failed.written.checked_sub(1)
        {
            self.in_line = lines.get(last) != Some(&b'\n');
        }
        done
    }

    fn write_all(&mut self, bytes: &[u8], give_up: &impl Fn() -> bool) -> Result<(), WriteFailed> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let failed = |cause| WriteFailed {
                written: bytes.len() - rest.len(),
                cause,
            };
            match self.out.write(rest) {
                Ok(0) => return Err(failed(ErrorKind::WriteZero.into())),
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) if cause.kind() == ErrorKind::WouldBlock && !give_up() => {
                    let mut wanted = [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT)];
                    // Interrupted or not, the next write tells.
                    let _ = poll(&mut wanted, PollTimeout::from(LOOK_EVERY));
                }
                Err(cause) => return Err(failed(cause)),
            }
        }
        Ok(())
    }
}

/// Opens for appending without ever waiting. A FIFO is opened for reading too, so that it can be opened
/// and filled before a reader comes, and outlives one that goes (fifo(7)).
fn open(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).mode(mode).custom_flags(O_NONBLOCK);
    let is_fifo = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    if !is_fifo {
        return options.create(true).open(path);
    }
    match options.clone().read(true).open(path) {
        Err(cause) if cause.kind() == ErrorKind::PermissionDenied => options.open(path),
        opened => opened,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_is_ended_before_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut sink = Sink::file(&path, 0o600).unwrap();
        sink.write(b"cut", || true).unwrap();
        sink.in_line = true;
        sink.write(b"whole\n", || true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "cut\nwhole\n");
    }

    #[test]
    fn a_full_disk_is_an_error_and_not_a_wait() {
        let mut sink = Sink::file(Path::new("/dev/full"), 0o600).unwrap();
        let failed = sink.write(b"line\n", || false).unwrap_err();
        assert_eq!(failed.cause.kind(), ErrorKind::StorageFull);
        assert_eq!(failed.written, 0);
    }
}
