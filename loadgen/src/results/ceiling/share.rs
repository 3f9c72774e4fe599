//! How near to its own ceiling a run brought the generator.

use weir_load::summary::{Summary, Verdict};

use super::{Way, ceiling};

/// Share of the ceiling that deserves a warning.
const NEAR: f64 = 0.5;
/// Share of the ceiling beyond which it is the generator that is measured.
const AT: f64 = 0.8;

/// Notes in a summary what share of its ceiling the generator was at, if this machine is calibrated
/// for that way: `generator_ceiling_rps` and `generator_ceiling_share` among its figures, and a
/// reason against the run above half of it. Without a calibration both figures are missing.
pub fn note(summary: &mut Summary, way: Way, threads: usize) {
    if let Some(ceiling) = ceiling(way) {
        judge(summary, way, ceiling * threads.max(1) as f64);
    }
}

fn judge(summary: &mut Summary, way: Way, all: f64) {
    let rate = summary.requests as f64 / summary.duration_s.max(f64::EPSILON);
    let share = rate / all;
    let extra = &mut summary.extra;
    extra.insert("generator_ceiling_rps".to_owned(), all);
    extra.insert("generator_ceiling_share".to_owned(), share);
    let verdict = match share {
        share if share > AT => Verdict::Invalid,
        share if share > NEAR => Verdict::Suspect,
        _ => return,
    };
    let validity = &mut summary.validity;
    validity.verdict = validity.verdict.max(verdict);
    validity.reasons.push(format!(
        "{rate:.0} requests/s is {:.0} % of what the {way} engine reaches on this machine ({all:.0}/s)",
        share * 100.0
    ));
}

/// One line about it for people.
pub fn describe(summary: &Summary) -> String {
    let figure = |name: &str| summary.extra.get(name).copied();
    match (
        figure("generator_ceiling_share"),
        figure("generator_ceiling_rps"),
    ) {
        (Some(share), Some(all)) => format!(
            "generator: at {:.1} % of its ceiling of {all:.0} requests/s",
            share * 100.0
        ),
        _ => "generator: its ceiling is not known here; `weir-bench calibrate` finds it".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use weir_load::scenario::Engine;

    use super::*;

    fn summary(requests: u64) -> Summary {
        let json = serde_json::json!({
            "scenario": "t", "model": "open", "engine": "wire", "started_at": "", "duration_s": 10.0,
            "warmup_s": 0.0, "requests": requests, "ok": requests, "limited": 0, "errors": 0,
            "error_rate": 0.0, "throughput_rps": 0.0, "intended_rps": null, "unsent": 0,
            "response": latency(), "service": latency(), "send_lag": null, "endpoints": [],
            "failures": [], "intervals": [], "processes": [],
            "validity": {"verdict": "valid", "reasons": []}, "extra": {}
        });
        serde_json::from_value(json).unwrap()
    }

    fn latency() -> serde_json::Value {
        serde_json::to_value(weir_load::summary::Latency::default()).unwrap()
    }

    #[test]
    fn above_half_is_suspect_and_above_four_fifths_invalid() {
        let way = Way::plain(Engine::Wire);
        for (requests, verdict) in [
            (490, Verdict::Valid),
            (510, Verdict::Suspect),
            (790, Verdict::Suspect),
            (810, Verdict::Invalid),
        ] {
            let mut summary = summary(requests);
            judge(&mut summary, way, 100.0);
            assert_eq!(summary.validity.verdict, verdict, "{requests}");
            assert_eq!(
                summary.validity.reasons.is_empty(),
                verdict == Verdict::Valid
            );
        }
    }

    #[test]
    fn a_line_says_the_share_or_that_nobody_knows() {
        let mut summary = summary(250);
        assert!(describe(&summary).contains("weir-bench calibrate"));
        judge(&mut summary, Way::plain(Engine::Wire), 100.0);
        assert_eq!(
            describe(&summary),
            "generator: at 25.0 % of its ceiling of 100 requests/s"
        );
    }
}
