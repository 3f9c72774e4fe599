//! What one user has: its number, its variables, and its rows of the feeds.

use std::sync::Arc;

use super::feed::FeedData;

/// What one user has, and how far it has got.
#[derive(Debug, Clone, Default)]
pub struct UserState {
    number: u64,
    sequence: u64,
    iteration: u64,
    line: usize,
    variables: Vec<Option<String>>,
    feeds: Vec<Current>,
}

/// The row of a feed that a user works with.
#[derive(Debug, Clone)]
struct Current {
    data: Arc<FeedData>,
    row: Option<usize>,
}

impl UserState {
    /// A user with this number, from 1, with room for so many variables.
    pub fn new(number: u64, variables: usize, feeds: &[Arc<FeedData>]) -> Self {
        Self {
            number,
            sequence: 0,
            iteration: 0,
            line: 0,
            variables: vec![None; variables],
            feeds: feeds
                .iter()
                .map(|data| Current {
                    data: data.clone(),
                    row: None,
                })
                .collect(),
        }
    }

    /// Number of the user or slot, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Number of its request, from 1.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Number of its request or flow, from 1; 0 before the first, at the login.
    pub fn iteration(&self) -> u64 {
        self.iteration
    }

    /// Replay: number of the request in the trace, from 0.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Replay: the request in the trace that is sent next, from 0.
    pub fn replay(&mut self, line: usize) {
        self.line = line;
    }

    /// Counts one more request.
    pub fn next_request(&mut self) {
        self.sequence += 1;
    }

    /// Counts one more request or flow.
    pub fn begin_iteration(&mut self) {
        self.iteration += 1;
    }

    /// Value of a variable, once it has one.
    pub fn variable(&self, variable: usize) -> Option<&str> {
        self.variables.get(variable)?.as_deref()
    }

    /// Gives a variable a value.
    pub fn set(&mut self, variable: usize, value: String) {
        if let Some(slot) = self.variables.get_mut(variable) {
            *slot = Some(value);
        }
    }

    /// Whether it has a row of a feed.
    pub fn has_row(&self, feed: usize) -> bool {
        self.feeds.get(feed).is_some_and(|feed| feed.row.is_some())
    }

    /// Takes a row of a feed; its columns are what placeholders see from now on.
    pub fn take_row(&mut self, feed: usize, row: usize) {
        if let Some(feed) = self.feeds.get_mut(feed) {
            feed.row = Some(row);
        }
    }

    /// Value in its row of a feed; empty before it has one.
    pub fn column(&self, feed: usize, column: usize) -> &str {
        self.feeds
            .get(feed)
            .and_then(|feed| feed.data.cell(feed.row?, column))
            .unwrap_or_default()
    }
}
