//! What the documented profile (100 users, one address) does to each row, by arithmetic.

use std::time::Duration;

use serde::Serialize;
use weir_load::scenario::Scenario;

use super::{limiter::Bucket, print::percent, record::Row};
use crate::{
    judge::Thresholds,
    lint::{Facts, Finding, lint},
};

/// The documented proxy, as far as a row is about it.
const PROXY: &str = r#"
[admin]
[[listener]]
address = "127.0.0.1:8080"
[connections]
max = 1024
[rate_limit.api_limit]
key = "client_ip"
rate = "10r/s"
burst = 20
nodelay = true
[upstream.api]
keepalive = 32
servers = [ { address = "127.0.0.1:8000" } ]
[[route]]
path = "/"
upstream = "api"
rate_limit = ["api_limit"]
"#;

/// What the profile does to one row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnderProfile {
    /// Name of the row.
    pub row: String,
    /// Whether the profile reaches the setting at its current value.
    pub binds: bool,
    /// The arithmetic.
    pub why: String,
}

/// The profile with the documented proxy before it.
#[derive(Debug)]
pub(crate) struct Profile {
    facts: Facts,
}

impl Profile {
    /// The shipped profile; none if it cannot be read.
    pub(crate) fn load() -> Option<Self> {
        let config = weir_api::config::parse(PROXY, "documented proxy").ok();
        let scenario = Scenario::load("documented").ok()?;
        let thresholds = Thresholds::for_scenario(&scenario, None).unwrap_or_default();
        Some(Self {
            facts: Facts::new(&scenario, thresholds, 1, config.as_ref()),
        })
    }

    /// Contradictions between profile, proxy and thresholds.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        lint(&self.facts)
    }

    /// Each row whose setting the arithmetic knows.
    pub(crate) fn rows(&self, rows: &[Row]) -> Vec<UnderProfile> {
        let under = |row: &Row| {
            let (binds, why) = self.one(row)?;
            Some(UnderProfile {
                row: row.row.clone(),
                binds,
                why,
            })
        };
        rows.iter().filter_map(under).collect()
    }

    fn one(&self, row: &Row) -> Option<(bool, String)> {
        let offered = self.facts.offered.max_rps?;
        let current = row.current;
        let steps: Vec<_> = row.setting.split('.').collect();
        Some(match steps[..] {
            ["connections", "max"] => {
                let most = f64::from(self.facts.connections) * 2.0;
                let why = format!(
                    "{} users open at most {most:.0} connections, client and upstream side together; the limit is {current}",
                    self.facts.connections
                );
                (most >= current.amount, why)
            }
            ["upstream", _, "keepalive"] => {
                let latency_ms = self.facts.thresholds.p50_ms?;
                let in_flight = offered * latency_ms / 1e3;
                let why = format!(
                    "{offered:.0} requests/s at {latency_ms:.0} ms are {in_flight:.0} in flight, a number that cannot fall by more than {current}"
                );
                (in_flight > current.amount, why)
            }
            ["rate_limit", _, "rate"] => {
                let burst = self.facts.proxy.as_ref()?.limits.first()?.burst;
                let rejected = |rate: f64| 1.0 - self.admitted(offered, rate, burst);
                let better = row.claim.recommended.last()?;
                let why = format!(
                    "all users share one address and offer {offered:.0} requests/s: {current} rejects {:.0} % of them, {better} still {:.0} %",
                    rejected(current.amount) * 100.0,
                    rejected(better.amount) * 100.0
                );
                (rejected(current.amount) > 0.0, why)
            }
            ["rate_limit", _, "burst"] => {
                let rate = self.facts.proxy.as_ref()?.limits.first()?.rps;
                let admitted = |burst: f64| self.admitted(offered, rate, burst as u32);
                let better = row.claim.recommended.last()?;
                let (now, then) = (admitted(current.amount), admitted(better.amount));
                let why = format!(
                    "a bucket that {offered:.0} requests/s keep full admits by its rate: burst {better} instead of {current} changes the admitted ones by {} in {:.0} s",
                    percent(then / now.max(f64::EPSILON) - 1.0),
                    self.facts.duration_s
                );
                (now < 1.0, why)
            }
            ["timeouts", "connect"] => (
                false,
                "only a server that does not answer SYNs reaches it, however many users there are"
                    .to_owned(),
            ),
            ["compression", "level"] => {
                let cost = row.binding.measured.get("proxy_cpu_us")?;
                let busy = offered * cost / 1e6;
                let why = format!(
                    "{offered:.0} responses/s at {cost:.0} µs of CPU are {:.1} % of a core: the proxy is not limited by it",
                    busy * 100.0
                );
                (busy >= 0.8, why)
            }
            _ => return None,
        })
    }

    /// Share of the profile's requests that a limit admits, in the exact model.
    fn admitted(&self, offered: f64, rate: f64, burst: u32) -> f64 {
        let count = (offered * self.facts.duration_s).round().max(1.0);
        let times: Vec<_> = (0..count as u64)
            .map(|number| Duration::from_secs_f64(number as f64 / offered))
            .collect();
        Bucket::new(rate, burst).admitted(&times) as f64 / count
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::study::tuning::{file, row::Tried};

    fn rows() -> Vec<UnderProfile> {
        let table = include_str!("../../../../config/tuning.toml");
        let claims = file::parse(table, "tuning.toml").unwrap();
        let rows: Vec<_> = claims
            .into_iter()
            .map(|claim| {
                let mut tried = Tried::nothing_yet(claim, 1.0);
                let measured = &mut tried.binding.measured;
                measured.insert("proxy_cpu_us".to_owned(), 300.0);
                tried.into_row(Vec::new())
            })
            .collect();
        Profile::load().unwrap().rows(&rows)
    }

    #[test]
    fn most_rows_cannot_bind_under_the_documented_profile() {
        let rows = rows();
        let binds: Vec<_> = rows
            .iter()
            .map(|row| (row.row.as_str(), row.binds))
            .collect();
        let expected = [
            ("worker_connections", false),
            ("keepalive", false),
            ("rate", true),
            ("burst", true),
            ("proxy_connect_timeout", false),
            ("gzip_comp_level", false),
        ];
        assert_eq!(binds, expected);
        let why = |row: usize| rows[row].why.as_str();
        assert!(why(0).contains("200 connections"), "{}", why(0));
        assert!(why(1).contains("4 in flight"), "{}", why(1));
        assert!(
            why(2).contains("rejects 87 %") && why(2).contains("still 37 %"),
            "{}",
            why(2)
        );
        assert!(why(3).contains("+2.6 %"), "{}", why(3));
        assert!(why(5).contains("2.4 % of a core"), "{}", why(5));
    }

    #[test]
    fn the_profile_contradicts_itself_as_documented() {
        let findings = Profile::load().unwrap().findings();
        assert!(findings.iter().any(|finding| finding.code == "rate-limit"));
    }
}
