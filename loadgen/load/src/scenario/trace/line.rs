//! One line of a trace, as it is written.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// One line of a trace file in its JSON form; whoever writes traces serialises this.
///
/// Exactly one of `at` and `timestamp` is given, the same one on every line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceLine {
    /// Seconds since the beginning of the trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    /// Instant of the request; the earliest one in the file is the beginning of the trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// HTTP method.
    #[serde(default = "get")]
    pub method: String,
    /// Path, with query if any; begins with `/`.
    pub path: String,
    /// Extra headers; those that a client writes itself are left out when the trace is replayed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Endpoint under which the request is reported; made from method and path if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Status that a good answer has; any 2xx if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// An instant: seconds since 1970 as a number, or RFC 3339 text in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    Epoch(f64),
    /// Such as `2026-03-01T12:00:00.250Z`.
    Text(String),
}

fn get() -> String {
    "GET".into()
}

impl TraceLine {
    /// When the request came: from the beginning of the trace or from 1970, whichever is given.
    pub(super) fn time(&self) -> Result<(Clock, Duration), (&'static str, String)> {
        match (&self.at, &self.timestamp) {
            (Some(at), None) => seconds(*at)
                .map(|time| (Clock::Offset, time))
                .ok_or_else(|| ("at", format!("{at} is not a number of seconds, 0 or more"))),
            (None, Some(timestamp)) => timestamp
                .since_epoch()
                .map(|time| (Clock::Instant, time))
                .map_err(|message| ("timestamp", message)),
            (Some(_), Some(_)) => Err((
                "timestamp",
                "`at` and `timestamp` exclude each other; remove one".into(),
            )),
            (None, None) => Err((
                "at",
                "is missing: every line needs `at` (seconds since the beginning) or `timestamp`"
                    .into(),
            )),
        }
    }
}

/// What the time of a line counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// The beginning of the trace.
    Offset,
    /// 1970.
    Instant,
}

impl Timestamp {
    /// Reads a number of seconds or RFC 3339 text, as a cell of a CSV file holds it.
    pub(super) fn parse(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Text(text.to_owned()), Self::Epoch)
    }

    fn since_epoch(&self) -> Result<Duration, String> {
        let (time, written) = match self {
            Self::Epoch(number) => (seconds(*number), number.to_string()),
            Self::Text(text) => {
                let time = humantime::parse_rfc3339(text).ok();
                let time = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                (time, text.clone())
            }
        };
        time.ok_or_else(|| {
            format!(
                "`{written}` is neither seconds since 1970 nor RFC 3339 in UTC, such as \"2026-03-01T12:00:00.250Z\""
            )
        })
    }
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}
