//! The real binary searches, sweeps and plans.

use std::path::Path;

use serde_json::Value;

use crate::{
    folders::{Desk, json, text},
    server::{Server, answer, ok},
};

/// Users who say who they are; a closed model, since a busy machine cannot keep a schedule.
const USERS: &str = "name = 'users'\nduration = '1s'\nengine = 'wire'\n\
    [load]\nmodel = 'closed'\nusers = 2\nthink_time = '5ms'\n\
    [[requests]]\nname = 'root'\npath = '/{{user}}'\n";

/// A server that fails every user beyond this number: its capacity is exact.
fn capacity(users: u64) -> Server {
    Server::start(move |request| {
        let path = request.head.split(' ').nth(1).unwrap_or_default();
        let user: u64 = path.trim_start_matches('/').parse().unwrap();
        if user > users {
            answer("503 Service Unavailable", "full")
        } else {
            ok("x")
        }
    })
}

fn bench(desk: &Desk, server: &Server, command: &str, more: &[&str]) -> std::process::Output {
    let target = format!("http://{}", server.address);
    let fixed = [command, "--scenario", "scenario.toml", "--target", &target];
    desk.bench(&[&fixed[..], more].concat()).output().unwrap()
}

const SHORT: [&str; 4] = ["--probe", "250ms", "--warmup", "50ms"];

fn search(desk: &Desk, server: &Server, more: &[&str]) -> std::process::Output {
    let fixed = ["--over", "users", "--slo", "errors<1%", "--output", "found"];
    bench(desk, server, "search", &[&fixed[..], &SHORT, more].concat())
}

#[test]
fn the_most_users_that_hold_are_found_exactly_and_confirmed() {
    let server = capacity(11);
    let desk = Desk::new(USERS);
    let output = search(&desk, &server, &["--precision", "0%", "--budget", "2m"]);
    let said = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{said}{}",
        text(&output.stderr)
    );
    assert!(
        said.contains("11 users hold with errors < 1%: confirmed"),
        "{said}"
    );

    let record = json(&desk.path().join("found/search.json"));
    let answer = &record["answer"];
    assert_eq!(answer["level"], 11.0);
    assert_eq!(answer["ceiling"], 12.0);
    assert_eq!(answer["limit"], "objective");
    let why = answer["explanation"].as_str().unwrap();
    assert!(why.contains("errors") && why.contains("12 users"), "{why}");
    let probes = record["probes"].as_array().unwrap();
    let confirming = |probe: &&Value| {
        probe["purpose"] == "confirm" && probe["level"] == 11.0 && probe["reading"] == "holds"
    };
    assert!(probes.iter().filter(confirming).count() >= 3);
    // What holds and what misses is never mixed up.
    for probe in probes.iter().filter(|probe| probe["reading"] == "holds") {
        assert!(probe["level"].as_f64().unwrap() <= 11.0, "{probe}");
    }
    let page = std::fs::read_to_string(desk.path().join("found/report.html")).unwrap();
    assert!(page.contains("chart-p99") && page.contains("confirmed"));
}

#[test]
fn when_nothing_holds_the_code_is_that_of_a_gate() {
    let server = capacity(0);
    let desk = Desk::new(USERS);
    let output = search(&desk, &server, &["--start", "4"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("not even the lowest level, 1 users"),
        "{said}"
    );
}

#[test]
fn a_search_says_when_the_maximum_or_the_budget_was_the_limit() {
    let server = capacity(1000);
    let desk = Desk::new(USERS);
    let output = search(&desk, &server, &["--max", "4", "--confirm", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let limit = || json(&desk.path().join("found/search.json"))["answer"]["limit"].clone();
    assert_eq!(limit(), "maximum");
    let output = search(&desk, &server, &["--budget", "10ms"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stdout));
    assert_eq!(limit(), "budget");
}

#[test]
fn wrong_input_is_one_message() {
    let server = capacity(1);
    let desk = Desk::new(USERS);
    for (command, arguments, expected) in [
        ("search", vec!["--slo", "p99~1ms"], "p99~1ms"),
        ("search", vec!["--slo", "nobody: p99<1ms"], "nobody"),
        ("search", vec!["--min", "50", "--max", "10"], "--max"),
        ("search", vec!["--precision", "5"], "such as 5%"),
        ("sweep", vec!["--values", "0,2"], "whole numbers from 1"),
        (
            "sweep",
            vec!["--over", "users", "--from", "9", "--to", "3"],
            "--from (9)",
        ),
        ("sweep", vec!["--values", "2", "--repeat", "0"], "--repeat"),
    ] {
        let output = bench(&desk, &server, command, &arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    assert_eq!(desk.runs(), Vec::<std::path::PathBuf>::new());
    assert_eq!(server.requests(), 0);
}

#[test]
fn a_sweep_visits_every_level_in_every_block_and_fits_the_law() {
    let server = capacity(1000);
    let desk = Desk::new(USERS);
    let arguments = [
        "--over",
        "connections",
        "--values",
        "1,2,3,4,6,8",
        "--repeat",
        "2",
        "--duration",
        "200ms",
        "--warmup",
        "50ms",
        "--output",
        "swept",
    ];
    let output = bench(&desk, &server, "sweep", &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let record = json(&desk.path().join("swept/sweep.json"));
    let runs = record["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 12);
    for (number, block) in runs.chunks(6).enumerate() {
        let mut levels: Vec<_> = block
            .iter()
            .map(|run| run["level"].as_f64().unwrap())
            .collect();
        levels.sort_by(f64::total_cmp);
        assert_eq!(levels, [1.0, 2.0, 3.0, 4.0, 6.0, 8.0], "block {number}");
        assert!(block.iter().all(|run| run["repeat"] == number + 1));
    }
    // Six levels of concurrency are enough for a law, trustworthy or not.
    let law = &record["law"];
    assert!(
        law["sigma"].as_f64().is_some() && law["kappa"].as_f64().is_some(),
        "{law}"
    );
    let said = text(&output.stdout);
    assert!(
        said.contains("scalability law") && said.contains("trustworthy")
            || said.contains("TRUSTWORTHY"),
        "{said}"
    );
    let csv = std::fs::read_to_string(desk.path().join("swept/sweep.csv")).unwrap();
    assert_eq!(csv.lines().count(), 13);
    assert!(desk.path().join("swept/report.html").is_file());
    // A few levels are not.
    let few = [
        "--over",
        "users",
        "--values",
        "1,2",
        "--repeat",
        "1",
        "--duration",
        "200ms",
        "--output",
        "few",
    ];
    let output = bench(&desk, &server, "sweep", &few);
    let said = text(&output.stdout)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(
        said.contains("no scalability law: 2 valid levels"),
        "{said}"
    );
}

#[test]
fn a_plan_tells_replicas_from_a_search_and_says_what_it_does_not_know() {
    let server = capacity(5);
    let desk = Desk::new(USERS);
    let output = search(&desk, &server, &["--precision", "0%"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let capacity = json(&desk.path().join("found/search.json"))["answer"]["throughput_rps"][0]
        .as_f64()
        .unwrap();
    let plan = |more: &[&str]| {
        let fixed = ["plan", "found", "--replicas", "1", "--utilisation", "100%"];
        desk.bench(&[&fixed[..], more].concat()).output().unwrap()
    };
    let triple = format!("{}/s", capacity * 3.0 - 0.01);
    let demands = [
        "--target-rate",
        "1/s",
        "--target-rate",
        &triple,
        "--output",
        "plan.json",
    ];
    let output = plan(&demands);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(
        said.contains("not told") && said.contains("was not measured"),
        "{said}"
    );
    let written = json(&desk.path().join("plan.json"));
    assert_eq!(written["rows"][0]["need"]["steady"], 1);
    assert_eq!(written["rows"][1]["need"]["steady"], Value::Null);

    let output = plan(
        &[
            &demands[..],
            &["--assume-efficiency", "1", "--format", "markdown"],
        ]
        .concat(),
    );
    let said = text(&output.stdout);
    assert!(
        said.contains("ASSUMED") && said.contains("EXTRAPOLATED"),
        "{said}"
    );
    assert_eq!(
        json(&desk.path().join("plan.json"))["rows"][1]["need"]["steady"],
        3
    );
    // The documented targets are there when none is named.
    let said = text(&plan(&["--format", "markdown"]).stdout);
    for target in ["500/s", "1000/s", "5000/s", "43M/day", "500M/day", "50M/h"] {
        assert!(said.contains(&format!("| {target} |")), "{target}: {said}");
    }
    let nothing = Path::new("nothing");
    std::fs::create_dir(desk.path().join(nothing)).unwrap();
    let output = desk.bench(&["plan", "nothing"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("search.json"));
}
