//! Whether the folders that `weir run` makes files in can be used.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use rustix::fs::{Access, access};

use super::{Config, ListenAddress};

/// Folders whose subfolders the service manager makes when it starts the service (`RuntimeDirectory` of systemd).
const MADE_AT_START: [&str; 2] = ["/run", "/var/run"];

/// What `weir run` could not make: the setting, and why. A folder directly below `/run` may still be made.
pub(super) fn unusable(config: &Config) -> Vec<(&'static str, String)> {
    let mut files = vec![
        ("admin.socket", config.admin.socket.as_deref(), true),
        ("server.pid_file", config.server.pid_file.as_deref(), false),
    ];
    for listener in &config.listeners {
        if let ListenAddress::Unix(path) = &listener.address {
            files.push(("listener.address", Some(path), true));
        }
    }
    let mut problems = Vec::new();
    for (field, file, socket) in files {
        if let Some(file) = file
            && let Err(why) = usable(file, socket)
        {
            problems.push((field, format!("{} cannot be made: {why}", file.display())));
        }
    }
    problems
}

fn usable(file: &Path, socket: bool) -> Result<(), String> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if let Ok(found) = std::fs::symlink_metadata(file) {
        if socket && !found.file_type().is_socket() {
            return Err("there is a file that is no socket".to_owned());
        }
        if found.is_dir() {
            return Err("it is a folder".to_owned());
        }
    }
    let shown = folder.display();
    match std::fs::metadata(folder) {
        Ok(found) if !found.is_dir() => Err(format!("{shown} is no folder")),
        Ok(_) => access(folder, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| format!("{shown}: {error}")),
        Err(_) if made_at_start(folder) => Ok(()),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

fn made_at_start(folder: &Path) -> bool {
    let parent = folder.parent();
    MADE_AT_START
        .iter()
        .any(|made| parent == Some(Path::new(made)))
}
