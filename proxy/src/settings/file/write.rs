//! Replacing a file in one step.
//!
//! The new text goes to a file beside it, is forced to the disk, and takes the old one's name with
//! one `rename`; then the directory is forced too. Whenever the process ends, the name stands for the
//! whole old text or the whole new one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use tracing::warn;

/// What was tried, and what happened.
pub(super) type Failed = (&'static str, io::Error);

/// A new text beside the file that it is going to replace. Dropped without being published it goes away.
#[derive(Debug)]
pub(super) struct Staged {
    file: PathBuf,
    temporary: PathBuf,
    published: bool,
}

impl Staged {
    /// Writes the text beside `file`, with the same permissions. A link is followed: what it points
    /// to is replaced.
    pub(super) fn write(file: &Path, text: &str) -> Result<Self, Failed> {
        let file = fs::canonicalize(file).map_err(|e| ("find", e))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let temporary = file.with_file_name(format!(".{name}.weir-save"));
        // One of a process that was killed.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(("remove an old temporary file", error));
            }
            _ => {}
        }
        let old = fs::metadata(&file).map_err(|e| ("look at", e))?;
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|e| ("create a temporary file", e))?;
        let staged = Self {
            file,
            temporary,
            published: false,
        };
        out.write_all(text.as_bytes())
            .map_err(|e| ("write a temporary file", e))?;
        if let Err(error) = fchown(&out, Some(old.uid()), Some(old.gid())) {
            // Only root may give files away; what counts is who may read and write it.
            warn!(%error, "the saved file belongs to this process's user");
        }
        out.set_permissions(old.permissions())
            .map_err(|e| ("set permissions", e))?;
        out.sync_all().map_err(|e| ("force to the disk", e))?;
        Ok(staged)
    }

    /// Puts it in the file's place.
    pub(super) fn publish(mut self) -> Result<(), Failed> {
        fs::rename(&self.temporary, &self.file).map_err(|e| ("rename", e))?;
        self.published = true;
        let directory = self.file.parent().unwrap_or(Path::new("/"));
        if let Err(error) = File::open(directory).and_then(|directory| directory.sync_all()) {
            // The new text is there; after a loss of power it may be the old one again.
            warn!(%error, "the directory of the saved file could not be forced to the disk");
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            // Nobody reads it; the next save removes it too.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
