//! Paths, rolling back, servers, events.

use weir_api::{client::Terms, events::Event};

use super::*;

async fn call(running: &Running, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, _, body) = send(running.address, method, path, "", body).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn settings_are_read_and_written_by_path() {
    let running = start().await;
    let rate = "/v1/settings/rate_limit/api_limit/rate";
    assert_eq!(call(&running, "GET", rate, "").await, (200, json!("10r/s")));
    let (status, changed) = call(&running, "PUT", rate, "\"50r/s\"").await;
    assert_eq!((status, &changed["diff"][0]["new"]), (200, &json!("50r/s")));
    assert_eq!(call(&running, "GET", rate, "").await.1, "50r/s");
    let (_, head, _) = send(running.address, "GET", rate, "", "").await;
    assert!(head.contains("etag: \"2\""), "{head}");
    let (status, _, _) = send(
        running.address,
        "PUT",
        rate,
        "If-Match: \"1\"\r\n",
        "\"9r/s\"",
    )
    .await;
    assert_eq!(status, 412);
    for (method, path, body, status, code) in [
        (
            "GET",
            "/v1/settings/timeouts/conect",
            "",
            404,
            "no_such_setting",
        ),
        (
            "PUT",
            "/v1/settings/timeouts/conect",
            "\"1s\"",
            422,
            "invalid_settings",
        ),
        ("PUT", rate, "\"0r/s\"", 422, "invalid_settings"),
        ("PUT", rate, "", 400, "no_body"),
        ("PUT", rate, "50r/s", 400, "not_json"),
        ("PUT", "/v1/settings/save", "1", 405, "method_not_allowed"),
        ("POST", "/v1/settings/save", "", 409, "no_file"),
        (
            "POST",
            "/v1/revisions/77/rollback",
            "",
            404,
            "no_such_revision",
        ),
        ("POST", "/v1/revisions/x/rollback", "", 400, "bad_revision"),
        (
            "PATCH",
            "/v1/settings",
            r#"{"timeouts":{"connect":"1s","connect":"2s"}}"#,
            400,
            "duplicate_field",
        ),
        ("PATCH", "/v1/settings?wait=1s", "{}", 400, "bad_query"),
        (
            "POST",
            "/v1/upstreams/web/servers",
            "{}",
            404,
            "no_such_upstream",
        ),
        (
            "POST",
            "/v1/upstreams/api/servers",
            r#"{"address":"127.0.0.1:8000"}"#,
            409,
            "server_exists",
        ),
        (
            "DELETE",
            "/v1/upstreams/api/servers/127.0.0.1:1",
            "",
            404,
            "no_such_server",
        ),
        (
            "DELETE",
            "/v1/upstreams/api/servers/127.0.0.1:8000",
            "",
            422,
            "invalid_settings",
        ),
        (
            "POST",
            "/v1/upstreams/api/servers/127.0.0.1:8000/drain?wait=1h",
            "",
            400,
            "bad_query",
        ),
        (
            "POST",
            "/v1/upstreams/api/servers/127.0.0.1:1/drain",
            "",
            404,
            "no_such_server",
        ),
    ] {
        let (got, answer) = call(&running, method, path, body).await;
        let error = &answer["error"];
        assert_eq!(
            (got, &error["code"]),
            (status, &json!(code)),
            "{method} {path}: {answer}"
        );
        assert!(
            error["message"].as_str().is_some_and(|m| !m.is_empty()),
            "{answer}"
        );
    }
    let (_, answer) = call(&running, "PATCH", "/v1/settings", r#"{"a":{"b":1,"b":2}}"#).await;
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("a.b is there twice")
    );
    assert_eq!(running.store.revision(), 2);
    assert_eq!(
        call(&running, "POST", "/v1/revisions/1/rollback?who=ana", "")
            .await
            .0,
        200
    );
    assert_eq!(call(&running, "GET", rate, "").await.1, "10r/s");
}

#[tokio::test]
async fn a_client_changes_servers() {
    let running = start().await;
    let client = AdminClient::new(running.address).unwrap();
    let terms = Terms::default();
    let added = "[::1]:8001";
    let server = json!({"address": added, "weight": 2});
    assert_eq!(
        client
            .add_server("api", &server, &terms)
            .await
            .unwrap()
            .revision,
        2
    );
    let changed = client
        .patch_server("api", added, &json!({"weight": 3}), &terms)
        .await
        .unwrap();
    assert_eq!(changed.diff[0].new[1]["weight"], 3);
    let drained = client
        .drain_server("api", added, Duration::from_secs(5), &terms)
        .await
        .unwrap();
    assert!(drained.drained && drained.in_flight == 0 && drained.diff.len() == 1);
    let trial = Terms {
        dry_run: true,
        ..Terms::default()
    };
    client.remove_server("api", added, &trial).await.unwrap();
    assert_eq!(
        running.store.current().settings.upstream["api"]
            .servers
            .len(),
        2
    );
    client.remove_server("api", added, &terms).await.unwrap();
    let servers = client
        .get_setting(&["upstream", "api", "servers"])
        .await
        .unwrap();
    assert_eq!(servers.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn events_reach_the_client_and_end_with_the_proxy() {
    let running = start().await;
    let client = AdminClient::new(running.address).unwrap();
    let mut events = client.events().await.unwrap();
    assert_eq!(
        events.next().await.unwrap(),
        Some(Event::Hello { revision: 1 })
    );
    let terms = Terms {
        who: "ana & co".to_owned(),
        why: "more=users?".to_owned(),
        ..Terms::default()
    };
    client
        .patch_settings_on(&json!({"compression": {"level": 4}}), &terms)
        .await
        .unwrap();
    let Some(Event::Settings {
        revision: 2,
        who,
        why,
        diff,
        ..
    }) = events.next().await.unwrap()
    else {
        panic!("no settings event");
    };
    assert_eq!((who, why), (terms.who, terms.why));
    assert_eq!(diff[0].path, "compression.level");
    running.stop.send(()).unwrap();
    assert_eq!(events.next().await.unwrap(), None);
    let done = tokio::time::timeout(Duration::from_secs(20), running.served).await;
    assert!(done.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn streams_are_bounded_and_leave_room_for_changes() {
    let running = start().await;
    let client = AdminClient::new(running.address).unwrap();
    let mut streams = Vec::new();
    for _ in 0..32 {
        streams.push(client.events().await.unwrap());
    }
    let refused = client.events().await.unwrap_err();
    assert!(
        matches!(refused, ClientError::Refused { status: 503, .. }),
        "{refused}"
    );
    client
        .patch_settings(&json!({"compression": {"level": 4}}))
        .await
        .unwrap();
    drop(streams);
    let begun = std::time::Instant::now();
    while client.events().await.is_err() {
        // A stream that nobody reads any more is noticed when something is written to it.
        client
            .patch_settings(&json!({"compression": {"level": 5}}))
            .await
            .unwrap();
        assert!(begun.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
