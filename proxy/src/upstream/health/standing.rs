//! What checks make of a server.

/// How many checks in a row change a server's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Passed, to bring it back.
    pub rise: u32,
    /// Failed, to take it out.
    pub fall: u32,
}

/// The standing of a server after the checks so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// No check has ended yet. It takes requests, on trust; the first check decides alone (as HAProxy's
    /// `init-state up`).
    #[default]
    New,
    /// Takes requests.
    Up {
        /// Checks failed in a row.
        failed: u32,
    },
    /// Takes none.
    Out {
        /// Checks passed in a row.
        passed: u32,
    },
}

impl Standing {
    /// The standing after one more check.
    #[must_use]
    pub fn after(self, passed: bool, thresholds: Thresholds) -> Self {
        match (self, passed) {
            (Self::New | Self::Up { .. }, true) => Self::Up { failed: 0 },
            (Self::New, false) | (Self::Out { .. }, false) => Self::Out { passed: 0 },
            (Self::Up { failed }, false) if failed + 1 >= thresholds.fall => {
                Self::Out { passed: 0 }
            }
            (Self::Up { failed }, false) => Self::Up { failed: failed + 1 },
            (Self::Out { passed }, true) if passed + 1 >= thresholds.rise => Self::Up { failed: 0 },
            (Self::Out { passed }, true) => Self::Out { passed: passed + 1 },
        }
    }

    /// Whether the server takes no requests.
    #[must_use]
    pub fn is_out(self) -> bool {
        matches!(self, Self::Out { .. })
    }

    /// As the admin API tells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Up { .. } => "up",
            Self::Out { .. } => "out",
        }
    }

    /// Checks in a row that speak against the present standing.
    #[must_use]
    pub fn against(self) -> u32 {
        match self {
            Self::New => 0,
            Self::Up { failed: n } | Self::Out { passed: n } => n,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn after(results: &[bool], thresholds: Thresholds) -> Standing {
        results
            .iter()
            .fold(Standing::New, |it, passed| it.after(*passed, thresholds))
    }

    #[test]
    fn a_server_goes_after_fall_failures_and_returns_after_rise_passes() {
        let thresholds = Thresholds { rise: 2, fall: 3 };
        let (pass, fail) = (true, false);
        for (results, out) in [
            (&[][..], false),
            (&[fail], true),
            (&[fail, pass], true),
            (&[fail, pass, pass], false),
            (&[pass, fail, fail], false),
            (&[pass, fail, fail, pass, fail, fail], false),
            (&[pass, fail, fail, fail], true),
            (&[pass, fail, fail, fail, pass, fail, pass], true),
            (&[pass, fail, fail, fail, pass, fail, pass, pass], false),
            (&[fail, pass, pass, fail], false),
        ] {
            assert_eq!(after(results, thresholds).is_out(), out, "{results:?}");
        }
    }

    #[test]
    fn a_lowered_threshold_holds_from_the_next_check_on() {
        let high = Thresholds { rise: 9, fall: 9 };
        let low = Thresholds { rise: 1, fall: 2 };
        let failing = after(&[true, false, false, false, false], high);
        assert_eq!(failing, Standing::Up { failed: 4 });
        assert_eq!(failing.after(false, low), Standing::Out { passed: 0 });
        assert_eq!(failing.after(true, low), Standing::Up { failed: 0 });
    }

    proptest! {
        /// Told from the whole history at once: the standing is that of the last run of equal results that was
        /// long enough, or of the first check.
        #[test]
        fn the_standing_is_that_of_the_last_long_run(
            results in vec(prop::bool::weighted(0.6), 1..60), rise in 1..5_u32, fall in 1..5_u32
        ) {
            let mut standing = Standing::New;
            for length in 1..=results.len() {
                let results = &results[..length];
                standing = standing.after(results[length - 1], Thresholds { rise, fall });
                let run_ending_at = |end: usize| {
                    let same = results[..=end].iter().rev().take_while(|it| **it == results[end]);
                    same.count() as u32
                };
                let decided = (0..length).rev().find_map(|end| {
                    let needed = if results[end] { rise } else { fall };
                    (run_ending_at(end) >= needed).then_some(results[end])
                });
                // Before the first long run, and until one says otherwise, the first check counts.
                let up = decided.unwrap_or(results[0]);
                prop_assert_eq!(standing.is_out(), !up, "{:?}", results);
            }
        }
    }
}
