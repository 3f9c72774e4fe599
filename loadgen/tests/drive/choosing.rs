//! The real binary: what is run, who says so, and several scenarios in turn.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use weir_lab::replica::{self, DEFAULT_SECRET, Kind, ReplicaConfig};

use crate::server::{Server, ok};

fn weir_bench(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-bench"));
    command
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WEIR_BENCH_")) {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The row of a field in what `--explain --json` printed.
fn row<'a>(explained: &'a Value, field: &str) -> &'a Value {
    let rows = explained["values"].as_array().unwrap();
    rows.iter()
        .find(|row| row["field"] == field)
        .unwrap_or_else(|| panic!("no {field} in {explained:#}"))
}

#[test]
fn every_value_in_effect_names_where_it_comes_from() {
    let output = weir_bench(
        &[
            "run",
            "-s",
            "smoke",
            "--explain",
            "--json",
            "--users",
            "7",
            "--set",
            "thresholds.p99=300ms",
            "--set",
            "seed=9",
        ],
        &[("WEIR_BENCH_USERS", "20"), ("WEIR_BENCH_DURATION", "30s")],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = |field: &str, value: &str, origin: &str| {
        let row = row(&explained, field);
        assert_eq!(row["value"], value, "{row}");
        let from = row["origin"].as_str().unwrap();
        assert!(from.contains(origin), "{row}");
    };
    check("load.users", "7", "--users");
    check("duration", "30s", "WEIR_BENCH_DURATION");
    assert_eq!(row(&explained, "duration")["instead_of"], "1m");
    check("thresholds.p99", "300ms", "--set");
    check("seed", "9", "--set");
    check("warmup", "3s", "config/scenarios/smoke.toml:6");
    check("timeouts.connect", "5s", "documented.toml:");
    check("login.path", "/api/v1/auth/login", "(extended)");
    check("http.version", "1.1", "default");
    // 7 users who think for 1.25 s on average, for 30 s.
    assert_eq!(explained["schedule"]["requests"], 168.0);
    assert_eq!(explained["schedule"]["in_flight"], 7);

    let output = weir_bench(&["run", "-s", "rate", "--explain", "--rate", "50"], &[]);
    let printed = text(&output.stdout);
    assert!(
        printed.contains("--rate") && printed.contains("exactly"),
        "{printed}"
    );
}

#[test]
fn a_misspelt_variable_is_told_and_the_run_goes_on() {
    let variables = [("WEIR_BENCH_USRES", "20"), ("WEIR_BENCH_DURATION", "30s")];
    let output = weir_bench(&["run", "-s", "smoke", "--explain", "--json"], &variables);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(
        said.trim_end(),
        "warning: `WEIR_BENCH_USRES` is no flag and is ignored: did you mean `WEIR_BENCH_USERS`?"
    );
}

#[test]
fn mistakes_are_told_under_the_name_of_where_they_were_made() {
    /// Arguments, environment, and what the message says.
    type Case = (
        &'static [&'static str],
        &'static [(&'static str, &'static str)],
        &'static str,
    );
    let cases: [Case; 6] = [
        (
            &["run", "-s", "rate", "--explain"],
            &[("WEIR_BENCH_USERS", "5")],
            "`WEIR_BENCH_USERS` (--users): this scenario has model = \"open\"",
        ),
        (
            &["run", "-s", "rate", "--explain"],
            &[("WEIR_BENCH_SEED", "x")],
            "--seed is WEIR_BENCH_SEED from the environment",
        ),
        (
            &[
                "run",
                "-s",
                "smoke",
                "--explain",
                "--set",
                "load.users=many",
            ],
            &[],
            "`--set`: load.users: ",
        ),
        (
            &["run", "-s", "smoke", "--explain", "--set", "load.user=3"],
            &[],
            "unknown field `user`",
        ),
        (
            &["run", "-s", "smoke", "--explain", "--set", "load.users"],
            &[],
            "must be a path and a value",
        ),
        (&["run", "-s", "smoke"], &[], "--target"),
    ];
    for (arguments, variables, expected) in cases {
        let output = weir_bench(arguments, variables);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {error}");
        assert!(error.contains(expected), "{arguments:?} {error}");
    }
}

#[test]
fn the_environment_supplies_target_and_number_of_requests() {
    let server = Server::start(|_| ok("x"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plain.toml");
    std::fs::write(
        &file,
        "name = \"plain\"\nduration = \"60s\"\nload = { model = \"closed\", users = 3 }\nrequests = [{ name = \"a\", path = \"/\" }]\n",
    )
    .unwrap();
    let target = format!("http://{}", server.address);
    let output = weir_bench(
        &[
            "run",
            "-s",
            file.to_str().unwrap(),
            "--quiet",
            "--no-save",
            "--json",
        ],
        &[
            ("WEIR_BENCH_TARGET", target.as_str()),
            ("WEIR_BENCH_REQUESTS", "41"),
            ("WEIR_BENCH_THREADS", "2"),
        ],
    );
    assert_eq!(server.requests(), 41, "{}", text(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["requests"], 41);
}

#[test]
fn a_list_of_scenarios_runs_in_turn_with_one_verdict_each() {
    let replica = replica::start(ReplicaConfig {
        name: "one".into(),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        kind: Kind::Api {
            capacity: None,
            secret: DEFAULT_SECRET.into(),
        },
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.toml");
    std::fs::write(
        &list,
        "name = \"list\"\nscenarios = [\"smoke\", \"rate\", \"edge\"]\n",
    )
    .unwrap();
    let target = format!("http://{}", replica.addresses()[0]);
    let results = folder.path().join("results");
    let arguments = [
        "run",
        "-s",
        list.to_str().unwrap(),
        "--target",
        &target,
        "--quiet",
        "--results",
        results.to_str().unwrap(),
        "--time-scale",
        "0.01",
        "--rate",
        "100",
        "--users",
        "4",
        "--connections",
        "20",
        "--warmup",
        "0",
    ];
    let output = weir_bench(&arguments, &[]);
    let printed = text(&output.stdout);
    // So short a run misses thresholds, and may be called invalid: it is told, and it is the code.
    let code = output.status.code().unwrap();
    assert!(
        [0, 3, 5].contains(&code),
        "{printed}{}",
        text(&output.stderr)
    );
    let folders: Vec<_> = std::fs::read_dir(&results)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .collect();
    assert_eq!(folders.len(), 3, "{folders:?}");
    for name in ["smoke", "rate", "edge"] {
        let verdict = printed
            .lines()
            .rev()
            .find(|line| line.starts_with(name))
            .unwrap();
        assert!(
            ["passed", "failed", "invalid"]
                .iter()
                .any(|word| verdict.contains(word)),
            "{verdict}"
        );
        assert!(
            folders
                .iter()
                .any(|f| f.file_name().to_string_lossy().contains(name))
        );
    }

    let output = weir_bench(&[&arguments[..], &["--output", "x"]].concat(), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("--results"),
        "{}",
        text(&output.stderr)
    );
}
