//! When a request passed from one stage to the next.

use std::fmt;
use std::time::Duration;

/// Points in time since the first byte of the request came in, of the try that was answered. Time
/// that earlier tries took, or that a rate limit held the request back, lies before `chosen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stages {
    /// The server was chosen.
    pub chosen: Duration,
    /// A connection to it was there.
    pub connected: Duration,
    /// The first byte of its answer came in.
    pub first_byte: Duration,
}

// === impl Stages ===

impl Stages {
    /// How long each stage lasted: choosing, connecting, waiting for the first byte, and passing on
    /// the answer until `end`. They add up to `end`.
    #[must_use]
    pub fn lengths(&self, end: Duration) -> [Duration; 4] {
        [
            self.chosen,
            self.connected.saturating_sub(self.chosen),
            self.first_byte.saturating_sub(self.connected),
            end.saturating_sub(self.first_byte),
        ]
    }

    /// The value of a `Server-Timing` header (W3C Server Timing), milliseconds: what is known when
    /// the answer's head is sent.
    #[must_use]
    pub fn server_timing(&self) -> ServerTiming {
        ServerTiming(*self)
    }
}

/// Writes stages as `Server-Timing` does.
#[derive(Debug, Clone, Copy)]
pub struct ServerTiming(Stages);

impl fmt::Display for ServerTiming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [choose, connect, wait, _] = self
            .0
            .lengths(self.0.first_byte)
            .map(|length| length.as_secs_f64() * 1e3);
        write!(
            f,
            "choose;dur={choose:.3}, connect;dur={connect:.3}, wait;dur={wait:.3}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_add_up_and_are_written_in_milliseconds() {
        let stages = Stages {
            chosen: Duration::from_micros(15),
            connected: Duration::from_micros(215),
            first_byte: Duration::from_micros(10_215),
        };
        let end = Duration::from_micros(10_300);
        assert_eq!(stages.lengths(end).iter().sum::<Duration>(), end);
        assert_eq!(
            stages.server_timing().to_string(),
            "choose;dur=0.015, connect;dur=0.200, wait;dur=10.000"
        );
    }
}
