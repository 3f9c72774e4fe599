//! Recording and alert rules, and their own tests.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{run, shipped, skipped, text, there_is};

const ALERTS: &str = "config/prometheus/alerts.rules.yml";
const RECORDS: &str = "config/prometheus/recording.rules.yml";

/// The values of a key, in the order of the file.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines()
        .map(|line| line.trim().trim_start_matches("- "))
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
        .map(|value| value.trim_matches('\''))
        .collect()
}

/// The names of all alerts.
pub(super) fn alerts() -> BTreeSet<String> {
    let names = text(ALERTS);
    values(&names, "alert")
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// `WeirDown` as `weir-down`.
fn kebab(name: &str) -> String {
    name.char_indices().fold(String::new(), |mut out, (at, c)| {
        let hyphen = if at > 0 && c.is_uppercase() { "-" } else { "" };
        let _ = write!(out, "{hyphen}{}", c.to_lowercase());
        out
    })
}

#[test]
fn every_alert_says_what_how_bad_since_when_and_what_to_do() {
    let text = text(ALERTS);
    let blocks: Vec<&str> = text.split("- alert: ").skip(1).collect();
    assert!(blocks.len() >= 15);
    for block in blocks {
        let name = block.lines().next().unwrap();
        let one = |key: &str| {
            let found = values(block, key);
            assert_eq!(found.len(), 1, "{key} of {name}");
            found[0].to_owned()
        };
        assert!(one("for").ends_with(['m', 's', 'h']), "{name}");
        let severity = one("severity");
        assert!(
            ["info", "warning", "critical"].contains(&severity.as_str()),
            "{name}: {severity}"
        );
        assert!(!one("summary").is_empty() && !one("description").is_empty());
        let runbook = format!("docs/guide/runbook.md#{}", kebab(name));
        assert_eq!(one("runbook_url"), runbook);
    }
}

#[test]
fn the_runbook_has_a_section_for_every_alert() {
    let runbook = text("docs/guide/runbook.md");
    let sections: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|title| title.to_lowercase().replace(' ', "-"))
        .collect();
    for name in alerts() {
        assert!(sections.contains(&kebab(&name)), "no section for {name}");
    }
}

#[test]
fn the_documented_thresholds_are_those_of_the_rules() {
    let text = text(ALERTS);
    for (alert, threshold, severity) in [
        ("WeirLatencyHigh", "> 0.1", "warning"),
        ("WeirLatencyCritical", "> 0.5", "critical"),
        ("WeirErrorsHigh", "> 0.01", "warning"),
        ("WeirErrorsCritical", "> 0.05", "critical"),
        ("WeirCpuHigh", "> 0.7", "warning"),
        ("WeirCpuCritical", "> 0.9", "critical"),
        ("WeirMemoryHigh", "> 0.8", "warning"),
        ("WeirMemoryCritical", "> 0.95", "critical"),
        ("WeirMemoryGrowing", "> 10e6", "warning"),
    ] {
        let start = text.find(&format!("- alert: {alert}\n")).unwrap();
        let block = &text[start..];
        let block = &block[..block.find("annotations:").unwrap()];
        assert!(
            block.lines().any(|line| line.ends_with(threshold)),
            "{alert}: {block}"
        );
        assert_eq!(values(block, "severity"), [severity], "{alert}");
    }
}

#[test]
fn every_rule_is_tested_and_every_alert_both_ways() {
    let tests = text("config/prometheus/alerts_test.yml");
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for case in tests.split("alertname: ").skip(1) {
        let name = case.lines().next().unwrap().to_owned();
        let next = case.lines().nth(1).unwrap().trim();
        match next {
            "exp_alerts: []" => silent.insert(name),
            "exp_alerts:" => fires.insert(name),
            other => panic!("{name}: {other}"),
        };
    }
    assert_eq!(fires, alerts(), "alerts that are shown to fire");
    assert_eq!(silent, alerts(), "alerts that are shown not to fire");

    let (rules, tests) = (text(RECORDS), text("config/prometheus/recording_test.yml"));
    for rule in values(&rules, "record") {
        let tested = values(&tests, "expr")
            .iter()
            .any(|expr| expr.contains(rule));
        assert!(tested, "{rule} is not in recording_test.yml");
    }
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    if !there_is("promtool", "--version") {
        return skipped("promtool is not installed (Debian's package `prometheus`)");
    }
    let said = run("promtool", |command| {
        command
            .args(["check", "rules"])
            .args([shipped(ALERTS), shipped(RECORDS)]);
    });
    assert_eq!(said.matches("SUCCESS").count(), 2, "{said}");
    let said = run("promtool", |command| {
        let tests = ["alerts_test.yml", "recording_test.yml"];
        command
            .args(["test", "rules"])
            .args(tests.map(|file| shipped("config/prometheus").join(file)));
    });
    assert_eq!(said.matches("SUCCESS").count(), 2, "{said}");
}
