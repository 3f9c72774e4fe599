//! `connections.max`: client and upstream connections together.

use nix::sys::signal::Signal;
use serde_json::json;
use weir_tests::{
    Conn, Gate, Origin, Reply, Weir, eventually, wait::eventually_some, weir::Server as _,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// An origin whose requests are held until the gate opens.
async fn held() -> (Origin, Gate) {
    let gate = Gate::closed();
    let origin = Origin::answering(Reply::text("a").when(&gate)).await;
    (origin, gate)
}

/// Sends a request on each of so many connections, the next when the one before has arrived at the origin or has been
/// refused, and leaves them waiting.
async fn send_all(weir: &Weir, origin: &Origin, count: usize) -> Vec<Conn> {
    let settled = async || origin.serving() as f64 + refused(weir).await;
    let before = settled().await;
    let mut clients = Vec::new();
    for n in 1..=count {
        let mut client = weir.connect().await;
        client.send(GET).await;
        clients.push(client);
        eventually_some("a request to arrive or to be refused", async || {
            (settled().await == before + n as f64).then_some(())
        })
        .await;
    }
    clients
}

async fn refused(weir: &Weir) -> f64 {
    weir.metric("weir_connections_refused_total").await
}

/// The statuses of the answers; none for a connection that was closed without one.
async fn answers(clients: &mut [Conn]) -> Vec<Option<u16>> {
    let mut statuses = Vec::new();
    for client in clients {
        statuses.push(
            client
                .try_answer_to("GET")
                .await
                .ok()
                .flatten()
                .map(|response| response.status),
        );
    }
    statuses
}

#[tokio::test]
async fn a_request_takes_two_connections_and_beyond_the_limit_clients_are_refused() {
    let (api, gate) = held().await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 16")
        .start()
        .await;
    let mut clients = send_all(&weir, &api, 12).await;
    assert_eq!(api.serving(), 8);
    assert_eq!(refused(&weir).await, 4.0);
    gate.open();
    let answers = answers(&mut clients).await;
    assert_eq!(answers, [vec![Some(200); 8], vec![None; 4]].concat());
    drop(clients);
    eventually_some("room for a new client", async || {
        let mut client = weir.connect().await;
        client.send(GET).await;
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
    let (api, gate) = held().await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 16")
        .start()
        .await;
    let mut clients = send_all(&weir, &api, 9).await;
    assert_eq!(api.serving(), 8);
    weir.admin
        .patch(json!({ "connections": { "max": 32 } }))
        .await;
    clients.extend(send_all(&weir, &api, 6).await);
    api.is_serving(14).await;
    gate.open();
    let refused = answers(&mut clients)
        .await
        .iter()
        .filter(|answer| answer.is_none())
        .count();
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn requests_in_flight_survive_a_lower_limit() {
    let (api, gate) = held().await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 64")
        .start()
        .await;
    let mut clients = send_all(&weir, &api, 20).await;
    api.is_serving(20).await;
    weir.admin
        .patch(json!({ "connections": { "max": 16 } }))
        .await;
    gate.open();
    assert_eq!(answers(&mut clients).await, vec![Some(200); 20]);
}

#[tokio::test]
async fn idle_connections_above_a_lower_limit_close_at_once_and_busy_ones_stay() {
    let gate = Gate::closed();
    let api = Origin::start({
        let gate = gate.clone();
        move |request| match request.target.as_str() {
            "/held" => Reply::text("held").when(&gate),
            _ => Reply::text("free"),
        }
    })
    .await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 200")
        .start()
        .await;
    let mut idle = Vec::new();
    for _ in 0..50 {
        let mut client = weir.connect().await;
        client.get("/").await.expect(200);
        idle.push(client);
    }
    let mut busy = weir.connect().await;
    busy.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    api.is_serving(1).await;
    weir.admin
        .patch(json!({ "connections": { "max": 20 } }))
        .await;
    assert!(idle.remove(0).closed().await.is_empty(), "the longest idle");
    eventually_some("the others to go", async || {
        (weir.metric("weir_connections{side=\"client\"}").await <= 20.0).then_some(())
    })
    .await;
    gate.open();
    assert_eq!(busy.answer().await.expect(200).text(), "held");
    let mut newest = idle.pop().unwrap();
    newest.get("/").await.expect(200);
}

#[tokio::test]
async fn idle_clients_make_room_for_new_ones_the_longest_idle_first() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 20")
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = weir.connect().await;
        client.get("/").await.expect(200);
        clients.push(client);
        assert!(weir.metric("weir_connections{side=\"client\"}").await <= 20.0);
    }
    let mut last = clients.pop().unwrap();
    last.get("/").await.expect(200);
    let mut first = clients.remove(0);
    assert!(first.closed().await.is_empty());
}

#[tokio::test]
async fn without_a_connection_for_the_server_there_is_an_answer_all_the_same() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 16\n upstream.api.keepalive = 0")
        .start()
        .await;
    // Connections that have begun a request are busy, and none of them makes room; one whose first bytes have not been
    // seen yet may still have to, and then another takes its place.
    let mut busy = Vec::new();
    eventually_some("all places to be taken", async || {
        let taken = weir.metric("weir_connections{side=\"client\"}").await;
        if taken < 16.0 {
            let mut client = weir.connect().await;
            client.send("GET / HT").await;
            busy.push(client);
        }
        (taken == 16.0).then_some(())
    })
    .await;
    for client in &mut busy {
        client.send("TP/1.1\r\nHost: a\r\n\r\n").await;
    }
    // nginx: 500; there is no connection left for the first of them, the others may find places given back.
    let statuses = answers(&mut busy).await;
    let answered: Vec<u16> = statuses.iter().copied().flatten().collect();
    assert!(answered.len() >= 16, "{statuses:?}");
    assert!(
        answered
            .iter()
            .all(|status| matches!(status, 200 | 500 | 502 | 503)),
        "{statuses:?}"
    );
    assert!(answered.contains(&503), "{statuses:?}");
    drop(busy);
    eventually("the counts to fall", || api.open() == 0).await;
    // A place is given back when the request is over, a moment after its client has the answer.
    eventually_some("nothing to be in flight", async || {
        (weir.admin.in_flight(api.addr()).await == 0).then_some(())
    })
    .await;
    weir.get("/").await.expect(200);
}

/// So many clients that have begun a request, so that none of them is idle.
async fn busy_clients(weir: &Weir, count: usize) -> Vec<Conn> {
    let mut busy = Vec::new();
    for n in 1..=count {
        let mut client = weir.connect().await;
        client.send("GET / HT").await;
        busy.push(client);
        eventually_some("the start of a request to be read", async || {
            (weir.metric("weir_connections{side=\"client\"}").await == n as f64).then_some(())
        })
        .await;
    }
    busy
}

#[tokio::test]
async fn a_request_without_a_connection_to_the_server_gives_its_own_place_to_the_next() {
    let (api, gate) = held().await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 64")
        .start()
        .await;
    let mut clients = busy_clients(&weir, 32).await;
    // All places taken by clients, and none of them idle.
    weir.admin
        .patch(json!({ "connections": { "max": 32 } }))
        .await;
    let (mut served, mut sent_away) = (Vec::new(), 0);
    for mut client in clients.drain(..) {
        let before = api.serving();
        client.send("TP/1.1\r\nHost: a\r\n\r\n").await;
        if served.len() < sent_away {
            served.push(client);
            api.is_serving(before + 1).await;
        } else {
            let answer = client.answer().await.expect(503);
            assert_eq!(answer.header("Connection"), Some("close"));
            assert!(client.closed().await.is_empty());
            sent_away += 1;
            eventually_some("its place to come back", async || {
                (weir.metric("weir_connections{side=\"client\"}").await == (32 - sent_away) as f64)
                    .then_some(())
            })
            .await;
        }
    }
    assert_eq!((served.len(), sent_away), (16, 16));
    gate.open();
    assert_eq!(answers(&mut served).await, vec![Some(200); 16]);
}

#[tokio::test]
async fn a_body_that_comes_after_the_refusal_does_not_cost_the_client_its_answer() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 64")
        .start()
        .await;
    let mut busy = busy_clients(&weir, 16).await;
    weir.admin
        .patch(json!({ "connections": { "max": 16 } }))
        .await;
    let mut client = busy.pop().unwrap();
    client
        .send("TP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
        .await;
    client.answer().await.expect(503);
    client.send("body").await;
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn idle_connections_to_servers_make_room_for_those_to_others() {
    let (gate, opens) = (Gate::closed(), Gate::closed());
    let a = Origin::answering(Reply::text("a").when(&opens)).await;
    let b = Origin::answering(Reply::text("b").when(&gate)).await;
    let weir = Weir::before(&[&a])
        .with(&format!(
            "connections.max = 32
             upstream.b.servers = [{{ address = '{}' }}]
             route = [{{ path = '/b', upstream = 'b' }}, {{ upstream = 'api' }}]",
            b.addr()
        ))
        .start()
        .await;
    // Fifteen at once leave fifteen idle connections to `a` behind.
    let mut clients = send_all(&weir, &a, 15).await;
    opens.open();
    assert_eq!(answers(&mut clients).await, vec![Some(200); 15]);
    drop(clients);
    eventually_some("only idle connections to be left", async || {
        let clients = weir.metric("weir_connections{side=\"client\"}").await;
        let idle = weir
            .metric("weir_connections{side=\"upstream_idle\"}")
            .await;
        ((clients, idle) == (0.0, 15.0)).then_some(())
    })
    .await;
    // In the end all 32 places are those of requests to `b`.
    let mut clients = Vec::new();
    for n in 1..=16 {
        let mut client = weir.connect().await;
        client.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n").await;
        clients.push(client);
        b.is_serving(n).await;
    }
    gate.open();
    assert_eq!(answers(&mut clients).await, vec![Some(200); 16]);
    assert_eq!(refused(&weir).await, 0.0);
}

#[tokio::test]
async fn many_new_clients_at_once_take_the_places_of_idle_ones() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 64")
        .start()
        .await;
    let mut idle = Vec::new();
    for _ in 0..60 {
        let mut client = weir.connect().await;
        client.get("/").await.expect(200);
        idle.push(client);
    }
    let (stop, start) = tokio::sync::watch::channel(false);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let (mut start, to) = (start.clone(), weir.addr());
            tokio::spawn(async move {
                start.wait_for(|begun| *begun).await.unwrap();
                let mut client = Conn::open(to).await;
                client.get("/").await.expect(200);
                client
            })
        })
        .collect();
    stop.send_replace(true);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(refused(&weir).await, 0.0);
}

/// Whoever has said nothing yet that could be answered gives way, however much of a preface that is: forty of them at
/// once on sixteen places, and everybody who comes after them and asks is served.
#[tokio::test]
async fn clients_that_have_asked_nothing_give_way_to_those_who_ask() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let complete = [PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat();
    let api = Origin::named("a").await;
    for said in [b"", &b"\r\n"[..], &PREFACE[..10], PREFACE, &complete] {
        let weir = Weir::before(&[&api])
            .with("connections.max = 16\n listener = [{ address = '127.0.0.1:0', h2c = true }]")
            .start()
            .await;
        let mut idle = Vec::new();
        for _ in 0..40 {
            let mut client = weir.connect().await;
            client.send(said).await;
            idle.push(client);
        }
        for _ in 0..20 {
            let mut client = weir.connect().await;
            client.send(GET).await;
            let answer = client.try_answer_to("GET").await.ok().flatten();
            let status = answer.map(|answer| answer.status);
            assert_eq!(
                status,
                Some(200),
                "after {:?}",
                said.escape_ascii().to_string()
            );
        }
        assert_eq!(
            refused(&weir).await,
            0.0,
            "after {:?}",
            said.escape_ascii().to_string()
        );
    }
}

#[tokio::test]
async fn the_admin_api_is_reachable_when_clients_are_not() {
    let (api, _gate) = held().await;
    let weir = Weir::before(&[&api])
        .with("connections.max = 16")
        .start()
        .await;
    let _clients = send_all(&weir, &api, 10).await;
    assert_eq!(weir.admin.status("/healthz").await, 200);
}

#[tokio::test]
async fn clients_in_the_accept_queue_are_served_when_the_proxy_is_told_to_stop() {
    let api = Origin::named("a").await;
    let mut weir = Weir::before(&[&api]).start().await;
    weir.process.signal(Signal::SIGSTOP);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = weir.connect().await;
        client.send(GET).await;
        clients.push(client);
    }
    weir.process.signal(Signal::SIGTERM);
    weir.process.signal(Signal::SIGCONT);
    assert_eq!(answers(&mut clients).await, vec![Some(200); 20]);
    assert_eq!(weir.process.exit_code().await, Some(0));
}
