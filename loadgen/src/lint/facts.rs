//! The numbers that the rules compute with, taken from a scenario and a proxy configuration.

use weir_api::{
    config::Config,
    settings::{LimitKey, RateLimit, Settings},
};

use crate::{
    judge::Thresholds,
    scenario::{Load, Scenario},
};

/// Everything the rules compute with.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Name of the scenario.
    pub scenario: String,
    /// What the profile can offer.
    pub offered: Offered,
    /// Length of the measured part, seconds.
    pub duration_s: f64,
    /// Requests after which the run ends, if their number is fixed.
    pub requests_total: Option<u64>,
    /// Weights of the requests, as written.
    pub weights: Vec<(String, f64)>,
    /// What the run is judged by.
    pub thresholds: Thresholds,
    /// Time after which the client gives up, seconds.
    pub client_timeout_s: f64,
    /// Source addresses that the load comes from.
    pub source_addresses: u32,
    /// Most client connections.
    pub connections: u32,
    /// The proxy, if one is in the way.
    pub proxy: Option<ProxyFacts>,
}

/// What a profile can offer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offered {
    /// Requests per second at zero latency, averaged over the run; none when nothing bounds it.
    pub max_rps: Option<f64>,
    /// Requests per second at the peak; the same as `max_rps` in a closed model.
    pub peak_rps: Option<f64>,
    /// Users and think time, if the model is closed.
    pub closed: Option<Closed>,
}

/// A closed model in two numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Closed {
    /// Users, averaged over the run.
    pub users: u32,
    /// Mean think time, or the interval of a paced user, seconds.
    pub mean_think_s: f64,
}

/// The proxy's settings that matter here.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyFacts {
    /// Rate limits that requests pass.
    pub limits: Vec<LimitFacts>,
    /// Most connections (nginx: `worker_connections`).
    pub connections_max: u32,
    /// Idle connections kept, by upstream.
    pub keepalive: Vec<(String, u32)>,
    /// Connect timeout, seconds.
    pub connect_timeout_s: f64,
}

/// One rate limit.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitFacts {
    /// Its name and where it comes from.
    pub name: String,
    /// Requests per second of a key.
    pub rps: f64,
    /// Burst.
    pub burst: u32,
    /// Excess requests that pass without delay; `None`: all of the burst.
    pub delayed_beyond: Option<u32>,
    /// Buckets that the load spreads over: one a source address, or one in all.
    pub buckets: u32,
}

impl Facts {
    /// Takes the facts from a scenario, and from the proxy's configuration when there is one.
    /// `source_addresses` is the number of addresses that the load comes from.
    #[must_use]
    pub fn new(
        scenario: &Scenario,
        thresholds: Thresholds,
        source_addresses: u32,
        config: Option<&Config>,
    ) -> Self {
        Self {
            scenario: scenario.name.clone(),
            offered: Offered::of(scenario),
            duration_s: scenario.duration.as_secs_f64(),
            requests_total: scenario.requests_total,
            weights: scenario
                .requests
                .iter()
                .map(|r| (r.name.clone(), r.weight))
                .chain(scenario.flows.iter().map(|f| (f.name.clone(), f.weight)))
                .collect(),
            thresholds,
            client_timeout_s: scenario.timeouts.total.as_secs_f64(),
            source_addresses,
            connections: scenario.lanes(),
            proxy: config.map(|config| ProxyFacts::of(config, source_addresses)),
        }
    }

    /// Requests that the profile can make at most.
    #[must_use]
    pub fn most_requests(&self) -> Option<f64> {
        let by_time = self.offered.max_rps.map(|rps| rps * self.duration_s);
        let fixed = self.requests_total.map(|requests| requests as f64);
        match (by_time, fixed) {
            (Some(by_time), Some(fixed)) => Some(by_time.min(fixed)),
            (by_time, fixed) => by_time.or(fixed),
        }
    }
}

impl Offered {
    fn of(scenario: &Scenario) -> Self {
        match &scenario.load {
            Load::Closed(closed) => {
                let mean_think_s = closed.cycle().as_secs_f64();
                let offered = |users: f64| (mean_think_s > 0.0).then(|| users / mean_think_s);
                Self {
                    max_rps: offered(closed.mean_users()),
                    peak_rps: offered(f64::from(closed.users)),
                    closed: Some(Closed {
                        users: closed.mean_users().round() as u32,
                        mean_think_s,
                    }),
                }
            }
            Load::Open(open) => Self {
                max_rps: scenario.intended_rate().map(|rate| rate.get()),
                peak_rps: Some(open.peak_rate()),
                closed: None,
            },
        }
    }
}

impl ProxyFacts {
    /// Takes the facts from a configuration; limits that no route uses or that are off do not count.
    #[must_use]
    pub fn of(config: &Config, source_addresses: u32) -> Self {
        let settings: &Settings = config.settings();
        let used = |name: &String| {
            config
                .routes
                .iter()
                .any(|route| route.rate_limit.contains(name))
        };
        let limits = settings
            .rate_limit
            .iter()
            .filter(|(name, limit)| used(name) && limit.enabled && !limit.dry_run)
            .filter_map(|(name, limit)| LimitFacts::of(name, limit, source_addresses));
        Self {
            limits: limits.collect(),
            connections_max: settings.connections.max,
            keepalive: settings
                .upstream
                .iter()
                .map(|(name, u)| (name.clone(), u.keepalive))
                .collect(),
            connect_timeout_s: settings.timeouts.connect.as_secs_f64(),
        }
    }
}

impl LimitFacts {
    /// The facts of one limit; none when the load's requests carry no such key.
    #[must_use]
    pub fn of(name: &str, limit: &RateLimit, source_addresses: u32) -> Option<Self> {
        if limit
            .key
            .iter()
            .any(|part| matches!(part, LimitKey::Header(_)))
        {
            return None;
        }
        let by_address = limit.key.contains(&LimitKey::ClientIp);
        Some(Self {
            name: name.to_owned(),
            rps: limit.rate.requests_per_second(),
            burst: limit.burst,
            delayed_beyond: match (limit.nodelay, limit.delay) {
                (true, _) => None,
                (false, delay) => Some(delay.unwrap_or(0)),
            },
            buckets: if by_address {
                source_addresses.max(1)
            } else {
                1
            },
        })
    }
}
