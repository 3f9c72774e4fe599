//! Which upstream a request goes to.

use weir_tests::{Origin, Reply, Weir};

#[tokio::test]
async fn host_first_then_the_longest_path() {
    let (site, api, v2) = (
        Origin::named("site").await,
        Origin::named("api").await,
        Origin::named("v2").await,
    );
    let weir = Weir::before(&[&site])
        .with(&format!(
            "upstream.inner.servers = [{{ address = '{}' }}]
             upstream.v2.servers = [{{ address = '{}' }}]
             route = [
               {{ upstream = 'api' }},
               {{ path = '/api/', upstream = 'inner' }},
               {{ path = '/api/v2', upstream = 'v2' }},
               {{ host = 'inner.example', upstream = 'inner' }},
             ]",
            weir_tests::weir::Server::addr(&api),
            weir_tests::weir::Server::addr(&v2),
        ))
        .start()
        .await;
    let mut client = weir.connect().await;
    for (host, path, expected) in [
        ("x", "/", "site"),
        ("x", "/api", "site"),
        ("x", "/api/v1", "api"),
        ("x", "/api/v2/things?q=/", "v2"),
        ("inner.example", "/", "api"),
        ("INNER.example:8080", "/", "api"),
    ] {
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(client.answer().await.text(), expected, "{host} {path}");
    }
}

#[tokio::test]
async fn without_a_route_there_is_404() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("route = [{ path = '/api/', upstream = 'api' }]")
        .start()
        .await;
    let mut client = weir.connect().await;
    client.get("/other").await.expect(404);
    client.get("/api/x").await.expect(200);
    assert_eq!(api.count(), 1);
}

#[tokio::test]
async fn several_listeners_serve_the_same_routes() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with("listener = [{ address = '127.0.0.1:0' }, { address = '127.0.0.2:0' }]")
        .start()
        .await;
    for address in weir.listeners() {
        weir_tests::Conn::open(*address)
            .await
            .get("/")
            .await
            .expect(200);
    }
    assert_eq!(weir.listeners().len(), 2);
}

#[tokio::test]
async fn the_target_arrives_as_it_was_sent() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    for target in [
        "/a%2Fb//c/../d?x=%20&y=[1]|'",
        "/?",
        "/%E2%82%AC",
        "/a;b=c@d:e!$&'()*+,",
    ] {
        client.get(target).await.expect(200);
        assert_eq!(api.last().target, target);
    }
}

#[tokio::test]
async fn the_absolute_form_is_understood() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    client
        .send("GET http://example.org/p?q HTTP/1.1\r\nHost: example.org\r\n\r\n")
        .await;
    client.answer().await.expect(200);
    assert_eq!(api.last().target, "/p?q");
    assert_eq!(api.last().header("Host"), Some("example.org"));
}

#[tokio::test]
async fn no_spelling_gets_past_the_limit_of_a_route() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api])
        .with(
            "rate_limit.few = { rate = '1r/m', burst = 0 }
             route = [
               { upstream = 'api' },
               { path = '/admin', upstream = 'api', rate_limit = ['few'] },
             ]",
        )
        .start()
        .await;
    let mut client = weir.connect().await;
    client.get("/admin").await.expect(200);
    for target in [
        "/admin",
        "//admin",
        "/./admin",
        "/public/../admin",
        "/%61dmin",
        "/public/..%2fadmin",
        "/x//../%2e/admin?q",
        "http://other/%61dmin",
    ] {
        client.get(target).await.expect(429);
    }
    // As in nginx another case is another path.
    client.get("/ADMIN").await.expect(200);
    assert_eq!(api.count(), 2);
}

#[tokio::test]
async fn a_path_that_cannot_be_normalised_is_refused() {
    let api = Origin::named("a").await;
    let weir = Weir::before(&[&api]).start().await;
    let mut client = weir.connect().await;
    let refused = [
        ("/..", "above the root"),
        ("/a/%2e%2e/../b", "above the root"),
        ("/a%00", "NUL"),
        ("/%4", "hexadecimal"),
        ("/50%", "hexadecimal"),
    ];
    for (target, _) in refused {
        client.get(target).await.expect(400);
    }
    client.get("/?../%").await.expect(200);
    assert_eq!(api.count(), 1);
    let lines = weir.logged(refused.len()).await;
    for ((target, reason), line) in refused.iter().zip(lines) {
        assert_eq!(line["target"], *target, "{line}");
        assert!(line["error"].as_str().unwrap().contains(reason), "{line}");
    }
}

#[tokio::test]
async fn the_authority_of_an_absolute_target_chooses_the_route() {
    let (a, b) = (Origin::named("a").await, Origin::named("b").await);
    let weir = Weir::before(&[&a])
        .with(&format!(
            "upstream.b.servers = [{{ address = '{}' }}]
             route = [{{ upstream = 'api' }}, {{ host = 'b.example', upstream = 'b' }}]",
            weir_tests::weir::Server::addr(&b),
        ))
        .start()
        .await;
    let mut client = weir.connect().await;
    for (head, origin, host) in [
        (
            "GET http://B.example:80/ HTTP/1.1\r\nHost: a.example",
            &b,
            "B.example:80",
        ),
        (
            "GET http://a.example/ HTTP/1.1\r\nHost: b.example",
            &a,
            "a.example",
        ),
        ("GET http://b.example?q HTTP/1.1\r\nHost:", &b, "b.example"),
        (
            "GET http://b.example/ HTTP/1.0\r\nConnection: keep-alive",
            &b,
            "b.example",
        ),
        ("GET / HTTP/1.1\r\nHost: b.example.", &b, "b.example."),
    ] {
        client.send(format!("{head}\r\n\r\n")).await;
        client.answer().await.expect(200);
        assert_eq!(origin.last().header("Host"), Some(host), "{head}");
        assert_eq!(
            origin.last().header("X-Forwarded-Host"),
            Some(host),
            "{head}"
        );
    }
    assert_eq!((a.count(), b.count()), (1, 4));
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    client.answer().await.expect(400);
}

#[tokio::test]
async fn routes_may_ask_for_methods_and_header_fields() {
    let (old, new) = (Origin::named("old").await, Origin::named("new").await);
    let weir = Weir::before(&[&old])
        .with(&format!(
            "upstream.new.servers = [{{ address = '{}' }}]
             route = [
               {{ name = 'read', path = '/v1/', methods = ['GET'], upstream = 'api' }},
               {{ path = '/v1/', methods = ['PUT'], upstream = 'api' }},
               {{ name = 'canary', path = '/v1/', headers = {{ X-Canary = '1' }}, upstream = 'new' }},
             ]",
            weir_tests::weir::Server::addr(&new),
        ))
        .start()
        .await;
    let mut client = weir.connect().await;
    for (method, headers, origin) in [
        ("GET", "", "old"),
        ("PUT", "", "old"),
        ("GET", "X-Canary: 2\r\n", "old"),
        ("DELETE", "x-canary: 1\r\n", "new"),
    ] {
        let answer = client.request(method, "/v1/x", headers).await;
        assert_eq!(answer.text(), origin, "{method} {headers}");
    }
    client.request("HEAD", "/v1/x", "").await.expect(200);
    let refused = client.request("DELETE", "/v1/x", "").await.expect(405);
    assert_eq!(refused.header("Allow"), Some("GET, HEAD, PUT"));
    client.request("DELETE", "/v2", "").await.expect(404);
    let lines = weir.logged(7).await;
    let routes: Vec<_> = lines.iter().map(|line| line["route"].as_str()).collect();
    assert_eq!(
        routes,
        [
            Some("read"),
            Some("/v1/"),
            Some("read"),
            Some("canary"),
            Some("read"),
            None,
            None
        ]
    );
    let counted = weir
        .metric("weir_requests_total{code=\"200\",route=\"canary\"}")
        .await;
    assert!((counted - 1.0).abs() < f64::EPSILON, "{counted}");
}

#[tokio::test]
async fn a_level_of_hosts_that_has_no_such_path_leaves_it_to_the_next() {
    let api =
        Origin::start(|request| Reply::text(request.header("X-Route").unwrap_or("none"))).await;
    let named = |name: &str, what: &str| {
        format!("{{ {what}, upstream = 'api', request_headers.set = {{ X-Route = '{name}' }} }}")
    };
    let routes = [
        named("any", "path = '/'"),
        named("wide", "host = '*.example.org', path = '/'"),
        named("narrow", "host = '*.eu.example.org', path = '/v1/'"),
        named(
            "exact",
            "host = 'a.eu.example.org', path = { exact = '/v1/x' }",
        ),
        named(
            "regex",
            "host = 'a.eu.example.org', path = { regex = '^/img/.*[.]png$' }",
        ),
    ];
    let weir = Weir::before(&[&api])
        .with(&format!("route = [{}]", routes.join(", ")))
        .start()
        .await;
    let mut client = weir.connect().await;
    for (host, path, route) in [
        ("a.eu.example.org", "/v1/x", "exact"),
        ("A.EU.example.org.:80", "/%76%31/y/../x?q", "exact"),
        ("a.eu.example.org", "/v1/y", "narrow"),
        ("a.eu.example.org", "/img/1.png", "regex"),
        ("a.eu.example.org", "/img/1.jpg", "wide"),
        ("b.c.eu.example.org", "/v1/", "narrow"),
        ("x.example.org", "/v1/", "wide"),
        ("example.org", "/v1/", "any"),
    ] {
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(client.answer().await.text(), route, "{host} {path}");
    }
}
