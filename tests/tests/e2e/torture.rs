//! Settings change a hundred times a second, at random, good ones and bad ones, while requests flow.
//!
//! Each state of the rate limit answers with a status of its own, so that every answer tells which
//! settings it was decided by. It must be one that was in force at some time between the request and its answer.
//!
//! `make torture` runs it longer and with optimised programs; `WEIR_TORTURE_SECONDS` and
//! `WEIR_TORTURE_SEED` choose length and seed.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};
use weir_tests::{Origin, Replica, Weir, client::Conn, wait::eventually, weir::Server as _};

/// Connections that ask without a pause.
const CLIENTS: usize = 16;
/// Time between two changes.
const EVERY: Duration = Duration::from_millis(10);

/// A state of the limit: the status of its answers, from when on it may have been in force, and until when.
#[derive(Debug, Clone, Copy)]
struct State {
    status: u16,
    from: Instant,
    until: Option<Instant>,
}

/// A request and its answer.
#[derive(Debug, Clone, Copy)]
struct Seen {
    status: u16,
    asked: Instant,
    answered: Instant,
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

/// Asks until told to stop; every answer must be a proper one.
async fn ask(
    address: std::net::SocketAddr,
    path: &'static str,
    stop: Arc<AtomicBool>,
) -> Vec<Seen> {
    let mut connection = Conn::open(address).await;
    let mut seen = Vec::new();
    while !stop.load(SeqCst) {
        let asked = Instant::now();
        let status = connection.get(path).await.status;
        seen.push(Seen {
            status,
            asked,
            answered: Instant::now(),
        });
    }
    seen
}

/// A change of something other than the limit, which must not be felt at all.
fn harmless(random: &mut SmallRng, second: &str) -> Value {
    match random.random_range(0..9) {
        0 => json!({"upstream": {"api": {"keepalive": random.random_range(0..64)}}}),
        1 => json!({"connections": {"max": random.random_range(200..2000)}}),
        2 => {
            json!({"compression": {"enabled": random.random::<bool>(), "level": random.random_range(1..=9)}})
        }
        3 => {
            json!({"timeouts": {"connect": format!("{}s", random.random_range(5..30)), "read": format!("{}s", random.random_range(20..60))}})
        }
        4 => {
            json!({"upstream": {"api": {"balance": if random.random() { "least_conn" } else { "round_robin" }}}})
        }
        5 => json!({"upstream": {"api": {"retry": {"tries": random.random_range(1..4)}}}}),
        6 if random.random() => json!({"upstream": {"api": {"health_check": null}}}),
        6 => json!({"upstream": {"api": {"health_check": {"path": "/", "interval": "100ms"}}}}),
        7 => {
            json!({"upstream": {"api": {"servers": [{"address": second, "weight": random.random_range(1..9)}]}}})
        }
        _ => json!({"client": {"max_body": format!("{}KiB", random.random_range(1..64))}}),
    }
}

/// A change that must be refused.
fn bad(random: &mut SmallRng) -> Value {
    match random.random_range(0..5) {
        0 => json!({"compression": {"level": 12}}),
        1 => json!({"upstream": {"none": {"keepalive": 1}}}),
        2 => json!({"rate_limit": {"code": {"rate": "fast"}}}),
        3 => json!({"upstream": {"api": {"servers": []}}}),
        _ => json!({"timeouts": {"connect": "0s"}, "connections": {"max": 300}}),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_explained_by_settings_that_were_in_force() {
    let (first, second) = (Origin::named("a").await, Origin::named("b").await);
    let weir = Weir::before(&[&first, &second])
        .with(
            "access_log.enabled = false
             connections.max = 1000
             rate_limit.code = { rate = '1r/m', enabled = false }
             route = [{ upstream = 'api', rate_limit = ['code'] }, { path = '/free', upstream = 'api' }]",
        )
        .start()
        .await;
    let seconds = number("WEIR_TORTURE_SECONDS", 2);
    let seed = number("WEIR_TORTURE_SEED", 1);
    let mut random = SmallRng::seed_from_u64(seed);
    let stop = Arc::new(AtomicBool::new(false));
    let (address, start) = (weir.addr(), Instant::now());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let path = if n % 4 == 0 { "/free" } else { "/" };
            (path, tokio::spawn(ask(address, path, Arc::clone(&stop))))
        })
        .collect();
    let admin = &weir.admin;
    let states = Mutex::new(vec![State {
        status: 200,
        from: start,
        until: None,
    }]);
    let enter = async |status: u16, limit: Value| {
        let from = Instant::now();
        admin.patch(json!({"rate_limit": {"code": limit}})).await;
        let mut states = states.lock().unwrap();
        if let Some(last) = states.last_mut() {
            last.until = Some(Instant::now());
        }
        states.push(State {
            status,
            from,
            until: None,
        });
    };
    let other = second.addr().to_string();
    let (mut changes, mut refused, mut overrides) = (0_u64, 0_u64, 0_u64);
    let mut tick = tokio::time::interval(EVERY);
    while start.elapsed() < Duration::from_secs(seconds) {
        tick.tick().await;
        changes += 1;
        match random.random_range(0..10) {
            0..5 => {
                let status = 400 + u16::try_from(changes % 200).unwrap();
                enter(status, json!({"enabled": true, "status": status})).await;
            }
            5 => enter(200, json!({"enabled": false})).await,
            6 | 7 => {
                admin.patch(harmless(&mut random, &other)).await;
            }
            8 => {
                let settings = json!({"compression": {"min_length": random.random_range(1..999)}});
                let body = json!({"settings": settings, "ttl": "1s", "owner": "torture"});
                let made = admin
                    .send("POST", "/v1/overrides", Some(&body.to_string()))
                    .await;
                assert!(matches!(made.status, 201 | 429), "{}", made.text);
                overrides += u64::from(made.status == 201);
            }
            _ => {
                let answer = admin.try_patch(&bad(&mut random).to_string()).await;
                assert_eq!(answer.status, 422, "{}", answer.text);
                refused += 1;
            }
        }
    }
    stop.store(true, SeqCst);
    let took = start.elapsed();
    let states = states.into_inner().unwrap();
    let (mut answers, mut passed) = (0, 0);
    for (path, client) in clients {
        let seen = client.await.expect("a request failed");
        answers += seen.len();
        for answer in seen {
            if path == "/free" {
                assert_eq!(answer.status, 200, "no limit on this route; seed {seed}");
                continue;
            }
            let fits = |state: &State| {
                state.status == answer.status
                    && state.from <= answer.answered
                    && state.until.is_none_or(|until| until >= answer.asked)
            };
            let explained = states.iter().any(fits);
            passed += u64::from(!explained && answer.status == 200);
            assert!(
                explained || answer.status == 200,
                "{} from {:?} to {:?} by none of {:?}; seed {seed}",
                answer.status,
                answer.asked - start,
                answer.answered - start,
                states
            );
        }
    }
    // All clients have one address, and so one bucket, which lets one request pass, then one a minute.
    assert!(
        passed <= 1 + seconds / 60,
        "{passed} requests passed a limit of one a minute"
    );
    eprintln!(
        "{answers} answers ({:.1} a millisecond), {changes} changes ({:.0} a second), {refused} of them refused, {overrides} overrides, {} states of the limit",
        answers as f64 / took.as_secs_f64() / 1e3,
        changes as f64 / took.as_secs_f64(),
        states.len(),
    );
    assert!(answers > 100 && states.len() > 10 && refused > 0);
    for origin in [&first, &second] {
        eventually("nothing to be in flight", || origin.serving() == 0).await;
    }
    let upstreams = admin.get("/v1/upstreams").await;
    for server in upstreams["upstreams"][0]["servers"].as_array().unwrap() {
        assert_eq!(server["in_flight"], 0, "{upstreams}");
    }
    assert_eq!(weir.metric("weir_requests_in_flight").await, 0.0);
}

/// As many requests as `wrk` can send. Skipped, and said so, where it is not installed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_of_a_flood_fails_while_settings_change() {
    let has_wrk = std::process::Command::new("wrk").arg("-v").output().is_ok();
    if !has_wrk {
        eprintln!("skipped: wrk is not installed (apt-get install wrk)");
        return;
    }
    let (fast, other) = (Replica::start(&["--null"]).await, Origin::named("b").await);
    let weir = Weir::before(&[&fast])
        .with("access_log.enabled = false\nconnections.max = 1000\nrate_limit.code = { rate = '1r/m', enabled = false }")
        .start()
        .await;
    let seconds = number("WEIR_TORTURE_SECONDS", 2);
    let url = format!("http://{}/", weir.addr());
    let flood = tokio::process::Command::new("wrk")
        .args(["-t", "1", "-c", "64", "-d", &format!("{seconds}s"), &url])
        .kill_on_drop(true)
        .output();
    let flood = tokio::spawn(flood);
    let mut random = SmallRng::seed_from_u64(number("WEIR_TORTURE_SEED", 1));
    let (start, mut changes) = (Instant::now(), 0_u32);
    let mut tick = tokio::time::interval(EVERY);
    while !flood.is_finished() {
        tick.tick().await;
        changes += 1;
        if changes % 10 == 0 {
            let refused = weir.admin.try_patch(&bad(&mut random).to_string()).await;
            assert_eq!(refused.status, 422, "{}", refused.text);
        } else {
            // The last server stays: the other one comes and goes as a backup.
            let mut change = harmless(&mut random, &fast.addr().to_string());
            if changes % 7 == 0 {
                let backup = json!({"address": other.addr().to_string(), "backup": true});
                change = json!({"upstream": {"api": {"servers": [{"address": fast.addr().to_string()}, backup]}}});
            }
            weir.admin.patch(change).await;
        }
    }
    let took = start.elapsed().as_secs_f64();
    let done = flood.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success() && said.contains("Requests/sec"),
        "{said}"
    );
    assert!(!said.contains("Socket errors"), "{said}");
    assert!(!said.contains("Non-2xx"), "{said}");
    let rate = said
        .split("Requests/sec:")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    eprintln!(
        "{} requests a second, {changes} changes ({:.0} a second), no failure",
        rate.unwrap_or_default(),
        f64::from(changes) / took
    );
    // wrk leaves without waiting for what is still on its way.
    weir_tests::wait::eventually_some("nothing to be in flight", async || {
        (weir.metric("weir_requests_in_flight").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_writers_that_look_first_lose_nothing() {
    const EACH: u64 = 40;
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("upstream.api.keepalive = 0")
        .start()
        .await;
    let writer = |admin: weir_tests::admin::Admin| async move {
        let (mut done, mut stale) = (0, 0);
        while done < EACH {
            let view = admin.get("/v1/settings").await;
            let next = view["effective"]["upstream"]["api"]["keepalive"]
                .as_u64()
                .unwrap()
                + 1;
            let body = json!({"upstream": {"api": {"keepalive": next}}});
            let answer = admin
                .patch_if(view["revision"].as_u64().unwrap(), &body)
                .await;
            match answer.status {
                200 => done += 1,
                412 => stale += 1,
                _ => panic!("{}", answer.text),
            }
        }
        stale
    };
    let one = tokio::spawn(writer(weir.admin.clone()));
    let two = tokio::spawn(writer(weir.admin.clone()));
    let stale: u64 = one.await.unwrap() + two.await.unwrap();
    let settings = weir.admin.settings().await;
    assert_eq!(settings["upstream"]["api"]["keepalive"], 2 * EACH);
    eprintln!("{stale} attempts were too late and made again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_goes_on_while_the_admin_side_is_flooded() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let traffic = tokio::spawn(ask(weir.addr(), "/", Arc::clone(&stop)));
    let admin: std::net::SocketAddr = weir.admin.address().parse().unwrap();
    // More connections than it serves at once, that say nothing.
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(Conn::open(admin).await);
    }
    // And some that ask without a pause.
    let flood: Vec<_> = (0..8)
        .map(|_| {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let mut connection = Conn::open(admin).await;
                let mut too_fast = 0_u32;
                while !stop.load(SeqCst) {
                    let answer = connection
                        .request("GET", &format!("http://{admin}/v1/settings"), "")
                        .await;
                    too_fast += u32::from(answer.status == 429 || answer.status == 503);
                }
                too_fast
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    // A health check is answered in the middle of it.
    assert_eq!(weir.admin.status("/healthz").await, 200);
    stop.store(true, SeqCst);
    let seen = traffic.await.expect("a request failed");
    assert!(seen.iter().all(|answer| answer.status == 200));
    assert!(seen.len() > 50, "{} requests in two seconds", seen.len());
    for one in flood {
        one.await.unwrap();
    }
    drop(silent);
    assert_eq!(weir.admin.status("/v1/settings").await, 200);
}

/// Milliseconds since the day began, of a time in RFC 3339.
fn milliseconds(time: &Value) -> i64 {
    let text = time.as_str().unwrap();
    let clock = text.split_once('T').unwrap().1.trim_end_matches('Z');
    let parts: Vec<f64> = clock.split(':').map(|part| part.parse().unwrap()).collect();
    ((parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]) * 1e3).round() as i64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_ends_within_a_tenth_of_a_second_of_its_time_under_load() {
    const DAY: i64 = 24 * 3600 * 1000;
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let traffic: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(ask(weir.addr(), "/", Arc::clone(&stop))))
        .collect();
    let mut late = Vec::new();
    // A machine that is busy with other things may be late; one that never is in time is wrong.
    for _ in 0..5 {
        let made = weir
            .admin
            .override_for("1s", json!({"upstream": {"api": {"keepalive": 9}}}))
            .await;
        let due = milliseconds(&made["expires_at"]);
        weir_tests::wait::eventually_some("the end of the override", async || {
            let left = weir.admin.get("/v1/overrides").await;
            left["overrides"].as_array()?.is_empty().then_some(())
        })
        .await;
        let revisions = weir.admin.get("/v1/revisions?limit=1").await;
        let ended = milliseconds(&revisions["revisions"][0]["at"]);
        let by = (ended - due).rem_euclid(DAY);
        assert!(by < DAY / 2, "it ended {} ms early", DAY - by);
        late.push(by);
        if by <= 100 {
            break;
        }
    }
    stop.store(true, SeqCst);
    for client in traffic {
        client.await.expect("a request failed");
    }
    assert!(late.iter().any(|by| *by <= 100), "late by {late:?} ms");
}
