//! Reasons against several runs, each said once.

use super::{Summary, Validity, Verdict};

/// What speaks against the runs of an experiment, gathered run by run.
#[derive(Debug, Default)]
pub struct Reasons {
    runs: usize,
    verdict: Option<Verdict>,
    /// Name of the run, and what speaks against it.
    said: Vec<(String, String)>,
}

impl Reasons {
    /// Takes in a run by its name: its own validity, and failures that its numbers rest on.
    pub fn note(&mut self, run: &str, summary: &Summary) {
        self.runs += 1;
        self.raise(summary.validity.verdict);
        for reason in &summary.validity.reasons {
            self.said.push((run.to_owned(), reason.clone()));
        }
        if summary.errors + summary.limited > 0 {
            self.raise(Verdict::Suspect);
            let reason = format!(
                "{} failures and {} answers 429 among {} requests",
                summary.errors, summary.limited, summary.requests
            );
            self.said.push((run.to_owned(), reason));
        }
    }

    fn raise(&mut self, verdict: Verdict) {
        self.verdict = self.verdict.max(Some(verdict));
    }

    /// The worst verdict, and every reason once: with the run that it is about, or with the number
    /// of runs. Reasons that differ in their numbers alone are the same; those of the first run stand.
    #[must_use]
    pub fn validity(&self) -> Validity {
        let mut kinds: Vec<(String, Vec<&(String, String)>)> = Vec::new();
        for entry in &self.said {
            let kind = without_numbers(&entry.1);
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, entries)) => entries.push(entry),
                None => kinds.push((kind, vec![entry])),
            }
        }
        let reasons = kinds.iter().filter_map(|(_, entries)| {
            let (run, reason) = entries.first()?;
            let mut runs: Vec<_> = entries.iter().map(|(run, _)| run).collect();
            runs.dedup();
            let same = entries.iter().all(|(_, other)| other == reason);
            Some(match (runs.len(), same) {
                (1, _) => format!("{run}: {reason}"),
                (count, true) => format!("in {count} of {} runs: {reason}", self.runs),
                (count, false) => format!(
                    "in {count} of {} runs, with the numbers of {run}: {reason}",
                    self.runs
                ),
            })
        });
        Validity {
            verdict: self.verdict.unwrap_or(Verdict::Valid),
            reasons: reasons.collect(),
        }
    }
}

fn without_numbers(text: &str) -> String {
    let is_number = |character: char| character.is_ascii_digit() || character == '.';
    text.split(is_number)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("#")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::summary::Latency;

    fn summary() -> Summary {
        let latency = json!(Latency::default());
        serde_json::from_value(json!({
            "scenario": "t", "model": "open", "engine": "wire", "started_at": "", "duration_s": 10.0,
            "warmup_s": 0.0, "requests": 0, "ok": 0, "limited": 0, "errors": 0, "error_rate": 0.0,
            "throughput_rps": 0.0, "intended_rps": null, "unsent": 0, "response": latency,
            "service": latency, "send_lag": null, "endpoints": [], "failures": [], "intervals": [],
            "processes": [], "validity": {"verdict": "valid", "reasons": []}, "extra": {}
        }))
        .unwrap()
    }

    fn run(reasons: &[&str], errors: u64) -> Summary {
        let mut summary = summary();
        summary.validity.reasons = reasons.iter().map(|text| (*text).to_owned()).collect();
        summary.validity.verdict = match reasons {
            [] => Verdict::Valid,
            _ => Verdict::Suspect,
        };
        (summary.errors, summary.limited) = (errors, 0);
        summary.requests = 100;
        summary
    }

    #[test]
    fn a_reason_of_many_runs_is_said_once() {
        let mut reasons = Reasons::default();
        reasons.note(
            "pair 1, direct",
            &run(&["no calibration", "lag 1.52 ms"], 0),
        );
        reasons.note("pair 1, proxied", &run(&["no calibration", "lag 12 ms"], 0));
        reasons.note("pair 2, proxied", &run(&["no calibration"], 0));
        reasons.note("pair 2, direct", &run(&[], 7));
        let validity = reasons.validity();
        assert_eq!(validity.verdict, Verdict::Suspect);
        assert_eq!(
            validity.reasons,
            [
                "in 3 of 4 runs: no calibration",
                "in 2 of 4 runs, with the numbers of pair 1, direct: lag 1.52 ms",
                "pair 2, direct: 7 failures and 0 answers 429 among 100 requests",
            ]
        );
    }

    #[test]
    fn nothing_against_the_runs_is_valid() {
        let mut reasons = Reasons::default();
        reasons.note("one", &run(&[], 0));
        assert_eq!(reasons.validity().verdict, Verdict::Valid);
        assert!(reasons.validity().reasons.is_empty());
    }
}
