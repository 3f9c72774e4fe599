//! The real binary splits a run, and joins its parts.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Output,
    sync::{Arc, Mutex},
};

use serde_json::Value;

use crate::{
    folders::{Desk, json, text},
    server::{Server, ok},
};

/// 300 arrivals in all: evenly spaced, so that their number is exact.
const OPEN: &str = "name = 'open'\nduration = '2s'\nwarmup = '0s'\nengine = 'wire'\nconnections = 12\n\
    [load]\nmodel = 'open'\nrate = '150/s'\narrivals = 'uniform'\n\
    [[requests]]\nname = 'reads'\npath = '/reads'\nweight = 3\n\
    [[requests]]\nname = 'writes'\npath = '/writes'\nweight = 1\n";

/// Seven users, who say who they are.
const CLOSED: &str = "name = 'closed'\nduration = '1s'\nwarmup = '0s'\nengine = 'wire'\n\
    [load]\nmodel = 'closed'\nusers = 7\nthink_time = '10ms'\n\
    [[requests]]\nname = 'a'\npath = '/a/{{user}}'\n\
    [[requests]]\nname = 'b'\npath = '/b/{{user}}'\n";

/// Runs all shards at the same time and waits for them.
fn run_shards(desk: &Desk, server: &Server, of: usize, more: &[&str]) -> Vec<PathBuf> {
    let children: Vec<_> = (1..=of)
        .map(|number| {
            let shard = format!("{number}/{of}");
            let folder = format!("shard-{number}");
            let own = ["--quiet", "--shard", &shard, "--output", &folder];
            desk.run(server, &[&own[..], more].concat())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        // On a busy machine the generator may be late, which makes the shard invalid.
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 3 | 5)), "{}", text(&output.stderr));
    }
    (1..=of)
        .map(|number| desk.path().join(format!("shard-{number}")))
        .collect()
}

fn merge(desk: &Desk, parts: &[&Path]) -> Output {
    let parts: Vec<_> = parts.iter().map(|path| path.to_str().unwrap()).collect();
    let arguments = [&["merge"][..], &parts, &["--output", "whole"]].concat();
    desk.bench(&arguments).output().unwrap()
}

pub(crate) fn count(summary: &Value, name: &str) -> u64 {
    summary[name].as_u64().unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn shards_of_an_open_run_are_the_whole_and_join_without_loss() {
    let server = Server::start(|_| ok("x"));
    let desk = Desk::new(OPEN);
    // The same moment for all, however long each takes to start.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let start = (now.unwrap().as_secs() + 4).to_string();
    let parts = run_shards(&desk, &server, 3, &["--start-at", &start]);
    let output = merge(&desk, &[&parts[2], &parts[0], &parts[1]]);
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 5)), "{}", text(&output.stderr));

    let whole = desk.path().join("whole");
    let summary = json(&whole.join("summary.json"));
    let shards: Vec<_> = parts
        .iter()
        .map(|part| json(&part.join("summary.json")))
        .collect();
    for name in ["requests", "ok", "limited", "errors", "unsent"] {
        let sum: u64 = shards.iter().map(|shard| count(shard, name)).sum();
        assert_eq!(count(&summary, name), sum, "{name}");
    }
    // Every arrival of the schedule was somebody's, and nobody's twice.
    assert_eq!(count(&summary, "requests") + count(&summary, "unsent"), 300);
    assert_eq!(count(&summary, "requests"), server.requests());
    // Counts of the histograms, of the endpoints and of the seconds agree with each other.
    assert_eq!(count(&summary["response"], "count"), count(&summary, "ok"));
    let sum_of = |list: &str, name: &str| -> u64 {
        let list = summary[list].as_array().unwrap();
        list.iter().map(|one| count(one, name)).sum()
    };
    assert_eq!(sum_of("endpoints", "requests"), count(&summary, "requests"));
    assert_eq!(sum_of("intervals", "requests"), count(&summary, "requests"));
    assert_eq!(sum_of("intervals", "intended"), 300);
    let slowest = shards
        .iter()
        .map(|shard| shard["response"]["max_ms"].as_f64().unwrap());
    let slowest = slowest.fold(0.0, f64::max);
    assert_eq!(summary["response"]["max_ms"].as_f64().unwrap(), slowest);
    let series = std::fs::read_to_string(whole.join("timeseries.csv")).unwrap();
    let mut series = csv::Reader::from_reader(series.as_bytes());
    let at = series
        .headers()
        .unwrap()
        .iter()
        .position(|name| name == "requests");
    let rows = series.records().flatten();
    let total: u64 = rows
        .map(|row| row[at.unwrap()].parse::<u64>().unwrap())
        .sum();
    assert_eq!(total, count(&summary, "requests"));

    // A verdict of a shard is that of the whole: one invalid shard makes it invalid.
    let verdict = |summary: &Value| summary["validity"]["verdict"].as_str().unwrap().to_owned();
    if shards.iter().any(|shard| verdict(shard) == "invalid") {
        assert_eq!(verdict(&summary), "invalid");
        assert_eq!(output.status.code(), Some(5));
    }
    let record = json(&whole.join("run.json"));
    assert_eq!(record["merged"]["shards"].as_array().unwrap().len(), 3);
    assert!(record["shard"].is_null() && record["label"] == "150-per-s");
    let overlap = record["merged"]["overlap"].as_f64().unwrap();
    assert!(overlap > 0.95, "{overlap}: they had one start time");

    // The joined folder is a run folder like any other.
    let report = desk.bench(&["report", "whole"]).output().unwrap();
    assert!(report.status.success(), "{}", text(&report.stderr));
}

#[test]
fn a_joined_folder_is_judged_and_compared_like_any_other() {
    let server = Server::start(|_| ok("x"));
    let desk = Desk::new(&CLOSED.replace("'1s'", "'300ms'"));
    let parts = run_shards(&desk, &server, 2, &[]);
    let output = merge(&desk, &[&parts[0], &parts[1]]);
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 5)), "{}", text(&output.stderr));
    let summary = desk.path().join("whole/summary.json");
    let believed = |summary: &Path, p95: Option<f64>| {
        // A busy machine must not decide this test: the numbers are believed as they are.
        let mut value = json(summary);
        value["validity"] = serde_json::json!({"verdict": "valid", "reasons": []});
        if let Some(p95) = p95 {
            value["response"]["p95_ms"] = p95.into();
        }
        std::fs::write(summary, value.to_string()).unwrap();
    };
    believed(&summary, None);
    let judged = |words: &[&str]| {
        let output = desk.bench(words).output().unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        (output.status.code(), said)
    };

    let (code, said) = judged(&["gate", "whole", "--slo", "p99<1h,errors<1%"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = judged(&["gate", "whole", "--slo", "p50<1us"]);
    assert_eq!(code, Some(3), "{said}");

    // Against itself it is no worse; against half its response time it is.
    let (code, said) = judged(&["compare", "whole", "--baseline", "whole"]);
    assert_eq!(code, Some(0), "{said}");
    let copied = desk.path().join("faster");
    std::fs::create_dir(&copied).unwrap();
    for file in ["run.json", "summary.json"] {
        std::fs::copy(desk.path().join("whole").join(file), copied.join(file)).unwrap();
    }
    let p95 = json(&summary)["response"]["p95_ms"].as_f64().unwrap();
    believed(&copied.join("summary.json"), Some(p95 / 2.0));
    let (code, said) = judged(&["compare", "whole", "--baseline", "faster"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("p95"), "{said}");
    let (code, said) = judged(&["gate", "whole", "--slo", "p99<1h", "--baseline", "faster"]);
    assert_eq!(code, Some(4), "{said}");
}

#[test]
fn users_keep_their_numbers_and_do_the_same_as_in_the_unsplit_run() {
    // Who asked for what, in order, by user.
    type Seen = Arc<Mutex<BTreeMap<String, Vec<String>>>>;
    let watching = || {
        let seen: Seen = Arc::default();
        let kept = seen.clone();
        let server = Server::start(move |request| {
            let path = request.head.split(' ').nth(1).unwrap_or_default();
            let (endpoint, user) = path.trim_start_matches('/').split_once('/').unwrap();
            let mut seen = kept.lock().unwrap();
            seen.entry(user.to_owned())
                .or_default()
                .push(endpoint.to_owned());
            ok("x")
        });
        (server, seen)
    };
    let desk = Desk::new(CLOSED);
    let (server, unsplit) = watching();
    desk.run(&server, &["--quiet", "--no-save"])
        .output()
        .unwrap();
    let (server, split) = watching();
    let parts = run_shards(&desk, &server, 3, &[]);
    // Seven users in three shards: 3, 2 and 2.
    let users = |part: &PathBuf| json(&part.join("run.json"))["shard"]["number"].clone();
    assert_eq!(parts.iter().map(users).collect::<Vec<_>>(), [1, 2, 3]);

    let (unsplit, split) = (unsplit.lock().unwrap(), split.lock().unwrap());
    let everybody: BTreeSet<_> = (1..=7).map(|user| user.to_string()).collect();
    assert_eq!(split.keys().cloned().collect::<BTreeSet<_>>(), everybody);
    for user in &everybody {
        let (before, after) = (&unsplit[user], &split[user]);
        let both = before.len().min(after.len());
        assert!(both > 0, "{user}");
        assert_eq!(before[..both], after[..both], "user {user}");
    }
}

#[test]
fn what_does_not_belong_together_is_not_joined() {
    let server = Server::start(|_| ok("x"));
    let desk = Desk::new(&CLOSED.replace("'1s'", "'200ms'"));
    let parts = run_shards(&desk, &server, 2, &[]);
    let refused = |parts: &[&Path], expected: &str| {
        let output = merge(&desk, parts);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(!desk.path().join("whole").exists());
    };
    refused(&[&parts[0]], "shard 2 is missing");
    refused(&[&parts[0], &parts[1], &parts[0]], "is there twice");

    let run = |arguments: &[&str]| {
        let output = desk
            .run(&server, &[&["--quiet"], arguments].concat())
            .output();
        assert!(output.unwrap().status.code().is_some());
    };
    run(&["--output", "alone"]);
    refused(&[&parts[0], &desk.path().join("alone")], "is not a shard");
    run(&["--shard", "2/2", "--seed", "99", "--output", "other"]);
    refused(
        &[&parts[0], &desk.path().join("other")],
        "scenario.seed is 99",
    );
    run(&["--shard", "2/3", "--output", "third"]);
    refused(
        &[&parts[0], &desk.path().join("third")],
        "not parts of the same run",
    );
}

#[test]
fn the_index_of_a_job_chooses_the_shard_and_wrong_input_is_told() {
    let server = Server::start(|_| ok("x"));
    let desk = Desk::new(&CLOSED.replace("'1s'", "'200ms'"));
    let automatic = |index: Option<&str>| {
        let mut command = desk.run(
            &server,
            &["--quiet", "--shard", "auto/4", "--output", "auto"],
        );
        command.env_remove("JOB_COMPLETION_INDEX");
        if let Some(index) = index {
            command.env("JOB_COMPLETION_INDEX", index);
        }
        command.output().unwrap()
    };
    let output = automatic(Some("2"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let record = json(&desk.path().join("auto/run.json"));
    assert_eq!(
        (&record["shard"]["number"], &record["shard"]["of"]),
        (&3.into(), &4.into())
    );
    for (index, expected) in [
        (None, "JOB_COMPLETION_INDEX"),
        (Some("9"), "does not exist"),
    ] {
        let output = automatic(index);
        let said = text(&output.stderr);
        assert!(
            output.status.code() == Some(2) && said.contains(expected),
            "{said}"
        );
    }
    for (arguments, expected) in [
        (["--shard", "9/8"], "does not exist"),
        (["--shard", "8/8"], "has nothing to do"),
        (["--start-at", "2001-01-01T00:00:00Z"], "passed"),
        (["--start-at", "soon"], "is not a start time"),
    ] {
        let output = desk.run(&server, &arguments).output().unwrap();
        let said = text(&output.stderr);
        assert!(
            output.status.code() == Some(2) && said.contains(expected),
            "{said}"
        );
    }
}

/// The arguments of the Job, as `docker/k8s/loadgen-job.yaml` has them.
fn arguments_of_the_job(manifest: &str) -> Vec<&str> {
    let after = manifest.split("          args:\n").nth(1).unwrap();
    after
        .lines()
        .map_while(|line| line.strip_prefix("            - "))
        .collect()
}

#[test]
fn the_job_for_kubernetes_has_arguments_that_make_a_shard() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/k8s/loadgen-job.yaml");
    let manifest = std::fs::read_to_string(file).unwrap();
    for line in [
        "  completionMode: Indexed",
        "  completions: 4",
        "  parallelism: 4",
        "        runAsNonRoot: true",
        "            readOnlyRootFilesystem: true",
    ] {
        assert!(manifest.lines().any(|found| found == line), "{line}");
    }
    let arguments = arguments_of_the_job(&manifest);
    assert!(arguments.contains(&"--shard=auto/4"), "{arguments:?}");

    // What Kubernetes fills in, and a shorter run against a server of this test.
    let server = Server::start(|_| ok("x"));
    let desk = Desk::new(CLOSED);
    let target = format!("--target=http://{}", server.address);
    let folder = desk.path().join("shard-1");
    let output = format!("--output={}", folder.display());
    let arguments: Vec<&str> = arguments
        .into_iter()
        .map(
            |argument| match argument.split_once('=').unwrap_or((argument, "")).0 {
                "--scenario" => "--scenario=scenario.toml",
                "--target" => &target,
                "--target-approved" => "--target-approved=127.0.0.1",
                "--rate" => "--users=8",
                "--connections" => "--threads=1",
                "--duration" => "--duration=200ms",
                "--start-at" => "--start-at=+1s",
                "--output" => &output,
                _ => argument,
            },
        )
        .collect();
    let arguments = [&["run"][..], &arguments].concat();
    let output = desk
        .bench(&arguments)
        .env("JOB_COMPLETION_INDEX", "0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let record = json(&folder.join("run.json"));
    assert_eq!(
        (&record["shard"]["number"], &record["shard"]["of"]),
        (&1.into(), &4.into())
    );
    assert!(record["shard"]["start_at"].is_string());
}
