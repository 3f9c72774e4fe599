//! The numbers that the rules compute with, taken from a scenario and a proxy configuration.

use weir_api::{
    config::Config,
    settings::{LimitKey, RateLimit, Settings},
};
use weir_load::scenario::{Load, Scenario};

use crate::judge::Thresholds;

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
    /// Requests per second at zero latency, averaged over the run; none when nothing bounds it. A
    /// flow counts as all its steps.
    pub max_rps: Option<f64>,
    /// Requests per second at the peak; the same as `max_rps` in a closed model.
    pub peak_rps: Option<f64>,
    /// Users and think time, if the model is closed.
    pub closed: Option<Closed>,
    /// Requests that an arrival makes on average, if the model is open and has flows.
    pub requests_per_arrival: Option<f64>,
}

/// A closed model in two numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Closed {
    /// Users, averaged over the run.
    pub users: u32,
    /// Mean pause of a user between two requests, seconds: think time, or the interval of a paced
    /// user; with flows the mean over all their steps, by weight.
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
                let cycle = scenario.mean_cycle().unwrap_or_default().as_secs_f64();
                let mean_think_s = cycle / scenario.requests_per_start();
                let offered = |users: f64| (mean_think_s > 0.0).then(|| users / mean_think_s);
                Self {
                    max_rps: offered(closed.mean_users()),
                    peak_rps: offered(f64::from(closed.users)),
                    closed: Some(Closed {
                        users: closed.mean_users().round() as u32,
                        mean_think_s,
                    }),
                    requests_per_arrival: None,
                }
            }
            Load::Open(open) => {
                let requests = scenario.requests_per_start();
                Self {
                    max_rps: scenario.intended_rate().map(|rate| rate.get() * requests),
                    peak_rps: Some(open.peak_rate() * requests),
                    closed: None,
                    requests_per_arrival: (!scenario.flows.is_empty()).then_some(requests),
                }
            }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// One request of weight 1 and a flow of weight 3 with three steps.
    fn offered(load: &str, flow: &str) -> Offered {
        let text = format!(
            "name = 'x'\nduration = '10s'\n[load]\n{load}\n\
             [[requests]]\nname = 'one'\npath = '/'\nweight = 1\n\
             [[flows]]\nname = 'flow'\nweight = 3\n{flow}\n\
             [[flows.steps]]\nname = 'a'\npath = '/a'\n\
             [[flows.steps]]\nname = 'b'\npath = '/b'\nthink_time = '3s'\n\
             [[flows.steps]]\nname = 'c'\npath = '/c'\n"
        );
        Offered::of(&Scenario::parse(&text, "x").unwrap())
    }

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-9, "{value} {expected}");
    }

    #[test]
    fn pauses_within_flows_bound_a_closed_model() {
        // A start is 1·(1/4) + 3·(3/4) = 2.5 requests. The request takes 1 s; the flow 1 s after
        // its first step, 3 s after its second, and 1 s before whatever is next: 4 s on average.
        let load = "model = 'closed'\nusers = 100\nthink_time = '1s'";
        let plain = offered(load, "");
        close(plain.max_rps.unwrap(), 100.0 * 2.5 / 4.0);
        close(plain.closed.unwrap().mean_think_s, 4.0 / 2.5);
        // The flow's own think time is that of the steps that have none; its last pause is the load's.
        let own = offered(load, "think_time = '500ms'");
        close(own.max_rps.unwrap(), 100.0 * 2.5 / (0.25 + 0.75 * 4.5));
    }

    #[test]
    fn paced_users_make_a_whole_flow_in_an_interval_if_its_pauses_fit() {
        let paced = |interval: &str| {
            let load = format!("model = 'closed'\nusers = 8\npacing = '{interval}'");
            offered(&load, "").max_rps.unwrap()
        };
        close(paced("5s"), 8.0 * 2.5 / 5.0);
        // 3 s of pauses do not fit into 1 s.
        close(paced("1s"), 8.0 * 2.5 / (0.25 + 0.75 * 3.0));
    }

    #[test]
    fn an_arrival_of_an_open_model_may_be_a_whole_flow() {
        let open = offered("model = 'open'\nrate = '100/s'", "");
        close(open.max_rps.unwrap(), 250.0);
        close(open.requests_per_arrival.unwrap(), 2.5);
    }
}
