//! What placeholders may refer to: columns of feeds and variables of users.

use super::feed::Feed;

/// Feeds and variables of a scenario, by number.
#[derive(Debug, Clone, Default)]
pub(in crate::scenario) struct Names {
    feeds: Vec<(String, Vec<String>)>,
    variables: Vec<String>,
}

/// Where a name leads, or what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Column of a feed.
    Column { feed: usize, column: usize },
    /// Variable.
    Variable(usize),
    /// There is none of this name; the text says which there are.
    Unknown(String),
}

impl Names {
    /// The names of these feeds and variables, numbered in their order.
    pub(in crate::scenario) fn new(feeds: &[Feed], variables: &[String]) -> Self {
        Self {
            feeds: feeds
                .iter()
                .map(|feed| (feed.name.clone(), feed.data.columns().to_vec()))
                .collect(),
            variables: variables.to_vec(),
        }
    }

    /// The same feeds, without variables.
    pub(in crate::scenario) fn feeds_only(&self) -> Self {
        Self {
            feeds: self.feeds.clone(),
            variables: Vec::new(),
        }
    }

    /// Number of a variable.
    pub(in crate::scenario) fn variable(&self, name: &str) -> Option<usize> {
        self.variables.iter().position(|known| known == name)
    }

    /// What `owner.member` means.
    pub(super) fn find(&self, owner: &str, member: &str) -> Found {
        if owner == "var" {
            return self.variable(member).map_or_else(
                || {
                    Found::Unknown(format!(
                        "no variable `{member}`; there {}: give it a value in `[variables]`, or `extract` it",
                        listed(&self.variables)
                    ))
                },
                Found::Variable,
            );
        }
        let Some(feed) = self.feeds.iter().position(|(name, _)| name == owner) else {
            let names: Vec<_> = self.feeds.iter().map(|(name, _)| name.clone()).collect();
            return Found::Unknown(format!("no feed `{owner}`; there {}", listed(&names)));
        };
        let columns = self.feeds.get(feed).map_or(&[][..], |(_, columns)| columns);
        match columns.iter().position(|known| known == member) {
            Some(column) => Found::Column { feed, column },
            None => Found::Unknown(format!(
                "feed `{owner}` has no column `{member}`; there {}",
                listed(columns)
            )),
        }
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "is none".into(),
        [one] => format!("is `{one}`"),
        many => format!("are `{}`", many.join("`, `")),
    }
}
