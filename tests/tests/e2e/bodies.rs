//! Bodies in both directions, and answers without one.

use std::time::Duration;

use weir_tests::{Conn, Framing, Gate, Origin, Reply, Weir, eventually};

#[tokio::test]
async fn a_body_of_known_length_arrives_with_its_length() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    let response = client.answer().await.expect(200);
    assert_eq!(response.text(), "hello");
    assert_eq!(response.framing, Framing::Length);
    assert_eq!(api.last().framing, Framing::Length);
}

#[tokio::test]
async fn a_chunked_body_arrives_whole() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for chunk in [
        "5\r\nhello\r\n",
        "1;ext=1\r\n,\r\n",
        "A\r\n wide worl\r\n",
        "1\r\nd\r\n",
        "0\r\n\r\n",
    ] {
        client.send(chunk).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(
        client.answer().await.expect(200).text(),
        "hello, wide world"
    );
    assert_eq!(
        client.get("/next").await.status,
        200,
        "the connection is in order"
    );
}

#[tokio::test]
async fn a_chunked_answer_stays_chunked() {
    let api = Origin::answering(Reply::chunked(&[b"one", b", ", b"two"])).await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    for _ in 0..2 {
        let response = client.get("/").await.expect(200);
        assert_eq!(
            (response.text().as_str(), response.framing),
            ("one, two", Framing::Chunked)
        );
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_chunked_for_the_client() {
    let api = Origin::answering(Reply::until_close("all of it")).await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    for _ in 0..2 {
        let response = client.get("/").await.expect(200);
        assert_eq!(
            (response.text().as_str(), response.framing),
            ("all of it", Framing::Chunked)
        );
    }
    assert_eq!(api.accepted(), 2);
}

#[tokio::test]
async fn big_bodies_pass_both_ways() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api])
        .with("client.max_body = '16MiB'")
        .start()
        .await;
    let body: Vec<u8> = (0..5_000_011_u32).map(|i| (i * 31 / 7) as u8).collect();
    let mut client = weir.connect().await;
    let mut message = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    message.extend(&body);
    client.send(message).await;
    let response = client.answer().await.expect(200);
    assert!(
        response.body == body,
        "{} of {} bytes",
        response.body.len(),
        body.len()
    );
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_and_reaches_nobody() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api])
        .with("client.max_body = '1KiB'")
        .start()
        .await;
    let mut client = weir.connect().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n{:1024}",
            ""
        ))
        .await;
    client.answer().await.expect(200);
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n")
        .await;
    client.answer().await.expect(413);
    assert_eq!(api.count(), 1);
}

#[tokio::test]
async fn a_chunked_body_above_the_limit_is_413() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api])
        .with("client.max_body = '1KiB'")
        .start()
        .await;
    let mut client = weir.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client
        .send(format!("800\r\n{:2048}\r\n0\r\n\r\n", ""))
        .await;
    client.answer().await.expect(413);
    assert_eq!(api.count(), 0, "the whole body never arrived");
}

#[tokio::test]
async fn head_has_the_length_but_no_body() {
    let api = Origin::named("twelve bytes").await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    for _ in 0..2 {
        let response = client.request("HEAD", "/", "").await.expect(200);
        assert_eq!(response.header("Content-Length"), Some("12"));
    }
    assert_eq!(client.get("/").await.text(), "twelve bytes");
    assert_eq!(api.accepted(), 1);
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let api = Origin::start(|request| match request.target.as_str() {
        "/204" => Reply::empty(204),
        "/304" => Reply::empty(304).header("ETag", "\"x\""),
        _ => Reply::sized(Vec::new()),
    })
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    for (target, status) in [("/204", 204), ("/304", 304), ("/0", 200), ("/204", 204)] {
        let response = client.get(target).await.expect(status);
        assert!(response.body.is_empty());
        assert!(
            !response.headers.has("Transfer-Encoding"),
            "{}",
            response.headers
        );
    }
    assert_eq!(api.accepted(), 1, "the server's connection is kept too");
}

#[tokio::test]
async fn expect_100_continue_is_answered_before_the_body_is_sent() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    let interim = client.receive().await;
    assert!(
        interim.starts_with(b"HTTP/1.1 100 "),
        "{}",
        String::from_utf8_lossy(&interim)
    );
    client.send("hello").await;
    assert_eq!(client.answer().await.expect(200).text(), "hello");
}

#[tokio::test]
async fn a_refusal_needs_no_100_continue() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api])
        .with("client.max_body = '1KiB'")
        .start()
        .await;
    let mut client = weir.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n")
        .await;
    let response = client.answer().await.expect(413);
    assert!(response.interim.is_empty(), "{:?}", response.interim);
}

#[tokio::test]
async fn an_answer_starts_before_it_is_complete() {
    let api = Origin::answering(Reply::partial("the beginning", 1000).then_hang()).await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut received = Vec::new();
    while !received.ends_with(b"the beginning") {
        let more = client.receive().await;
        assert!(
            !more.is_empty(),
            "closed after {:?}",
            String::from_utf8_lossy(&received)
        );
        received.extend(more);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    for reply in [
        Reply::partial("too little", 1000),
        Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    ] {
        let api = Origin::answering(reply).await;
        let weir = Weir::before(&[&api]).start().await;
        let mut client = weir.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let result = client.try_answer_to("GET").await;
        assert!(result.is_err(), "{result:?}");
    }
}

#[tokio::test]
async fn an_aborted_request_is_given_up_at_the_server_and_counts_fall() {
    let gate = Gate::closed();
    let api = Origin::answering(Reply::text("late").when(&gate)).await;
    let weir = Weir::before(&[&api]).start().await;
    let address = weir_tests::weir::Server::addr(&api);
    let mut client = weir.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    api.is_serving(1).await;
    assert_eq!(weir.admin.in_flight(address).await, 1);
    client.reset();
    eventually("the server's connection to be closed", || api.open() == 0).await;
    weir_tests::wait::eventually_some("the count to fall", async || {
        (weir.admin.in_flight(address).await == 0).then_some(())
    })
    .await;
    let line = weir.logged(1).await.remove(0);
    assert_eq!(line["status"], 499, "{line}");
}

#[tokio::test]
async fn a_client_that_leaves_within_its_body_reaches_nobody_as_a_whole_request() {
    let api = Origin::echo().await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf of")
        .await;
    client.finish_sending().await;
    client.closed().await;
    weir.logged(1).await;
    assert_eq!(api.count(), 0);
    assert_eq!(weir.get("/").await.status, 200, "and nothing is poisoned");
}

#[tokio::test]
async fn fields_that_describe_a_body_that_is_not_sent_confuse_nobody() {
    let api = Origin::start(
        |request| match (request.method.as_str(), request.target.as_str()) {
            ("HEAD", "/chunked") => Reply::empty(200).header("Transfer-Encoding", "chunked"),
            ("HEAD", _) => Reply::empty(200).header("Content-Length", "1000000"),
            (_, "/304") => Reply::empty(304).header("Content-Length", "1000000"),
            _ => Reply::text("ok"),
        },
    )
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    for _ in 0..2 {
        client.request("HEAD", "/", "").await.expect(200);
        client.request("HEAD", "/chunked", "").await.expect(200);
        client.get("/304").await.expect(304);
        assert_eq!(client.get("/").await.expect(200).text(), "ok");
    }
    assert_eq!(api.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_goes_to_another_request() {
    let (a, b) = (Origin::echo().await, Origin::echo().await);
    let weir = Weir::before(&[&a, &b])
        .with("upstream.api.keepalive = 4")
        .start()
        .await;
    let clients = (0..24_usize).map(|n| {
        let to = weir.addr();
        tokio::spawn(async move {
            let mut client = Conn::open(to).await;
            for round in 0..40_usize {
                let word = format!("{n}-{round}-");
                let body = word.repeat(1 + (n * 7919 + round * 104_729) % 700);
                let length = body.len();
                let text = if (n + round) % 3 == 0 {
                    let (half, rest) = body.split_at(length / 2);
                    format!(
                        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{half}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n",
                        half.len(),
                        rest.len()
                    )
                } else {
                    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
                };
                // Two at once now and then.
                let copies = 1 + round % 2;
                client.send(text.repeat(copies)).await;
                for _ in 0..copies {
                    assert!(client.answer().await.expect(200).text() == body, "{word}");
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert_eq!((a.faults(), b.faults()), (Vec::new(), Vec::new()));
}

/// Resident memory of the proxy in MiB.
fn resident(weir: &Weir) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", weir.process.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

#[tokio::test]
async fn a_client_that_reads_slowly_costs_no_memory() {
    let api = Origin::answering(Reply::sized(vec![b'x'; 100 << 20])).await;
    let weir = Weir::before(&[&api]).start().await;
    weir.get("/").await.expect(200);
    let before = resident(&weir);
    let mut client = weir.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    api.is_serving(1).await;
    // Time to take in far more than it may hold.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let grown = resident(&weir).saturating_sub(before);
    assert!(grown < 16, "{grown} MiB for a client that reads nothing");
    assert_eq!(
        client.answer().await.body.len(),
        100 << 20,
        "and nothing is lost"
    );
}

#[tokio::test]
async fn a_server_that_reads_slowly_costs_no_memory() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = tokio::spawn(async move { listener.accept().await.unwrap().0 });
    let weir = Weir::before(&[&address])
        .with("client.max_body = '1GiB'")
        .start()
        .await;
    let before = resident(&weir);
    let mut client = weir.connect().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            100 << 20
        ))
        .await;
    let sending = tokio::spawn(async move {
        client.send(vec![b'x'; 100 << 20]).await;
        client
    });
    let _silent = accepting.await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let grown = resident(&weir).saturating_sub(before);
    assert!(grown < 16, "{grown} MiB for a server that reads nothing");
    assert!(!sending.is_finished(), "the client is held back");
    sending.abort();
}

#[tokio::test]
async fn a_client_that_leaves_within_an_answer_frees_the_server() {
    let api = Origin::answering(Reply::sized(vec![b'x'; 50 << 20])).await;
    let weir = Weir::before(&[&api]).start().await;
    let address = weir_tests::weir::Server::addr(&api);
    for _ in 0..3 {
        let mut client = weir.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.receive().await;
        client.reset();
    }
    eventually("the server's connections to be given up", || {
        api.count() == 3 && api.open() == 0
    })
    .await;
    weir_tests::wait::eventually_some("the count to fall", async || {
        (weir.admin.in_flight(address).await == 0).then_some(())
    })
    .await;
    assert_eq!(
        weir.admin.server(address).await["failures"],
        0,
        "not the server's fault"
    );
}
