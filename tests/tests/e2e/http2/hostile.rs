//! Clients that mean harm, beside one that does not.

use std::time::{Duration, Instant};

use weir_tests::frames::*;
use weir_tests::{Frames, Origin, Reply, Weir, eventually};

use super::h2c;

/// How long a small request may take beside an attack. Alone it takes a millisecond; machines are busy.
const SOON: Duration = Duration::from_secs(2);

/// What is sent the n-th time.
type FramesOf = Box<dyn Fn(u32) -> Vec<u8>>;

/// Sends `flood` again and again until the proxy ends the connection. Returns the code of its GOAWAY.
async fn flood(weir: &Weir, first: &[u8], flood: impl Fn(u32) -> Vec<u8>) -> Option<u32> {
    let mut frames = Frames::open(weir.addr()).await;
    frames.send(first).await;
    for n in 0..20_000 {
        // Refused bytes are noticed by reading.
        frames.send(flood(n)).await;
        if n % 256 == 255 {
            assert_eq!(answered(weir).await, Some(200), "beside the flood");
        }
        if n % 64 == 63 && frames.conn.is_closed().await {
            break;
        }
    }
    frames
        .until(|frame| frame.kind == GOAWAY)
        .await
        .map(|frame| frame.code())
}

/// The status of a request of somebody else, which must come soon.
async fn answered(weir: &Weir) -> Option<u16> {
    let started = Instant::now();
    let mut frames = Frames::open(weir.addr()).await;
    frames.send(request(1)).await;
    let (status, _) = frames.answer(1).await;
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    status
}

#[tokio::test]
async fn floods_of_frames_end_their_connection_alone() {
    let api = Origin::answering(Reply::text("hello")).await;
    let weir = h2c(&[&api]).start().await;
    let post = frame(HEADERS, END_HEADERS, 1, &ask("POST", "/", &[]));
    let kinds: [(&str, Vec<u8>, FramesOf); 7] = [
        (
            "resets",
            vec![],
            Box::new(|n| [request(2 * n + 1), reset(2 * n + 1, 8)].concat()),
        ),
        ("settings", vec![], Box::new(|_| frame(SETTINGS, 0, 0, &[]))),
        ("pings", vec![], Box::new(|_| ping(&[0; 8]))),
        ("empty", post.clone(), Box::new(|_| frame(DATA, 0, 1, &[]))),
        (
            "window_updates",
            post.clone(),
            Box::new(|_| window_update(1, 1).repeat(8)),
        ),
        (
            "control",
            vec![],
            Box::new(|_| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        ),
        (
            "continuations",
            frame(HEADERS, 0, 1, &get("/", &[])),
            Box::new(|n| frame(CONTINUATION, 0, 1, &block(&[("x", &n.to_string())]))),
        ),
    ];
    for (kind, first, frames) in kinds {
        let code = flood(&weir, &first, frames).await;
        // A reset of the connection may overtake the GOAWAY.
        assert!(
            matches!(code, Some(ENHANCE_YOUR_CALM) | None),
            "{kind}: {code:?}"
        );
        let metric = format!("weir_http2_floods_total{{kind=\"{kind}\"}}");
        assert_eq!(weir.metric(&metric).await, 1.0, "{kind}");
    }
    assert_eq!(answered(&weir).await, Some(200));
    assert_eq!(weir.metric("weir_requests_in_flight").await, 0.0);
}

#[tokio::test]
async fn a_client_that_works_hard_is_no_flood() {
    let api = Origin::answering(Reply::sized(vec![7; 40_000])).await;
    let weir = h2c(&[&api]).start().await;
    let mut frames = Frames::open(weir.addr()).await;
    for n in 0..500 {
        let stream = 2 * n + 1;
        frames.send(request(stream)).await;
        if n % 4 == 3 {
            frames.send(reset(stream, 8)).await;
            continue;
        }
        let mut got = 0;
        loop {
            let frame = frames.next().await.unwrap();
            assert_ne!(frame.kind, GOAWAY, "{frame:?} at {n}");
            if frame.kind != DATA || frame.payload.is_empty() {
                continue;
            }
            let len = frame.payload.len() as u32;
            frames
                .send([window_update(0, len), window_update(frame.stream, len)].concat())
                .await;
            got += if frame.stream == stream { len } else { 0 };
            if got == 40_000 {
                break;
            }
        }
    }
    assert!(frames.is_alive().await);
}

#[tokio::test]
async fn slow_headers_and_slow_beginnings_end() {
    let api = Origin::named("a").await;
    let weir = h2c(&[&api])
        .with("timeouts.client_header = '300ms'")
        .start()
        .await;
    let half = frame(HEADERS, END_STREAM, 1, &get("/", &[]));
    for (what, bytes) in [
        ("half a preface", PREFACE[..10].to_vec()),
        ("no SETTINGS", PREFACE.to_vec()),
        (
            "half a frame header",
            [PREFACE, &frame(SETTINGS, 0, 0, &[]), &half[..4]].concat(),
        ),
        (
            "half of HEADERS",
            [PREFACE, &frame(SETTINGS, 0, 0, &[]), &half[..20]].concat(),
        ),
        (
            "no END_HEADERS",
            [PREFACE, &frame(SETTINGS, 0, 0, &[]), &half].concat(),
        ),
    ] {
        let started = Instant::now();
        let mut frames = Frames::silent(weir.addr()).await;
        frames.send(bytes).await;
        frames.conn.closed().await;
        assert!(started.elapsed() >= Duration::from_millis(250), "{what}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go() {
    let api = Origin::named("a").await;
    let weir = h2c(&[&api])
        .with("timeouts.keepalive = '300ms'")
        .start()
        .await;
    let mut frames = Frames::open(weir.addr()).await;
    frames.send(request(1)).await;
    assert_eq!(frames.answer(1).await.0, Some(200));
    let goaway = frames.until(|frame| frame.kind == GOAWAY).await.unwrap();
    assert_eq!((goaway.code(), goaway.last_stream()), (NO_ERROR, 1));
    frames.conn.closed().await;
}

#[tokio::test]
async fn readers_that_stop_free_their_servers() {
    let api = Origin::start(|asked| match asked.target.as_str() {
        "/" => Reply::text("small"),
        _ => Reply::sized(vec![0; 3_000_000]),
    })
    .await;
    let large = |stream| {
        frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &get("/large", &[]),
        )
    };
    let weir = h2c(&[&api]).with("timeouts.send = '400ms'").start().await;
    // The window of each stream is used up, and never opened again.
    let mut frames = Frames::open(weir.addr()).await;
    frames.send(window_update(0, 1 << 30)).await;
    for n in 0..20 {
        frames.send(large(2 * n + 1)).await;
    }
    let mut resets = 0;
    while resets < 20 {
        let frame = frames.until(|frame| frame.kind == RST_STREAM).await;
        assert!(frame.is_some());
        resets += 1;
    }
    eventually("the servers' connections to be closed", || {
        api.serving() == 0
    })
    .await;
    assert!(frames.is_alive().await);
    // The connection as a whole is not read.
    let huge = frame(SETTINGS, 0, 0, &setting(4, (1 << 31) - 1));
    let mut deaf = Frames::open(weir.addr()).await;
    deaf.send([huge, window_update(0, 1 << 30)].concat()).await;
    for n in 0..10 {
        deaf.send(large(2 * n + 1)).await;
    }
    let log = weir.logged(30).await;
    assert!(log.iter().all(|line| line["protocol"] == "HTTP/2.0"));
    eventually("the servers' connections to be closed", || {
        api.serving() == 0
    })
    .await;
    assert_eq!(answered(&weir).await, Some(200));
}

#[tokio::test]
async fn a_window_that_is_overrun_is_an_error_of_flow_control() {
    // A server that takes no more than the kernel does.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let weir = h2c(&[&deaf.local_addr().unwrap()])
        .with("client.max_body = '1GiB'")
        .start()
        .await;
    let mut frames = Frames::open(weir.addr()).await;
    frames
        .send(frame(HEADERS, END_HEADERS, 1, &ask("POST", "/", &[])))
        .await;
    let piece = frame(DATA, 0, 1, &[0; 16_384]);
    for _ in 0..4000 {
        frames.send(&piece).await;
        if frames.conn.is_closed().await {
            break;
        }
    }
    let end = frames
        .until(|frame| matches!(frame.kind, GOAWAY | RST_STREAM))
        .await;
    if let Some(end) = end {
        assert_eq!(end.code(), FLOW_CONTROL_ERROR);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_large_downloads_do_not_hold_a_small_request_up() {
    let api = Origin::start(|request| match request.target.as_str() {
        "/large" => Reply::sized(vec![0; 10_000_000]),
        _ => Reply::text("small"),
    })
    .await;
    let weir = h2c(&[&api]).start().await;
    let settings = setting(4, (1 << 31) - 1);
    let mut greedy = Frames::open_with(weir.addr(), &settings).await;
    greedy.send(window_update(0, 1 << 30)).await;
    for n in 0..16 {
        let stream = 2 * n + 1;
        let head = frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &get("/large", &[]),
        );
        greedy.send(head).await;
    }
    let reading = tokio::spawn(async move { while greedy.next().await.is_some() {} });
    for _ in 0..50 {
        assert_eq!(answered(&weir).await, Some(200));
    }
    reading.abort();
}
