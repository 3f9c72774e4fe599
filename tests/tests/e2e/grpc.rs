//! gRPC through the proxy: statuses, deadlines, and failures of the proxy's own.

use bytes::Bytes;
use h2::Reason;
use weir_tests::http2::{fields, read_all};
use weir_tests::weir::Builder;
use weir_tests::{Http2Origin, Weir, eventually};

fn before(origin: &Http2Origin) -> Builder {
    Weir::before(&[origin]).with("upstream.api.protocol = 'http2'")
}

/// A message of gRPC: a flag and a length before it.
fn message(text: &str) -> Vec<u8> {
    let mut out = vec![0];
    out.extend((text.len() as u32).to_be_bytes());
    out.extend(text.as_bytes());
    out
}

/// A call as HTTP/1 text, complete.
fn call(path: &str, more: &str) -> Vec<u8> {
    let body = message("hello");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTE: trailers\r\nConnection: TE\r\n{more}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

#[tokio::test]
async fn the_status_of_a_call_is_in_log_and_metrics() {
    let origin = Http2Origin::start(|mut it| async move {
        let (body, _) = read_all(&mut it.body).await;
        if it.head.uri.path() == "/svc/Nothing" {
            it.head_only(
                200,
                &[("content-type", "application/grpc"), ("grpc-status", "5")],
            );
            return;
        }
        let mut out = it.begin(200, &[("content-type", "application/grpc")]);
        out.send_data(Bytes::from(body), false).unwrap();
        let _ = out.send_trailers(fields(&[("grpc-status", "0"), ("grpc-message", "")]));
    })
    .await;
    let weir = before(&origin).start().await;
    let mut client = weir.connect().await;
    client.send(call("/svc/Echo", "")).await;
    assert_eq!(client.answer().await.expect(200).body, message("hello"));
    client.send(call("/svc/Nothing", "")).await;
    let answer = client.answer().await.expect(200);
    assert_eq!(
        answer.header("grpc-status"),
        Some("5"),
        "an answer of trailers alone"
    );
    let log = weir.logged(2).await;
    assert_eq!(
        (&log[0]["grpc_status"], &log[1]["grpc_status"]),
        (&0.into(), &5.into())
    );
    for status in ["0", "5"] {
        let name = format!("weir_grpc_requests_total{{grpc_status=\"{status}\",route=\"/\"}}");
        assert_eq!(weir.metric(&name).await, 1.0);
    }
}

#[tokio::test]
async fn a_failure_of_the_proxy_is_one_of_grpc() {
    let origin = Http2Origin::named("ok").await;
    let weir = before(&origin)
        .with(
            "client.max_body = '64B'
             route = [{ path = '/svc', upstream = 'api', rate_limit = ['one'] }]
             [rate_limit.one]
             rate = '1r/m'",
        )
        .start()
        .await;
    origin.stop().await;
    let mut client = weir.connect().await;
    client.send(call("/svc/Echo", "")).await;
    let answer = client.answer().await.expect(200);
    assert_eq!(answer.header("content-type"), Some("application/grpc"));
    assert_eq!(answer.header("grpc-status"), Some("14"));
    assert_eq!(answer.header("grpc-message"), Some("weir: 502 Bad Gateway"));
    for (path, status) in [("/svc/Echo", "8"), ("/other", "12")] {
        let mut client = weir.connect().await;
        client.send(call(path, "")).await;
        let answer = client.answer().await.expect(200);
        assert_eq!(answer.header("grpc-status"), Some(status), "{path}");
    }
    // Others are told as ever.
    weir.get("/other").await.expect(404);
    let log = weir.logged(4).await;
    assert_eq!(
        (&log[0]["status"], &log[0]["grpc_status"]),
        (&200.into(), &14.into())
    );
    assert!(log[3].get("grpc_status").is_none());
}

#[tokio::test]
async fn the_clients_deadline_ends_a_call_and_harms_no_server() {
    let (told, mut cancelled) = tokio::sync::mpsc::unbounded_channel();
    let origin = Http2Origin::start(move |mut it| {
        let told = told.clone();
        async move {
            let reset = std::future::poll_fn(|cx| it.answer.poll_reset(cx)).await;
            let _ = told.send(reset.ok());
        }
    })
    .await;
    let weir = before(&origin).start().await;
    let mut client = weir.connect().await;
    client
        .send(call("/svc/Slow", "grpc-timeout: 200m\r\n"))
        .await;
    let answer = client.answer().await.expect(200);
    assert_eq!(answer.header("grpc-status"), Some("4"));
    assert_eq!(cancelled.recv().await, Some(Some(Reason::CANCEL)));
    assert_eq!(origin.connections(), 1);
    assert_eq!(
        weir.admin
            .server(weir_tests::weir::Server::addr(&origin))
            .await["state"],
        "up"
    );
    let failed = "weir_upstream_attempts_total{outcome=\"failed\",upstream=\"api\"}";
    assert_eq!(weir.metric(failed).await, 0.0);
}

#[tokio::test]
async fn a_conversation_may_be_silent_on_either_side() {
    let origin = Http2Origin::start(|mut it| async move {
        let mut out = it.begin(200, &[("content-type", "application/grpc")]);
        // The server talks while the client only listens, and the other way round.
        for _ in 0..6 {
            out.send_data(message("tick").into(), false).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let (body, _) = read_all(&mut it.body).await;
        out.send_data(Bytes::from(body), false).unwrap();
        let _ = out.send_trailers(fields(&[("grpc-status", "0")]));
    })
    .await;
    let weir = before(&origin)
        .with("timeouts.client_body = '300ms'\n timeouts.read = '500ms'")
        .start()
        .await;
    let mut client = weir.connect().await;
    client
        .send("POST /svc/Chat HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    eventually("the call", || origin.count() == 1).await;
    let mut came = Vec::new();
    while came.windows(4).filter(|w| w == b"tick").count() < 6 {
        came.extend(client.receive().await);
    }
    client.send("2\r\nhi\r\n0\r\n\r\n").await;
    while !came.ends_with(b"grpc-status: 0\r\n\r\n") {
        came.extend(client.receive().await);
    }
    assert!(came.windows(2).any(|w| w == b"hi"));
}
