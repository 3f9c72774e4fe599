//! Reports of finished runs: made again, laid over each other, exported.

use std::fs;

use crate::{
    folders::{Desk, json, text},
    server::{Server, ok},
};

const SCENARIO: &str = "name = 'shown'\nduration = '1s'\nwarmup = '0s'\n[load]\nmodel = 'closed'\n\
    users = 3\nthink_time = '5ms'\n[[requests]]\nname = 'front-page'\npath = '/'\n\
    [thresholds]\np50 = '10s'\n";

/// A folder with two runs, `a` and `b`.
fn two_runs() -> Desk {
    let server = Server::start(|_| ok("hello"));
    let desk = Desk::new(SCENARIO);
    for (name, users) in [("a", "3"), ("b", "5")] {
        let more = ["--quiet", "--output", name, "--users", users];
        desk.run(&server, &more).output().unwrap();
        assert!(desk.path().join(name).join("run.json").is_file());
    }
    desk
}

fn report(desk: &Desk, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = desk
        .bench(&[&["report"], arguments].concat())
        .output()
        .unwrap();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn runs_are_shown_alone_and_over_each_other() {
    let desk = two_runs();
    let page = |name: &str| fs::read_to_string(desk.path().join(name)).unwrap();

    fs::remove_file(desk.path().join("a/report.html")).unwrap();
    assert_eq!(report(&desk, &["a"]).0, Some(0));
    let own = page("a/report.html");
    for part in [
        "id=\"verdict\"",
        "id=\"chart-latency\"",
        "front-page",
        "id=\"configuration\"",
    ] {
        assert!(own.contains(part), "{part}");
    }
    assert_eq!(report(&desk, &["a", "--output", "copy.html"]).0, Some(0));
    assert!(page("copy.html").contains("id=\"chart-latency\""));

    let (code, said, errors) = report(&desk, &["a", "b", "--output", "both.html"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        said.contains("throughput") && said.contains("both.html"),
        "{said}"
    );
    let both = page("both.html");
    for part in [
        "2 runs compared",
        "A shown 3-users",
        "B shown 5-users",
        "id=\"chart-percentiles\"",
        "id=\"chart-p95\"",
        "scenario.load.users",
        "front-page",
    ] {
        assert!(both.contains(part), "{part}");
    }
    for outside in ["src=\"", "href=\"http", "url(http", "@import", "<link"] {
        assert!(!both.contains(outside), "{outside}");
    }
    let data = json(&desk.path().join("both.json"));
    assert_eq!(data.as_array().unwrap().len(), 2);

    fs::remove_file(desk.path().join("b/report.html")).unwrap();
    assert_eq!(report(&desk, &["a", "b", "--each"]).0, Some(0));
    assert!(page("b/report.html").contains("id=\"chart-latency\""));
    assert_eq!(report(&desk, &["a", "nowhere"]).0, Some(2));
}

#[test]
fn machines_get_the_figures_of_the_summary() {
    let desk = two_runs();
    let summary = json(&desk.path().join("b/summary.json"));
    let (code, csv, errors) = report(&desk, &["--csv", "a", "b"]);
    assert_eq!(code, Some(0), "{errors}");
    let mut reader = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = reader.next().unwrap();
    let rows: Vec<_> = reader.collect();
    assert_eq!(rows.len(), 2, "{csv}");
    let cell = |name: &str| rows[1][header.iter().position(|column| *column == name).unwrap()];
    assert_eq!(cell("run"), "b");
    assert_eq!(cell("ok"), summary["ok"].to_string());
    assert_eq!(
        cell("p99_ms").parse::<f64>().unwrap(),
        summary["response"]["p99_ms"]
    );
    assert_eq!(cell("intended_rps"), "", "a closed model intends no rate");

    let (code, said, errors) = report(&desk, &["--json=figures.json", "a", "b"]);
    assert_eq!((code, said.as_str()), (Some(0), ""), "{errors}");
    let figures = json(&desk.path().join("figures.json"));
    assert_eq!(figures[1]["requests"], summary["requests"]);
    assert_eq!(figures[1]["label"], "5-users");
    assert_eq!(
        figures[0]["validity"],
        json(&desk.path().join("a/summary.json"))["validity"]["verdict"]
    );
    assert_eq!(report(&desk, &["--csv", "--json", "a"]).0, Some(2));
}

/// Names in backquotes, the way the reference writes fields and columns.
fn documented() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/results.md");
    fs::read_to_string(file).unwrap()
}

#[test]
fn every_field_of_every_file_is_in_the_reference() {
    let desk = two_runs();
    let reference = documented();
    let missing = |name: &str| !reference.contains(&format!("`{name}`"));
    for file in ["a/summary.json", "a/run.json"] {
        let fields = json(&desk.path().join(file));
        for name in fields.as_object().unwrap().keys() {
            assert!(!missing(name), "{file}: `{name}` is not in results.md");
        }
    }
    let summary = json(&desk.path().join("a/summary.json"));
    for part in ["response", "validity"] {
        for name in summary[part].as_object().unwrap().keys() {
            assert!(!missing(name), "{part}.{name}");
        }
    }
    for part in ["endpoints", "intervals", "processes"] {
        for name in summary[part][0]
            .as_object()
            .into_iter()
            .flat_map(|map| map.keys())
        {
            assert!(!missing(name), "{part}.{name}");
        }
    }
    let series = fs::read_to_string(desk.path().join("a/timeseries.csv")).unwrap();
    let (_, csv, _) = report(&desk, &["--csv", "a"]);
    for text in [series, csv] {
        for column in text.lines().next().unwrap().split(',') {
            assert!(!missing(column), "column {column}");
        }
    }
}
