//! Which limit comes first on the way up.

use serde::Serialize;

use super::evidence::Costs;

/// Share of the generator's ceiling up to which its measurements are not in doubt.
const GENERATOR_SHARE: f64 = 0.5;

/// One limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limit {
    /// What ends.
    pub name: String,
    /// Requests per second at which it ends; for each replica when it grows with them.
    pub rps: f64,
    /// Whether more replicas move it.
    pub per_replica: bool,
    /// How it was reckoned.
    pub arithmetic: String,
}

/// What is known of the production environment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Environment {
    /// CPUs that one replica may use.
    pub replica_cpus: f64,
    /// CPUs that the proxy may use.
    pub proxy_cpus: f64,
    /// Different keys (client addresses) that the load comes from, if known.
    pub clients: Option<f64>,
    /// Requests per second that the generator reaches on this machine, if calibrated.
    pub generator_rps: Option<f64>,
}

/// Every limit that can be reckoned, lowest first.
#[must_use]
pub fn limits(costs: &Costs, environment: &Environment) -> Vec<Limit> {
    let mut all = Vec::new();
    let mut add = |name: &str, rps: f64, per_replica: bool, arithmetic: String| {
        if rps.is_finite() && rps > 0.0 {
            all.push(Limit {
                name: name.to_owned(),
                rps,
                per_replica,
                arithmetic,
            });
        }
    };
    if let Some(declared) = costs.declared_rps {
        add(
            "slots of a stand-in replica",
            declared,
            true,
            format!("declared: slots / service time = {declared:.0}/s each"),
        );
    }
    let replicas = costs
        .cpu_s
        .iter()
        .filter(|(name, _)| name.starts_with("replica"));
    if let Some(worst) = replicas.map(|(_, cpu)| *cpu).reduce(f64::max) {
        add(
            "CPU of a replica",
            // The process served its share of the requests, so this is of all requests: with more
            // than one replica the cost of its own is higher by their number.
            environment.replica_cpus / (worst * replica_count(costs)),
            true,
            format!(
                "{} CPU / {:.0} µs a request",
                environment.replica_cpus,
                worst * replica_count(costs) * 1e6
            ),
        );
    }
    if let Some(cpu) = costs.cpu_s.get("weir") {
        add(
            "CPU of the proxy",
            environment.proxy_cpus / cpu,
            false,
            format!(
                "{} CPUs / {:.0} µs a request",
                environment.proxy_cpus,
                cpu * 1e6
            ),
        );
    }
    if let (Some(max), Some(seconds)) = (costs.connections_max, costs.in_flight_s) {
        add(
            "connections.max",
            max / (2.0 * seconds),
            false,
            format!(
                "{max:.0} / (2 × {:.1} ms): each request in flight holds a client and an upstream connection; idle ones come on top",
                seconds * 1e3
            ),
        );
    }
    for (zone, rate) in &costs.rate_limits {
        if let Some(clients) = environment.clients {
            add(
                &format!("rate limit {zone}"),
                rate * clients,
                false,
                format!("{rate}/s for each of {clients:.0} client addresses"),
            );
        }
    }
    if let Some(ceiling) = environment.generator_rps {
        add(
            "the generator that measures it",
            ceiling * GENERATOR_SHARE,
            false,
            format!(
                "half of the {ceiling:.0}/s that one thread reaches here; shard the run beyond it"
            ),
        );
    }
    all.sort_by(|a, b| a.rps.total_cmp(&b.rps));
    all
}

/// How many replicas shared the requests.
fn replica_count(costs: &Costs) -> f64 {
    let count = costs
        .cpu_s
        .keys()
        .filter(|name| name.starts_with("replica"))
        .count();
    count.max(1) as f64
}

/// The limits that a demand runs into even with replicas enough, lowest first.
#[must_use]
pub fn in_the_way(limits: &[Limit], demand_rps: f64) -> Vec<&Limit> {
    limits
        .iter()
        .filter(|limit| !limit.per_replica && limit.rps < demand_rps)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const HERE: Environment = Environment {
        replica_cpus: 1.0,
        proxy_cpus: 2.0,
        clients: Some(100.0),
        generator_rps: Some(40_000.0),
    };

    #[test]
    fn limits_are_reckoned_and_sorted() {
        let costs = Costs {
            cpu_s: BTreeMap::from([
                ("weir".to_owned(), 50e-6),
                ("replica-1".to_owned(), 100e-6),
                ("replica-2".to_owned(), 100e-6),
            ]),
            in_flight_s: Some(0.050),
            declared_rps: Some(800.0),
            connections_max: Some(1024.0),
            rate_limits: BTreeMap::from([("api_limit".to_owned(), 10.0)]),
            cores: Some(2),
            engine: None,
        };
        let all = limits(&costs, &HERE);
        let rps = |name: &str| all.iter().find(|l| l.name == name).map(|l| l.rps.round());
        assert_eq!(rps("slots of a stand-in replica"), Some(800.0));
        // Two replicas shared the load: 200 µs of CPU for each request of their own.
        assert_eq!(rps("CPU of a replica"), Some(5_000.0));
        assert_eq!(rps("CPU of the proxy"), Some(40_000.0));
        assert_eq!(rps("connections.max"), Some(10_240.0));
        assert_eq!(rps("rate limit api_limit"), Some(1_000.0));
        assert!(all.windows(2).all(|pair| pair[0].rps <= pair[1].rps));
        let names: Vec<_> = in_the_way(&all, 13_889.0)
            .iter()
            .map(|limit| limit.name.as_str())
            .collect();
        assert_eq!(names, ["rate limit api_limit", "connections.max"]);
    }

    #[test]
    fn what_was_not_measured_is_no_limit() {
        assert_eq!(
            limits(
                &Costs::default(),
                &Environment {
                    clients: None,
                    generator_rps: None,
                    ..HERE
                }
            ),
            []
        );
    }
}
