//! Rate limits, from outside.

use std::time::{Duration, Instant};

use serde_json::json;
use weir_tests::{Conn, Origin, Weir, wait::eventually_some};

/// A proxy with one rate limit on all requests. 1 a minute: within a test nothing drains.
async fn limited(api: &Origin, limit: &str) -> Weir {
    Weir::before(&[api])
        .with(&format!(
            "route = [{{ upstream = 'api', rate_limit = ['z'] }}]\n[rate_limit.z]\n{limit}"
        ))
        .start()
        .await
}

/// The statuses of so many requests one after the other.
async fn statuses(client: &mut Conn, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(client.get("/").await.status);
    }
    statuses
}

fn admitted(statuses: &[u16]) -> usize {
    statuses.iter().filter(|status| **status == 200).count()
}

#[tokio::test]
async fn burst_and_one_pass_then_429() {
    let api = Origin::named("a").await;
    let weir = limited(&api, "rate = '1r/m'\nburst = 20\nnodelay = true").await;
    let statuses = statuses(&mut weir.connect().await, 30).await;
    assert_eq!(statuses, [vec![200; 21], vec![429; 9]].concat());
    assert_eq!(api.count(), 21);
}

#[tokio::test]
async fn the_status_of_a_rejection_is_configurable() {
    let api = Origin::named("a").await;
    let weir = limited(&api, "rate = '1r/m'\nstatus = 503").await;
    assert_eq!(statuses(&mut weir.connect().await, 2).await, [200, 503]);
}

#[tokio::test]
async fn each_address_has_a_bucket_of_its_own() {
    let api = Origin::named("a").await;
    let weir = limited(&api, "rate = '1r/m'\nburst = 1\nnodelay = true").await;
    for last in 2..6 {
        let mut client = Conn::open_from([127, 0, 0, last], weir.addr()).await;
        assert_eq!(statuses(&mut client, 3).await, [200, 200, 429]);
    }
    // Another connection of the same client is the same client.
    let mut again = Conn::open_from([127, 0, 0, 2], weir.addr()).await;
    assert_eq!(statuses(&mut again, 1).await, [429]);
}

#[tokio::test]
async fn a_stranger_cannot_choose_its_bucket() {
    let api = Origin::named("a").await;
    let weir = limited(&api, "rate = '1r/m'").await;
    let mut client = weir.connect().await;
    let mut statuses = Vec::new();
    for i in 0..3 {
        let claim = format!("X-Forwarded-For: 10.0.0.{i}\r\nX-Real-IP: 10.0.0.{i}\r\n");
        statuses.push(client.request("GET", "/", &claim).await.status);
    }
    assert_eq!(statuses, [200, 429, 429]);
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_client_is_limited_not_the_proxy() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with(
            "client.trusted_proxies = ['127.0.0.1']
             route = [{ upstream = 'api', rate_limit = ['z'] }]
             rate_limit.z.rate = '1r/m'",
        )
        .start()
        .await;
    let mut client = weir.connect().await;
    let mut statuses = Vec::new();
    for ip in ["10.0.0.1", "10.0.0.2", "10.0.0.1"] {
        statuses.push(
            client
                .request("GET", "/", &format!("X-Forwarded-For: {ip}\r\n"))
                .await
                .status,
        );
    }
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn a_header_can_be_the_key_and_without_it_there_is_no_limit() {
    let api = Origin::named("a").await;
    let weir = limited(&api, "rate = '1r/m'\nkey = 'header:X-Api-Key'").await;
    let mut client = weir.connect().await;
    let mut statuses = Vec::new();
    for header in [
        "X-Api-Key: one\r\n",
        "x-api-key: two\r\n",
        "X-API-KEY: one\r\n",
        "",
        "",
    ] {
        statuses.push(client.request("GET", "/", header).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 200, 200]);
}

#[tokio::test]
async fn parts_of_a_key_combine() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with(
            "route = [{ path = '/a', upstream = 'api', rate_limit = ['z'] }, { path = '/b', upstream = 'api', rate_limit = ['z'] }]
             [rate_limit.z]
             rate = '1r/m'
             key = 'client_ip+route'",
        )
        .start()
        .await;
    let mut client = weir.connect().await;
    let mut statuses = Vec::new();
    for target in ["/a", "/b", "/a/x", "/b"] {
        statuses.push(client.get(target).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[tokio::test]
async fn several_limits_apply_together_and_a_rejection_is_charged_to_none() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with(
            "route = [
               { path = '/both', upstream = 'api', rate_limit = ['wide', 'tight'] },
               { path = '/wide', upstream = 'api', rate_limit = ['wide'] },
             ]
             [rate_limit.wide]
             rate = '1r/m'
             burst = 9
             nodelay = true
             [rate_limit.tight]
             rate = '1r/m'
             burst = 2
             nodelay = true",
        )
        .start()
        .await;
    let mut client = weir.connect().await;
    let mut passed = [0, 0];
    for _ in 0..20 {
        passed[0] += usize::from(client.get("/both").await.status == 200);
    }
    for _ in 0..20 {
        passed[1] += usize::from(client.get("/wide").await.status == 200);
    }
    assert_eq!(passed, [3, 7]);
}

#[tokio::test]
async fn without_nodelay_the_excess_waits() {
    let api = Origin::named("a").await;
    let weir = limited(&api, "rate = '5r/s'\nburst = 3").await;
    let started = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = weir.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(client);
    }
    for client in &mut clients {
        client.answer().await.expect(200);
    }
    // 0, 200, 400 and 600 ms; less only what has drained between the first and the last request.
    assert!(
        started.elapsed() >= Duration::from_millis(590),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_reaches_nobody() {
    let api = Origin::named("a").await;
    let weir = limited(&api, "rate = '1r/s'\nburst = 5").await;
    let mut client = weir.connect().await;
    client.get("/").await.expect(200);
    client.send("GET /waits HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.reset();
    weir.logged(2).await;
    assert_eq!(api.count(), 1);
}

#[tokio::test]
async fn a_dry_run_only_counts() {
    let api = Origin::named("a").await;
    let weir = limited(
        &api,
        "rate = '1r/m'\nburst = 1\nnodelay = true\ndry_run = true",
    )
    .await;
    assert_eq!(admitted(&statuses(&mut weir.connect().await, 5).await), 5);
    let limits = weir.admin.get("/v1/limits").await.to_string();
    assert!(limits.contains("\"dry_run_rejected\":3"), "{limits}");
}

#[tokio::test]
async fn rate_and_burst_can_be_changed_without_forgetting_anybody() {
    let api = Origin::named("a").await;
    let weir = limited(&api, "rate = '1r/m'\nburst = 4\nnodelay = true").await;
    let mut client = weir.connect().await;
    assert_eq!(admitted(&statuses(&mut client, 10).await), 5);
    weir.admin
        .patch(json!({ "rate_limit": { "z": { "burst": 7 } } }))
        .await;
    assert_eq!(
        admitted(&statuses(&mut client, 10).await),
        3,
        "the difference, no more"
    );
    weir.admin
        .patch(json!({ "rate_limit": { "z": { "enabled": false } } }))
        .await;
    assert_eq!(admitted(&statuses(&mut client, 10).await), 10);
    weir.admin
        .patch(json!({ "rate_limit": { "z": { "enabled": true } } }))
        .await;
    assert_eq!(admitted(&statuses(&mut client, 10).await), 0);
    weir.admin
        .patch(json!({ "rate_limit": { "z": { "rate": "1000r/s" } } }))
        .await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(admitted(&statuses(&mut client, 5).await) >= 1);
}

#[tokio::test]
async fn a_key_above_a_lower_burst_waits_until_it_has_paid() {
    let api = Origin::named("a").await;
    let weir = limited(&api, "rate = '1r/m'\nburst = 9\nnodelay = true").await;
    let mut client = weir.connect().await;
    assert_eq!(admitted(&statuses(&mut client, 8).await), 8);
    weir.admin
        .patch(json!({ "rate_limit": { "z": { "burst": 2 } } }))
        .await;
    assert_eq!(admitted(&statuses(&mut client, 5).await), 0);
    // 7 are owed; at 100 a second they are paid in 50 ms down to the burst.
    weir.admin
        .patch(json!({ "rate_limit": { "z": { "rate": "100r/s" } } }))
        .await;
    eventually_some("the key to be let in again", async || {
        (admitted(&statuses(&mut client, 1).await) == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_lower_max_keys_forgets_the_oldest() {
    let api = Origin::named("a").await;
    let weir = limited(&api, "rate = '1r/m'\nmax_keys = 100").await;
    for last in 2..12 {
        let mut client = Conn::open_from([127, 0, 0, last], weir.addr()).await;
        assert_eq!(statuses(&mut client, 1).await, [200]);
    }
    weir.admin
        .patch(json!({ "rate_limit": { "z": { "max_keys": 4 } } }))
        .await;
    let limits = weir.admin.get("/v1/limits").await.to_string();
    assert!(limits.contains("\"keys\":4"), "{limits}");
    let mut last = Conn::open_from([127, 0, 0, 11], weir.addr()).await;
    assert_eq!(statuses(&mut last, 1).await, [429]);
    let mut first = Conn::open_from([127, 0, 0, 2], weir.addr()).await;
    assert_eq!(statuses(&mut first, 1).await, [200]);
}

#[tokio::test]
async fn the_table_of_keys_is_bounded() {
    let api = Origin::named("a").await;
    let weir = limited(&api, "rate = '1r/m'\nmax_keys = 3").await;
    for last in 2..12 {
        let mut client = Conn::open_from([127, 0, 0, last], weir.addr()).await;
        assert_eq!(statuses(&mut client, 1).await, [200]);
    }
    let limits = weir.admin.get("/v1/limits").await.to_string();
    assert!(
        limits.contains("\"keys\":3") && limits.contains("\"evicted\":7"),
        "{limits}"
    );
    // The first was forgotten, the last was not.
    let mut first = Conn::open_from([127, 0, 0, 2], weir.addr()).await;
    let mut last = Conn::open_from([127, 0, 0, 11], weir.addr()).await;
    assert_eq!(statuses(&mut last, 1).await, [429]);
    assert_eq!(statuses(&mut first, 1).await, [200]);
}

#[tokio::test]
async fn a_rejection_keeps_the_connection_and_passes_over_the_body() {
    let api = Origin::echo().await;
    let weir = limited(&api, "rate = '1r/m'").await;
    let mut client = weir.connect().await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let mut statuses = Vec::new();
    for _ in 0..4 {
        client.send(post).await;
        statuses.push(client.answer().await.status);
    }
    assert_eq!(statuses, [200, 429, 429, 429]);
}
