//! What the server learns about the client, and what it does not get to see.

use weir_tests::{Conn, Origin, Reply, Weir};

#[tokio::test]
async fn the_server_learns_who_asks_and_how() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    weir.get("/who?x=1").await.expect(200);
    let request = api.last();
    assert_eq!(request.target, "/who?x=1");
    assert_eq!(request.header("Host"), Some("test"));
    assert_eq!(request.header("X-Real-IP"), Some("127.0.0.1"));
    assert_eq!(request.header("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(request.header("X-Forwarded-Proto"), Some("http"));
    assert_eq!(request.header("X-Forwarded-Host"), Some("test"));
}

#[tokio::test]
async fn another_client_is_another_address() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = Conn::open_from([127, 0, 0, 77], weir.addr()).await;
    client.get("/").await.expect(200);
    assert_eq!(api.last().header("X-Real-IP"), Some("127.0.0.77"));
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own_and_the_client_is_told() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    let first = client.get("/").await;
    let second = client.get("/").await;
    let ids: Vec<_> = api
        .requests()
        .iter()
        .map(|request| request.header("X-Request-Id").unwrap().to_owned())
        .collect();
    assert_ne!(ids[0], ids[1]);
    assert!(ids[0].len() >= 16, "{ids:?}");
    assert_eq!(first.header("X-Request-Id"), Some(ids[0].as_str()));
    assert_eq!(second.header("X-Request-Id"), Some(ids[1].as_str()));
}

const CLAIMS: &str = "X-Forwarded-For: 10.9.9.9\r\n\
                      X-Forwarded-Proto: https\r\n\
                      X-Forwarded-Host: spoofed\r\n\
                      X-Real-IP: 10.9.9.9\r\n\
                      X-Request-Id: 0123456789abcdef0123456789abcdef\r\n";

#[tokio::test]
async fn what_a_stranger_claims_is_not_believed() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    weir.request("GET", "/", CLAIMS).await.expect(200);
    let request = api.last();
    for name in [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Real-IP",
        "X-Request-Id",
    ] {
        let value = request.header(name).unwrap();
        assert!(
            !CLAIMS.contains(&format!("{name}: {value}\r\n")),
            "{name}: {value}"
        );
    }
    assert_eq!(request.header("X-Real-IP"), Some("127.0.0.1"));
}

#[tokio::test]
async fn what_a_trusted_proxy_claims_is_believed() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("client.trusted_proxies = ['127.0.0.0/8']")
        .start()
        .await;
    weir.request("GET", "/", CLAIMS).await.expect(200);
    let request = api.last();
    assert_eq!(request.header("X-Real-IP"), Some("10.9.9.9"));
    assert_eq!(
        request.header("X-Forwarded-For"),
        Some("10.9.9.9, 127.0.0.1")
    );
    assert_eq!(request.header("X-Forwarded-Proto"), Some("https"));
    assert_eq!(request.header("X-Forwarded-Host"), Some("spoofed"));
    assert_eq!(
        request.header("X-Request-Id"),
        Some("0123456789abcdef0123456789abcdef")
    );
}

#[tokio::test]
async fn the_client_is_the_last_address_that_is_not_a_trusted_proxy() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("client.trusted_proxies = ['127.0.0.1', '10.0.0.0/8']")
        .start()
        .await;
    let chain = "X-Forwarded-For: 1.2.3.4, 192.0.2.7, 10.1.1.1\r\n";
    weir.request("GET", "/", chain).await.expect(200);
    assert_eq!(api.last().header("X-Real-IP"), Some("192.0.2.7"));
}

#[tokio::test]
async fn an_address_may_be_written_in_many_ways() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("client.trusted_proxies = ['127.0.0.0/8', '10.0.0.0/8']")
        .start()
        .await;
    for (claimed, client) in [
        ("203.0.113.7:51234", "203.0.113.7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("6.6.6.6, 203.0.113.7:51234, 10.0.0.1:80", "203.0.113.7"),
        ("203.0.113.7,,10.0.0.1,", "203.0.113.7"),
        ("203.0.113.7, ::ffff:10.0.0.1", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("unknown, 10.0.0.1", "10.0.0.1"),
        ("unknown", "127.0.0.1"),
        ("", "127.0.0.1"),
    ] {
        let field = format!("X-Forwarded-For: {claimed}\r\n");
        weir.request("GET", "/", &field).await.expect(200);
        assert_eq!(api.last().header("X-Real-IP"), Some(client), "{claimed}");
    }
}

#[tokio::test]
async fn claims_of_strangers_do_not_arrive_in_any_spelling() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let trusting = Weir::before(&[&api])
        .with("client.trusted_proxies = ['127.0.0.0/8']")
        .start()
        .await;
    let claims = "Forwarded: for=10.9.9.9\r\nX-Forwarded-Port: 99\r\nX_Forwarded_For: 10.9.9.9\r\n\
                  X-Forwarded_Proto: https\r\nx_real_ip: 10.9.9.9\r\nX_Other: kept\r\n";
    weir.request("GET", "/", claims).await.expect(200);
    let request = api.last();
    for name in [
        "Forwarded",
        "X-Forwarded-Port",
        "X_Forwarded_For",
        "X-Forwarded_Proto",
        "X_Real_IP",
    ] {
        assert_eq!(request.header(name), None, "{name}");
    }
    assert_eq!(request.header("X_Other"), Some("kept"));
    // A trusted proxy means what it says, but may have passed on what it does not know.
    trusting.request("GET", "/", claims).await.expect(200);
    let request = api.last();
    assert_eq!(request.header("Forwarded"), Some("for=10.9.9.9"));
    assert_eq!(request.header("X-Forwarded-Port"), Some("99"));
    assert_eq!(request.header("X_Forwarded_For"), None);
    assert_eq!(request.header("X_Real_IP"), None);
}

#[tokio::test]
async fn hop_by_hop_fields_stay_behind() {
    let api = Origin::answering(
        Reply::text("a")
            .header("Connection", "X-Inner")
            .header("X-Inner", "secret")
            .header("Keep-Alive", "timeout=5")
            .header("X-Outer", "kept"),
    )
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let response = weir
        .request(
            "GET",
            "/",
            "Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
             Proxy-Connection: keep-alive\r\nX-Kept: 1\r\n",
        )
        .await
        .expect(200);
    let request = api.last();
    for name in ["X-Mine", "Keep-Alive", "TE", "Proxy-Connection"] {
        assert!(
            !request.headers.has(name),
            "{name} was passed on: {}",
            request.headers
        );
    }
    assert_eq!(request.header("X-Kept"), Some("1"));
    assert!(!response.headers.has("X-Inner"), "{}", response.headers);
    assert!(!response.headers.has("Keep-Alive"), "{}", response.headers);
    assert_eq!(response.header("X-Outer"), Some("kept"));
}

#[tokio::test]
async fn fields_that_are_sent_twice_arrive_twice() {
    let api = Origin::answering(
        Reply::text("a")
            .header("Set-Cookie", "a=1")
            .header("Set-Cookie", "b=2"),
    )
    .await;
    let weir = Weir::before(&[&api]).start().await;
    let response = weir
        .request("GET", "/", "X-Twice: 1\r\nX-Twice: 2\r\n")
        .await;
    assert_eq!(
        response.headers.all("Set-Cookie").collect::<Vec<_>>(),
        ["a=1", "b=2"]
    );
    assert_eq!(
        api.last().headers.all("X-Twice").collect::<Vec<_>>(),
        ["1", "2"]
    );
}

#[tokio::test]
async fn a_route_can_set_and_remove_fields_both_ways() {
    let api = Origin::answering(Reply::text("a").header("Server", "secret/1.0")).await;
    let weir = Weir::before(&[&api])
        .with(
            "[[route]]
             upstream = 'api'
             request_headers = { set = { 'X-Tier' = 'gold', 'Host' = 'inner' }, remove = ['Cookie'] }
             response_headers = { set = { 'X-Gen' = 'a' }, remove = ['Server'] }",
        )
        .start()
        .await;
    let response = weir
        .request("GET", "/", "Cookie: a=b\r\nX-Tier: mine\r\n")
        .await;
    assert_eq!(response.header("X-Gen"), Some("a"));
    assert!(!response.headers.has("Server"));
    let request = api.last();
    assert_eq!(request.header("X-Tier"), Some("gold"));
    assert_eq!(request.header("Host"), Some("inner"));
    assert!(!request.headers.has("Cookie"));
}
