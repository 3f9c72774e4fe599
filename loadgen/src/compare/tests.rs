//! What is a regression, what may be noise, and what is said when that cannot be told.

use proptest::prelude::*;
use serde_json::json;
use weir_lab::provenance::{Commit, Host, Provenance};
use weir_load::{
    config_file::ConfigText,
    summary::{Validity, Verdict},
};

use super::*;
use crate::{compare::kept::KeptRun, judge::tests::good_summary};

/// A run of this id that nothing speaks against.
pub(crate) fn kept(id: &str) -> KeptRun {
    KeptRun {
        id: id.into(),
        provenance: Provenance {
            created_at: "2026-01-01T00:00:00Z".into(),
            command: Vec::new(),
            commit: Commit {
                id: "abc".into(),
                dirty: Some(false),
            },
            host: Host {
                name: "bench".into(),
                cpu: "cpu".into(),
                cores: 2,
                memory_bytes: 1,
                kernel: "6".into(),
                os: "linux".into(),
            },
            versions: Default::default(),
        },
        scenario: json!({"load": {"users": 10}, "thresholds": {}}),
        subject: "two".into(),
        proxy_settings: None,
        gate: "passed".into(),
        summary: good_summary(),
    }
}

/// Runs whose p95 is this, times a little scatter.
fn runs(p95_ms: &[f64]) -> Vec<KeptRun> {
    let one = |(index, p95): (usize, &f64)| {
        let mut run = kept(&format!("run-{index}"));
        run.summary.response.p95_ms = *p95;
        run
    };
    p95_ms.iter().enumerate().map(one).collect()
}

fn of<'a>(comparison: &'a Comparison, figure: &str) -> &'a JudgedChange {
    let mut changes = comparison.changes.iter();
    changes.find(|change| change.figure == figure).unwrap()
}

fn documented(before: &[KeptRun], after: &[KeptRun]) -> Comparison {
    compare("main", before, after, &CompareRules::default())
}

#[test]
fn one_pair_is_judged_by_the_rules_and_said_to_be_one_pair() {
    let within = documented(&runs(&[100.0]), &runs(&[124.0]));
    assert_eq!(within.result, Outcome::NoRegression);
    assert_eq!(of(&within, "p95").grade, Grade::Within);
    let beyond = documented(&runs(&[100.0]), &runs(&[126.0]));
    assert_eq!(beyond.result.exit(), crate::exit::Exit::Regression);
    let change = of(&beyond, "p95");
    assert_eq!(change.grade, Grade::Regression);
    assert_eq!(change.note, "worse by more than 25%");
    assert_eq!(change.interval, None);
    assert!(beyond.notes[0].contains("a single pair cannot tell noise from change"));
}

#[test]
fn with_enough_runs_a_regression_needs_evidence() {
    let steady = [100.0, 101.0, 99.0, 100.5, 99.5];
    let slower = [140.0, 141.0, 139.0, 140.5, 139.5];
    let wild = [90.0, 250.0, 95.0, 260.0, 100.0];
    let proven = documented(&runs(&steady), &runs(&slower));
    assert_eq!(proven.result, Outcome::Regression);
    let change = of(&proven, "p95");
    let (low, high) = change.interval.unwrap();
    assert!(low > 0.35 && high < 0.45, "{low} {high}");
    let noisy = documented(&runs(&steady), &runs(&wild));
    let change = of(&noisy, "p95");
    assert!(change.change.unwrap() > 0.25, "{change:?}");
    assert_eq!(change.grade, Grade::Noise);
    assert_eq!(noisy.result, Outcome::NoRegression);
}

#[test]
fn the_documented_rules_for_errors_throughput_and_the_rest() {
    let mut worse = kept("b");
    worse.summary.error_rate = 0.006;
    worse.summary.throughput_rps = 500.0;
    worse.summary.response.p50_ms = 12.5;
    worse.summary.response.p99_ms *= 1.36;
    let comparison = documented(&[kept("a")], &[worse]);
    let grades =
        ["errors", "throughput", "p50", "p99", "mean"].map(|name| of(&comparison, name).grade);
    assert_eq!(
        grades,
        [
            Grade::Regression,
            Grade::Warning,
            Grade::Flagged,
            Grade::Regression,
            Grade::Within
        ]
    );
    assert_eq!(of(&comparison, "errors").note, "above 0.5%");
    let mut less = kept("b");
    less.summary.throughput_rps = 550.0;
    assert_eq!(
        of(&documented(&[kept("a")], &[less]), "throughput").grade,
        Grade::Within
    );
}

#[test]
fn invalid_runs_are_never_compared_as_if_they_were_not() {
    let mut invalid = kept("b");
    invalid.summary.validity = Validity {
        verdict: Verdict::Invalid,
        reasons: vec!["send lag".into()],
    };
    let comparison = documented(&[kept("a")], &[invalid]);
    assert_eq!(comparison.result.exit(), crate::exit::Exit::Invalid);
    assert_eq!(
        comparison.judgement().checks.last().unwrap().outcome,
        crate::judge::ci::Outcome::Invalid
    );
}

#[test]
fn what_else_differs_is_said() {
    let mut other = kept("b");
    other.provenance.host.name = "laptop".into();
    other.scenario = json!({"load": {"users": 20}, "thresholds": {"p95": "1s"}});
    let comparison = documented(&[kept("a")], &[other]);
    assert_eq!(
        comparison.differences,
        [
            "host differs: bench before, laptop now",
            "the load differs in load.users"
        ]
    );
    assert!(
        documented(&[kept("a")], &[kept("b")])
            .differences
            .is_empty()
    );
}

#[test]
fn the_shipped_rules_are_the_documented_ones() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/compare.toml");
    assert_eq!(
        CompareRules::load(Some(&path)).unwrap(),
        CompareRules::default()
    );
}

#[test]
fn wrong_rules_are_located() {
    let refuse = |text: &str| {
        let source = ConfigText::new("compare.toml".into(), text.into());
        rules::read(&source).unwrap_err().to_string()
    };
    assert_eq!(
        refuse("flag = \"10\"\n"),
        "compare.toml:1:1: `flag`: `10` is not a share: write a number with a %, such as \"25%\""
    );
    assert_eq!(
        refuse("[[rules]]\nmetric = \"p97\"\nfail = \"25%\"\n"),
        "compare.toml:2:1: `rules[0].metric`: `p97` is not compared: write throughput, errors, \
         limited, mean, p50, p95, p99 or p99.9, or service mean, p50, p95 or p99"
    );
    assert!(refuse("[[rules]]\nmetric = \"p95\"\n").contains("needs one of `fail`"));
    assert!(
        refuse("[evidence]\nfewest_runs = 2\n")
            .starts_with("compare.toml:2:1: `evidence.fewest_runs`: must be at least 3")
    );
    assert!(refuse("[[rules]]\nmetric = \"p95\"\nfial = \"1%\"\n").contains("unknown field"));
}

#[test]
fn tables_stay_within_a_terminal() {
    let comparison = documented(&runs(&[100.0, 101.0, 99.0]), &runs(&[140.0, 141.0, 139.0]));
    let text = format!("{}\n{}", change_table(&comparison), lines(&comparison));
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    assert!(
        text.contains("REGRESSION") && text.ends_with("against main: regression"),
        "{text}"
    );
}

#[test]
fn nothing_before_and_something_now_has_no_ratio() {
    let evidence = rules::Evidence::default();
    assert_eq!(change(&[0.0], &[0.0], &evidence), None);
    assert!(
        change(&[0.0], &[0.1], &evidence)
            .unwrap()
            .relative
            .is_infinite()
    );
    assert_eq!(change(&[0.2], &[0.0], &evidence).unwrap().relative, -1.0);
}

proptest! {
    #[test]
    fn the_interval_holds_the_change_and_turns_round_with_the_sides(
        before in prop::collection::vec(1.0_f64..100.0, 3..8),
        after in prop::collection::vec(1.0_f64..100.0, 3..8),
    ) {
        let evidence = rules::Evidence { resamples: 1000, ..Default::default() };
        let there = change(&before, &after, &evidence).unwrap();
        let (low, high) = there.interval.unwrap();
        prop_assert!(low <= there.relative + 1e-9 && there.relative <= high + 1e-9);
        let back = change(&after, &before, &evidence).unwrap();
        prop_assert!(((1.0 + back.relative) * (1.0 + there.relative) - 1.0).abs() < 1e-6);
        prop_assert!((back.p_value.unwrap() - there.p_value.unwrap()).abs() < 1e-9);
    }
}
