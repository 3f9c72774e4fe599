//! The life of an override against an admin API that is played by a thread.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Instant,
};

use parking_lot::Mutex;

use super::*;
use serde_json::json;

/// What the played proxy remembers, and how it misbehaves.
#[derive(Debug, Default)]
struct Played {
    revision: u64,
    raised: bool,
    renewals: u64,
    /// Keeps the raised value although the override was deleted.
    sticky: bool,
    /// Has forgotten the override, as after a restart.
    forgetful: bool,
}

struct Admin {
    address: SocketAddr,
    state: Arc<Mutex<Played>>,
}

impl Admin {
    fn start(state: Played) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, state }
    }
}

fn serve(stream: TcpStream, state: &Mutex<Played>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (status, answer) = answer(&first, &mut state.lock());
        let text = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        if stream.write_all((head + &text).as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(request: &str, state: &mut Played) -> (u16, Value) {
    let change = |old: bool, new: bool| json!([{"path": "rate_limit.api_limit.enabled", "old": old, "new": new}]);
    let later = "2999-01-01T00:00:00Z";
    match request.split_whitespace().take(2).collect::<Vec<_>>()[..] {
        ["GET", "/v1/settings"] => {
            let limits =
                json!({"rate_limit": {"api_limit": {"enabled": !state.raised, "rate": "10r/s"}}});
            (
                200,
                json!({"revision": state.revision, "effective": limits, "sources": {}}),
            )
        }
        ["POST", "/v1/overrides"] => {
            state.raised = true;
            state.revision += 1;
            let diff = change(true, false);
            (
                201,
                json!({"id": "o1", "expires_at": later, "revision": state.revision, "diff": diff}),
            )
        }
        ["POST", "/v1/overrides/o1/renew"] if !state.forgetful => {
            state.renewals += 1;
            let view = json!({
                "id": "o1", "owner": "weir-bench", "reason": "", "created_at": later, "expires_at": later,
                "remaining": "30s", "settings": {}, "revision": state.revision
            });
            (200, view)
        }
        ["DELETE", "/v1/overrides/o1"] if !state.forgetful => {
            state.raised = state.sticky;
            state.revision += 1;
            (
                200,
                json!({"id": "o1", "revision": state.revision, "diff": change(false, true)}),
            )
        }
        _ => (
            404,
            json!({"error": {"code": "not_found", "message": "there is no such override"}}),
        ),
    }
}

fn raise() -> Value {
    json!({"rate_limit": {"api_limit": {"enabled": false}}})
}

fn apply(admin: &Admin, ttl: Duration) -> Tuning {
    Tuning::apply(admin.address, raise(), "a test", ttl).unwrap()
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn limits_are_raised_renewed_and_verified_as_put_back() {
    let admin = Admin::start(Played::default());
    let tuning = apply(&admin, Duration::from_millis(30));
    assert!(admin.state.lock().raised);
    assert_eq!(tuning.during().revision, 1);
    wait_for("two renewals", || admin.state.lock().renewals >= 2);
    let record = tuning.put_back();
    assert!(record.restored && record.problem.is_empty(), "{record:?}");
    assert!(record.renewals >= 2 && record.applied_revision == Some(1));
    let [change] = &record.changes[..] else {
        panic!("{record:?}")
    };
    assert_eq!(
        (&change.before, &change.during, &change.after),
        (&json!(true), &json!(false), &json!(true))
    );
    assert!(!admin.state.lock().raised);
}

#[test]
fn a_setting_that_does_not_come_back_is_said() {
    let admin = Admin::start(Played {
        sticky: true,
        ..Played::default()
    });
    let record = apply(&admin, Duration::from_secs(30)).put_back();
    assert!(!record.restored);
    assert!(
        record.problem.contains("other settings are in force"),
        "{}",
        record.problem
    );
}

#[test]
fn an_override_that_the_proxy_has_forgotten_is_said() {
    let admin = Admin::start(Played {
        forgetful: true,
        ..Played::default()
    });
    let record = apply(&admin, Duration::from_secs(30)).put_back();
    assert!(
        !record.restored && record.problem.contains("could not be deleted"),
        "{record:?}"
    );
}

#[test]
fn an_override_that_is_dropped_is_deleted_too() {
    let admin = Admin::start(Played::default());
    drop(apply(&admin, Duration::from_secs(30)));
    assert!(!admin.state.lock().raised);
}

#[test]
fn an_admin_api_that_is_not_there_is_one_clear_error() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = Tuning::apply(free, raise(), "a test", Duration::from_secs(30))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cannot read the proxy's settings: "),
        "{error}"
    );
}
