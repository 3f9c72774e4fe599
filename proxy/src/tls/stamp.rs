//! Noticing that files have changed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// What files looked like at some moment. Links are followed, so that a file that is replaced by turning
/// a link (as Kubernetes does with secrets) looks different too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stamp(Vec<Option<Look>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// The look of these files now; one that is not there has none.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let look = |path: &PathBuf| {
            let found = fs::metadata(path).ok()?;
            Some(Look {
                device: found.dev(),
                inode: found.ino(),
                length: found.len(),
                modified: (found.mtime(), found.mtime_nsec()),
            })
        };
        Self(files.into_iter().map(look).collect())
    }
}

/// Files that are watched: when they have changed, and have stopped changing, it is time to read them.
#[derive(Debug, Default)]
pub(super) struct Watch {
    files: Vec<PathBuf>,
    /// As they were when they were last read, or were tried in vain.
    read: Stamp,
    /// As they were when last looked at.
    seen: Stamp,
}

impl Watch {
    /// Watches these files, which are read right after this.
    pub(super) fn start(files: Vec<PathBuf>) -> Self {
        let read = Stamp::of(&files);
        Self {
            seen: read.clone(),
            read,
            files,
        }
    }

    /// Whether the files differ from what was read, and look the same as at the last call: a certificate
    /// that has been written when its key has not is left alone for a while. Saying yes counts as reading.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Stamp::of(&self.files);
        let settled = now == self.seen;
        self.seen = now;
        let due = settled && self.seen != self.read;
        if due {
            self.read = self.seen.clone();
        }
        due
    }
}
