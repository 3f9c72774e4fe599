//! `connections.max`: client and upstream connections together.

use serde_json::json;
use weir_tests::{Conn, Gate, Origin, Reply, Weir, wait::eventually_some, weir::Server as _};

/// Opens connections that are each answered, until one is refused; returns those that work.
async fn fill(weir: &Weir, most: usize) -> Vec<Conn> {
    let mut open = Vec::new();
    for _ in 0..most {
        let mut client = weir.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        match client.try_answer_to("GET").await {
            Ok(Some(response)) if response.status == 200 => open.push(client),
            _ => break,
        }
    }
    open
}

#[tokio::test]
async fn no_more_connections_than_allowed() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 20")
        .start()
        .await;
    let open = fill(&weir, 40).await;
    // One of the twenty is the idle connection to the server.
    assert!((15..=20).contains(&open.len()), "{}", open.len());
    drop(open);
    eventually_some("room for a new client", || async {
        let mut client = weir.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client
            .try_answer_to("GET")
            .await
            .ok()
            .flatten()
            .filter(|r| r.status == 200)
    })
    .await;
}

#[tokio::test]
async fn the_limit_can_be_raised_while_it_binds() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 16")
        .start()
        .await;
    let before = fill(&weir, 40).await;
    assert!(before.len() <= 16, "{}", before.len());
    weir.admin
        .patch(json!({ "connections": { "max": 60 } }))
        .await;
    let after = fill(&weir, 30).await;
    assert_eq!(after.len(), 30);
}

#[tokio::test]
async fn connections_that_are_open_survive_a_lower_limit() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 50")
        .start()
        .await;
    let mut open = fill(&weir, 20).await;
    assert_eq!(open.len(), 20);
    weir.admin
        .patch(json!({ "connections": { "max": 16 } }))
        .await;
    for client in &mut open {
        client.get("/").await.expect(200);
    }
}

#[tokio::test]
async fn without_a_connection_for_the_server_there_is_an_answer_all_the_same() {
    let gate = Gate::closed();
    let api = Origin::answering(Reply::text("a").when(&gate)).await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 16")
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..14 {
        let mut client = weir.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(client);
    }
    // 14 clients leave two connections for the server; the rest is answered or refused, not left to hang.
    api.is_serving(2).await;
    gate.open();
    let mut answered = 0;
    for client in &mut clients {
        if let Ok(Some(response)) = client.try_answer_to("GET").await {
            assert!(
                matches!(response.status, 200 | 500 | 503),
                "{}",
                response.status
            );
            answered += usize::from(response.status == 200);
        }
    }
    assert!(answered >= 2, "{answered}");
    assert_eq!(weir.admin.in_flight(api.addr()).await, 0);
}

#[tokio::test]
async fn the_admin_api_is_reachable_when_clients_are_not() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 16")
        .start()
        .await;
    let _open = fill(&weir, 40).await;
    assert_eq!(weir.admin.status("/healthz").await, 200);
}
