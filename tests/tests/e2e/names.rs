//! Names of servers: looked up, followed, and never waited for by those who have nothing to do with it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;
use weir_tests::{Dns, Origin, Weir, eventually, wait::eventually_some, weir::Server as _};

/// Far less than the resolver takes in these tests.
const SOON: Duration = Duration::from_secs(2);
const SLOW: Duration = Duration::from_secs(3);

/// A proxy before one origin that is named `api.test`.
async fn named(dns: &Dns, api: &Origin, more: &str) -> Weir {
    Weir::before(&[])
        .servers(&[server("api.test", api)])
        .with(&dns.config())
        .with(more)
        .start()
        .await
}

fn server(name: &str, origin: &Origin) -> String {
    format!(
        "{{ address = '{name}:{}', max_fails = 0 }}",
        origin.addr().port()
    )
}

/// The addresses in use.
async fn addresses(weir: &Weir) -> BTreeSet<String> {
    let upstreams = weir.admin.get("/v1/upstreams").await;
    let servers = upstreams["upstreams"][0]["servers"].as_array().unwrap();
    servers
        .iter()
        .map(|server| server["address"].as_str().unwrap())
        .map(|address| address.rsplit_once(':').unwrap().0.to_owned())
        .collect()
}

async fn uses(weir: &Weir, expected: &[&str]) {
    let expected: BTreeSet<_> = expected.iter().map(|&text| text.to_owned()).collect();
    eventually_some("the addresses to be followed", async || {
        (addresses(weir).await == expected).then_some(())
    })
    .await;
}

/// Probes and requests are answered soon while `what` goes on.
async fn meanwhile_all_is_well<T>(weir: &Weir, what: impl Future<Output = T>) -> T {
    let probes = async {
        loop {
            for path in ["/healthz", "/readyz", "/metrics"] {
                let began = Instant::now();
                weir.admin.text(path).await;
                assert!(began.elapsed() < SOON, "{path}: {:?}", began.elapsed());
            }
            weir.get("/").await.expect(200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        done = what => done,
        () = probes => unreachable!("probes never end"),
    }
}

#[tokio::test]
async fn a_name_is_followed_when_its_ttl_is_over() {
    let (dns, api) = (Dns::start().await, Origin::named("a").await);
    dns.set("api.test", &["127.0.0.1"], 1);
    let weir = named(&dns, &api, "resolver.max_ttl = '1h'").await;
    uses(&weir, &["127.0.0.1"]).await;
    dns.set("api.test", &["127.0.0.1", "127.0.0.9", "::1"], 3600);
    uses(&weir, &["127.0.0.1", "127.0.0.9", "[::1]"]).await;
    for _ in 0..6 {
        weir.get("/").await.expect(200);
    }
}

#[tokio::test]
async fn a_long_ttl_is_not_waited_for() {
    let (dns, api) = (Dns::start().await, Origin::named("a").await);
    dns.set("api.test", &["127.0.0.1"], 600);
    let weir = named(&dns, &api, "resolver.max_ttl = '1s'").await;
    dns.set("api.test", &["127.0.0.9", "127.0.0.1"], 600);
    uses(&weir, &["127.0.0.1", "127.0.0.9"]).await;
}

#[tokio::test]
async fn a_slow_resolver_holds_up_nothing() {
    let (dns, api) = (Dns::start().await, Origin::named("a").await);
    dns.set("api.test", &["127.0.0.1"], 1);
    let mut weir = named(&dns, &api, "").await;
    dns.set_slow("api.test", &["127.0.0.1"], 1, SLOW);
    let asked = Instant::now();
    let change = json!({ "timeouts": { "read": "21s" } });
    meanwhile_all_is_well(&weir, weir.admin.patch(change)).await;
    assert!(asked.elapsed() < SLOW, "a change: {:?}", asked.elapsed());

    let change = json!({ "timeouts": { "connect": "9s" } });
    weir.admin.override_for("1s", change).await;
    let ends = async || (weir.admin.settings().await["timeouts"]["connect"] == "30s").then_some(());
    meanwhile_all_is_well(&weir, eventually_some("the override to end", ends)).await;

    weir.rewrite_config("compression.level = 3");
    let asked = Instant::now();
    weir.process.signal(Signal::SIGHUP);
    let applies = async || (weir.admin.settings().await["compression"]["level"] == 3).then_some(());
    meanwhile_all_is_well(&weir, eventually_some("the file to apply", applies)).await;
    assert!(asked.elapsed() < SLOW, "SIGHUP: {:?}", asked.elapsed());
}

#[tokio::test]
async fn a_change_with_a_new_name_waits_for_it_alone() {
    let (dns, api) = (Dns::start().await, Origin::named("a").await);
    dns.set("api.test", &["127.0.0.1"], 60);
    let mut weir = named(&dns, &api, "").await;
    dns.set_slow("new.test", &["127.0.0.1"], 60, SLOW);
    let port = api.addr().port();
    let added = json!({ "address": format!("new.test:{port}") }).to_string();
    let asked = Instant::now();
    let add = weir
        .admin
        .send("POST", "/v1/upstreams/api/servers", Some(&added));
    let other = async {
        let change = json!({ "timeouts": { "read": "21s" } });
        weir.admin.patch(change).await;
        assert!(asked.elapsed() < SLOW, "another: {:?}", asked.elapsed());
    };
    let (answer, ()) = meanwhile_all_is_well(&weir, async { tokio::join!(add, other) }).await;
    answer.expect(201);
    assert!(asked.elapsed() >= SLOW, "{:?}", asked.elapsed());
    assert_eq!(weir.admin.settings().await["timeouts"]["read"], "21s");

    dns.set_slow("late.test", &["127.0.0.1"], 60, SLOW);
    weir.rewrite_config(&format!(
        "upstream.api.servers = [{{ address = 'late.test:{port}' }}]
         compression.level = 3"
    ));
    weir.process.signal(Signal::SIGHUP);
    let applies = async || (weir.admin.settings().await["compression"]["level"] == 3).then_some(());
    meanwhile_all_is_well(&weir, eventually_some("the file to apply", applies)).await;
}

#[tokio::test]
async fn a_new_name_that_leads_nowhere_is_refused_in_time() {
    let (dns, api) = (Dns::start().await, Origin::named("a").await);
    dns.set("api.test", &["127.0.0.1"], 60);
    dns.be_silent("silent.test");
    dns.fail("broken.test");
    let weir = named(&dns, &api, "resolver.timeout = '700ms'").await;
    let before = weir.admin.get("/v1/settings").await;
    for (name, reason) in [
        ("unknown.test", "no such host"),
        ("broken.test", "DNS"),
        ("silent.test", "no answer within 700ms"),
    ] {
        let change =
            json!({ "upstream": { "api": { "servers": [{ "address": format!("{name}:80") }] } } });
        let refused = weir.admin.try_patch(&change.to_string()).await;
        let message = refused.expect(422)["error"]["message"].to_string();
        for part in ["upstream.api.servers", name, reason] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    assert_eq!(weir.admin.get("/v1/settings").await, before);
    weir.get("/").await.expect(200);
}

#[tokio::test]
async fn a_failed_look_up_keeps_the_last_addresses() {
    let (dns, api) = (Dns::start().await, Origin::named("a").await);
    dns.set("api.test", &["127.0.0.1"], 1);
    let weir = named(&dns, &api, "resolver.max_ttl = '1s'").await;
    dns.fail("api.test");
    let stale = async |wanted: f64| (weir.metric("weir_names_stale").await == wanted).then_some(());
    eventually_some("the name to be stale", async || stale(1.0).await).await;
    let failed = "weir_name_lookups_total{outcome=\"failed\"}";
    eventually_some("several failures", async || {
        (weir.metric(failed).await >= 3.0).then_some(())
    })
    .await;
    let said = weir
        .process
        .stderr()
        .matches("keeping the last addresses")
        .count();
    assert_eq!(said, 1, "{}", weir.process.stderr());
    weir.get("/").await.expect(200);
    let change = json!({ "timeouts": { "read": "21s" } });
    weir.admin.patch(change).await;
    dns.set("api.test", &["127.0.0.1"], 1);
    eventually_some("the name to be known again", async || stale(0.0).await).await;
    eventually("the log to say so", || {
        weir.process.stderr().contains("can be looked up again")
    })
    .await;
}

/// The addresses of what an override has put aside are remembered: it ends whether DNS is there or not.
#[tokio::test]
async fn an_override_ends_without_a_resolver() {
    let (dns, api) = (Dns::start().await, Origin::named("a").await);
    dns.set("api.test", &["127.0.0.1"], 1);
    let weir = named(&dns, &api, "").await;
    let others = json!([{ "address": "127.0.0.9:9" }]);
    let change = json!({ "upstream": { "api": { "servers": others } } });
    let made = weir.admin.override_for("10m", change).await;
    uses(&weir, &["127.0.0.9"]).await;
    dns.be_silent("api.test");
    let asked = Instant::now();
    let path = format!("/v1/overrides/{}", made["id"].as_str().unwrap());
    weir.admin.send("DELETE", &path, None).await.expect(200);
    assert!(asked.elapsed() < SLOW, "{:?}", asked.elapsed());
    uses(&weir, &["127.0.0.1"]).await;
    weir.get("/").await.expect(200);
}

#[tokio::test]
async fn without_an_answer_the_start_is_given_up_in_time() {
    let dns = Dns::start().await;
    dns.be_silent("api.test");
    let asked = Instant::now();
    let (code, said) = Weir::before(&[])
        .servers(&["{ address = 'api.test:80' }".to_owned()])
        .with(&dns.config())
        .with("resolver.timeout = '500ms'")
        .start_expecting_failure()
        .await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("api.test") && said.contains("no answer within 500ms"),
        "{said}"
    );
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );
}
