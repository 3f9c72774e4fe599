//! Faults on demand: `/__fault?error_rate=0.1&status=500&latency=50ms&for=10s`.

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use weir_load::units::parse_duration;

/// What is wrong with the stand-in, on purpose, and until when.
#[derive(Debug)]
pub(super) struct Faults {
    current: Option<Fault>,
    random: SmallRng,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Fault {
    error_rate: f64,
    status: u16,
    close_rate: f64,
    latency: Duration,
    stop_accepting: bool,
    until: Option<Instant>,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is served after this extra wait.
    Served(Duration),
    /// It is answered with this status after this extra wait.
    Refused(u16, Duration),
    /// Its connection is closed without an answer.
    Closed,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            current: None,
            random: SmallRng::seed_from_u64(seed),
        }
    }

    fn active(&mut self, now: Instant) -> Option<&Fault> {
        let over = |fault: &Fault| fault.until.is_some_and(|until| now >= until);
        if self.current.as_ref().is_some_and(over) {
            self.current = None;
        }
        self.current.as_ref()
    }

    /// What happens to the next request.
    pub(super) fn fate(&mut self, now: Instant) -> Fate {
        let Some(fault) = self.active(now).cloned() else {
            return Fate::Served(Duration::ZERO);
        };
        if fault.close_rate > 0.0 && self.random.random_bool(fault.close_rate) {
            Fate::Closed
        } else if fault.error_rate > 0.0 && self.random.random_bool(fault.error_rate) {
            Fate::Refused(fault.status, fault.latency)
        } else {
            Fate::Served(fault.latency)
        }
    }

    /// Whether new connections are accepted.
    pub(super) fn accepts(&mut self, now: Instant) -> bool {
        self.active(now).is_none_or(|fault| !fault.stop_accepting)
    }

    /// Replaces all faults by those of a query string; an empty one clears them.
    pub(super) fn set(&mut self, query: &str, now: Instant) -> Result<(), String> {
        let mut fault = Fault {
            status: 500,
            ..Fault::default()
        };
        let mut any = false;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "1"));
            let duration = || parse_duration(value).map_err(|error| error.to_string());
            match name {
                "error_rate" => fault.error_rate = share(name, value)?,
                "close_rate" => fault.close_rate = share(name, value)?,
                "status" => {
                    fault.status = value
                        .parse()
                        .ok()
                        .filter(|status| (200..600).contains(status))
                        .ok_or("status: 200 to 599")?;
                }
                "latency" => fault.latency = duration()?,
                "stop_accepting" => fault.stop_accepting = value != "0",
                "for" => fault.until = Some(now + duration()?),
                "clear" => {
                    self.current = None;
                    return Ok(());
                }
                _ => {
                    return Err(format!(
                        "unknown fault `{name}`; there are error_rate, status, close_rate, latency, stop_accepting, for and clear"
                    ));
                }
            }
            any = true;
        }
        self.current = any.then_some(fault);
        Ok(())
    }
}

fn share(name: &str, value: &str) -> Result<f64, String> {
    value
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| format!("{name}: a number between 0 and 1"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_and_go() {
        let now = Instant::now();
        let mut faults = Faults::new(1);
        assert_eq!(faults.fate(now), Fate::Served(Duration::ZERO));
        faults
            .set("error_rate=1&status=502&latency=5ms&for=1s", now)
            .unwrap();
        let wait = Duration::from_millis(5);
        assert_eq!(faults.fate(now), Fate::Refused(502, wait));
        let later = now + Duration::from_secs(1);
        assert_eq!(faults.fate(later), Fate::Served(Duration::ZERO));
        faults.set("stop_accepting", now).unwrap();
        assert!(!faults.accepts(now));
        faults.set("clear", now).unwrap();
        assert!(faults.accepts(now));
        faults.set("close_rate=1", now).unwrap();
        assert_eq!(faults.fate(now), Fate::Closed);
    }

    #[test]
    fn mistakes_are_named_and_change_nothing() {
        let now = Instant::now();
        let mut faults = Faults::new(1);
        faults.set("latency=5ms", now).unwrap();
        for bad in ["error_rate=2", "status=7", "latency=5", "nope=1", "for=x"] {
            assert!(faults.set(bad, now).is_err(), "{bad}");
        }
        assert_eq!(faults.fate(now), Fate::Served(Duration::from_millis(5)));
    }
}
