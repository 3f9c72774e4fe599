//! The PROXY protocol: from trusted proxies, refused from strangers, and to servers.

use std::net::Ipv4Addr;

use weir_tests::{Authority, Conn, Origin, Weir};

/// A proxy that takes PROXY headers from 127.0.0.1 only.
async fn front(api: &Origin) -> Weir {
    Weir::before(&[api])
        .with(
            "listener = [{ address = '127.0.0.1:0', proxy_protocol = true }]
             client.trusted_proxies = ['127.0.0.1']
             timeouts.client_header = '2s'",
        )
        .start()
        .await
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut out = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    out.extend([command, family]);
    out.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    out.extend(body);
    out
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn clients_are_those_that_trusted_proxies_name() {
    let api = Origin::named("api").await;
    let weir = front(&api).await;
    let tcp4 = [192, 0, 2, 7, 192, 0, 2, 1, 0xdc, 4, 0, 80];
    let mut extended = tcp4.to_vec();
    extended.extend([0xea, 0, 3, 1, 2, 3]);
    let mut lines = 0;
    for (header, client) in [
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 80\r\n".to_vec(),
            "192.0.2.7",
        ),
        (
            b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 80\r\n".to_vec(),
            "2001:db8::7",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2(0x21, 0x11, &tcp4), "192.0.2.7"),
        (v2(0x21, 0x11, &extended), "192.0.2.7"),
        (v2(0x21, 0x31, &[0; 216]), "127.0.0.1"),
        (v2(0x20, 0x00, &[]), "127.0.0.1"),
    ] {
        // At once, and byte by byte.
        for pieces in [header.len(), 1] {
            let mut conn = weir.connect().await;
            for piece in header.chunks(pieces) {
                conn.send(piece).await;
            }
            conn.send(GET).await;
            conn.answer().await.expect(200);
            let seen = api.last();
            assert_eq!(seen.header("x-real-ip"), Some(client), "{header:?}");
            assert_eq!(seen.header("x-forwarded-for"), Some(client));
            lines += 1;
            assert_eq!(weir.logged(lines).await[lines - 1]["client"], client);
            // It is said once for all requests of the connection.
            conn.get("/again").await.expect(200);
            lines += 1;
            assert_eq!(api.last().header("x-real-ip"), Some(client));
        }
    }
}

#[tokio::test]
async fn strangers_and_others_are_closed_counted_and_logged_once() {
    let api = Origin::named("api").await;
    let weir = front(&api).await;
    for _ in 0..5 {
        let mut stranger = Conn::open_from(Ipv4Addr::new(127, 0, 0, 9), weir.addr()).await;
        stranger
            .send(b"PROXY TCP4 192.0.2.7 192.0.2.1 1 80\r\n")
            .await;
        stranger.send(GET).await;
        assert_eq!(stranger.closed().await, b"");
    }
    for bad in [
        GET,
        b"\x16\x03\x01\x02\x00",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
    ] {
        let mut conn = weir.connect().await;
        conn.send(bad).await;
        assert_eq!(conn.closed().await, b"");
    }
    let mut silent = weir.connect().await;
    silent.send(b"PROXY TCP4 ").await;
    assert_eq!(silent.closed().await, b"");
    for (reason, count) in [("stranger", 5.0), ("malformed", 3.0), ("timed_out", 1.0)] {
        let name = format!("weir_proxy_protocol_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(weir.metric(&name).await, count, "{name}");
    }
    assert_eq!(api.count(), 0);
    let said = weir.process.stderr();
    assert_eq!(
        said.matches("connection closed on a listener with proxy_protocol")
            .count(),
        1,
        "{said}"
    );
    assert!(said.contains("127.0.0.9"), "{said}");
}

/// A header in front of TLS, and one to the server, which believes it.
#[tokio::test]
async fn the_client_is_told_through_tls_and_to_servers() {
    let (a, api) = (Authority::new(), Origin::named("api").await);
    a.issue("one", &["localhost"]);
    let back = Weir::before(&[&api])
        .with(&format!(
            "listener = [{{ address = '127.0.0.1:0', proxy_protocol = true, tls = {{ {} }} }}]
             client.trusted_proxies = ['127.0.0.1']",
            a.pair("one")
        ))
        .start()
        .await;
    for version in ["v1", "v2"] {
        let weir = Weir::before(&[])
            .servers(&[format!(
                "{{ address = 'localhost:{}' }}",
                back.addr().port()
            )])
            .with(&format!(
                "upstream.api.tls = {{ ca = {} }}
                 upstream.api.proxy_protocol = '{version}'
                 upstream.api.health_check = {{ path = '/up', interval = '100ms' }}",
                a.ca()
            ))
            .start()
            .await;
        for client in [Ipv4Addr::new(127, 0, 0, 7), Ipv4Addr::new(127, 0, 0, 8)] {
            let mut conn = Conn::open_from(client, weir.addr()).await;
            for _ in 0..2 {
                conn.get("/").await.expect(200);
                let asked = api.requests().into_iter().rev().find(|it| it.target == "/");
                assert_eq!(
                    asked.unwrap().header("x-real-ip"),
                    Some(client.to_string().as_str())
                );
            }
        }
        let opened =
            weir.metric("weir_upstream_connections_total{kind=\"opened\",upstream=\"api\"}");
        assert_eq!(opened.await, 4.0, "a connection tells of one client");
    }
}
