//! The load generator before the proxy and its stand-in replicas.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use weir_tests::{
    Origin, Replica, Reply, Weir,
    process::{Finished, Process, run, start},
    wait::eventually_some,
    weir::Server as _,
};

/// The documented requests in small: login, reads and writes.
const REQUESTS: &str = r#"
    [login]
    method = "POST"
    path = "/api/v1/auth/login"
    body = '{"username": "user-{{user}}", "password": "load-test"}'
    token = "access_token"
    [[requests]]
    name = "read"
    path = "/api/v1/compliance/statistics"
    weight = 9
    [[requests]]
    name = "write"
    method = "POST"
    path = "/api/v1/compliance/audit/log"
    body = '{"event": "login"}'
    weight = 1
"#;

/// A closed model of a few users who hardly think.
const CLOSED: &str = r#"
    name = "test"
    duration = "2s"
    warmup = "500ms"
    [load]
    model = "closed"
    users = 6
    spawn_rate = "100/s"
    think_time = { min = "10ms", max = "30ms" }
"#;

/// A scenario in a folder of its own, and where results may go.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new(scenario: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("scenario.toml"), scenario.concat()).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    async fn run(&self, target: std::net::SocketAddr) -> Finished {
        let (scenario, target, out) = (
            self.path("scenario.toml"),
            format!("http://{target}"),
            self.path("out"),
        );
        run(
            "weir-bench",
            &[
                "run",
                "--scenario",
                &scenario,
                "--target",
                &target,
                "--output",
                &out,
                "--quiet",
            ],
        )
        .await
    }

    fn summary(&self) -> Value {
        let file: PathBuf = self.dir.path().join("out/summary.json");
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
    }
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no count"))
}

#[tokio::test]
async fn two_replicas_through_the_proxy() {
    let (a, b) = (
        Replica::start(&["--service-time", "2ms"]).await,
        Replica::start(&["--service-time", "2ms"]).await,
    );
    let weir = Weir::before(&[&a, &b]).start().await;
    let bench = Bench::new(&[
        CLOSED,
        REQUESTS,
        "[thresholds]\np50 = '5s'\nerror_rate = '0.1%'\nmin_throughput = '1/s'",
    ]);
    let done = bench.run(weir.addr()).await;
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    let summary = bench.summary();
    assert!(number(&summary["ok"]) > 50, "{summary}");
    assert_eq!(
        (number(&summary["errors"]), number(&summary["limited"])),
        (0, 0)
    );
    // Reads and writes in their proportion, more or less.
    let share = |at: usize| {
        number(&summary["endpoints"][at]["requests"]) as f64 / number(&summary["requests"]) as f64
    };
    assert!(share(0) > 0.7 && share(1) > 0.01, "{summary}");
    // What the generator counted went through the proxy, to both, and nothing is left behind.
    let (at_a, at_b) = (
        weir.admin.server(a.addr()).await,
        weir.admin.server(b.addr()).await,
    );
    let (to_a, to_b) = (number(&at_a["requests"]), number(&at_b["requests"]));
    assert!(
        to_a + to_b >= number(&summary["requests"]),
        "{to_a} + {to_b}"
    );
    assert!(
        to_a.abs_diff(to_b) * 5 < to_a + to_b,
        "least_conn shares evenly: {to_a}, {to_b}"
    );
    assert_eq!(
        (&at_a["in_flight"], &at_b["in_flight"]),
        (&0.into(), &0.into())
    );
    for file in [
        "summary.json",
        "timeseries.csv",
        "response.hlog",
        "service.hlog",
    ] {
        let length = std::fs::metadata(bench.path(&format!("out/{file}")))
            .unwrap()
            .len();
        assert!(length > 0, "{file} is empty");
    }
}

#[tokio::test]
async fn a_replica_killed_during_a_run_fails_no_more_than_was_in_flight_on_it_and_returns() {
    const SLOTS: u64 = 4;
    let capacity = ["--service-time", "40ms", "--slots", "4"];
    let (mut a, b) = (
        Replica::start(&capacity).await,
        Replica::start(&capacity).await,
    );
    let weir = Weir::before(&[])
        .servers(
            &[a.addr(), b.addr()]
                .map(|at| format!("{{ address = '{at}', max_fails = 2, fail_timeout = '1s' }}")),
        )
        .with("upstream.api.retry = { tries = 2, timeout = '5s' }")
        .start()
        .await;
    let scenario = CLOSED.replace("'2s'", "'6s'").replace("\"2s\"", "\"6s\"");
    let bench = Bench::new(&[&scenario, REQUESTS]);
    let killed_address = a.addr();
    let requests = async |at| number(&weir.admin.server(at).await["requests"]);

    let (done, (killed_at, in_flight)) = tokio::join!(bench.run(weir.addr()), async {
        eventually_some("load on both replicas", async || {
            (requests(a.addr()).await > 20 && weir.admin.in_flight(a.addr()).await >= 1)
                .then_some(())
        })
        .await;
        let in_flight = weir.admin.in_flight(killed_address).await;
        let killed_at = SystemTime::now();
        a.process.kill().await;
        let at_b = requests(b.addr()).await;
        eventually_some("the traffic to move to the other", async || {
            (requests(b.addr()).await > at_b + 20).then_some(())
        })
        .await;
        eventually_some("the dead one to be taken out", async || {
            (weir.admin.server(killed_address).await["state"] == "failed").then_some(())
        })
        .await;
        a = Replica::start_on(killed_address, &capacity).await;
        let before = requests(killed_address).await;
        eventually_some("the traffic to return", async || {
            (requests(killed_address).await > before + 10).then_some(())
        })
        .await;
        assert_eq!(weir.admin.server(killed_address).await["state"], "up");
        (killed_at, in_flight)
    });
    let summary = bench.summary();
    let failed = number(&summary["errors"]);
    assert!(
        failed <= SLOTS.max(in_flight),
        "{failed} failed, {in_flight} in flight: {}",
        done.stdout
    );
    // Every request that failed had been sent to it before it died.
    let killed_at = killed_at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let mut lost = 0;
    for line in weir.access_log() {
        if number(&line["status"]) >= 500 {
            lost += 1;
            assert_eq!(line["server"], killed_address.to_string(), "{line}");
            assert!(
                unix_ms(line["time"].as_str().unwrap()) <= killed_at,
                "{line}"
            );
        }
    }
    assert!(
        lost >= failed,
        "{lost} in the log, {failed} at the generator"
    );
    assert!(number(&summary["ok"]) > 100, "{summary}");
}

/// Milliseconds since 1970 of `2026-11-21T07:46:03.541Z`, within one day.
fn unix_ms(time: &str) -> u128 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let clock = time.split(['T', 'Z']).nth(1).unwrap();
    let mut parts = clock
        .split([':', '.'])
        .map(|part| part.parse::<u128>().unwrap());
    let mut part = || parts.next().unwrap();
    let of_day = ((part() * 60 + part()) * 60 + part()) * 1000 + part();
    let midnight = now - now % 86_400_000;
    // A test that runs over midnight looks at yesterday's times.
    if midnight + of_day > now + 3_600_000 {
        midnight + of_day - 86_400_000
    } else {
        midnight + of_day
    }
}

#[tokio::test]
async fn requests_that_the_limit_rejects_are_counted_apart_from_errors() {
    let api = Replica::start(&["--service-time", "1ms"]).await;
    let weir = Weir::before(&[&api])
        .with(
            "route = [{ upstream = 'api', rate_limit = ['z'] }]
             rate_limit.z = { rate = '10r/s', burst = 20, nodelay = true }",
        )
        .start()
        .await;
    let bench = Bench::new(&[CLOSED, REQUESTS]);
    bench.run(weir.addr()).await;
    let summary = bench.summary();
    assert!(number(&summary["limited"]) > 20, "{summary}");
    assert_eq!(number(&summary["errors"]), 0, "{summary}");
}

#[tokio::test]
async fn exit_codes_tell_what_happened() {
    let api = Origin::answering(Reply::text("hello")).await;
    let requests = "[[requests]]\nname = 'x'\npath = '/'\n";
    let down: std::net::SocketAddr = "127.0.0.1:1".parse().unwrap();
    let remote: std::net::SocketAddr = "192.0.2.1:80".parse().unwrap();
    let fine = &[CLOSED, requests, "[thresholds]\np50 = '10s'"][..];
    for (what, scenario, target, code, mentions) in [
        ("all is well", fine, api.addr(), 0, ""),
        ("the target is down", fine, down, 1, "127.0.0.1:1"),
        ("no requests", &[CLOSED][..], api.addr(), 2, "requests"),
        (
            "an unknown key",
            &[CLOSED, "colour = 1\n", requests][..],
            api.addr(),
            2,
            "colour",
        ),
        (
            "a wrong unit",
            &[&CLOSED.replace("2s", "2 parsecs"), requests][..],
            api.addr(),
            2,
            "duration",
        ),
        ("a host that is not this one", fine, remote, 2, "192.0.2.1"),
        (
            "a threshold missed",
            &[CLOSED, requests, "[thresholds]\np50 = '1us'"][..],
            api.addr(),
            3,
            "p50 latency",
        ),
        (
            "a threshold that the load cannot reach by arithmetic is no failure of the target",
            &[
                CLOSED,
                requests,
                "[thresholds]\nmin_throughput = '1000000/s'",
            ][..],
            api.addr(),
            0,
            "not reachable",
        ),
    ] {
        let done = Bench::new(scenario).run(target).await;
        let said = format!("{}{}", done.stdout, done.stderr);
        assert_eq!(done.code, Some(code), "{what}: {said}");
        assert!(said.contains(mentions), "{what}: no {mentions:?} in {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
    }
}

#[tokio::test]
async fn a_run_that_cannot_be_believed_is_exit_code_5() {
    let api = Origin::named("quick").await;
    let open = "name = 'test'\nduration = '2s'\nwarmup = '0s'\nconnections = 50\nengine = 'wire'\n\
                [load]\nmodel = 'open'\nrate = '200/s'\narrivals = 'uniform'\n\
                [[requests]]\nname = 'x'\npath = '/'\n[thresholds]\np50 = '10s'\n";
    let bench = Bench::new(&[open]);
    let (scenario, target) = (
        bench.path("scenario.toml"),
        format!("http://{}", api.addr()),
    );
    let args = ["run", "--scenario", &scenario, "--target", &target];
    let mut generator = start("weir-bench", &args, bench.dir.path());
    weir_tests::eventually("load", || api.count() > 20).await;
    // The generator itself stands still for a while: what it sends afterwards is late, by its own fault.
    generator.signal(Signal::SIGSTOP);
    tokio::time::sleep(Duration::from_millis(500)).await;
    generator.signal(Signal::SIGCONT);
    assert_eq!(
        generator.exit_code().await,
        Some(5),
        "{}",
        generator.stdout()
    );
    assert!(
        generator.stdout().contains("late"),
        "{}",
        generator.stdout()
    );
}

#[tokio::test]
async fn a_stopped_run_stops_soon_and_says_so() {
    let api = Origin::answering(Reply::text("hello")).await;
    let bench = Bench::new(&[
        &CLOSED.replace("\"2s\"", "\"10m\""),
        "[[requests]]\nname = 'x'\npath = '/'\n",
    ]);
    let (scenario, target) = (
        bench.path("scenario.toml"),
        format!("http://{}", api.addr()),
    );
    let mut generator = start(
        "weir-bench",
        &["run", "--scenario", &scenario, "--target", &target],
        bench.dir.path(),
    );
    weir_tests::eventually("load", || api.count() > 20).await;
    generator.signal(Signal::SIGINT);
    let code = generator.exit_code().await;
    assert_ne!(code, Some(0), "a run cut short proves nothing");
    let sent = api.count();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(api.count(), sent, "no more load");
}

// === topologies that the generator starts itself ===

/// Runs on a topology of two replicas behind the proxy, from the workspace's own configuration.
fn on_two_replicas(bench: &Bench, duration: &str) -> Process {
    let scenario = bench.path("scenario.toml");
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../config");
    let (topology, proxy) = (
        format!("{config}/topologies/two.toml"),
        format!("{config}/proxy.toml"),
    );
    let results = bench.path("results");
    let args = [
        "run",
        "--scenario",
        &scenario,
        "--topology",
        &topology,
        "--proxy",
        &proxy,
        "--results",
        &results,
    ];
    start(
        "weir-bench",
        &[&args[..], &["--duration", duration]].concat(),
        bench.dir.path(),
    )
}

/// Ids and command lines of the processes that work in this folder.
fn processes_in(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(folder) && !line.contains(" run --scenario ") {
            found.push(format!("{} {line}", entry.file_name().display()));
        }
    }
    found
}

async fn everything_has_ended(bench: &Bench) {
    let folder = bench.path("results");
    weir_tests::eventually("all processes to end", || processes_in(&folder).is_empty()).await;
}

#[tokio::test]
async fn a_topology_is_started_driven_judged_and_stopped() {
    let bench = Bench::new(&[
        CLOSED,
        REQUESTS,
        "[thresholds]\np50 = '5s'\nerror_rate = '0.1%'\nmin_throughput = '500/s'",
    ]);
    let mut generator = on_two_replicas(&bench, "2s");
    let code = generator.exit_code().await;
    // A busy machine may make it invalid; what may not happen is an error.
    assert!(
        matches!(code, Some(0 | 3 | 5)),
        "{code:?} {}",
        generator.stderr()
    );
    let said = generator.stdout();
    assert!(said.contains("put back, verified"), "{said}");
    // 6 users who think 20 ms cannot ask 500 times a second.
    assert!(said.contains("not reachable"), "{said}");
    let folder = std::fs::read_dir(bench.path("results"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.join("run.json").exists())
        .expect("a run folder");
    for file in [
        "summary.json",
        "timeseries.csv",
        "response.hlog",
        "report.html",
        "run.json",
    ] {
        assert!(
            std::fs::metadata(folder.join(file)).unwrap().len() > 0,
            "{file}"
        );
    }
    let run: Value =
        serde_json::from_slice(&std::fs::read(folder.join("run.json")).unwrap()).unwrap();
    assert_eq!(run["tuning"]["restored"], true, "{}", run["tuning"]);
    assert!(
        number(&run["tuning"]["applied_revision"]) > 1,
        "{}",
        run["tuning"]
    );
    let summary: Value =
        serde_json::from_slice(&std::fs::read(folder.join("summary.json")).unwrap()).unwrap();
    assert!(number(&summary["ok"]) > 50, "{summary}");
    assert_eq!(
        (number(&summary["errors"]), number(&summary["limited"])),
        (0, 0),
        "the limits were raised"
    );
    everything_has_ended(&bench).await;
}

#[tokio::test]
async fn whatever_becomes_of_the_generator_its_processes_end() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let bench = Bench::new(&[CLOSED, REQUESTS]);
        let mut generator = on_two_replicas(&bench, "10m");
        let folder = bench.path("results");
        weir_tests::eventually("the proxy to be started", || {
            processes_in(&folder)
                .iter()
                .any(|line| line.contains("proxy.toml"))
        })
        .await;
        generator.signal(signal);
        assert_ne!(generator.exit_code().await, Some(0), "{signal}");
        everything_has_ended(&bench).await;
    }
}
