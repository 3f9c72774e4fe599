//! Who changed what, when and why.

use std::{collections::VecDeque, sync::Arc, time::SystemTime};

use weir_api::{
    admin::{Change, RevisionView},
    settings::Settings,
    units::format_timestamp,
};

/// Who makes a change, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Who.
    pub who: String,
    /// Why; may be empty.
    pub why: String,
}

impl Author {
    /// Someone with a reason.
    #[must_use]
    pub fn new(who: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            who: who.into(),
            why: why.into(),
        }
    }
}

#[derive(Debug, Clone)]
struct Revision {
    number: u64,
    at: SystemTime,
    author: Author,
    diff: Vec<Change>,
    /// The settings without overrides, for going back to them.
    lasting: Arc<Settings>,
}

/// The last revisions.
#[derive(Debug, Default)]
pub(super) struct Revisions(VecDeque<Revision>);

impl Revisions {
    const KEPT: usize = 1000;

    pub(super) fn add(
        &mut self,
        number: u64,
        at: SystemTime,
        author: Author,
        diff: Vec<Change>,
        lasting: Settings,
    ) {
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        // Overrides come and go above the same lasting settings.
        let same = self.0.back().filter(|last| *last.lasting == lasting);
        let lasting = same.map_or_else(|| Arc::new(lasting), |last| Arc::clone(&last.lasting));
        self.0.push_back(Revision {
            number,
            at,
            author,
            diff,
            lasting,
        });
    }

    /// The settings without overrides at a revision; none when it is not known (any more).
    pub(super) fn lasting(&self, number: u64) -> Option<Arc<Settings>> {
        let found = self.0.iter().rev().find(|r| r.number == number)?;
        Some(Arc::clone(&found.lasting))
    }

    /// The newest first.
    pub(super) fn view(&self, most: usize) -> Vec<RevisionView> {
        let newest = self.0.iter().rev().take(most);
        newest
            .map(|revision| RevisionView {
                revision: revision.number,
                at: format_timestamp(revision.at),
                who: revision.author.who.clone(),
                why: revision.author.why.clone(),
                diff: revision.diff.clone(),
            })
            .collect()
    }
}
