//! Writing the lasting settings back to the configuration file.
//!
//! Only the values that differ are touched, so that comments, order and layout stay ([`edit`]); the
//! file is replaced in one step ([`write`](mod@write)); and one that somebody has edited since it was
//! read is left alone.

mod edit;
mod form;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use tracing::warn;
use weir_api::{admin::Change, config, events::Event, settings::Settings};

use self::write::Staged;
use super::{
    Author, Conditions, Store, StoreError,
    layers::{Layers, diff, differences},
    store::{Kind, State},
};

/// How often a save begins anew because the settings have changed while it was writing.
const ATTEMPTS: usize = 5;

/// The file that the lowest layer was read from.
#[derive(Debug, Clone)]
pub(super) struct SourceFile {
    path: PathBuf,
    /// Its text when it was read or saved.
    text: Arc<str>,
}

/// Why settings were not written to the file. It is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The proxy does not know a file.
    #[error("the proxy was not started from a file, there is nothing to save to")]
    NoFile,
    /// Somebody has edited the file.
    #[error(
        "{file} has been edited since it was read; nothing was written. Let the proxy read it (SIGHUP), then save again"
    )]
    Edited {
        /// The file.
        file: String,
    },
    /// The settings change all the time.
    #[error("other changes came in between {ATTEMPTS} times: try again")]
    Restless,
    /// The file is laid out in a way that cannot be edited.
    #[error("{file} cannot be edited so that it says what is in force: {reason}")]
    Layout {
        /// The file.
        file: String,
        /// What is in the way.
        reason: String,
    },
    /// The file cannot be written.
    #[error("{file} cannot be written ({step}): {error}")]
    Io {
        /// The file.
        file: String,
        /// What was tried.
        step: &'static str,
        /// What happened.
        error: std::io::Error,
    },
}

/// What a save wrote, or with `dry_run` would write.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// Number of the settings in force now.
    pub revision: u64,
    /// The file.
    pub file: PathBuf,
    /// What the file says now, and said before.
    pub diff: Vec<Change>,
    /// The same as lines of text (unified diff).
    pub text_diff: String,
}

/// What a save is going to do.
struct Plan {
    source: SourceFile,
    file: Value,
    lasting: Value,
    text: String,
}

impl Store {
    /// Tells where the lowest layer was read from, and its text: without it nothing can be saved.
    pub fn read_from(&self, path: &Path, text: &str) {
        // A process never changes its directory here, but what runs it may show the path.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        self.lock().source = Some(SourceFile {
            path,
            text: text.into(),
        });
    }

    /// Writes the settings without the overrides to the configuration file. Then the file layer has
    /// what the patches said, and there are no patches any more.
    ///
    /// # Errors
    /// When the file cannot be written or somebody has edited it, or another change came in between.
    pub fn save(&self, author: &Author, conditions: Conditions) -> Result<Saved, StoreError> {
        let _alone = self.saving();
        for _ in 0..ATTEMPTS {
            let plan = {
                let state = self.lock();
                self.expect(conditions)?;
                Plan::new(&state)?
            };
            plan.source.check()?;
            if conditions.dry_run {
                return Ok(plan.told(self.revision()));
            }
            // The slow part is done while others may change settings.
            let staged = (*plan.source.text != *plan.text)
                .then(|| Staged::write(&plan.source.path, &plan.text))
                .transpose()
                .map_err(|e| plan.source.failed(e))?;
            let mut state = self.lock();
            self.expect(conditions)?;
            if !plan.still_holds(&state) {
                continue;
            }
            plan.source.check()?;
            if let Some(staged) = staged {
                staged.publish().map_err(|e| plan.source.failed(e))?;
            }
            let revision = self.saved(&mut state, &plan, author);
            return Ok(plan.told(revision));
        }
        Err(SaveError::Restless.into())
    }

    /// Takes note that the file has been written.
    fn saved(&self, state: &mut State, plan: &Plan, author: &Author) -> u64 {
        state.source = Some(SourceFile {
            path: plan.source.path.clone(),
            text: plan.text.as_str().into(),
        });
        let mut layers = state.layers.clone();
        layers.file = plan.lasting.clone();
        layers.patch.clear();
        let file = plan.source.name();
        let why = match author.why.as_str() {
            "" => format!("saved to {file}"),
            why => format!("saved to {file}: {why}"),
        };
        let author = Author::new(author.who.clone(), why);
        let who = author.who.clone();
        if let Err(error) = self.commit(state, layers.clone(), author, Kind::Publish) {
            // What is in force does not change, so it can go on without a publication.
            warn!(%error, "saved, but not published anew");
            state.layers = layers;
        }
        let revision = self.revision();
        self.tell(Event::Saved {
            revision,
            at: self.timestamp(),
            who,
            file,
        });
        revision
    }
}

// === impl Plan ===

impl Plan {
    fn new(state: &State) -> Result<Self, StoreError> {
        let source = state.source.clone().ok_or(SaveError::NoFile)?;
        let lasting = lasting(&state.layers)?;
        let file = state.layers.file.clone();
        let changes = differences(&file, &lasting);
        let text = form::keep(&source.text, |text| edit::edit(text, &file, &changes))
            .and_then(|text| check(&source, &text, &lasting).map(|()| text))
            .map_err(|reason| SaveError::Layout {
                file: source.name(),
                reason,
            })?;
        Ok(Self {
            source,
            file,
            lasting,
            text,
        })
    }

    /// Whether the layers are still those that it was made for.
    fn still_holds(&self, state: &State) -> bool {
        let same_file = |s: &SourceFile| s.path == self.source.path && s.text == self.source.text;
        state.source.as_ref().is_some_and(same_file)
            && state.layers.file == self.file
            && lasting(&state.layers).is_ok_and(|now| now == self.lasting)
    }

    fn told(&self, revision: u64) -> Saved {
        let name = self.source.name();
        let text = similar::TextDiff::from_lines(&*self.source.text, self.text.as_str());
        Saved {
            revision,
            file: self.source.path.clone(),
            diff: diff(&self.file, &self.lasting),
            text_diff: text
                .unified_diff()
                .context_radius(3)
                .header(&name, &name)
                .to_string(),
        }
    }
}

fn lasting(layers: &Layers) -> Result<Value, StoreError> {
    Ok(layers.effective_lasting()?.to_json())
}

/// The edited text must be a good file that differs in nothing but the live settings.
fn check(source: &SourceFile, text: &str, lasting: &Value) -> Result<(), String> {
    let parse = |text: &str| config::parse(text, &source.name()).map_err(|e| e.to_string());
    let (before, after) = (parse(&source.text)?, parse(text)?);
    let wanted = Settings::from_json(lasting).map_err(|e| e.to_string())?;
    if *after.settings() != wanted || !before.fixed_differences(&after).is_empty() {
        return Err("the edited text would say something else".to_owned());
    }
    Ok(())
}

// === impl SourceFile ===

impl SourceFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The file on disk must still have the text that was read.
    fn check(&self) -> Result<(), SaveError> {
        let found = std::fs::read(&self.path).map_err(|e| self.failed(("read", e)))?;
        if found == self.text.as_bytes() {
            Ok(())
        } else {
            Err(SaveError::Edited { file: self.name() })
        }
    }

    fn failed(&self, (step, error): (&'static str, std::io::Error)) -> SaveError {
        SaveError::Io {
            file: self.name(),
            step,
            error,
        }
    }
}

#[cfg(test)]
mod tests;
