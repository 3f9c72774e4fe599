//! The exact leaky bucket that nginx and `weir` share, to compare admissions with.

use std::time::Duration;

/// A rate limit with `nodelay`, of one key, in nginx's arithmetic: thousandths of a request, whole
/// milliseconds (`ngx_http_limit_req_module`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Thousandths of a request per second.
    rate: u64,
    /// Thousandths of a request.
    burst: u64,
    state: Option<(u64, u64)>,
}

impl Bucket {
    /// An empty bucket of `rate` requests per second and `burst`.
    #[must_use]
    pub fn new(rate: f64, burst: u32) -> Self {
        Self {
            rate: (rate * 1000.0).round() as u64,
            burst: u64::from(burst) * 1000,
            state: None,
        }
    }

    /// Whether a request at this time, which must not go back, is admitted.
    pub fn admits(&mut self, at: Duration) -> bool {
        let now = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let excess = match self.state {
            None => 0,
            Some((excess, last)) => {
                let leaked = self.rate * now.saturating_sub(last) / 1000;
                (excess + 1000).saturating_sub(leaked)
            }
        };
        if excess > self.burst {
            return false;
        }
        self.state = Some((excess, now));
        true
    }

    /// How many requests at these times are admitted.
    #[must_use]
    pub fn admitted(mut self, times: &[Duration]) -> u64 {
        times.iter().filter(|at| self.admits(**at)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_volley_passes_one_and_the_burst() {
        for size in [21, 22, 40, 100] {
            let volley = vec![at(0); size];
            assert_eq!(Bucket::new(10.0, 20).admitted(&volley), 21);
        }
        assert_eq!(Bucket::new(10.0, 0).admitted(&[at(0), at(50), at(100)]), 2);
    }

    #[test]
    fn the_documented_profile_is_mostly_rejected() {
        // 80 requests a second for five minutes from one address, against 10 r/s and a burst of 20.
        let times: Vec<_> = (0..24_000)
            .map(|i| Duration::from_micros(i * 12_500))
            .collect();
        let admitted = Bucket::new(10.0, 20).admitted(&times);
        assert!((3019..=3022).contains(&admitted), "{admitted}");
    }

    proptest! {
        #[test]
        fn over_time_no_more_than_burst_and_rate_pass(
            gaps in prop::collection::vec(0_u64..200, 1..200), rate in 1_u32..100, burst in 0_u32..30
        ) {
            let mut now = 0;
            let times: Vec<_> = gaps.iter().map(|gap| { now += gap; at(now) }).collect();
            let span = (now - gaps[0]) as f64 / 1000.0;
            let admitted = Bucket::new(f64::from(rate), burst).admitted(&times);
            prop_assert!(admitted as f64 <= 1.0 + f64::from(burst) + f64::from(rate) * span + 1e-6);
            prop_assert!(admitted >= 1);
            let more = Bucket::new(f64::from(rate), burst + 1).admitted(&times);
            prop_assert!(more >= admitted);
        }
    }
}
