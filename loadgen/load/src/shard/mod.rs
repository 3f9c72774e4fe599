//! One run on several machines: which part of the schedule is whose, and when all begin.
//!
//! Nothing is negotiated at run time. Every machine is given the same scenario, its own number and
//! the same start time; it walks through the whole schedule and does only what is its own. The
//! union of all shards is the unsplit run, user by user and arrival by arrival. `weir-bench merge`
//! joins what they recorded.

mod record;
mod start;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::{
    record::{MergeRecord, MergedShard, ShardRecord},
    start::{StartAt, StartError},
};

/// Environment variable that numbers the pods of an indexed Kubernetes Job, from 0.
pub const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// Between the label of a run and the number of a part of it.
const LABEL: &str = "-shard-";

/// Most shards of a run.
const MOST: u32 = 10_000;

/// One of several equal parts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which part, from 0.
    index: u32,
    /// How many parts there are; at least 1.
    of: u32,
}

/// A shard that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// Not a number and a total.
    #[error("`{0}` is not a shard: write its number and how many there are, such as 2/8 or auto/8")]
    Malformed(String),
    /// The number is beyond the total.
    #[error("shard {number} of {of} does not exist: shards are numbered 1 to {of}")]
    Beyond {
        /// As given, from 1.
        number: u32,
        /// How many there are.
        of: u32,
    },
    /// More parts than make sense.
    #[error("a run has 1 to {MOST} shards, not {0}")]
    Total(u32),
    /// `auto` without the variable that it reads.
    #[error(
        "`auto` takes the shard's number from {INDEX_VARIABLE}, which is {found}; it is set in the pods of an indexed Kubernetes Job (0 for the first)"
    )]
    NoIndex {
        /// What the variable holds.
        found: String,
    },
}

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl Shard {
    /// A run that is not split.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Shard `number` (from 1) of `of`.
    ///
    /// # Errors
    ///
    /// When there is no such shard.
    pub fn new(number: u32, of: u32) -> Result<Self, ShardError> {
        if !(1..=MOST).contains(&of) {
            return Err(ShardError::Total(of));
        }
        match number.checked_sub(1) {
            Some(index) if index < of => Ok(Self { index, of }),
            _ => Err(ShardError::Beyond { number, of }),
        }
    }

    /// Reads `2/8`, or `auto/8` with the value of [`INDEX_VARIABLE`].
    ///
    /// # Errors
    ///
    /// When the text is no shard, or `auto` has no index to read.
    pub fn parse(text: &str, index_variable: Option<&str>) -> Result<Self, ShardError> {
        let malformed = || ShardError::Malformed(text.to_owned());
        let (number, of) = text.split_once('/').ok_or_else(malformed)?;
        let of: u32 = of.trim().parse().map_err(|_| malformed())?;
        if number.trim() != "auto" {
            return Self::new(number.trim().parse().map_err(|_| malformed())?, of);
        }
        let index: u32 = index_variable
            .and_then(|value| value.trim().parse().ok())
            .ok_or_else(|| ShardError::NoIndex {
                found: index_variable.map_or_else(|| "not set".to_owned(), |v| format!("`{v}`")),
            })?;
        Self::new(index.saturating_add(1), of)
    }

    /// Its number, from 1.
    #[must_use]
    pub fn number(self) -> u32 {
        self.index + 1
    }

    /// How many there are.
    #[must_use]
    pub fn of(self) -> u32 {
        self.of
    }

    /// The label of a run, for this part of it.
    #[must_use]
    pub fn label(self, whole: &str) -> String {
        format!("{whole}{LABEL}{}-of-{}", self.number(), self.of)
    }

    /// The label of the whole run, from that of a part.
    #[must_use]
    pub fn whole_label(part: &str) -> &str {
        part.rsplit_once(LABEL).map_or(part, |(whole, _)| whole)
    }

    /// Whether the run is not split.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.of == 1
    }

    /// The share of one of its threads.
    #[must_use]
    pub fn share(self, thread: usize, threads: usize) -> Share {
        let of = u64::from(self.of);
        Share {
            index: u64::from(self.index) + of * thread as u64,
            of: of * threads.max(1) as u64,
        }
    }

    /// How many of `total` things (users, arrivals, requests) fall to it.
    #[must_use]
    pub fn count_of(self, total: u64) -> u64 {
        let of = u64::from(self.of);
        total / of + u64::from(u64::from(self.index) < total % of)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number(), self.of)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        Self::parse(text, std::env::var(INDEX_VARIABLE).ok().as_deref())
    }
}

/// The part of a schedule that one thread of one shard works on: every `of`-th thing.
///
/// Numbers are dealt out in turns, first among shards and then among the threads of each, so that
/// shards may have different numbers of threads and the union is still everything, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    index: u64,
    of: u64,
}

impl Share {
    /// Everything.
    pub const ALL: Self = Self { index: 0, of: 1 };

    /// Whether the thing with this number, from 0, belongs to it.
    #[must_use]
    pub fn takes(self, number: u64) -> bool {
        number % self.of == self.index
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shards_are_numbered_from_one() {
        let shard: Shard = "2/8".parse().unwrap();
        assert_eq!((shard.number(), shard.of()), (2, 8));
        assert_eq!(shard.to_string(), "2/8");
        for bad in ["", "2", "0/8", "9/8", "1/0", "a/8", "2/b", "1/99999"] {
            assert!(Shard::parse(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn auto_reads_the_index_of_an_indexed_job() {
        assert_eq!(Shard::parse("auto/8", Some("0")).unwrap().number(), 1);
        assert_eq!(Shard::parse("auto/8", Some("7")).unwrap().number(), 8);
        assert!(Shard::parse("auto/8", Some("8")).is_err());
        let error = Shard::parse("auto/8", None).unwrap_err().to_string();
        assert!(error.contains("JOB_COMPLETION_INDEX"), "{error}");
    }

    proptest! {
        #[test]
        fn every_number_falls_to_exactly_one_thread_of_one_shard(
            threads in prop::collection::vec(1_usize..5, 1..7),
            number in 0_u64..1_000_000,
        ) {
            // Each shard may have its own number of threads.
            let of = threads.len() as u32;
            let mut takers = 0;
            for (index, threads) in threads.iter().enumerate() {
                let shard = Shard::new(index as u32 + 1, of).unwrap();
                for thread in 0..*threads {
                    takers += u32::from(shard.share(thread, *threads).takes(number));
                }
            }
            prop_assert_eq!(takers, 1);
        }

        #[test]
        fn counts_add_up_and_agree_with_shares(total in 0_u64..5_000, of in 1_u32..12) {
            let mut sum = 0;
            for number in 1..=of {
                let shard = Shard::new(number, of).unwrap();
                let share = shard.share(0, 1);
                let taken = (0..total).filter(|n| share.takes(*n)).count() as u64;
                prop_assert_eq!(shard.count_of(total), taken);
                sum += taken;
            }
            prop_assert_eq!(sum, total);
        }
    }
}
