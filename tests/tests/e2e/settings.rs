//! Settings that change while the proxy runs.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use serde_json::{Value, json};
use weir_tests::{Conn, Gate, Origin, Reply, Weir};

#[tokio::test]
async fn the_six_settings_of_the_tuning_table_are_shown_and_can_be_changed() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("[rate_limit.api_limit]\nrate = '10r/s'\nburst = 20\nnodelay = true")
        .start()
        .await;
    let changes = json!({
        "rate_limit": { "api_limit": { "rate": "50r/s", "burst": 50 } },
        "upstream": { "api": { "keepalive": 64 } },
        "timeouts": { "connect": "10s" },
        "connections": { "max": 2048 },
        "compression": { "level": 4 },
    });
    let before = weir.admin.revision().await;
    let answer = weir.admin.patch(changes.clone()).await;
    assert!(answer["revision"].as_u64().unwrap() > before, "{answer}");
    let mut paths: Vec<_> = answer["diff"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["path"].as_str().unwrap())
        .collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "compression.level",
            "connections.max",
            "rate_limit.api_limit.burst",
            "rate_limit.api_limit.rate",
            "timeouts.connect",
            "upstream.api.keepalive",
        ]
    );
    let settings = weir.admin.settings().await;
    contains(&settings, &changes);
}

/// Whether every value of `part` is in `whole`.
fn contains(whole: &Value, part: &Value) {
    match part {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, part)| contains(&whole[name], part)),
        part => assert_eq!(whole, part),
    }
}

#[tokio::test]
async fn a_change_applies_to_the_next_request_of_open_connections() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let weir = Weir::before(&[&a]).start().await;
    let mut client = weir.connect().await;
    assert_eq!(client.get("/").await.text(), "a");
    let servers = json!([{ "address": weir_tests::weir::Server::addr(&b).to_string() }]);
    weir.admin
        .patch(json!({ "upstream": { "api": { "servers": servers } } }))
        .await;
    assert_eq!(client.get("/").await.text(), "b");
}

#[tokio::test]
async fn a_request_in_flight_keeps_the_settings_it_began_with() {
    let gate = Gate::closed();
    let a = Origin::answering(Reply::text("a").when(&gate)).await;
    let b = Origin::named("b").await;
    let weir = Weir::before(&[&a]).start().await;
    let mut client = weir.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    a.is_serving(1).await;
    let servers = json!([{ "address": weir_tests::weir::Server::addr(&b).to_string() }]);
    weir.admin
        .patch(
            json!({ "upstream": { "api": { "servers": servers } }, "timeouts": { "read": "1ms" } }),
        )
        .await;
    assert_eq!(weir.get("/").await.text(), "b");
    gate.open();
    assert_eq!(client.answer().await.expect(200).text(), "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_changes_under_load_drop_no_request() {
    let (a, b) = (Origin::echo().await, Origin::echo().await);
    let weir = Weir::before(&[&a, &b])
        .with(
            "route = [{ upstream = 'api', rate_limit = ['z'] }]
             rate_limit.z = { rate = '1000000r/s', burst = 1000, nodelay = true }",
        )
        .start()
        .await;
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut clients = Vec::new();
    for n in 0..6 {
        let (stop, done, to) = (Arc::clone(&stop), Arc::clone(&done), weir.addr());
        clients.push(tokio::spawn(async move {
            let mut client = Conn::open(to).await;
            while !stop.load(SeqCst) {
                if n % 2 == 0 {
                    client.get("/").await.expect(200);
                } else {
                    client
                        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
                        .await;
                    assert_eq!(client.answer().await.expect(200).text(), "hello");
                }
                done.fetch_add(1, SeqCst);
            }
        }));
    }
    let before = weir.admin.revision().await;
    for n in 0..200_u32 {
        let one = n % 2;
        let change = match n % 5 {
            0 => json!({ "upstream": { "api": { "keepalive": 1 + n % 7 } } }),
            1 => json!({ "rate_limit": { "z": { "burst": 1000 + n } } }),
            2 => json!({ "timeouts": { "connect": format!("{}s", 5 + n) } }),
            3 => json!({ "connections": { "max": 500 + n } }),
            _ => json!({ "compression": { "enabled": one == 0, "level": 1 + n % 9 },
                         "upstream": { "api": { "balance": if n % 2 == 0 { "round_robin" } else { "least_conn" } } } }),
        };
        weir.admin.patch(change).await;
    }
    stop.store(true, SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(weir.admin.revision().await, before + 200);
    assert!(done.load(SeqCst) > 200, "{done:?}");
    for origin in [&a, &b] {
        let address = weir_tests::weir::Server::addr(origin);
        let server = weir.admin.server(address).await;
        assert_eq!(
            (&server["in_flight"], &server["failures"]),
            (&json!(0), &json!(0)),
            "{server}"
        );
    }
}

#[tokio::test]
async fn a_bad_change_leaves_everything_as_it_was() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("rate_limit.z = { rate = '10r/s' }")
        .start()
        .await;
    let before = weir.admin.get("/v1/settings").await;
    for (body, mentions) in [
        ("not json", "JSON"),
        ("{\"timeouts\":", "JSON"),
        ("[]", "object"),
        ("5", "object"),
        (r#"{"timeouts":{"conect":"10s"}}"#, "timeouts.conect"),
        (r#"{"nothing":1}"#, "nothing"),
        (r#"{"timeouts":{"connect":10}}"#, "timeouts.connect"),
        (r#"{"timeouts":{"connect":"10"}}"#, "timeouts.connect"),
        (r#"{"timeouts":{"connect":"-1s"}}"#, "timeouts.connect"),
        (r#"{"timeouts":{"connect":"1000h"}}"#, "timeouts.connect"),
        (r#"{"compression":{"level":12}}"#, "compression.level"),
        (r#"{"compression":{"level":"6"}}"#, "compression.level"),
        (r#"{"compression":{"level":4.5}}"#, "compression.level"),
        (r#"{"connections":{"max":0}}"#, "connections.max"),
        (r#"{"connections":{"max":-1}}"#, "connections.max"),
        (r#"{"connections":{"max":4294967297}}"#, "connections.max"),
        (r#"{"rate_limit":{"z":{"rate":"10"}}}"#, "rate_limit.z.rate"),
        (
            r#"{"rate_limit":{"z":{"rate":"0r/s"}}}"#,
            "rate_limit.z.rate",
        ),
        (
            r#"{"rate_limit":{"z":{"rate":"10r/h"}}}"#,
            "rate_limit.z.rate",
        ),
        (
            r#"{"rate_limit":{"z":{"nodelay":true,"delay":3}}}"#,
            "delay",
        ),
        (
            r#"{"rate_limit":{"other":{"rate":"10r/s"}}}"#,
            "rate_limit.other",
        ),
        (
            r#"{"upstream":{"api":{"servers":[]}}}"#,
            "upstream.api.servers",
        ),
        (
            r#"{"upstream":{"api":{"servers":[{"address":"nowhere"}]}}}"#,
            "servers[0].address",
        ),
        (
            r#"{"upstream":{"api":{"balance":"random"}}}"#,
            "upstream.api.balance",
        ),
        // One good and one bad: nothing of it.
        (
            r#"{"timeouts":{"connect":"11s"},"compression":{"level":0}}"#,
            "compression.level",
        ),
    ] {
        let answer = weir.admin.try_patch(body).await;
        assert!(
            (400..500).contains(&answer.status),
            "{body}: {} {}",
            answer.status,
            answer.text
        );
        let message = answer.body["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(mentions), "{body}: {}", answer.text);
    }
    assert_eq!(weir.admin.get("/v1/settings").await, before);
    weir.get("/").await.expect(200);
}

#[tokio::test]
async fn a_stale_change_is_refused() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    weir_api::tls::provide();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/v1/settings", weir.admin.address());
    let tag = client.get(&url).send().await.unwrap().headers()["etag"].clone();
    let patch = async |level: u32| {
        let body = json!({ "compression": { "level": level } }).to_string();
        let request = client
            .patch(&url)
            .header("If-Match", &tag)
            .header("Content-Type", "application/json")
            .body(body);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(patch(3).await, 200);
    assert_eq!(
        patch(9).await,
        412,
        "somebody has changed the settings meanwhile"
    );
    assert_eq!(weir.admin.settings().await["compression"]["level"], 3);
}

#[tokio::test]
async fn a_dry_run_shows_what_would_change() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let before = weir.admin.get("/v1/settings").await;
    let body = r#"{"timeouts":{"connect":"11s"}}"#;
    let answer = weir
        .admin
        .send("PATCH", "/v1/settings?dry_run=true", Some(body))
        .await
        .expect(200);
    assert_eq!(answer["diff"][0]["new"], "11s", "{answer}");
    assert_eq!(weir.admin.get("/v1/settings").await, before);
}

#[tokio::test]
async fn a_web_page_cannot_change_settings() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    weir_api::tls::provide();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://{}", weir.admin.address());
    let settings = r#"{"compression":{"level":9}}"#;
    let override_ =
        json!({ "settings": { "compression": { "level": 9 } }, "ttl": "1m", "owner": "x" })
            .to_string();
    for (name, value) in [("Origin", "http://evil.example"), ("Host", "evil.example")] {
        for (method, path, body) in [
            (reqwest::Method::PATCH, "/v1/settings", settings),
            // What a form can send without asking.
            (reqwest::Method::POST, "/v1/overrides", override_.as_str()),
        ] {
            let request = client
                .request(method, format!("{base}{path}"))
                .header("Content-Type", "text/plain");
            let status = request
                .header(name, value)
                .body(body.to_owned())
                .send()
                .await
                .unwrap()
                .status()
                .as_u16();
            assert!(
                (400..500).contains(&status),
                "{path} with {name}: {value} gives {status}"
            );
        }
    }
    assert_ne!(weir.admin.settings().await["compression"]["level"], 9);
}
