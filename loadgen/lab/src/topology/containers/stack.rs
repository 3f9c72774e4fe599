//! The containers of one Compose project, from the first to the last moment.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use weir_load::stop::StopToken;

use super::{
    HEALTHY_WITHIN, LOOK_EVERY,
    keeper::Keeper,
    part::{self, Part},
    prepare::tidy,
    project,
};
use crate::{error::TopologyError, stdio, topology::TopologySpec};

/// Seconds that containers have between SIGTERM and SIGKILL. No request is in flight then.
const STOP_WITHIN: &str = "10";

/// The containers of a project. Dropping it stops and removes them.
#[derive(Debug)]
pub(super) struct Stack {
    project: String,
    folder: PathBuf,
    parts: Vec<Part>,
    keeper: Option<Keeper>,
}

impl Stack {
    /// A project of its own, of which nothing runs yet.
    pub(super) fn new(folder: &Path) -> Result<Self, TopologyError> {
        let project = project::name();
        let keeper = Keeper::start(&project).map_err(|error| TopologyError::Engine {
            what: "start the process that removes the containers when this one is killed",
            message: error.to_string(),
        })?;
        Ok(Self {
            project,
            folder: folder.to_owned(),
            parts: Vec::new(),
            keeper: Some(keeper),
        })
    }

    pub(super) fn project(&self) -> &str {
        &self.project
    }

    /// Its containers, the proxy first; none before they were waited for.
    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Compose says that a container failed; what the container itself said is worth more.
    pub(super) fn explain(&self, error: TopologyError) -> TopologyError {
        match error {
            TopologyError::Engine { .. } => Part::all(&self.project, &StopToken::new())
                .err()
                .unwrap_or(error),
            other => other,
        }
    }

    /// Waits until every container is healthy.
    pub(super) fn wait_healthy(
        &mut self,
        spec: &TopologySpec,
        stop: &StopToken,
    ) -> Result<(), TopologyError> {
        let expected = spec.replicas as usize + usize::from(spec.proxy);
        let deadline = Instant::now() + HEALTHY_WITHIN;
        loop {
            self.parts = Part::all(&self.project, stop)?;
            let late = self.parts.iter().find(|part| !part.is_healthy());
            if late.is_none() && self.parts.len() == expected {
                return Ok(());
            }
            if stop.is_stopped() {
                return Err(TopologyError::Stopped);
            }
            if Instant::now() >= deadline {
                return Err(match late {
                    Some(part) => TopologyError::NotReady {
                        name: part.name.clone(),
                        within: HEALTHY_WITHIN,
                        last_words: part.last_words(stop),
                    },
                    None => TopologyError::Engine {
                        what: "start the containers",
                        message: format!("there are {} and not {expected}", self.parts.len()),
                    },
                });
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // Gracefully first: the proxy writes the end of its access log.
        part::stop_and_save(&self.project, STOP_WITHIN, &self.folder);
        // A start that was broken off may have left something that appears only now.
        let settled = !self.parts.is_empty();
        let removed = project::remove(&self.project).and_then(|found| {
            if settled || !found {
                return Ok(());
            }
            thread::sleep(Duration::from_secs(1));
            project::remove(&self.project).map(|_| ())
        });
        match (removed, self.keeper.take()) {
            (Ok(()), Some(keeper)) => keeper.done(),
            // It goes on trying.
            (Err(error), _) => stdio::note(format_args!("{}: {error}", self.project)),
            (Ok(()), None) => {}
        }
        tidy(&self.folder);
    }
}
