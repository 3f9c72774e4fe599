//! The dashboard as a file: what Grafana would choke on, and what a reader would miss.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{rules, text};

/// A query of the dashboard.
#[derive(Debug, Clone)]
pub(super) struct Query {
    /// The panel, annotation or variable that asks.
    pub(super) asked_by: String,
    /// PromQL, with Grafana's variables in it.
    pub(super) expr: String,
}

fn dashboard() -> Value {
    serde_json::from_str(&text("config/grafana/weir.json")).unwrap()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.unwrap_or_else(|| panic!("no list {pointer} in {value}"))
}

/// Every query that Grafana sends to Prometheus: of panels, annotations and variables.
pub(super) fn queries() -> Vec<Query> {
    let dashboard = dashboard();
    let mut queries = Vec::new();
    for panel in list(&dashboard, "/panels")
        .iter()
        .filter(|p| p["type"] != "row")
    {
        for target in list(panel, "/targets") {
            queries.push(Query {
                asked_by: format!("panel {} {}", panel["title"], target["refId"]),
                expr: target["expr"].as_str().unwrap().to_owned(),
            });
        }
    }
    for annotation in list(&dashboard, "/annotations/list") {
        if let Some(expr) = annotation["expr"].as_str() {
            queries.push(Query {
                asked_by: format!("annotation {}", annotation["name"]),
                expr: expr.to_owned(),
            });
        }
    }
    for variable in list(&dashboard, "/templating/list") {
        if variable["type"] == "query" {
            // label_values(SELECTOR, LABEL): the series that have the label.
            let asked = variable["query"]["query"].as_str().unwrap();
            let inner = asked.strip_prefix("label_values(").unwrap();
            let (selector, label) = inner.trim_end_matches(')').rsplit_once(", ").unwrap();
            queries.push(Query {
                asked_by: format!("variable {}", variable["name"]),
                expr: format!("count by ({label}) ({selector})"),
            });
        }
    }
    queries
}

#[test]
fn the_dashboard_is_sound() {
    let dashboard = dashboard();
    assert_eq!(dashboard["schemaVersion"], 41);
    assert_eq!(dashboard["uid"], "weir");
    let panels = list(&dashboard, "/panels");
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "id of {title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            assert!(x < 24, "{title} is wider than the dashboard");
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title} lies on another panel");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        let unit = if panel["type"] == "heatmap" {
            "/options/yAxis/unit"
        } else {
            "/fieldConfig/defaults/unit"
        };
        let unit = panel.pointer(unit).and_then(Value::as_str);
        assert!(unit.is_some_and(|unit| !unit.is_empty()), "unit of {title}");
        let targets = list(panel, "/targets");
        assert!(!targets.is_empty(), "{title}");
        let mut letters = BTreeSet::new();
        for target in targets {
            assert!(letters.insert(target["refId"].as_str().unwrap()), "{title}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(
                !target["expr"].as_str().unwrap().trim().is_empty(),
                "{title}"
            );
            assert!(
                !target["legendFormat"].as_str().unwrap().is_empty(),
                "{title}"
            );
        }
    }
    let rows = panels.iter().filter(|panel| panel["type"] == "row");
    let rows: Vec<&str> = rows.map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(
        rows,
        [
            "Overview",
            "Latency",
            "Upstreams",
            "Rate limits",
            "Overrides and revisions",
            "System",
            "Errors"
        ]
    );
    assert!(panels.iter().any(|panel| panel["type"] == "heatmap"));
}

#[test]
fn every_query_follows_the_chosen_job_and_instance() {
    for query in queries() {
        let general = query.asked_by.starts_with("variable")
            || query.expr.starts_with("count(ALERTS{alertname=~\"Weir.+\"");
        assert!(
            general
                || query
                    .expr
                    .contains("job=~\"$job\", instance=~\"$instance\""),
            "{query:?}"
        );
    }
}

#[test]
fn the_alerts_that_panels_speak_of_exist() {
    let alerts = rules::alerts();
    let text = text("config/grafana/weir.json") + &text("docs/guide/monitoring.md");
    let spoken: BTreeSet<&str> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 4 && word.starts_with("Weir"))
        .collect();
    for name in &spoken {
        assert!(alerts.contains(*name), "{name} is no alert");
    }
    for name in &alerts {
        assert!(spoken.contains(name.as_str()), "{name} is not documented");
    }
}
