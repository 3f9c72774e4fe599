//! The servers that a request has tried.

use smallvec::SmallVec;

/// The servers that one request has tried; up to 64 of them without an allocation.
///
/// Positions are those within the list in use: the regular servers first, then, once none of those is left,
/// the backup servers for the rest of the request (as in nginx).
#[derive(Debug, Clone, Default)]
pub struct Tried {
    words: SmallVec<[u64; 1]>,
    on_backup: bool,
    count: u32,
}

impl Tried {
    /// Nothing tried yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many tries there have been.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn contains(&self, position: usize) -> bool {
        self.words
            .get(position / 64)
            .is_some_and(|word| word & (1 << (position % 64)) != 0)
    }

    pub(super) fn insert(&mut self, position: usize) {
        let word = position / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << (position % 64);
        }
        self.count += 1;
    }

    /// Allows the server at `position` once more, for a connection that had gone stale while idle.
    pub(super) fn forget(&mut self, position: usize) {
        if let Some(word) = self.words.get_mut(position / 64) {
            *word &= !(1 << (position % 64));
        }
    }

    pub(super) fn is_on_backup(&self) -> bool {
        self.on_backup
    }

    pub(super) fn turn_to_backup(&mut self) {
        self.on_backup = true;
        self.words.clear();
    }
}
