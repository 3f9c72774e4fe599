//! Listening sockets that pass from an old process to a new one.

use std::path::Path;

use pingora::server::{Fds, ListenFds};

use super::BindError;

/// Receives the listening sockets of the process that runs now, which it sends on SIGQUIT.
///
/// # Errors
/// [`BindError::HandOver`] if nothing comes within some seconds.
pub(in crate::engine) fn take_over(path: &Path) -> Result<Fds, BindError> {
    let failed = |cause: String| BindError::HandOver {
        path: path.to_owned(),
        cause,
    };
    let dir = path.parent().filter(|dir| dir.is_dir());
    let (Some(_), Some(name)) = (dir, path.to_str()) else {
        return Err(failed("its directory does not exist".into()));
    };
    let mut fds = Fds::new();
    fds.get_from_sock(name).map_err(|e| failed(e.to_string()))?;
    Ok(fds)
}

/// Sends the listening sockets to a new process, if one is waiting for them at `path`.
///
/// # Errors
/// What the system said.
pub(in crate::engine) fn hand_over(fds: &ListenFds, path: &Path) -> Result<(), String> {
    let name = path.to_str().ok_or("the path is not text")?;
    fds.lock()
        .send_to_sock(name)
        .map(drop)
        .map_err(|e| e.to_string())
}
