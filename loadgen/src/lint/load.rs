//! Rules about the load alone: what it offers, how many samples it yields, what its weights mean.

use weir_load::units::percent;

use super::{Facts, Finding, Severity, duration, human};

/// Samples beyond a percentile from which it is worth a threshold.
const ENOUGH_TAIL_SAMPLES: f64 = 30.0;

/// The throughput threshold lies above what the profile can offer.
pub(super) fn offered_rate(facts: &Facts) -> Option<Finding> {
    let (most, wanted) = (facts.offered.max_rps?, facts.thresholds.throughput_rps?);
    if most > wanted {
        return None;
    }
    let title = format!(
        "throughput > {} requests/s is not reachable with this profile: at most {}/s",
        human(wanted),
        human(most)
    );
    let finding = Finding::new("offered-rate", Severity::Error, title)
        .number("max_rps", most)
        .number("threshold_rps", wanted);
    Some(match facts.offered.closed {
        Some(closed) => {
            let users = f64::from(closed.users);
            let needed = (wanted * closed.mean_think_s).ceil();
            finding
                .number("users_needed", needed)
                .detail(format!(
                    "{} users that pause {} on average between two requests send at most {} / {} s = {} requests/s, even if every answer came at once.",
                    human(users), duration(closed.mean_think_s), human(users), human(closed.mean_think_s), human(most)
                ))
                .remedy(format!(
                    "At least {} users, or a mean think time below {}, or an arrival rate (model = \"open\") above {}/s.",
                    human(needed), duration(users / wanted), human(wanted)
                ))
        }
        None => finding
            .detail(format!(
                "The schedule intends {} requests/s on average{}.",
                human(most),
                match facts.offered.requests_per_arrival {
                    Some(_) => ", every step of a flow counted",
                    None => "",
                }
            ))
            .remedy(format!("A rate above {}/s.", human(wanted))),
    })
}

/// Arrivals that are more than a request each.
pub(super) fn arrivals(facts: &Facts) -> Option<Finding> {
    let requests = facts.offered.requests_per_arrival?;
    let rps = facts.offered.max_rps?;
    let arrivals = rps / requests;
    Some(
        Finding::new(
            "arrivals",
            Severity::Note,
            format!(
                "an arrival may be a whole flow: {} arrivals/s are up to {} requests/s",
                human(arrivals),
                human(rps)
            ),
        )
        .number("arrivals_rps", arrivals)
        .number("requests_per_arrival", requests)
        .number("max_rps", rps)
        .detail(format!(
            "By weight an arrival makes {} requests on average, when no step fails. The rate of the load and what could not be started count arrivals; throughput and failures count requests.",
            human(requests)
        ))
        .remedy("Set the rate to the wanted requests per second divided by the requests of an arrival."),
    )
}

/// Too few requests for what is judged.
pub(super) fn sample_size(facts: &Facts) -> Option<Finding> {
    let most = facts.most_requests()?;
    if most < 1.0 {
        return None;
    }
    let mut sentences = Vec::new();
    let mut needed = 0.0_f64;
    let mut finding = Finding::new("sample-size", Severity::Warning, String::new());
    let one_failure = 1.0 / most;
    let mut titles = Vec::new();
    if let Some(limit) = facts
        .thresholds
        .error_rate
        .filter(|limit| one_failure >= *limit)
    {
        sentences.push(format!(
            "One failure is 1 / {} = {}, which already fails the gate at {}.",
            human(most),
            percent(one_failure),
            percent(limit)
        ));
        titles.push(format!("one failure is {}", percent(one_failure)));
        finding = finding.number("one_failure_percent", one_failure * 100.0);
        needed = needed.max((1.0 / limit).floor() + 1.0);
    }
    let quantiles = [
        (facts.thresholds.p99_ms, "p99", 0.01),
        (facts.thresholds.p95_ms, "p95", 0.05),
        (facts.thresholds.p50_ms, "p50", 0.5),
    ];
    for (_, name, tail) in quantiles
        .into_iter()
        .filter(|(limit, _, _)| limit.is_some())
    {
        let samples = most * tail;
        if samples < ENOUGH_TAIL_SAMPLES {
            sentences.push(format!(
                "{name} rests on about {} samples.",
                human(samples.round())
            ));
            titles.push(format!(
                "{name} rests on about {} samples",
                human(samples.round())
            ));
            finding = finding.number(&format!("{name}_samples"), samples);
            needed = needed.max((ENOUGH_TAIL_SAMPLES / tail).ceil());
        }
    }
    if sentences.is_empty() {
        return None;
    }
    finding.title = format!("at most {} requests: {}", human(most), titles.join(", "));
    let rate = most / facts.duration_s;
    Some(
        finding
            .number("max_requests", most)
            .number("requests_needed", needed)
            .detail(format!(
                "At most {}/s × {} = {} requests. {}",
                human(rate), duration(facts.duration_s), human(most), sentences.join(" ")
            ))
            .remedy(format!(
                "At least {} requests: {} at this rate, or a higher rate. (A percentile is worth judging from about {} samples beyond it.)",
                human(needed), duration((needed / rate).ceil()), ENOUGH_TAIL_SAMPLES
            )),
    )
}

/// Weights that look like percentages and are none.
pub(super) fn weights(facts: &Facts) -> Option<Finding> {
    let total: f64 = facts.weights.iter().map(|(_, weight)| weight).sum();
    // Sums far from 100 are plainly relative; near it, a reader takes them for percentages.
    if !(50.0..=200.0).contains(&total) || (total - 100.0).abs() < 1e-9 {
        return None;
    }
    let shares: Vec<_> = facts
        .weights
        .iter()
        .map(|(name, weight)| {
            format!(
                "{name} {} → {:.1} %",
                human(*weight),
                weight * 100.0 / total
            )
        })
        .collect();
    Some(
        Finding::new(
            "weights",
            Severity::Note,
            format!(
                "the weights add up to {}, not 100: they are relative",
                human(total)
            ),
        )
        .number("weight_total", total)
        .detail(format!("Shares in effect: {}.", shares.join(", ")))
        .remedy("Read them as relative weights, or scale them to 100."),
    )
}
