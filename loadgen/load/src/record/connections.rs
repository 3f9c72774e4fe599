//! Connections that were opened, and how long that took.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;

use super::latency_histogram;

/// Every connection of a run: opened before the load, in warm-up or in the measured part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    opened: u64,
    resumed: u64,
    /// Until a connection could be used, microseconds; made with the first one.
    setup: Option<Histogram<u64>>,
    /// TLS handshakes alone, microseconds, where their time is known.
    handshakes: Option<Histogram<u64>>,
}

impl Connections {
    /// One more.
    pub(crate) fn opened(&mut self, setup: &Setup) {
        self.opened += 1;
        self.resumed += u64::from(setup.resumed);
        let micros =
            |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.setup
            .get_or_insert_with(latency_histogram)
            .saturating_record(micros(setup.whole));
        if let Some(tls) = setup.tls {
            self.handshakes
                .get_or_insert_with(latency_histogram)
                .saturating_record(micros(tls));
        }
    }

    /// Adds those of another worker.
    pub(crate) fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.resumed += other.resumed;
        for (total, part) in [
            (&mut self.setup, &other.setup),
            (&mut self.handshakes, &other.handshakes),
        ] {
            if let Some(part) = part {
                // Bounds are the same everywhere, so that this cannot fail.
                let _ = total.get_or_insert_with(latency_histogram).add(part);
            }
        }
    }

    /// Figures by name, times in milliseconds.
    pub(crate) fn figures(&self) -> BTreeMap<&'static str, f64> {
        let mut figures = BTreeMap::from([("connects_total", self.opened as f64)]);
        let ms = |histogram: &Histogram<u64>, quantile: f64| {
            histogram.value_at_quantile(quantile) as f64 / 1e3
        };
        if let Some(setup) = &self.setup {
            figures.insert("connect_p50_ms", ms(setup, 0.5));
            figures.insert("connect_p99_ms", ms(setup, 0.99));
        }
        if let Some(handshakes) = &self.handshakes {
            figures.insert("tls_handshakes", handshakes.len() as f64);
            figures.insert("tls_resumed", self.resumed as f64);
            figures.insert("tls_handshake_p50_ms", ms(handshakes, 0.5));
            figures.insert("tls_handshake_p99_ms", ms(handshakes, 0.99));
        }
        figures
    }
}

/// How a connection came about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Setup {
    /// Until it could be used: TCP, and TLS if there is any.
    pub(crate) whole: Duration,
    /// The TLS handshake alone, if there was one and its time is known.
    pub(crate) tls: Option<Duration>,
    /// Whether that handshake resumed an earlier session.
    pub(crate) resumed: bool,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn workers_are_added_up() {
        let ms = Duration::from_millis;
        let mut all = Connections::default();
        assert_eq!(all.figures(), BTreeMap::from([("connects_total", 0.0)]));
        for (whole, tls, resumed) in [(2, None, false), (9, Some(ms(5)), true)] {
            let mut one = Connections::default();
            one.opened(&Setup {
                whole: ms(whole),
                tls,
                resumed,
            });
            all.add(&one);
        }
        let figures = all.figures();
        assert_eq!(figures["connects_total"], 2.0);
        assert_eq!(figures["tls_handshakes"], 1.0);
        assert_eq!(figures["tls_resumed"], 1.0);
        assert!((figures["connect_p99_ms"] - 9.0).abs() < 0.01);
        assert!((figures["tls_handshake_p50_ms"] - 5.0).abs() < 0.01);
    }
}
