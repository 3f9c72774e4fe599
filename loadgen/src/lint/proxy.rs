//! Rules about the load and the proxy's settings together.

use super::{Facts, Finding, LimitFacts, ProxyFacts, Severity, duration, human};

/// Standard deviations of a Poisson count that still count as usual.
const USUAL_SPREAD: f64 = 4.0;

/// A rate limit that rejects what the profile offers, or lies below the throughput threshold.
pub(super) fn rate_limit(facts: &Facts, limit: &LimitFacts) -> Option<Finding> {
    let buckets = f64::from(limit.buckets);
    // The first request of a key is free, `burst` more may come at once, the rest at the rate.
    let admitted_most = buckets * (1.0 + f64::from(limit.burst) + limit.rps * facts.duration_s);
    let most = facts.most_requests();
    let rejected = most
        .map(|most| (1.0 - admitted_most / most).max(0.0))
        .unwrap_or(0.0);
    let admitted_rps = admitted_most / facts.duration_s;
    let wanted = facts.thresholds.throughput_rps;
    let below = wanted.filter(|wanted| admitted_rps <= *wanted);
    if rejected <= 0.0 && below.is_none() {
        return None;
    }
    let mut finding = Finding::new("rate-limit", Severity::Error, String::new())
        .number("limit_rps", limit.rps)
        .number("burst", f64::from(limit.burst))
        .number("admitted", admitted_most);
    let mut titles = Vec::new();
    let mut sentences = vec![match limit.buckets {
        1 => "All users share one bucket.".to_owned(),
        many => format!("The load spreads over {many} source addresses, a bucket each."),
    }];
    let mut raise = 0.0_f64;
    if let (Some(most), true) = (most, rejected > 0.0) {
        titles.push(format!(
            "rejects about {:.0} % of the requests",
            rejected * 100.0
        ));
        sentences.push(format!(
            "In {} it admits at most {}1 + {} + {}/s × {} s = {} of at most {} requests.",
            duration(facts.duration_s),
            if limit.buckets > 1 {
                format!("{buckets} × ")
            } else {
                String::new()
            },
            limit.burst,
            human(limit.rps),
            human(facts.duration_s),
            human(admitted_most),
            human(most)
        ));
        finding = finding
            .number("max_requests", most)
            .number("rejected_percent", rejected * 100.0);
        raise = raise.max(most / facts.duration_s / buckets);
    }
    if let Some(wanted) = below {
        titles.push(format!(
            "keeps throughput below the {}/s threshold",
            human(wanted)
        ));
        sentences.push(format!(
            "It lets at most {}/s through, and the threshold asks for more than {}/s.",
            human(admitted_rps),
            human(wanted)
        ));
        finding = finding.number("threshold_rps", wanted);
        raise = raise.max(wanted / buckets);
    }
    finding.title = format!(
        "rate limit {} ({}): {}",
        limit.name,
        describe(limit),
        titles.join(" and ")
    );
    Some(finding.detail(sentences.join(" ")).remedy(format!(
        "For the run, raise it above {}/s a key with a temporary override, disable it, or send from more addresses.",
        human(raise.ceil())
    )))
}

/// Delayed requests within the burst break a latency threshold by themselves.
pub(super) fn burst_delay(facts: &Facts, limit: &LimitFacts) -> Option<Finding> {
    let delayed = limit.burst.saturating_sub(limit.delayed_beyond?);
    let wait_s = f64::from(delayed) / limit.rps;
    let thresholds = &facts.thresholds;
    let strictest = [
        ("p99", thresholds.p99_ms),
        ("p95", thresholds.p95_ms),
        ("p50", thresholds.p50_ms),
    ];
    let (name, threshold_ms) = strictest
        .into_iter()
        .find_map(|(name, ms)| Some((name, ms?)))?;
    if wait_s * 1000.0 < threshold_ms {
        return None;
    }
    // Only a load above the limit is sure to fill the burst.
    let certain = facts
        .offered
        .max_rps
        .is_none_or(|rps| rps > limit.rps * f64::from(limit.buckets));
    let severity = if certain {
        Severity::Error
    } else {
        Severity::Warning
    };
    let fits = (threshold_ms / 1000.0 * limit.rps).ceil() - 1.0;
    Some(
        Finding::new(
            "burst-delay",
            severity,
            format!("rate limit {} ({}): waiting in the burst breaks {name} < {}", limit.name, describe(limit), duration(threshold_ms / 1000.0)),
        )
        .number("longest_wait_s", wait_s)
        .number("threshold_ms", threshold_ms)
        .detail(format!(
            "Without nodelay, excess requests wait for their turn: up to {} / {}/s = {}, by the limit alone.{}",
            delayed,
            human(limit.rps),
            duration(wait_s),
            if certain { "" } else { " The mean load is below the limit, so only spikes wait." }
        ))
        .remedy(format!("nodelay = true, or at most {} delayed requests, or a higher rate.", human(fits.max(0.0)))),
    )
}

/// Settings of the tuning table that this load cannot reach.
pub(super) fn not_bound(facts: &Facts, proxy: &ProxyFacts) -> Option<Finding> {
    let connections = f64::from(facts.connections) * 2.0;
    let mut titles = Vec::new();
    let mut sentences = Vec::new();
    let mut finding = Finding::new("not-bound", Severity::Note, String::new());
    if connections <= f64::from(proxy.connections_max) {
        titles.push(format!("connections.max = {}", proxy.connections_max));
        sentences.push(format!(
            "{} {} open at most about {} connections, client and upstream side together.",
            human(f64::from(facts.connections)),
            if facts.offered.closed.is_some() {
                "users"
            } else {
                "slots"
            },
            human(connections)
        ));
        finding = finding.number("connections", connections);
    }
    if let (Some(rps), Some(latency_ms)) = (facts.offered.max_rps, facts.thresholds.p50_ms) {
        let in_flight = (rps * latency_ms / 1000.0).min(f64::from(facts.connections));
        let usual_most = in_flight + USUAL_SPREAD * in_flight.sqrt();
        let free: Vec<_> = proxy
            .keepalive
            .iter()
            .filter(|(_, keepalive)| usual_most <= f64::from(*keepalive))
            .map(|(name, keepalive)| format!("upstream.{name}.keepalive = {keepalive}"))
            .collect();
        if !free.is_empty() {
            sentences.push(format!(
                "At {} an answer, {}/s keep about {} requests in flight (Little's law), seldom more than {}, so no more upstream connections than that fall idle.",
                duration(latency_ms / 1000.0),
                human(rps),
                human(in_flight),
                human(usual_most.ceil())
            ));
            finding = finding.number("in_flight", in_flight);
            titles.extend(free);
        }
    }
    if titles.is_empty() {
        return None;
    }
    finding.title = format!("{} cannot bind under this load", titles.join(" and "));
    Some(finding.detail(sentences.join(" ")).remedy(
        "Changing them can make no difference here. To test them, hold more connections, or send synchronised volleys.",
    ))
}

/// A connect timeout that the client never sees, because it gives up first.
pub(super) fn connect_timeout(facts: &Facts, proxy: &ProxyFacts) -> Option<Finding> {
    if proxy.connect_timeout_s < facts.client_timeout_s {
        return None;
    }
    Some(
        Finding::new(
            "connect-timeout",
            Severity::Warning,
            format!(
                "timeouts.connect = {} cannot be observed: the client gives up after {}",
                duration(proxy.connect_timeout_s),
                duration(facts.client_timeout_s)
            ),
        )
        .number("connect_timeout_s", proxy.connect_timeout_s)
        .number("client_timeout_s", facts.client_timeout_s)
        .detail("A request to a server that does not answer the connect ends with the client's own timeout, whatever the proxy's is beyond that.")
        .remedy(format!(
            "A client timeout above {}, or a connect timeout below {}.",
            duration(proxy.connect_timeout_s),
            duration(facts.client_timeout_s)
        )),
    )
}

fn describe(limit: &LimitFacts) -> String {
    let delay = match limit.delayed_beyond {
        None => " nodelay".to_owned(),
        Some(0) => String::new(),
        Some(beyond) => format!(" delay {beyond}"),
    };
    format!("{}/s burst {}{delay}", human(limit.rps), limit.burst)
}
