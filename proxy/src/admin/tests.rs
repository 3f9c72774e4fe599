#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use weir_api::{
    admin::OverrideRequest,
    client::{AdminClient, ClientError},
    settings::{RateLimit, Server, Settings, Upstream},
    units::Rate,
};

use super::*;
use crate::settings::Store;

mod tuning;

fn file() -> Settings {
    let mut settings = Settings::default();
    let limit = RateLimit::new(Rate::per_second(10).unwrap());
    settings.rate_limit.insert("api_limit".to_owned(), limit);
    let upstream = Upstream::new(vec![Server::new("127.0.0.1:8000")]);
    settings.upstream.insert("api".to_owned(), upstream);
    settings
}

struct Running {
    address: SocketAddr,
    store: Arc<Store>,
    readiness: Readiness,
    stop: tokio::sync::oneshot::Sender<()>,
    served: tokio::task::JoinHandle<io::Result<()>>,
}

async fn start() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let store = Arc::new(Store::new(&file(), Arc::default()).unwrap());
    let readiness = Readiness::new();
    let state = AdminState::new(Arc::clone(&store), readiness.clone())
        .with_metrics(|| "weir_up 1\n".to_owned())
        .with_upstreams(|| json!({"api": []}));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(serve(Sockets::tcp(listener), state, async {
        let _ = stopped.await;
    }));
    Running {
        address,
        store,
        readiness,
        stop,
        served,
    }
}

/// Sends a request as it is and reads the answer: status, head in lower case, body.
async fn raw(address: SocketAddr, request: String) -> (u16, String, String) {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // A refused body may end in a reset after the answer.
        let _ = stream.read_to_string(&mut answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    })
    .await
    .unwrap()
}

async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String, String) {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    raw(address, request).await
}

fn error(body: &str) -> Value {
    serde_json::from_str::<Value>(body).unwrap()["error"].clone()
}

#[tokio::test]
async fn a_client_reads_changes_and_puts_back() {
    let running = start().await;
    let client = AdminClient::new(running.address).unwrap();
    let view = client.get_settings().await.unwrap();
    assert_eq!((view.revision, view.settings().unwrap()), (1, file()));

    let patch = json!({"timeouts": {"connect": "10s"}});
    let changed = client.patch_settings(&patch).await.unwrap();
    assert_eq!(
        (changed.revision, changed.diff[0].path.as_str()),
        (2, "timeouts.connect")
    );

    let request = OverrideRequest {
        settings: json!({"rate_limit": {"api_limit": {"rate": "100r/s", "burst": 200, "nodelay": true}}}),
        ttl: Duration::from_secs(600),
        owner: "weir-bench".to_owned(),
        reason: "load test".to_owned(),
    };
    let created = client.create_override(&request).await.unwrap();
    assert_eq!((created.revision, created.diff.len()), (3, 3));
    assert!(created.expires_at.ends_with('Z'));
    let renewed = client.renew_override(&created.id, None).await.unwrap();
    assert!(renewed.remaining > Duration::from_secs(590));
    let renewed = client
        .renew_override(&created.id, Some(Duration::from_secs(60)))
        .await
        .unwrap();
    assert!(renewed.remaining <= Duration::from_secs(60));
    let list = client.list_overrides().await.unwrap();
    assert_eq!(
        list.overrides[0].settings["rate_limit.api_limit.burst"],
        200
    );
    let deleted = client.delete_override(&created.id).await.unwrap();
    assert_eq!((deleted.revision, deleted.diff.len()), (4, 3));
    assert!(
        client
            .delete_override(&created.id)
            .await
            .unwrap_err()
            .is_not_found()
    );
    let revisions = client.revisions().await.unwrap().revisions;
    assert_eq!(
        revisions.iter().map(|r| r.revision).collect::<Vec<_>>(),
        [4, 3, 2, 1]
    );
    assert_eq!(client.metrics().await.unwrap(), "weir_up 1\n");
    assert_eq!(client.upstreams().await.unwrap(), json!({"api": []}));

    let refused = client
        .patch_settings(&json!({"compression": {"level": 0}}))
        .await
        .unwrap_err();
    let ClientError::Refused { status: 422, error } = refused else {
        panic!("{refused}")
    };
    assert_eq!(error.field.as_deref(), Some("compression.level"));
}

#[tokio::test]
async fn readiness_follows_the_phase() {
    let running = start().await;
    let client = AdminClient::new(running.address).unwrap();
    assert!(!client.ready().await.unwrap());
    running.readiness.enter(Phase::Ready);
    assert!(client.ready().await.unwrap());
    running.readiness.enter(Phase::Draining);
    running.readiness.enter(Phase::Ready);
    assert!(!client.ready().await.unwrap());
    assert_eq!(
        send(running.address, "GET", "/healthz", "", "").await.0,
        200
    );
}

#[tokio::test]
async fn bad_requests_are_answered_with_one_clear_message() {
    let running = start().await;
    let at = running.address;
    let big = format!("{{\"a\": \"{}\"}}", "x".repeat(70_000));
    for (method, path, body, status, code, says) in [
        ("PATCH", "/v1/settings", "", 400, "no_body", "no body"),
        (
            "PATCH",
            "/v1/settings",
            "{\"a\":\n nope}",
            400,
            "not_json",
            "line 2 column",
        ),
        (
            "PATCH",
            "/v1/settings",
            "\u{feff}",
            400,
            "not_json",
            "line 1 column 1",
        ),
        (
            "PATCH",
            "/v1/settings",
            "[]",
            422,
            "invalid_settings",
            "not a table",
        ),
        (
            "PATCH",
            "/v1/settings",
            "{\"timeout\":{}}",
            422,
            "invalid_settings",
            "connections, timeouts, client",
        ),
        (
            "PATCH",
            "/v1/settings",
            "{\"connections\":{\"max\":1}}",
            422,
            "invalid_settings",
            "connections.max: 1 is not allowed; allowed: a whole number from 16",
        ),
        ("PATCH", "/v1/settings", &big, 413, "too_large", "65536"),
        (
            "PATCH",
            "/v1/settings?dry_run=maybe",
            "{}",
            400,
            "bad_query",
            "dry_run",
        ),
        (
            "PUT",
            "/v1/settings",
            "{}",
            405,
            "method_not_allowed",
            "PUT",
        ),
        ("DELETE", "/metrics", "", 405, "method_not_allowed", "Allow"),
        ("GET", "/v2/settings", "", 404, "not_found", "/v1/settings"),
        (
            "GET",
            "/v1/revisions?limit=x",
            "",
            400,
            "bad_query",
            "limit",
        ),
        (
            "POST",
            "/v1/overrides",
            "{}",
            422,
            "invalid_settings",
            "ttl: missing",
        ),
        (
            "POST",
            "/v1/overrides",
            "{\"settings\":{\"compression\":{\"level\":1}},\"ttl\":\"0s\",\"owner\":\"a\"}",
            422,
            "invalid_settings",
            "ttl: \"0s\" is not allowed",
        ),
        (
            "POST",
            "/v1/overrides",
            "{\"settings\":{\"compression\":{\"level\":1}},\"ttl\":0,\"owner\":\"a\"}",
            422,
            "invalid_settings",
            "ttl: 0 is not allowed",
        ),
        (
            "POST",
            "/v1/overrides",
            "{\"tll\":1}",
            422,
            "invalid_settings",
            "tll: unknown field",
        ),
        (
            "POST",
            "/v1/overrides/x/renew",
            "",
            404,
            "no_such_override",
            "ended",
        ),
        (
            "POST",
            "/v1/overrides/x/renew",
            "{\"ttl\":\"25h\"}",
            422,
            "invalid_settings",
            "24h",
        ),
        ("GET", "/v1/overrides/x", "", 404, "no_such_override", "x"),
    ] {
        let (got, head, answer) = send(at, method, path, "", body).await;
        let error = error(&answer);
        assert_eq!(got, status, "{method} {path} {body}: {answer}");
        assert_eq!(error["code"], code, "{answer}");
        assert!(
            error["message"].as_str().unwrap().contains(says),
            "{answer}"
        );
        assert!(head.contains("x-weir-revision: 1"), "{head}");
        if status == 405 {
            assert!(head.contains("\r\nallow: "), "{head}");
        }
    }
    assert_eq!(running.store.revision(), 1);
}

#[tokio::test]
async fn what_a_web_page_could_send_is_refused() {
    let running = start().await;
    let at = running.address;
    let port = at.port();
    let body = "{\"connections\":{\"max\":2048}}";
    let length = body.len();
    for (host, origin, status) in [
        ("evil.example".to_owned(), None, 403),
        (format!("127.0.0.1.evil.example:{port}"), None, 403),
        (format!("localhost:{port}@evil.example"), None, 403),
        (at.to_string(), Some("http://evil.example".to_owned()), 403),
        (at.to_string(), Some("null".to_owned()), 403),
        (
            at.to_string(),
            Some("http://localhost:3000".to_owned()),
            403,
        ),
        (at.to_string(), Some(format!("http://{at}")), 200),
        (format!("localhost:{port}"), None, 200),
        (format!("[::1]:{port}"), None, 200),
        ("127.0.0.1".to_owned(), None, 200),
    ] {
        let origin = origin.map_or_else(String::new, |o| format!("Origin: {o}\r\n"));
        let before = running.store.revision();
        let request = format!(
            "PATCH /v1/settings HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{origin}Content-Length: {length}\r\n\r\n{body}"
        );
        let (got, _, answer) = raw(at, request).await;
        assert_eq!(got, status, "{host} {origin}: {answer}");
        assert_eq!(running.store.revision() - before, u64::from(status == 200));
    }
    let absolute = format!(
        "GET http://evil.example/v1/settings HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(raw(at, absolute).await.0, 403);
}

#[tokio::test]
async fn a_lost_update_is_prevented_and_a_dry_run_shows_the_difference() {
    let running = start().await;
    let at = running.address;
    let (_, head, _) = send(at, "GET", "/v1/settings", "", "").await;
    assert!(head.contains("etag: \"1\""), "{head}");
    let body = "{\"connections\":{\"max\":2048}}";
    let path = "/v1/settings?dry_run=true";
    let (status, _, answer) = send(at, "PATCH", path, "", body).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        (status, &answer["revision"], &answer["dry_run"]),
        (200, &json!(1), &json!(true))
    );
    assert_eq!(
        answer["diff"],
        json!([{"path": "connections.max", "old": 1024, "new": 2048}])
    );
    let path = "/v1/settings?who=ana&why=more%20users";
    assert_eq!(
        send(at, "PATCH", path, "If-Match: \"1\"\r\n", body).await.0,
        200
    );
    let newest = running.store.revisions(1).remove(0);
    assert_eq!(
        (newest.who.as_str(), newest.why.as_str()),
        ("ana", "more users")
    );
    let (status, _, answer) = send(at, "PATCH", path, "If-Match: \"1\"\r\n", body).await;
    assert_eq!(
        (status, &error(&answer)["code"]),
        (412, &json!("stale_revision"))
    );
    assert_eq!(
        send(at, "PATCH", path, "If-Match: x\r\n", body).await.0,
        400
    );
    let (status, _, answer) = send(at, "DELETE", "/v1/settings", "", "").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(*running.store.current().settings, file());
}

#[tokio::test]
async fn a_shutdown_ends_the_service() {
    let running = start().await;
    // A connection that stays open without a request must not hold it up.
    let idle = TcpStream::connect(running.address).unwrap();
    running.stop.send(()).unwrap();
    let done = tokio::time::timeout(Duration::from_secs(20), running.served).await;
    assert!(done.unwrap().unwrap().is_ok());
    drop(idle);
}

#[tokio::test]
async fn slow_requests_keep_no_place_from_others() {
    let running = start().await;
    let at = running.address;
    let request =
        format!("PATCH /v1/settings HTTP/1.1\r\nHost: {at}\r\nContent-Length: 10\r\n\r\n{{");
    // The server has to have begun: connections do not wait for it in their queue, which is short.
    assert_eq!(send(at, "GET", "/healthz", "", "").await.0, 200);
    let slow: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(at).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    for path in ["/healthz", "/metrics", "/v1/settings"] {
        assert_eq!(send(at, "GET", path, "", "").await.0, 200, "{path}");
    }
    drop(slow);
}
