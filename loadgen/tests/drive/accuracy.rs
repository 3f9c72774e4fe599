//! Figures must be what theory says they are.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use weir_load::{
    progress::Phase,
    run::{RunOptions, drive},
    stop::StopToken,
    summary::{Model, Verdict},
    target::Target,
};

use crate::{
    ENGINES, Kept, run, scenario,
    server::{Server, ok},
    try_run,
};

const MS: Duration = Duration::from_millis(1);

/// Histograms keep three digits.
const RESOLUTION: f64 = 0.999;

#[test]
fn no_latency_is_below_the_delay_of_the_server() {
    for engine in ENGINES {
        let server = Server::start(|_| {
            std::thread::sleep(MS * 20);
            ok("x")
        });
        let outcome = run(
            &scenario(
                &format!("duration = \"2s\"\nwarmup = \"200ms\"\nengine = \"{engine}\""),
                "model = \"closed\"\nusers = 4",
            ),
            server.address,
        );
        let summary = outcome.summary;
        assert_eq!(summary.model, Model::Closed);
        assert_eq!(summary.errors, 0, "{:?}", summary.failures);
        assert!(summary.response.min_ms >= 20.0 * RESOLUTION, "{engine}");
        // The slowest machine still answers half of them within ten times the delay.
        assert!(summary.response.p50_ms < 200.0, "{engine}");
        // Four users, 20 ms each: at most 200 a second, and Little's law gives the users back.
        assert!(
            summary.throughput_rps <= 201.0,
            "{}",
            summary.throughput_rps
        );
        let users = summary.extra["littles_law_users"];
        assert!((3.5..=4.1).contains(&users), "{engine}: {users}");
        let counted = summary.extra["in_flight_mean"];
        assert!(
            (counted - summary.extra["littles_law_n"]).abs() < 0.3,
            "{engine}"
        );
    }
}

#[test]
fn a_stall_shows_in_response_time_and_hides_in_service_time() {
    // Everything that arrives during one second waits for its end; there is one connection, so
    // that only one request meets the stall while it is being served.
    let first = Arc::new(Mutex::new(None));
    let server = Server::start(move |_| {
        let now = Instant::now();
        let start = *first.lock().unwrap().get_or_insert(now);
        let stall = (start + MS * 1000, start + MS * 2000);
        if now >= stall.0 && now < stall.1 {
            std::thread::sleep(stall.1 - now);
        }
        ok("x")
    });
    let outcome = run(
        &scenario(
            "duration = \"4s\"\nengine = \"wire\"\nconnections = 1",
            "model = \"open\"\nrate = \"200/s\"",
        ),
        server.address,
    );
    let summary = outcome.summary;
    assert_eq!(summary.model, Model::Open);
    assert_eq!(summary.requests + summary.unsent, 800);
    // A quarter of the arrivals fell into the stall and waited for up to a second, evenly spread:
    // one in a hundred of all waited for at least 0.9 s.
    assert!(summary.response.p99_ms > 900.0, "{:?}", summary.response);
    assert!(summary.response.p999_ms > 950.0, "{:?}", summary.response);
    assert!(summary.response.p90_ms > 300.0, "{:?}", summary.response);
    // Service time knows of one slow request in 800.
    assert!(summary.service.p95_ms < 200.0, "{:?}", summary.service);
    assert!(summary.service.max_ms > 900.0, "{:?}", summary.service);
    assert!(summary.response.mean_ms > summary.service.mean_ms + 50.0);
    assert!(summary.extra["waited_for_connection"] > 150.0);
    // Not the generator's fault, and worth a remark.
    assert_ne!(summary.validity.verdict, Verdict::Valid);
}

#[test]
fn with_enough_connections_service_and_response_time_agree() {
    let server = Server::start(|_| {
        std::thread::sleep(MS * 10);
        ok("x")
    });
    let outcome = run(
        &scenario(
            "duration = \"2s\"\nwarmup = \"500ms\"\nengine = \"wire\"\nconnections = 64",
            "model = \"open\"\nrate = \"200/s\"\narrivals = \"poisson\"",
        ),
        server.address,
    );
    let summary = outcome.summary;
    assert_eq!(summary.errors, 0, "{:?}", summary.failures);
    assert!(summary.service.min_ms >= 10.0 * RESOLUTION);
    assert!(summary.response.min_ms >= summary.service.min_ms * RESOLUTION);
    // What lies between them is the lag of the generator.
    let lag = summary.send_lag.unwrap();
    let between = summary.response.mean_ms - summary.service.mean_ms;
    assert!(
        (between - lag.mean_ms).abs() < 0.5 + lag.mean_ms,
        "{between} {lag:?}"
    );
}

#[test]
fn every_arrival_is_either_sent_or_counted_as_unsent() {
    // One connection and 50 ms a request: 20 of the intended 200 a second can be sent.
    let server = Server::start(|_| {
        std::thread::sleep(MS * 50);
        ok("x")
    });
    let outcome = run(
        &scenario(
            "duration = \"2s\"\nengine = \"wire\"\nconnections = 1",
            "model = \"open\"\nrate = \"200/s\"",
        ),
        server.address,
    );
    let summary = outcome.summary;
    assert_eq!(summary.requests + summary.unsent, 400);
    assert!(summary.unsent >= 350, "{}", summary.unsent);
    assert_eq!(summary.intended_rps.unwrap().round(), 200.0);
    let intended: u64 = summary.intervals.iter().map(|second| second.intended).sum();
    assert_eq!(intended, 400);
    assert_eq!(server.requests(), summary.requests);
}

#[test]
fn warm_up_is_excluded_and_the_rest_is_complete() {
    for engine in ENGINES {
        let server = Server::start(|_| ok("x"));
        let scenario = scenario(
            &format!("duration = \"2s\"\nwarmup = \"1s\"\nengine = \"{engine}\""),
            "model = \"open\"\nrate = \"100/s\"",
        );
        let kept = Arc::new(Kept::default());
        let outcome = drive(
            &scenario,
            &Target::local(server.address).unwrap(),
            &RunOptions::default(),
            kept.clone(),
            &StopToken::new(),
        )
        .unwrap();
        let summary = &outcome.summary;
        assert_eq!(summary.requests + summary.unsent, 200, "{engine}");
        assert_eq!(server.requests(), summary.requests + 100, "{engine}");
        assert_eq!(summary.intervals.len(), 2);
        let by_second: u64 = summary.intervals.iter().map(|second| second.requests).sum();
        assert_eq!(by_second, summary.requests);
        assert_eq!(summary.response.count, summary.ok);
        let ticks = kept.0.lock().unwrap();
        let phases: Vec<_> = ticks.iter().map(|tick| tick.phase).collect();
        assert_eq!(phases, [Phase::WarmUp, Phase::Measured, Phase::Measured]);
        assert!(ticks[0].requests > 0);
    }
}

#[test]
fn threads_share_one_and_the_same_schedule() {
    let server = Server::start(|_| ok("x"));
    let scenario = scenario(
        "duration = \"1s\"\nengine = \"wire\"\nconnections = 9\nseed = 5",
        "model = \"open\"\nrate = \"300/s\"\narrivals = \"poisson\"",
    );
    let requests = |threads: usize| {
        let options = RunOptions {
            threads,
            ..RunOptions::default()
        };
        let target = Target::local(server.address).unwrap();
        let outcome = drive(
            &scenario,
            &target,
            &options,
            Arc::new(weir_load::progress::NoProgress),
            &StopToken::new(),
        )
        .unwrap();
        outcome.summary.requests + outcome.summary.unsent
    };
    assert_eq!(requests(1), requests(3));
}

#[test]
fn an_early_end_keeps_what_was_measured() {
    let server = Server::start(|_| {
        std::thread::sleep(MS);
        ok("x")
    });
    let scenario = scenario(
        "duration = \"10m\"\nengine = \"wire\"",
        "model = \"closed\"\nusers = 2",
    );
    let stop = StopToken::new();
    let stopper = stop.clone();
    std::thread::spawn(move || {
        std::thread::sleep(MS * 1500);
        stopper.stop();
    });
    let outcome = try_run(&scenario, server.address, &stop).unwrap();
    let summary = outcome.summary;
    assert!(summary.duration_s >= 1.0 && summary.duration_s < 60.0);
    assert!(summary.requests > 0);
    assert_eq!(summary.validity.verdict, Verdict::Suspect);
    assert!(
        summary
            .validity
            .reasons
            .iter()
            .any(|r| r.contains("ended early")),
        "{:?}",
        summary.validity.reasons
    );
    let measured: f64 = outcome.recording.seconds().iter().map(|s| s.length_s).sum();
    assert!((measured - summary.duration_s).abs() < 1e-6);
}

#[test]
fn raw_data_is_written_and_adds_up() {
    let server = Server::start(|_| ok("x"));
    let scenario = scenario(
        "duration = \"2500ms\"\nengine = \"wire\"\nconnections = 4",
        "model = \"open\"\nrate = \"100/s\"",
    );
    let outcome = run(&scenario, server.address);
    let folder = tempfile::tempdir().unwrap();
    outcome.recording.write_hlog(folder.path()).unwrap();
    outcome.recording.write_timeseries(folder.path()).unwrap();
    let csv = std::fs::read_to_string(folder.path().join("timeseries.csv")).unwrap();
    assert_eq!(csv.lines().count(), 4, "{csv}");
    for name in ["response.hlog", "service.hlog", "send_lag.hlog"] {
        let log = std::fs::read_to_string(folder.path().join(name)).unwrap();
        let lines = log.lines().filter(|line| !line.starts_with(['#', '"']));
        assert_eq!(lines.count(), 3, "{name}: {log}");
    }
    let log = std::fs::read_to_string(folder.path().join("response.hlog")).unwrap();
    assert!(log.contains("Tag=root,"), "{log}");
}
