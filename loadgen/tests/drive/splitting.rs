//! Shards of every kind of load: what each of them sends, and what `merge` makes of all.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use serde_json::Value;
use weir_load::record::{latency_histogram, sum_log};

use crate::{
    folders::{Desk, json, text},
    server::{Server, ok},
    shards::count,
};

/// Three shards of a run, each against a server of its own.
struct Split {
    desk: Desk,
    /// Paths that each shard asked for, sorted.
    asked: Vec<Vec<String>>,
}

impl Split {
    /// Runs the scenario in three shards at the same time, two threads each.
    fn run(desk: Desk, more: &[&str]) -> Self {
        let soon = SystemTime::now() + Duration::from_secs(5);
        let start = soon.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let start = start.as_secs().to_string();
        let shards: Vec<_> = (1..=3)
            .map(|number| {
                let asked: Arc<Mutex<Vec<String>>> = Arc::default();
                let kept = asked.clone();
                let server = Server::start(move |request| {
                    let path = request.head.split(' ').nth(1).unwrap_or_default();
                    kept.lock().unwrap().push(path.to_owned());
                    ok("x")
                });
                let (shard, folder) = (format!("{number}/3"), format!("shard-{number}"));
                let own = [
                    "--quiet",
                    "--shard",
                    &shard,
                    "--output",
                    &folder,
                    "--threads",
                    "2",
                    "--start-at",
                    &start,
                ];
                let arguments = [&own[..], more].concat();
                let child = desk.run(&server, &arguments).spawn().unwrap();
                (child, server, asked)
            })
            .collect();
        let mut all = Vec::new();
        for (child, server, asked) in shards {
            let output = child.wait_with_output().unwrap();
            // On a busy machine the generator may be late, which makes the shard invalid.
            let code = output.status.code();
            assert!(matches!(code, Some(0 | 5)), "{}", text(&output.stderr));
            drop(server);
            let mut asked = std::mem::take(&mut *asked.lock().unwrap());
            asked.sort();
            all.push(asked);
        }
        Self { desk, asked: all }
    }

    fn parts(&self) -> Vec<PathBuf> {
        let folder = |number| self.desk.path().join(format!("shard-{number}"));
        (1..=3).map(folder).collect()
    }

    fn summaries(&self) -> Vec<Value> {
        let parts = self.parts();
        parts
            .iter()
            .map(|part| json(&part.join("summary.json")))
            .collect()
    }

    /// Joins the shards; counts, logs and series must be those of all of them together.
    fn merge(&self) -> Value {
        let arguments = [
            "merge", "shard-1", "shard-2", "shard-3", "--output", "whole",
        ];
        let output = self.desk.bench(&arguments).output().unwrap();
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 5)), "{}", text(&output.stderr));
        let whole = self.desk.path().join("whole");
        let summary = json(&whole.join("summary.json"));
        for name in ["requests", "ok", "limited", "errors", "unsent"] {
            let sum: u64 = self.summaries().iter().map(|part| count(part, name)).sum();
            assert_eq!(count(&summary, name), sum, "{name}");
        }
        for log in ["response.hlog", "service.hlog"] {
            let mut sum = latency_histogram();
            for part in self.parts() {
                sum_log(&part.join(log))
                    .unwrap()
                    .values()
                    .for_each(|histogram| sum.add(histogram).unwrap());
            }
            let mut joined = latency_histogram();
            sum_log(&whole.join(log))
                .unwrap()
                .values()
                .for_each(|histogram| joined.add(histogram).unwrap());
            assert_eq!(joined, sum, "{log}: nothing is lost");
            assert_eq!(joined.len(), count(&summary, "ok"), "{log}");
        }
        let of_series: u64 = column(&whole, "requests").iter().sum();
        assert_eq!(of_series, count(&summary, "requests"));
        summary
    }
}

/// A column of `timeseries.csv`.
fn column(folder: &Path, name: &str) -> Vec<u64> {
    let mut csv = csv::Reader::from_path(folder.join("timeseries.csv")).unwrap();
    let at = csv.headers().unwrap().iter().position(|one| one == name);
    csv.records()
        .map(|row| row.unwrap()[at.unwrap()].parse().unwrap())
        .collect()
}

#[test]
fn each_line_of_a_trace_is_sent_by_the_shard_that_its_number_says() {
    let desk = Desk::new(
        "name = 'again'\nengine = 'wire'\n[load]\nmodel = 'open'\narrivals = 'replay'\n\
         trace = 'trace.jsonl'\n",
    );
    let lines: Vec<_> = (0..61)
        .map(|n| {
            format!(
                "{{\"at\": {}, \"path\": \"/items/{n}\"}}\n",
                f64::from(n) / 60.0
            )
        })
        .collect();
    fs::write(desk.path().join("trace.jsonl"), lines.concat()).unwrap();
    let split = Split::run(desk, &[]);
    for (shard, asked) in split.asked.iter().enumerate() {
        let mut own: Vec<_> = (shard..61)
            .step_by(3)
            .map(|n| format!("/items/{n}"))
            .collect();
        own.sort();
        assert_eq!(*asked, own, "shard {}", shard + 1);
    }
    let summary = split.merge();
    assert_eq!(count(&summary, "requests") + count(&summary, "unsent"), 61);
    let names: Vec<_> = summary["endpoints"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(names[0]["name"], "GET_/items/*");
}

#[test]
fn users_of_stages_come_and_go_in_their_shards() {
    let desk = Desk::new(
        "name = 'stages'\nwarmup = '0s'\nengine = 'wire'\n[load]\nmodel = 'closed'\n\
         think_time = '20ms'\nstages = [{ duration = '1.5s', users = 3 }, \
         { duration = '2s', users = 7 }, { duration = '1s', users = 2 }]\n\
         [[requests]]\nname = 'own'\npath = '/users/{{user}}'\n",
    );
    let split = Split::run(desk, &[]);
    let users: Vec<BTreeSet<_>> = split
        .asked
        .iter()
        .map(|asked| asked.iter().map(String::as_str).collect())
        .collect();
    let expected = [
        ["/users/1", "/users/4", "/users/7"].as_slice(),
        &["/users/2", "/users/5"],
        &["/users/3", "/users/6"],
    ];
    for (users, expected) in users.iter().zip(expected) {
        assert_eq!(*users, expected.iter().copied().collect());
    }
    let summary = split.merge();
    assert!(count(&summary, "requests") > 100, "{summary}");
    assert_eq!(count(&summary, "errors"), 0);
    // Half a second after each step, at the latest, everybody has come or gone.
    let present = column(&split.desk.path().join("whole"), "users");
    assert_eq!(present[..4], [3, 7, 7, 2], "{present:?}");
}

#[test]
fn a_fixed_number_of_requests_is_dealt_out_exactly() {
    let closed = "name = 'closed'\nduration = '1m'\nwarmup = '0s'\nengine = 'wire'\n\
        [load]\nmodel = 'closed'\nusers = 7\nthink_time = '5ms'\n";
    let open = "name = 'open'\nduration = '1m'\nwarmup = '0s'\nengine = 'wire'\n\
        connections = 12\n[load]\nmodel = 'open'\nrate = '150/s'\n";
    for load in [closed, open] {
        let desk = Desk::new(&format!("{load}[[requests]]\nname = 'a'\npath = '/a'\n"));
        let split = Split::run(desk, &["--requests", "100"]);
        let seen: Vec<_> = split.asked.iter().map(Vec::len).collect();
        assert_eq!(seen, [34, 33, 33], "{load}");
        let told: Vec<_> = split
            .summaries()
            .iter()
            .map(|summary| (count(summary, "requests"), count(summary, "unsent")))
            .collect();
        assert_eq!(told, [(34, 0), (33, 0), (33, 0)], "{load}");
        let summary = split.merge();
        assert_eq!(count(&summary, "ok"), 100, "{load}");
    }
}

#[test]
fn starts_that_lie_apart_are_told_and_held_against_the_whole() {
    let desk = Desk::new(
        "name = 'apart'\nduration = '3s'\nwarmup = '0s'\nengine = 'wire'\n[load]\n\
         model = 'closed'\nusers = 3\nthink_time = '10ms'\n[[requests]]\nname = 'a'\npath = '/'\n",
    );
    let split = Split::run(desk, &[]);
    // The clocks of three machines, as each of them would have told its start; and nothing else
    // is held against the shards, however busy this machine is.
    let set = |third: &str| {
        for (part, at) in split.parts().iter().zip(["00.000", "00.120", third]) {
            let file = part.join("summary.json");
            let mut summary = json(&file);
            summary["started_at"] = format!("2030-01-31T12:00:{at}Z").into();
            summary["validity"] = serde_json::json!({"verdict": "valid", "reasons": []});
            fs::write(&file, summary.to_string()).unwrap();
        }
    };
    let merged = |name: &str| {
        let arguments = ["merge", "shard-1", "shard-2", "shard-3", "--output", name];
        let output = split.desk.bench(&arguments).output().unwrap();
        let folder = split.desk.path().join(name);
        let summary = json(&folder.join("summary.json"));
        let record = json(&folder.join("run.json"));
        let reasons = summary["validity"]["reasons"].to_string();
        let verdict = summary["validity"]["verdict"].as_str().unwrap().to_owned();
        let said = text(&output.stdout) + &text(&output.stderr);
        let code = output.status.code();
        (code, verdict, reasons, record["merged"].clone(), said)
    };
    // Three servers are three targets, which is always said.
    set("00.200");
    let (code, verdict, reasons, clocks, said) = merged("close");
    assert_eq!((code, verdict.as_str()), (Some(0), "suspect"), "{said}");
    assert!(!reasons.contains("apart"), "{reasons}");
    assert!(
        (clocks["skew_s"].as_f64().unwrap() - 0.2).abs() < 1e-6,
        "{clocks}"
    );

    set("00.270");
    let (code, verdict, reasons, clocks, said) = merged("apart");
    assert_eq!((code, verdict.as_str()), (Some(0), "suspect"), "{said}");
    assert!(
        reasons.contains("began 0.27 s apart by their own clocks"),
        "{reasons}"
    );
    assert!(
        (clocks["overlap"].as_f64().unwrap() - 0.91).abs() < 0.01,
        "{clocks}"
    );

    set("02.000");
    let (code, verdict, reasons, clocks, said) = merged("alone");
    assert_eq!((code, verdict.as_str()), (Some(5), "invalid"), "{said}");
    assert!(
        reasons.contains("2.0 s apart") && reasons.contains("--start-at"),
        "{reasons}"
    );
    assert!(
        (clocks["overlap"].as_f64().unwrap() - 0.333).abs() < 0.01,
        "{clocks}"
    );
    // Seconds are still counted from each shard's own start.
    let rows = |name: &str| column(&split.desk.path().join(name), "requests");
    assert_eq!(rows("alone"), rows("close"));
    // And what was joined lies over a single shard in one report.
    let report = ["report", "alone", "shard-1", "--output", "both.html"];
    let output = split.desk.bench(&report).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let page = fs::read_to_string(split.desk.path().join("both.html")).unwrap();
    assert!(page.contains("2 runs compared") && page.contains("3-users-shard-1-of-3"));
}
