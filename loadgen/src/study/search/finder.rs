//! Where to look next: exponential steps up, halving of the gap, confirmation at the answer.
//!
//! A pure state machine: it is told how a probe went and says which one comes next; it knows no
//! clock and sends nothing. The procedure is that of Nighthawk's adaptive load controller, made
//! robust against noise:
//!
//! - a probe that is *invalid* (the generator was late, the machine starved) says nothing about the
//!   target: it is repeated, and never counts as held or missed. A level that stays invalid bounds
//!   the answer as a limit of the instrument;
//! - one miss may be noise: a level is missed when two probes miss, before as many as two hold;
//! - the answer was picked because a probe held there, which favours luck: it must hold again in
//!   fresh probes, all of `confirm`, or with one miss one more than that.

/// What is searched, and how finely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Lowest level.
    pub min: f64,
    /// Highest level.
    pub max: f64,
    /// First level.
    pub start: f64,
    /// The gap between the answer and the lowest level known to miss, relative to the answer.
    pub precision: f64,
    /// Fresh probes that must hold at the answer.
    pub confirm: u32,
    /// Invalid probes of one level before it counts as a limit of the instrument.
    pub patience: u32,
    /// Whether levels are whole numbers (users).
    pub whole: bool,
}

/// How a probe went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Every objective was met.
    Holds,
    /// An objective was missed.
    Misses,
    /// The measurement says nothing about the target.
    Invalid,
}

/// Why a probe is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Doubling until something misses.
    Climb,
    /// Going down until something holds.
    Descend,
    /// Halving the gap between what holds and what misses.
    Narrow,
    /// Making sure of the answer.
    Confirm,
}

impl Purpose {
    /// The word in tables.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Climb => "climb",
            Self::Descend => "descend",
            Self::Narrow => "narrow",
            Self::Confirm => "confirm",
        }
    }
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// A probe at this level.
    Probe {
        /// The level.
        level: f64,
        /// What for.
        purpose: Purpose,
    },
    /// Nothing: this is the answer.
    Done(Found),
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Highest level that holds; none when not even the lowest does.
    pub level: Option<f64>,
    /// Whether fresh probes confirmed it.
    pub confirmed: bool,
    /// Lowest level known not to hold, or not measurable.
    pub ceiling: Option<f64>,
    /// What is in the way of more.
    pub limit: Limit,
}

/// What is in the way of more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The objectives.
    Objective,
    /// The instrument: higher levels could not be measured validly on this machine.
    Instrument,
    /// The highest level allowed holds.
    Maximum,
    /// The time or the number of probes ran out.
    Budget,
}

/// The search so far.
#[derive(Debug, Clone)]
pub struct Finder {
    bounds: Bounds,
    /// Levels that held, rising, all below the ceiling.
    held: Vec<f64>,
    ceiling: Option<(f64, Limit)>,
    level: f64,
    purpose: Purpose,
    tally: Tally,
    done: Option<Found>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    holds: u32,
    misses: u32,
    invalid: u32,
}

impl Finder {
    /// A search that has not begun; bounds are put in order.
    #[must_use]
    pub fn new(mut bounds: Bounds) -> Self {
        bounds.max = bounds.max.max(bounds.min);
        bounds.start = bounds.start.clamp(bounds.min, bounds.max);
        bounds.confirm = bounds.confirm.max(1);
        Self {
            level: bounds.start,
            bounds,
            held: Vec::new(),
            ceiling: None,
            purpose: Purpose::Climb,
            tally: Tally::default(),
            done: None,
        }
    }

    /// What comes next.
    #[must_use]
    pub fn next(&self) -> Step {
        match self.done {
            Some(found) => Step::Done(found),
            None => Step::Probe {
                level: self.level,
                purpose: self.purpose,
            },
        }
    }

    /// Takes in how the probe went that [`Self::next`] asked for.
    pub fn tell(&mut self, reading: Reading) {
        if self.done.is_some() {
            return;
        }
        match reading {
            Reading::Holds => self.tally.holds += 1,
            Reading::Misses => self.tally.misses += 1,
            Reading::Invalid => self.tally.invalid += 1,
        }
        let Tally {
            holds,
            misses,
            invalid,
        } = self.tally;
        let wanted = match self.purpose {
            Purpose::Confirm => self.bounds.confirm,
            _ => 1,
        };
        if misses >= 2 {
            self.bounded(Limit::Objective);
        } else if holds >= wanted + misses {
            self.holds();
        } else if invalid > self.bounds.patience {
            self.bounded(Limit::Instrument);
        }
    }

    /// Ends the search where it stands.
    pub fn give_up(&mut self) {
        if self.done.is_none() {
            self.done = Some(Found {
                level: self.held.last().copied(),
                confirmed: false,
                ceiling: self.ceiling.map(|(level, _)| level),
                limit: Limit::Budget,
            });
        }
    }

    /// The current level holds.
    fn holds(&mut self) {
        if self.purpose == Purpose::Confirm {
            self.done = Some(Found {
                level: Some(self.level),
                confirmed: true,
                ceiling: self.ceiling.map(|(level, _)| level),
                limit: self.ceiling.map_or(Limit::Maximum, |(_, limit)| limit),
            });
            return;
        }
        self.held.push(self.level);
        self.held.sort_by(f64::total_cmp);
        self.advance();
    }

    /// The current level is too much.
    fn bounded(&mut self, limit: Limit) {
        self.ceiling = Some((self.level, limit));
        self.held.retain(|held| *held < self.level);
        if self.level <= self.bounds.min {
            self.done = Some(Found {
                level: None,
                confirmed: true,
                ceiling: Some(self.level),
                limit,
            });
            return;
        }
        self.advance();
    }

    fn advance(&mut self) {
        let bounds = self.bounds;
        let (level, purpose) = match (self.held.last().copied(), self.ceiling) {
            (Some(held), None) if held >= bounds.max => (held, Purpose::Confirm),
            (Some(held), None) => (self.rounded(held * 2.0).min(bounds.max), Purpose::Climb),
            (None, Some((ceiling, _))) => {
                let half = self.rounded(ceiling / 2.0).max(bounds.min);
                (half.min(ceiling), Purpose::Descend)
            }
            (Some(held), Some((ceiling, _))) => {
                let middle = self.rounded((held * ceiling).sqrt());
                let close = (ceiling - held) <= bounds.precision * held;
                if close || middle <= held || middle >= ceiling {
                    (held, Purpose::Confirm)
                } else {
                    (middle, Purpose::Narrow)
                }
            }
            (None, None) => (bounds.start, Purpose::Climb),
        };
        self.level = level;
        self.purpose = purpose;
        self.tally = Tally::default();
    }

    /// A level as people would write it: a whole number, or three significant digits.
    fn rounded(&self, level: f64) -> f64 {
        if self.bounds.whole {
            return level.round().max(1.0);
        }
        if level <= 0.0 || !level.is_finite() {
            return level;
        }
        let unit = 10_f64.powf(level.log10().floor() - 2.0);
        (level / unit).round() * unit
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        min: 1.0,
        max: 100_000.0,
        start: 10.0,
        precision: 0.05,
        confirm: 3,
        patience: 2,
        whole: false,
    };

    /// Runs a search against something that answers; returns the answer and every probe.
    fn search(
        bounds: Bounds,
        mut answer: impl FnMut(f64, Purpose) -> Reading,
    ) -> (Found, Vec<(f64, Purpose)>) {
        let mut finder = Finder::new(bounds);
        let mut probes = Vec::new();
        loop {
            match finder.next() {
                Step::Done(found) => return (found, probes),
                Step::Probe { level, purpose } => {
                    probes.push((level, purpose));
                    assert!(probes.len() < 10_000, "does not end: {probes:?}");
                    finder.tell(answer(level, purpose));
                }
            }
        }
    }

    fn below(limit: f64) -> impl FnMut(f64, Purpose) -> Reading {
        move |level, _| {
            if level <= limit {
                Reading::Holds
            } else {
                Reading::Misses
            }
        }
    }

    #[test]
    fn the_edge_is_found_and_confirmed_three_times() {
        let (found, probes) = search(BOUNDS, below(777.0));
        let level = found.level.unwrap();
        assert!(level <= 777.0 && level > 777.0 / 1.06, "{level}");
        assert!(found.confirmed);
        assert_eq!(found.limit, Limit::Objective);
        assert!(found.ceiling.unwrap() > 777.0);
        let confirmations = probes
            .iter()
            .filter(|(at, purpose)| *purpose == Purpose::Confirm && *at == level);
        assert_eq!(confirmations.count(), 3);
    }

    #[test]
    fn a_level_that_only_held_by_luck_is_not_the_answer() {
        // 900 holds once, while narrowing, and never again.
        let (found, _) = search(BOUNDS, |level, purpose| match purpose {
            Purpose::Confirm if level > 500.0 => Reading::Misses,
            _ if level <= 900.0 => Reading::Holds,
            _ => Reading::Misses,
        });
        assert!(found.level.unwrap() <= 500.0, "{found:?}");
        assert!(found.confirmed);
    }

    #[test]
    fn an_invalid_probe_is_repeated_and_counts_for_nothing() {
        let mut seen = Vec::new();
        let (found, _) = search(BOUNDS, |level, purpose| {
            // Every level is invalid the first time.
            if !seen.contains(&(level, purpose)) {
                seen.push((level, purpose));
                return Reading::Invalid;
            }
            below(777.0)(level, purpose)
        });
        let level = found.level.unwrap();
        assert!(level <= 777.0 && level > 777.0 / 1.06, "{level}");
        assert_eq!(found.limit, Limit::Objective);
    }

    #[test]
    fn levels_that_stay_invalid_are_a_limit_of_the_instrument() {
        let (found, _) = search(BOUNDS, |level, _| {
            if level > 300.0 {
                Reading::Invalid
            } else {
                Reading::Holds
            }
        });
        assert_eq!(found.limit, Limit::Instrument);
        assert!(found.level.unwrap() <= 300.0 && found.confirmed);
    }

    #[test]
    fn one_miss_among_many_holds_is_noise() {
        let mut missed = Vec::new();
        let (found, _) = search(BOUNDS, |level, purpose| {
            // Each level misses once although it would hold.
            if level <= 777.0 && !missed.contains(&(level, purpose)) {
                missed.push((level, purpose));
                return Reading::Misses;
            }
            below(777.0)(level, purpose)
        });
        let level = found.level.unwrap();
        assert!(level <= 777.0 && level > 777.0 / 1.06, "{level}");
    }

    #[test]
    fn nothing_holds_and_everything_holds() {
        let (found, probes) = search(BOUNDS, |_, _| Reading::Misses);
        assert_eq!((found.level, found.limit), (None, Limit::Objective));
        // The lowest level itself was tried, twice.
        assert_eq!(probes.iter().filter(|(level, _)| *level == 1.0).count(), 2);
        let (found, _) = search(BOUNDS, |_, _| Reading::Holds);
        assert_eq!(found.level, Some(100_000.0));
        assert_eq!((found.limit, found.ceiling), (Limit::Maximum, None));
        let (found, _) = search(BOUNDS, |_, _| Reading::Invalid);
        assert_eq!((found.level, found.limit), (None, Limit::Instrument));
    }

    #[test]
    fn giving_up_leaves_an_answer_that_is_not_confirmed() {
        let mut finder = Finder::new(BOUNDS);
        finder.tell(Reading::Holds);
        finder.give_up();
        let Step::Done(found) = finder.next() else {
            unreachable!()
        };
        assert_eq!(found.level, Some(10.0));
        assert!(!found.confirmed && found.limit == Limit::Budget);
    }

    proptest! {
        #[test]
        fn without_noise_the_answer_is_as_close_as_asked(
            edge in 1.0_f64..90_000.0, start in 1.0_f64..100_000.0, precision in 0.01_f64..0.3,
        ) {
            let bounds = Bounds { start, precision, ..BOUNDS };
            let (found, probes) = search(bounds, below(edge));
            let level = found.level.unwrap();
            prop_assert!(level <= edge);
            let ceiling = found.ceiling.unwrap_or(BOUNDS.max);
            prop_assert!(ceiling >= edge || found.limit == Limit::Maximum);
            // Three digits cannot come closer than half a unit of the third.
            prop_assert!(ceiling - level <= level * (precision + 0.011), "{level} {ceiling}");
            prop_assert!(probes.len() < 120);
        }

        #[test]
        fn users_are_found_exactly(edge in 1_u32..2_000) {
            let bounds = Bounds { whole: true, precision: 0.0, max: 5_000.0, ..BOUNDS };
            let (found, _) = search(bounds, below(f64::from(edge)));
            prop_assert_eq!(found.level, Some(f64::from(edge)));
        }

        #[test]
        fn whatever_is_answered_the_search_ends_within_its_bounds(
            answers in prop::collection::vec(0_u8..3, 1..40), whole: bool,
        ) {
            let mut turn = 0;
            let bounds = Bounds { whole, ..BOUNDS };
            let (found, probes) = search(bounds, |_, _| {
                turn += 1;
                match answers[turn % answers.len()] {
                    0 => Reading::Holds,
                    1 => Reading::Misses,
                    _ => Reading::Invalid,
                }
            });
            prop_assert!(probes.iter().all(|(at, _)| (BOUNDS.min..=BOUNDS.max).contains(at)));
            if let (Some(level), Some(ceiling)) = (found.level, found.ceiling) {
                prop_assert!(level < ceiling);
            }
        }
    }
}
