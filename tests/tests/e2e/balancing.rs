//! Which server of an upstream gets a request.

use std::collections::BTreeMap;

use serde_json::json;
use weir_tests::{Gate, Origin, Reply, Weir, wait::eventually_some, weir::Server as _};

/// A server of the configuration with more than an address.
fn server(origin: &Origin, more: &str) -> String {
    format!("{{ address = '{}', {more} }}", origin.addr())
}

/// How many of `count` requests, one after the other, each origin answers.
async fn shares(weir: &Weir, count: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    let mut client = weir.connect().await;
    for _ in 0..count {
        *shares
            .entry(client.get("/").await.expect(200).text())
            .or_default() += 1;
    }
    shares
}

fn counts<const N: usize>(counts: [(&str, usize); N]) -> BTreeMap<String, usize> {
    counts.map(|(name, count)| (name.to_owned(), count)).into()
}

#[tokio::test]
async fn round_robin_follows_the_weights() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let weir = Weir::before(&[])
        .servers(&[server(&a, "weight = 3"), server(&b, "weight = 1")])
        .with("upstream.api.balance = 'round_robin'")
        .start()
        .await;
    assert_eq!(shares(&weir, 40).await, counts([("a", 30), ("b", 10)]));
}

#[tokio::test]
async fn least_conn_avoids_the_busy_server() {
    let gate = Gate::closed();
    let slow = Origin::answering(Reply::text("slow").when(&gate)).await;
    let quick = Origin::named("quick").await;
    let weir = Weir::before(&[&slow, &quick]).start().await;
    // One request sticks to the slow server; all others then find the quick one less busy.
    let mut stuck = Vec::new();
    while slow.serving() == 0 {
        let mut client = weir.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        stuck.push(client);
        eventually_some("the request to arrive", async || {
            (slow.count() + quick.count() >= stuck.len()).then_some(())
        })
        .await;
    }
    assert_eq!(shares(&weir, 20).await, counts([("quick", 20)]));
    assert_eq!(weir.admin.in_flight(slow.addr()).await, 1);
    gate.open();
    for mut client in stuck {
        client.answer().await.expect(200);
    }
    eventually_some("the slow request to be over", async || {
        (weir.admin.in_flight(slow.addr()).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn held_requests_spread_by_weight() {
    let gate = Gate::closed();
    let (a, b) = (
        Origin::answering(Reply::text("a").when(&gate)).await,
        Origin::answering(Reply::text("b").when(&gate)).await,
    );
    let weir = Weir::before(&[])
        .servers(&[server(&a, "weight = 1"), server(&b, "weight = 2")])
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..15 {
        let mut client = weir.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(client);
    }
    a.is_serving(5).await;
    b.is_serving(10).await;
    gate.open();
    for mut client in clients {
        client.answer().await.expect(200);
    }
}

#[tokio::test]
async fn a_server_marked_down_gets_nothing_and_can_be_put_back() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let weir = Weir::before(&[])
        .servers(&[server(&a, "down = true"), server(&b, "down = false")])
        .start()
        .await;
    assert_eq!(shares(&weir, 6).await, counts([("b", 6)]));
    assert_eq!(weir.admin.server(a.addr()).await["state"], "down");
    let both = json!([{ "address": a.addr().to_string() }, { "address": b.addr().to_string() }]);
    weir.admin
        .patch(json!({ "upstream": { "api": { "servers": both } } }))
        .await;
    assert_eq!(shares(&weir, 6).await, counts([("a", 3), ("b", 3)]));
}

#[tokio::test]
async fn a_backup_serves_only_when_the_others_cannot() {
    let a = Origin::named("a").await;
    let spare = Origin::named("spare").await;
    let weir = Weir::before(&[])
        .servers(&[
            server(&a, "max_fails = 1, fail_timeout = '60s'"),
            server(&spare, "backup = true"),
        ])
        .start()
        .await;
    assert_eq!(shares(&weir, 5).await, counts([("a", 5)]));
    let address = a.stop().await;
    assert_eq!(shares(&weir, 5).await, counts([("spare", 5)]));
    assert_eq!(weir.admin.server(address).await["state"], "failed");
}

#[tokio::test]
async fn a_failed_server_rests_and_returns() {
    let a = Origin::named("a").await;
    let b = Origin::named("b").await;
    let weir = Weir::before(&[])
        .servers(&[
            server(&a, "max_fails = 2, fail_timeout = '1s'"),
            server(&b, "max_fails = 2, fail_timeout = '1s'"),
        ])
        .start()
        .await;
    assert_eq!(shares(&weir, 4).await, counts([("a", 2), ("b", 2)]));
    let address = a.stop().await;
    assert_eq!(
        shares(&weir, 20).await,
        counts([("b", 20)]),
        "nobody notices"
    );
    let view = weir.admin.server(address).await;
    assert!(view["failures"].as_u64().unwrap() >= 2, "{view}");

    let _a = Origin::start_on(address, |_| Reply::text("a")).await;
    eventually_some("the server to be used again", async || {
        (weir.get("/").await.text() == "a").then_some(())
    })
    .await;
    let again = shares(&weir, 20).await;
    assert!(again["a"] >= 9, "{again:?}");
}

#[tokio::test]
async fn with_all_servers_failed_there_is_502_at_once() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let weir = Weir::before(&[])
        .servers(&[
            server(&a, "max_fails = 1, fail_timeout = '60s'"),
            server(&b, "max_fails = 1, fail_timeout = '60s'"),
        ])
        .start()
        .await;
    a.stop().await;
    b.stop().await;
    let mut client = weir.connect().await;
    for _ in 0..4 {
        client.get("/").await.expect(502);
    }
    let line = weir.logged(4).await.pop().unwrap();
    assert!(
        line["error"].as_str().unwrap().contains("no live upstream"),
        "{line}"
    );
}

#[tokio::test]
async fn a_lone_server_is_never_taken_out() {
    let a = Origin::named("a").await;
    let weir = Weir::before(&[])
        .servers(&[server(&a, "max_fails = 1, fail_timeout = '60s'")])
        .start()
        .await;
    let address = a.stop().await;
    for _ in 0..3 {
        weir.get("/").await.expect(502);
    }
    let _a = Origin::start_on(address, |_| Reply::text("back")).await;
    assert_eq!(weir.get("/").await.expect(200).text(), "back");
}

#[tokio::test]
async fn max_conns_limits_what_a_server_gets() {
    let gate = Gate::closed();
    let (small, large) = (
        Origin::answering(Reply::text("small").when(&gate)).await,
        Origin::answering(Reply::text("large").when(&gate)).await,
    );
    let weir = Weir::before(&[])
        .servers(&[
            server(&small, "max_conns = 2"),
            server(&large, "max_conns = 5"),
        ])
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..7 {
        let mut client = weir.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(client);
    }
    small.is_serving(2).await;
    large.is_serving(5).await;
    let refused = weir.get("/").await.status;
    assert_eq!(refused, 502, "nginx: no live upstreams");
    gate.open();
    for mut client in clients {
        client.answer().await.expect(200);
    }
    weir.get("/").await.expect(200);
}

#[tokio::test]
async fn a_host_name_is_resolved() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[])
        .servers(&[format!("{{ address = 'localhost:{}' }}", api.addr().port())])
        .start()
        .await;
    weir.get("/").await.expect(200);
}

#[tokio::test]
async fn a_lower_max_conns_lets_what_is_in_flight_finish() {
    let gate = Gate::closed();
    let api = Origin::answering(Reply::text("a").when(&gate)).await;
    let weir = Weir::before(&[&api]).start().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = weir.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(client);
    }
    api.is_serving(5).await;
    let servers = json!([{ "address": api.addr().to_string(), "max_conns": 2 }]);
    weir.admin
        .patch(json!({ "upstream": { "api": { "servers": servers } } }))
        .await;
    assert_eq!(weir.get("/").await.status, 502, "5 are in flight, 2 may be");
    gate.open();
    for mut client in clients {
        client.answer().await.expect(200);
    }
    weir.get("/").await.expect(200);
}
