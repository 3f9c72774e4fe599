//! A user of the plan: its state, and the rows of the feeds that it takes.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::{Plan, lane_seed};
use crate::scenario::{Feed, Order, Per, Place, UserState};

/// A feed during a run.
#[derive(Debug)]
pub(crate) struct FeedRun {
    feed: Feed,
    /// Draws so far, of feeds whose rows are taken in order by whoever asks.
    drawn: AtomicU64,
}

impl FeedRun {
    pub(super) fn new(feed: Feed) -> Self {
        Self {
            feed,
            drawn: AtomicU64::new(0),
        }
    }
}

/// A user of the plan.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) state: UserState,
    /// Number, from 0.
    index: usize,
    /// Its own draws, by feed.
    draws: Vec<u64>,
    random: SmallRng,
    /// Whether its variables have their first values.
    begun: bool,
}

impl User {
    /// The user of a lane.
    pub(crate) fn new(plan: &Plan, lane: u32) -> Self {
        let data: Vec<_> = plan.feeds.iter().map(|run| run.feed.data.clone()).collect();
        Self {
            state: UserState::new(u64::from(lane) + 1, plan.variables.len(), &data),
            index: lane as usize,
            draws: vec![0; plan.feeds.len()],
            random: SmallRng::seed_from_u64(lane_seed(plan.seed, lane).rotate_left(48)),
            begun: false,
        }
    }

    /// Takes the rows that an endpoint, and the steps after it, need; and gives variables their
    /// first values. The name of a feed that is used up, if one is.
    pub(crate) fn prepare<'p>(&mut self, plan: &'p Plan, endpoint: usize) -> Result<(), &'p str> {
        if !self.begun {
            self.begun = true;
            self.take_rows(plan, &plan.initial_feeds)?;
            for (index, variable) in plan.variables.iter().enumerate() {
                if let Some(initial) = &variable.initial {
                    let value = initial.render(Place::Body, &self.state, &mut self.random);
                    self.state.set(index, value);
                }
            }
        }
        match plan.endpoints.get(endpoint) {
            Some(endpoint) if !endpoint.feeds.is_empty() => self.take_rows(plan, &endpoint.feeds),
            _ => Ok(()),
        }
    }

    fn take_rows<'p>(&mut self, plan: &'p Plan, feeds: &[usize]) -> Result<(), &'p str> {
        for &index in feeds {
            let Some(run) = plan.feeds.get(index) else {
                continue;
            };
            let feed = &run.feed;
            if feed.per == Per::User && self.state.has_row(index) {
                continue;
            }
            let row = match feed.order {
                Order::Sequential => {
                    // Shards take turns: together they take each row once.
                    let own = run.drawn.fetch_add(1, Ordering::Relaxed);
                    let (number, of) = (plan.shard.number(), plan.shard.of());
                    feed.row_in_order(own * u64::from(of) + u64::from(number - 1))
                }
                Order::Random => Some(self.random.random_range(0..feed.data.rows())),
                Order::UniquePerUser => {
                    let draw = self.draws.get_mut(index).map_or(0, |draws| {
                        *draws += 1;
                        *draws - 1
                    });
                    feed.own_row(self.index, plan.lanes, draw)
                }
            };
            self.state.take_row(index, row.ok_or(feed.name.as_str())?);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::{scenario::Scenario, target::Target};

    fn plan(feed: &str, rest: &str) -> (tempfile::NamedTempFile, Plan) {
        let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        write!(file, "id\na\nb\nc\nd\n").unwrap();
        let source = format!(
            "name = \"t\"\nduration = \"1s\"\nload = {{ model = \"closed\", users = 2 }}\n{rest}\n\
             [[feeds]]\nname = \"f\"\nfile = {:?}\n{feed}\n\
             [[requests]]\nname = \"r\"\npath = \"/{{{{f.id}}}}\"\n",
            file.path()
        );
        let scenario = Scenario::parse(&source, "t").unwrap();
        let target = Target::new(&["http://127.0.0.1:1"], &[]).unwrap();
        (file, Plan::new(&scenario, &target))
    }

    /// What the users see, draw after draw, in turns, until one finds no row.
    fn seen(plan: &Plan, draws: usize) -> Vec<Option<String>> {
        let mut users = [User::new(plan, 0), User::new(plan, 1)];
        (0..draws)
            .map(|draw| {
                let user = &mut users[draw % 2];
                let taken = user.prepare(plan, 0).is_ok();
                taken.then(|| user.state.column(0, 0).to_owned())
            })
            .collect()
    }

    fn text(seen: &[Option<String>]) -> String {
        seen.iter().map(|s| s.as_deref().unwrap_or("-")).collect()
    }

    #[test]
    fn rows_come_in_the_order_that_was_asked_for() {
        let order = |feed: &str| text(&seen(&plan(feed, "").1, 10));
        assert_eq!(order(""), "abcdabcdab");
        assert_eq!(order("at_end = \"stop\""), "abcd------");
        assert_eq!(order("order = \"unique-per-user\""), "abcdabcdab");
        assert_eq!(order("per = \"user\""), "ababababab");
        assert_eq!(
            order("order = \"unique-per-user\"\nat_end = \"stop\""),
            "abcd------"
        );
        let random = order("order = \"random\"");
        assert_eq!(random, order("order = \"random\""), "seeded");
        assert_ne!(random, "abcdabcdab");
    }

    #[test]
    fn shards_share_the_rows_of_a_feed() {
        let of = |number| {
            let (_file, plan) = plan("at_end = \"stop\"", "");
            text(&seen(
                &plan.for_shard(crate::shard::Shard::new(number, 2).unwrap()),
                3,
            ))
        };
        assert_eq!((of(1).as_str(), of(2).as_str()), ("ac-", "bd-"));
    }

    #[test]
    fn variables_begin_with_a_value_of_the_users_own_row() {
        let (_file, plan) = plan(
            "per = \"user\"",
            "variables = { own = \"<{{f.id}}>\", other = \"{{hex 8}}\" }",
        );
        let mut users = [User::new(&plan, 0), User::new(&plan, 1)];
        for user in &mut users {
            user.prepare(&plan, 0).unwrap();
            user.prepare(&plan, 0).unwrap();
        }
        // Variables are listed by name: `other`, then `own`.
        assert_eq!(users[0].state.variable(1), Some("<a>"));
        assert_eq!(users[1].state.variable(1), Some("<b>"));
        assert_ne!(users[0].state.variable(0), users[1].state.variable(0));
    }
}
