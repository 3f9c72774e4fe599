//! At most one successor waits at a path.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// A lock file beside the socket. The kernel releases the lock when its holder dies; a file that is left then
/// is used again.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl Lock {
    /// Takes the lock of `socket`; nothing if another process has it.
    pub(super) fn take(socket: &Path) -> io::Result<Option<Self>> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            // Its last holder may have removed the file between the two calls.
            let same = std::fs::metadata(&path)
                .is_ok_and(|found| file.metadata().is_ok_and(|ours| ours.ino() == found.ino()));
            if same {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked: nobody else has come to rely on it.
        let _ = std::fs::remove_file(&self.path);
    }
}
