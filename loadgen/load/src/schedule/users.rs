//! Users of a closed model: when each comes and goes.

use std::time::Duration;

use crate::scenario::Closed;

/// A part of a run during which a user is there, counted from the start of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    /// When it comes.
    pub from: Duration,
    /// When it goes: it sends nothing from then on. `None`: it stays to the end.
    pub until: Option<Duration>,
}

/// When users come and go. A pure function of the scenario, so that any number of threads or
/// machines can each look up the users that fall to them.
#[derive(Debug, Clone)]
pub struct UserPlan {
    closed: Closed,
    warmup: Duration,
}

impl UserPlan {
    /// The users of a closed model, warm-up included.
    pub fn new(closed: &Closed, warmup: Duration) -> Self {
        Self {
            closed: closed.clone(),
            warmup,
        }
    }

    /// When a user, counted from 0, is there; in order, never overlapping, possibly never.
    ///
    /// Without stages user k comes after `k / spawn_rate`: the first at once. In a stage that rises
    /// the first of the additional users comes at its start, in one that falls the last one goes at
    /// its end: the number of users is the line from one number to the other, rounded up.
    pub fn stays(&self, user: u32) -> Vec<Stay> {
        if user >= self.closed.users {
            return Vec::new();
        }
        let Some(first) = self.closed.stages.first() else {
            return vec![Stay {
                from: self.spawned(user),
                until: None,
            }];
        };
        let mut presence = Presence::default();
        let mut at = Duration::ZERO;
        if !self.warmup.is_zero() {
            presence.set(user < first.from, at);
            at += self.warmup;
        }
        for stage in &self.closed.stages {
            presence.set(user < stage.from, at);
            let share =
                |part: u32, whole: u32| stage.duration.mul_f64(f64::from(part) / f64::from(whole));
            if (stage.from..stage.to).contains(&user) {
                let after = share(user - stage.from, stage.to - stage.from);
                presence.set(true, at + after);
            } else if (stage.to..stage.from).contains(&user) {
                let after = share(stage.from - user, stage.from - stage.to);
                presence.set(false, at + after);
            }
            at += stage.duration;
        }
        presence.stays(at)
    }

    fn spawned(&self, user: u32) -> Duration {
        self.closed.spawn_rate.map_or(Duration::ZERO, |rate| {
            Duration::try_from_secs_f64(f64::from(user) / rate.get()).unwrap_or(Duration::MAX)
        })
    }

    /// Users that are there at an offset from the start of the load.
    pub fn users_at(&self, offset: Duration) -> u32 {
        let there =
            |stay: &Stay| stay.from <= offset && stay.until.is_none_or(|until| offset < until);
        let users = (0..self.closed.users).filter(|user| self.stays(*user).iter().any(there));
        u32::try_from(users.count()).unwrap_or(u32::MAX)
    }
}

/// A user's coming and going, as it is put together.
#[derive(Debug, Default)]
struct Presence {
    here_since: Option<Duration>,
    stays: Vec<Stay>,
}

impl Presence {
    fn set(&mut self, here: bool, at: Duration) {
        match (here, self.here_since) {
            (true, None) => self.here_since = Some(at),
            (false, Some(from)) => {
                self.here_since = None;
                if from < at {
                    self.stays.push(Stay {
                        from,
                        until: Some(at),
                    });
                }
            }
            _ => {}
        }
    }

    fn stays(mut self, end: Duration) -> Vec<Stay> {
        // Whoever would come only when it is over does not come.
        if let Some(from) = self.here_since.filter(|from| *from < end) {
            self.stays.push(Stay { from, until: None });
        }
        self.stays
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        scenario::{ThinkTime, UserStage},
        units::Rate,
    };

    const S: Duration = Duration::from_secs(1);

    fn stage(seconds: u32, from: u32, to: u32) -> UserStage {
        UserStage {
            duration: S * seconds,
            from,
            to,
        }
    }

    fn staged(stages: Vec<UserStage>, warmup: Duration) -> UserPlan {
        let most = stages.iter().flat_map(|s| [s.from, s.to]).max().unwrap();
        let closed = Closed {
            stages,
            ..Closed::steady(most, ThinkTime::None)
        };
        UserPlan::new(&closed, warmup)
    }

    fn steady(users: u32, spawn_rate: Option<f64>) -> UserPlan {
        let closed = Closed {
            spawn_rate: spawn_rate.map(|rate| Rate::per_second(rate).unwrap()),
            ..Closed::steady(users, ThinkTime::None)
        };
        UserPlan::new(&closed, S)
    }

    #[test]
    fn documented_users_start_ten_a_second() {
        let plan = steady(100, Some(10.0));
        let start = |user| plan.stays(user)[0].from;
        assert_eq!(start(0), Duration::ZERO);
        assert_eq!(start(10), S);
        assert_eq!(start(99), Duration::from_millis(9900));
        assert_eq!(plan.stays(99)[0].until, None);
        assert!(plan.stays(100).is_empty());
        assert_eq!(plan.users_at(S * 5), 51);
        assert_eq!(plan.users_at(S * 11), 100);
    }

    #[test]
    fn without_a_rate_all_start_at_once() {
        assert_eq!(steady(3, None).users_at(Duration::ZERO), 3);
    }

    #[test]
    fn a_spike_comes_at_once_and_goes_at_once() {
        let plan = staged(
            vec![stage(120, 10, 10), stage(60, 300, 300), stage(120, 10, 10)],
            S * 10,
        );
        assert_eq!(
            plan.stays(9),
            [Stay {
                from: Duration::ZERO,
                until: None
            }]
        );
        assert_eq!(
            plan.stays(10),
            [Stay {
                from: S * 130,
                until: Some(S * 190)
            }]
        );
        for (second, users) in [
            (0, 10),
            (129, 10),
            (130, 300),
            (189, 300),
            (190, 10),
            (309, 10),
        ] {
            assert_eq!(plan.users_at(S * second), users, "{second}");
        }
    }

    #[test]
    fn ramps_change_one_by_one() {
        let plan = staged(
            vec![stage(10, 0, 10), stage(5, 10, 10), stage(10, 10, 0)],
            Duration::ZERO,
        );
        for user in 0..10 {
            let stays = plan.stays(user);
            assert_eq!(
                stays,
                [Stay {
                    from: S * user,
                    until: Some(S * (25 - user))
                }]
            );
        }
        assert_eq!(plan.users_at(Duration::from_millis(3500)), 4);
        assert_eq!(plan.users_at(S * 25), 0);
    }

    #[test]
    fn users_can_come_back() {
        let plan = staged(
            vec![stage(1, 5, 5), stage(1, 1, 1), stage(1, 5, 5)],
            Duration::ZERO,
        );
        assert_eq!(
            plan.stays(3),
            [
                Stay {
                    from: Duration::ZERO,
                    until: Some(S)
                },
                Stay {
                    from: S * 2,
                    until: None
                },
            ]
        );
    }

    fn stages() -> impl Strategy<Value = Vec<UserStage>> {
        let stage = (1_u32..60, 0_u32..40, 0_u32..40).prop_map(|(s, from, to)| stage(s, from, to));
        prop::collection::vec(stage, 1..6).prop_filter("somebody", |stages| {
            stages.iter().any(|s| s.from + s.to > 0)
        })
    }

    proptest! {
        #[test]
        fn the_number_of_users_follows_the_line(stages in stages(), share in 0.0_f64..1.0) {
            let plan = staged(stages.clone(), S * 7);
            let mut begin = S * 7;
            for stage in &stages {
                let offset = stage.duration.mul_f64(share);
                let line = f64::from(stage.from)
                    + (f64::from(stage.to) - f64::from(stage.from)) * share;
                let users = f64::from(plan.users_at(begin + offset));
                // Rounded up: at least the line, less than one above it, or exactly one at an edge.
                prop_assert!(users >= line - 1e-6 && users <= line + 1.0 + 1e-6, "{users} {line}");
                begin += stage.duration;
            }
        }

        #[test]
        fn stays_are_in_order_and_within_the_run(stages in stages()) {
            let end: Duration = stages.iter().map(|stage| stage.duration).sum();
            let plan = staged(stages, Duration::ZERO);
            for user in 0..40 {
                let stays = plan.stays(user);
                for stay in &stays {
                    prop_assert!(stay.from < stay.until.unwrap_or(end));
                    prop_assert!(stay.until.unwrap_or(end) <= end);
                }
                for pair in stays.windows(2) {
                    prop_assert!(pair[0].until.unwrap() <= pair[1].from);
                }
            }
        }
    }
}
