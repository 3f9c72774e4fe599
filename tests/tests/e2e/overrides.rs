//! Temporary overrides, and the way back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::{Admin, Conn, Origin, Weir, process::Process, wait::eventually_some};

async fn limited(api: &Origin) -> Weir {
    Weir::before(&[api])
        .with(
            "route = [{ upstream = 'api', rate_limit = ['z'] }]
             rate_limit.z = { rate = '1r/m', burst = 20, nodelay = true }",
        )
        .start()
        .await
}

async fn burst(weir: &Weir) -> Value {
    weir.admin.settings().await["rate_limit"]["z"]["burst"].clone()
}

async fn burst_becomes(weir: &Weir, value: u32) {
    eventually_some("the override to end", async || {
        (burst(weir).await == value).then_some(())
    })
    .await;
}

/// How many of 60 requests of a client that was never seen before are let in.
async fn admitted(weir: &Weir, last: u8) -> usize {
    let mut client = Conn::open_from([127, 0, 0, last], weir.addr()).await;
    let mut admitted = 0;
    for _ in 0..60 {
        admitted += usize::from(client.get("/").await.status == 200);
    }
    admitted
}

fn raised() -> Value {
    json!({ "rate_limit": { "z": { "burst": 50 } } })
}

#[tokio::test]
async fn an_override_works_at_once_and_ends_by_itself() {
    let api = Origin::named("a").await;
    let weir = limited(&api).await;
    assert_eq!(admitted(&weir, 2).await, 21);
    let started = Instant::now();
    let created = weir.admin.override_for("2s", raised()).await;
    assert!(
        created["expires_at"].as_str().unwrap().ends_with('Z'),
        "{created}"
    );
    assert_eq!(admitted(&weir, 3).await, 51);
    let view = weir.admin.get("/v1/settings").await;
    let id = created["id"].as_str().unwrap();
    assert_eq!(
        view["sources"]["rate_limit.z.burst"],
        format!("override:{id}"),
        "{view}"
    );
    burst_becomes(&weir, 20).await;
    assert!(
        started.elapsed() >= Duration::from_millis(1900),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(admitted(&weir, 4).await, 21);
    assert!(weir.admin.revision().await > created["revision"].as_u64().unwrap());
}

#[tokio::test]
async fn an_override_lives_as_long_as_it_is_renewed() {
    let api = Origin::named("a").await;
    let weir = limited(&api).await;
    let created = weir.admin.override_for("1s", raised()).await;
    let renew = format!("/v1/overrides/{}/renew", created["id"].as_str().unwrap());
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        weir.admin.send("POST", &renew, None).await.expect(200);
        assert_eq!(burst(&weir).await, 50);
    }
    burst_becomes(&weir, 20).await;
    assert_eq!(
        weir.admin.send("POST", &renew, None).await.status,
        404,
        "too late"
    );
}

#[tokio::test]
async fn an_override_can_be_deleted() {
    let api = Origin::named("a").await;
    let weir = limited(&api).await;
    let created = weir.admin.override_for("10m", raised()).await;
    let path = format!("/v1/overrides/{}", created["id"].as_str().unwrap());
    weir.admin.send("DELETE", &path, None).await.expect(200);
    assert_eq!(burst(&weir).await, 20);
    assert_eq!(
        weir.admin.get("/v1/overrides").await["overrides"],
        json!([])
    );
    assert_eq!(weir.admin.send("DELETE", &path, None).await.status, 404);
}

#[tokio::test]
async fn a_later_change_is_not_undone_by_the_end_of_an_override() {
    let api = Origin::named("a").await;
    let weir = limited(&api).await;
    weir.admin
        .override_for(
            "1s",
            json!({ "rate_limit": { "z": { "burst": 50 } }, "compression": { "level": 2 } }),
        )
        .await;
    weir.admin
        .patch(json!({ "rate_limit": { "z": { "burst": 33 } } }))
        .await;
    eventually_some("the override to end", async || {
        (weir.admin.settings().await["compression"]["level"] == 6).then_some(())
    })
    .await;
    assert_eq!(burst(&weir).await, 33);
}

#[tokio::test]
async fn overrides_of_the_same_field_end_in_any_order() {
    let api = Origin::named("a").await;
    let weir = limited(&api).await;
    let first = weir
        .admin
        .override_for("10m", json!({ "rate_limit": { "z": { "burst": 50 } } }))
        .await;
    let second = weir
        .admin
        .override_for("10m", json!({ "rate_limit": { "z": { "burst": 60 } } }))
        .await;
    assert_eq!(burst(&weir).await, 60);
    let delete = async |created: &Value| {
        let path = format!("/v1/overrides/{}", created["id"].as_str().unwrap());
        weir.admin.send("DELETE", &path, None).await.expect(200);
    };
    delete(&first).await;
    assert_eq!(burst(&weir).await, 60);
    delete(&second).await;
    assert_eq!(burst(&weir).await, 20);
}

#[tokio::test]
async fn a_bad_override_leaves_everything_as_it_was() {
    let api = Origin::named("a").await;
    let weir = limited(&api).await;
    let before = weir.admin.get("/v1/settings").await;
    for body in [
        json!({ "settings": raised(), "ttl": "0s", "owner": "me", "reason": "x" }),
        json!({ "settings": raised(), "ttl": "-1s", "owner": "me", "reason": "x" }),
        json!({ "settings": raised(), "ttl": 60, "owner": "me", "reason": "x" }),
        json!({ "settings": raised(), "ttl": "1000h", "owner": "me", "reason": "x" }),
        json!({ "settings": raised(), "owner": "me", "reason": "x" }),
        json!({ "settings": raised(), "ttl": "10s", "reason": "x" }),
        json!({ "settings": raised(), "ttl": "10s", "owner": "", "reason": "x" }),
        json!({ "settings": raised(), "ttl": "10s", "owner": "me", "reason": "x", "extra": 1 }),
        json!({ "settings": {}, "ttl": "10s", "owner": "me", "reason": "x" }),
        json!({ "settings": { "compression": { "level": 99 } }, "ttl": "10s", "owner": "me", "reason": "x" }),
        json!("nonsense"),
    ] {
        let answer = weir
            .admin
            .send("POST", "/v1/overrides", Some(&body.to_string()))
            .await;
        assert!(
            (400..500).contains(&answer.status),
            "{body}: {} {}",
            answer.status,
            answer.text
        );
        assert!(
            !answer.body["error"]["message"]
                .as_str()
                .unwrap_or_default()
                .is_empty(),
            "{}",
            answer.text
        );
    }
    assert_eq!(weir.admin.get("/v1/settings").await, before);
    assert_eq!(
        weir.admin.get("/v1/overrides").await["overrides"],
        json!([])
    );
}

#[tokio::test]
async fn the_end_of_an_override_drops_no_request() {
    let api = Origin::named("a").await;
    let weir = limited(&api).await;
    weir.admin.override_for("1s", json!({ "rate_limit": { "z": { "enabled": false } }, "upstream": { "api": { "keepalive": 1 } } })).await;
    let mut client = weir.connect().await;
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) {
        statuses.push(client.get("/").await.status);
    }
    // 21 after the end, since nothing was charged before, and no other status on the way.
    assert!(statuses.len() > 22, "{}", statuses.len());
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)));
}

/// Not a test: what the next one starts as a process of its own. It raises the limits, as a load generator does, and
/// renews that for as long as it lives.
#[tokio::test]
async fn owner_process() {
    let Ok(admin) = std::env::var("WEIR_TEST_OWNS_AN_OVERRIDE_AT") else {
        return;
    };
    let admin = Admin::new(admin.parse().unwrap());
    let created = admin.override_for("1s", raised()).await;
    let renew = format!("/v1/overrides/{}/renew", created["id"].as_str().unwrap());
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        admin.send("POST", &renew, None).await.expect(200);
    }
}

#[tokio::test]
async fn when_the_owner_is_killed_the_old_value_comes_back() {
    let api = Origin::named("a").await;
    let weir = limited(&api).await;
    let mut owner = tokio::process::Command::new(std::env::current_exe().unwrap());
    owner
        .args(["--exact", "overrides::owner_process"])
        .env("WEIR_TEST_OWNS_AN_OVERRIDE_AT", weir.admin.address());
    let mut owner = Process::start("owner", owner, weir.dir());
    burst_becomes(&weir, 50).await;
    // It outlives its time to live by being renewed.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(burst(&weir).await, 50);
    assert_eq!(admitted(&weir, 2).await, 51);
    owner.kill().await;
    burst_becomes(&weir, 20).await;
    assert_eq!(admitted(&weir, 3).await, 21);
    assert_eq!(
        weir.admin.get("/v1/overrides").await["overrides"],
        json!([])
    );
}
