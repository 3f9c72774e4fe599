//! The process that removes the containers when this one is killed.
//!
//! It waits for the end of a pipe that only this process writes to: the kernel closes it however
//! this process ends.

use std::{
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

use super::project::DONE;

/// The waiting process. Dropping this without [`Keeper::done`] makes it remove the containers.
#[derive(Debug)]
pub(super) struct Keeper(Child);

impl Keeper {
    /// Starts it, before there is anything to remove.
    pub(super) fn start(project: &str) -> io::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args(["containers-keeper", "--project", project])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own: what kills this one's does not kill it.
            .process_group(0)
            .spawn()?;
        Ok(Self(child))
    }

    /// Tells it that nothing is left to remove.
    pub(super) fn done(mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            let _ = pipe.write_all(DONE);
        }
        let _ = self.0.wait();
    }
}
