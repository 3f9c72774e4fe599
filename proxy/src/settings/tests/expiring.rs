//! Overrides: they end on time, and what becomes of them when others come.

use super::*;

#[test]
fn an_override_ends_on_time_and_puts_back_what_was() {
    let (store, clock) = store();
    let id = raise(
        &store,
        json!({"rate_limit": {"api_limit": {"rate": "100r/s", "burst": 200}}}),
        60,
    );
    assert_eq!(rate(&store), "100r/s");
    assert_eq!(
        store.view().sources[RATE[1..].replace('/', ".").as_str()],
        format!("override:{id}")
    );
    clock.pass(59);
    assert_eq!(store.expire_due(), 0);
    assert_eq!(store.overrides()[0].remaining, Duration::from_secs(1));
    clock.pass(1);
    assert!(store.overrides().is_empty(), "due, and still listed");
    assert_eq!(store.expire_due(), 1);
    assert_eq!(*store.current().settings, file());
    let newest = store.revisions(1).remove(0);
    assert_eq!((newest.revision, newest.who.as_str()), (3, "expiry"));
    assert!(
        newest.why.contains(&id) && newest.why.contains("load test"),
        "{}",
        newest.why
    );
}

#[test]
fn a_renewed_override_lasts() {
    let (store, clock) = store();
    let id = raise(&store, set_rate("100r/s"), 10);
    for _ in 0..5 {
        clock.pass(9);
        store.renew_override(&id, None).unwrap();
    }
    assert_eq!(
        store.renew_override(&id, Some(MAX_TTL)).unwrap().remaining,
        MAX_TTL
    );
    assert_eq!(store.revision(), 2, "renewing publishes nothing");
    clock.pass(MAX_TTL.as_secs());
    let gone = store.renew_override(&id, None).unwrap_err();
    assert!(matches!(gone, StoreError::NoOverride(_)));
    assert_eq!(
        rate(&store),
        "10r/s",
        "due before the timer came, and ended by the attempt"
    );
}

#[test]
fn a_patch_wins_over_an_override_and_outlives_it() {
    let (store, clock) = store();
    let both = json!({"rate_limit": {"api_limit": {"rate": "100r/s", "burst": 200}}});
    let id = raise(&store, both, 60);
    let changed = patch(&store, set_rate("5r/s"));
    assert_eq!(rate(&store), "5r/s", "the operator's word holds at once");
    assert_eq!(changed.superseded[0].id, id);
    assert_eq!(changed.superseded[0].path, "rate_limit.api_limit.rate");
    let active = store.renew_override(&id, None).unwrap();
    assert_eq!(active.superseded, ["rate_limit.api_limit.rate"]);
    assert_eq!(
        value(&store, "/rate_limit/api_limit/burst"),
        200,
        "the other field stays"
    );
    clock.pass(60);
    store.expire_due();
    assert_eq!(rate(&store), "5r/s");
    assert_eq!(value(&store, "/rate_limit/api_limit/burst"), 20);
}

#[test]
fn of_two_overrides_the_later_wins_and_each_takes_away_only_itself() {
    let (store, clock) = store();
    let first = raise(&store, set_rate("100r/s"), 100);
    raise(&store, set_rate("200r/s"), 50);
    assert_eq!(rate(&store), "200r/s");
    store.delete_override(&first, "ops").unwrap();
    assert_eq!(rate(&store), "200r/s");
    clock.pass(50);
    store.expire_due();
    assert_eq!(rate(&store), "10r/s");

    let first = raise(&store, set_rate("100r/s"), 100);
    let second = raise(&store, set_rate("200r/s"), 100);
    let changed = store.delete_override(&second, "ops").unwrap();
    assert_eq!(changed.diff[0].new, "100r/s");
    let changed = store.delete_override(&first, "ops").unwrap();
    assert_eq!(changed.diff[0].new, "10r/s");
    assert!(matches!(
        store.delete_override(&first, "ops"),
        Err(StoreError::NoOverride(_))
    ));
}

#[test]
fn an_override_that_stands_on_another_ends_with_it() {
    let (store, clock) = store();
    raise(
        &store,
        json!({"rate_limit": {"api_limit": {"nodelay": false}}}),
        10,
    );
    raise(
        &store,
        json!({"rate_limit": {"api_limit": {"delay": 5}}}),
        100,
    );
    raise(&store, set_rate("100r/s"), 100);
    clock.pass(10);
    assert_eq!(store.expire_due(), 1);
    // nodelay is on again, so delay cannot stay; newest first, which takes the third one too.
    assert_eq!(*store.current().settings, file());
    assert!(store.overrides().is_empty());
    assert!(store.revisions(1)[0].why.contains("cannot stand alone"));
}

#[test]
fn a_bad_override_changes_nothing() {
    let (store, _) = store();
    let good = NewOverride {
        settings: set_rate("100r/s"),
        ttl: Duration::from_secs(60),
        owner: "bench".to_owned(),
        reason: String::new(),
    };
    let with = |change: &dyn Fn(&mut NewOverride)| {
        let mut new = good.clone();
        change(&mut new);
        store
            .create_override(new, Conditions::default())
            .unwrap_err()
            .to_string()
    };
    for (error, says) in [
        (
            with(&|n| n.ttl = Duration::ZERO),
            "ttl: \"0s\" is not allowed; allowed: a duration from 1s to 24h",
        ),
        (with(&|n| n.ttl = MAX_TTL + Duration::from_secs(1)), "ttl"),
        (with(&|n| n.owner = " ".to_owned()), "owner"),
        (with(&|n| n.reason = "x".repeat(1001)), "reason"),
        (
            with(&|n| n.settings = json!({})),
            "settings: changes nothing",
        ),
        (
            with(&|n| n.settings = set_rate("fast")),
            "settings.rate_limit.api_limit.rate",
        ),
        (
            with(&|n| n.settings = json!({"rate_limit": {"x": {}}})),
            "settings.rate_limit.x",
        ),
    ] {
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(store.revision(), 1);
    for _ in 0..MAX_OVERRIDES {
        store
            .create_override(good.clone(), Conditions::default())
            .unwrap();
    }
    let error = store
        .create_override(good.clone(), Conditions::default())
        .unwrap_err();
    assert!(matches!(error, StoreError::TooMany));
}

/// With real time: the timer ends an override, also one made while it waits for a later one.
#[tokio::test(flavor = "multi_thread")]
async fn the_timer_ends_overrides() {
    let store = Arc::new(Store::new(&file(), Arc::default()).unwrap());
    let timer = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.run_expiry().await }
    });
    raise(&store, json!({"timeouts": {"read": "1s"}}), 3600);
    raise(&store, set_rate("100r/s"), 1);
    let created = Instant::now();
    while rate(&store) != "10r/s" {
        assert!(
            created.elapsed() < Duration::from_secs(20),
            "the override did not end"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        created.elapsed() >= Duration::from_millis(990),
        "ended too early"
    );
    assert_eq!(store.overrides().len(), 1);
    timer.abort();
}
