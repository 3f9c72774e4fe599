//! When another server is tried, and when it must not be.

use std::time::Duration;

use weir_tests::{Origin, Reply, Weir, weir::Server as _};

/// An upstream whose first server does this, beside one that is in order.
async fn beside_a_good_one(bad: Reply) -> (Origin, Origin, Weir) {
    let bad = Origin::answering(bad).await;
    let good = Origin::named("good").await;
    let weir = Weir::before(&[&bad, &good])
        .with("upstream.api.retry = { tries = 2, timeout = '5s' }\n timeouts.read = '300ms'")
        .start()
        .await;
    (bad, good, weir)
}

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

#[tokio::test]
async fn a_server_that_cannot_be_reached_costs_no_request_of_any_method() {
    let (bad, _good, weir) = beside_a_good_one(Reply::text("bad")).await;
    bad.stop().await;
    for _ in 0..3 {
        weir.get("/").await.expect(200);
        let mut client = weir.connect().await;
        client.send(POST).await;
        // The server never saw it, so sending it elsewhere is safe.
        client.answer().await.expect(200);
    }
}

#[tokio::test]
async fn a_break_before_the_first_byte_is_retried_for_get() {
    for bad in [Reply::reset(), Reply::close()] {
        let (bad, _good, weir) = beside_a_good_one(bad).await;
        let mut client = weir.connect().await;
        for _ in 0..4 {
            assert_eq!(client.get("/").await.expect(200).text(), "good");
        }
        assert!(bad.count() >= 1);
    }
}

#[tokio::test]
async fn a_break_before_the_first_byte_is_not_retried_for_post() {
    let (bad, good, weir) = beside_a_good_one(Reply::reset()).await;
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let mut client = weir.connect().await;
        client.send(POST).await;
        statuses.push(client.answer().await.status);
    }
    assert!(statuses.contains(&502), "{statuses:?}");
    assert_eq!(bad.count() + good.count(), 2, "each was sent once");
}

#[tokio::test]
async fn a_break_after_the_first_byte_is_not_retried() {
    let (bad, good, weir) = beside_a_good_one(Reply::raw("HTTP/1.1 200 OK\r\nContent-")).await;
    let mut client = weir.connect().await;
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(client.get("/").await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
    assert_eq!((bad.count(), good.count()), (1, 1));
}

#[tokio::test]
async fn no_more_servers_are_tried_than_allowed() {
    let bad = [
        Origin::answering(Reply::reset()).await,
        Origin::answering(Reply::reset()).await,
        Origin::answering(Reply::reset()).await,
    ];
    let weir = Weir::before(&[&bad[0], &bad[1], &bad[2]])
        .with("upstream.api.retry = { tries = 2, timeout = '5s' }")
        .start()
        .await;
    weir.get("/").await.expect(502);
    assert_eq!(bad.iter().map(Origin::count).sum::<usize>(), 2);
    assert_eq!(weir.logged(1).await[0]["tries"], 2);
}

#[tokio::test]
async fn one_try_means_no_retry() {
    let (a, b) = (
        Origin::answering(Reply::reset()).await,
        Origin::answering(Reply::reset()).await,
    );
    let weir = Weir::before(&[&a, &b])
        .with("upstream.api.retry = { tries = 1, timeout = '5s' }")
        .start()
        .await;
    weir.get("/").await.expect(502);
    assert_eq!(a.count() + b.count(), 1);
}

#[tokio::test]
async fn no_new_try_after_the_time_for_retries() {
    let slow = Origin::answering(Reply::reset().after(Duration::from_millis(400))).await;
    let other = Origin::answering(Reply::reset().after(Duration::from_millis(400))).await;
    let weir = Weir::before(&[&slow, &other])
        .with("upstream.api.retry = { tries = 2, timeout = '100ms' }")
        .start()
        .await;
    weir.get("/").await.expect(502);
    assert_eq!(slow.count() + other.count(), 1);
}

#[tokio::test]
async fn an_error_status_is_an_answer_and_no_reason_to_retry() {
    let (bad, _good, weir) = beside_a_good_one(Reply::text("mine").with_status(503)).await;
    let mut client = weir.connect().await;
    let statuses = [client.get("/").await.status, client.get("/").await.status];
    assert!(statuses.contains(&503), "{statuses:?}");
    assert_eq!(bad.count(), 1);
    assert_eq!(weir.admin.server(bad.addr()).await["state"], "up");
}
