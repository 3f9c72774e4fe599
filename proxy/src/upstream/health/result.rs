//! How a check ended.

use std::{fmt, time::Duration};

use weir_api::units::format_duration;

/// How one check of a server ended. Its text says it to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckResult {
    /// A status that passes.
    Passed(u16),
    /// Another status.
    Status(u16),
    /// No connection, or no head of an answer, within this time.
    Timeout(Duration),
    /// Refused, unreachable, …
    Connect(String),
    /// Closed, reset, or not HTTP.
    Broken(String),
    /// This machine had no socket left for it: says nothing about the server.
    Skipped(String),
}

impl CheckResult {
    /// Every kind, as the metrics name it.
    pub const KINDS: [&str; 6] = [
        "passed", "status", "timeout", "connect", "broken", "skipped",
    ];

    /// One word for programs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Passed(_) => "passed",
            Self::Status(_) => "status",
            Self::Timeout(_) => "timeout",
            Self::Connect(_) => "connect",
            Self::Broken(_) => "broken",
            Self::Skipped(_) => "skipped",
        }
    }

    /// Whether the server is well; none: it cannot be told.
    #[must_use]
    pub fn verdict(&self) -> Option<bool> {
        match self {
            Self::Passed(_) => Some(true),
            Self::Skipped(_) => None,
            _ => Some(false),
        }
    }
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(status) | Self::Status(status) => write!(f, "answered {status}"),
            Self::Timeout(limit) => write!(f, "no answer within {}", format_duration(*limit)),
            Self::Connect(why) | Self::Broken(why) => f.write_str(why),
            Self::Skipped(why) => write!(f, "not made: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_name_and_only_one_passes() {
        let text = || "x".to_owned();
        let all = [
            CheckResult::Passed(204),
            CheckResult::Status(500),
            CheckResult::Timeout(Duration::from_millis(1500)),
            CheckResult::Connect(text()),
            CheckResult::Broken(text()),
            CheckResult::Skipped(text()),
        ];
        assert_eq!(all.each_ref().map(CheckResult::kind), CheckResult::KINDS);
        let verdicts = all.each_ref().map(CheckResult::verdict);
        let no = Some(false);
        assert_eq!(verdicts, [Some(true), no, no, no, no, None]);
        assert_eq!(all[1].to_string(), "answered 500");
        assert_eq!(all[2].to_string(), "no answer within 1500ms");
    }
}
