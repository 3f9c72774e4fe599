//! TLS to servers: verified unless told otherwise, and failures said in words.

use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
};
use weir_tests::{
    Authority, Origin, Weir,
    process::{Process, free_address},
    wait::eventually,
    weir::Builder,
};

/// A proxy in front of `server`, with this inside of the `tls` table.
fn before(server: std::net::SocketAddr, tls: &str) -> Builder {
    let port = server.port();
    Weir::before(&[])
        .servers(&[format!("{{ address = 'localhost:{port}', max_fails = 0 }}")])
        .with(&format!("upstream.api.tls = {{ {tls} }}"))
}

/// A server with TLS: a proxy in front of an origin.
async fn server(api: &Origin, tls: &str) -> Weir {
    Weir::before(&[api])
        .with(&format!(
            "listener = [{{ address = '127.0.0.1:0', tls = {{ {tls} }} }}]"
        ))
        .start()
        .await
}

/// Status and error of one request.
async fn outcome(weir: &Weir) -> (u16, String) {
    let status = weir.get("/").await.status;
    let line = weir.logged(1).await.pop().unwrap();
    (
        status,
        line["error"].as_str().unwrap_or_default().to_owned(),
    )
}

#[tokio::test]
async fn servers_are_verified_and_connections_kept() {
    let (a, api) = (Authority::new(), Origin::named("api").await);
    a.issue("server", &["localhost"]);
    let server = server(&api, &a.pair("server")).await;
    let weir = before(server.addr(), &format!("ca = {}", a.ca()))
        .with("upstream.api.health_check = { path = '/up', interval = '100ms' }")
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(weir.get("/").await.expect(200).text(), "api");
    }
    assert_eq!(api.last().header("x-forwarded-proto"), Some("https"));
    // Health checks are among them.
    let asked = || server.process.stdout().matches("\"target\":\"/\"").count();
    eventually("three requests in the server's log", || asked() == 3).await;
    assert!(
        server
            .process
            .stdout()
            .contains("\"server_name\":\"localhost\"")
    );
    let opened = weir
        .metric("weir_upstream_connections_total{kind=\"opened\",upstream=\"api\"}")
        .await;
    assert_eq!(opened, 1.0);
    let checked = weir_tests::wait::eventually_some("a check", || async {
        let passed = weir.admin.text("/metrics").await.lines().any(|line| {
            line.starts_with("weir_upstream_server_checks_total{result=\"passed\"")
                && !line.ends_with(" 0")
        });
        passed.then_some(())
    });
    checked.await;
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_said_in_words() {
    let (a, other, api) = (
        Authority::new(),
        Authority::new(),
        Origin::named("api").await,
    );
    a.issue("server", &["localhost"]);
    a.issue("named", &["named.test"]);
    let good = server(&api, &a.pair("server")).await;
    let named = server(&api, &a.pair("named")).await;
    let ca = format!("ca = {}", a.ca());
    let clear = no_tls().await;
    for (at, tls, says) in [
        (
            good.addr(),
            format!("ca = {}", other.ca()),
            "not signed by a trusted authority (tls.ca)",
        ),
        (
            named.addr(),
            ca.clone(),
            "is not for localhost but for named.test",
        ),
        (
            good.addr(),
            format!("{ca}, server_name = 'x.test'"),
            "is not for x.test but for localhost",
        ),
        (clear, ca.clone(), "does not speak TLS"),
    ] {
        let weir = before(at, &tls).start().await;
        let (status, error) = outcome(&weir).await;
        assert_eq!(status, 502);
        assert!(
            error.starts_with("TLS: ") && error.contains(says),
            "{says}: {error}"
        );
        let failed =
            weir.metric("weir_upstream_attempts_total{outcome=\"failed\",upstream=\"api\"}");
        assert_eq!(failed.await, 1.0);
    }
    assert!(api.count() == 0);
    // With the name that is in its certificate, and without verification, it will do.
    for tls in [
        format!("{ca}, server_name = 'named.test'"),
        "verify = false".to_owned(),
    ] {
        let weir = before(named.addr(), &tls).start().await;
        weir.get("/").await.expect(200);
        let warned = weir
            .process
            .stderr()
            .contains("upstream.api.tls.verify = false");
        assert_eq!(warned, tls == "verify = false", "{}", weir.process.stderr());
    }
    // The system's authorities do not know ours.
    let weir = before(good.addr(), "").start().await;
    let (status, error) = outcome(&weir).await;
    assert_eq!(
        (status, error.contains("not signed by a trusted authority")),
        (502, true),
        "{error}"
    );
}

/// A server that answers anything in the clear.
async fn no_tls() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    address
}

fn api_address(api: &Origin) -> std::net::SocketAddr {
    weir_tests::weir::Server::addr(api)
}

#[tokio::test]
async fn an_expired_certificate_of_a_server() {
    let a = Authority::new();
    a.issue_expired("old", &["localhost"]);
    let address = free_address();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", &address.to_string(), "-www", "-cert"]);
    command
        .arg(a.file("old.pem"))
        .arg("-key")
        .arg(a.file("old.key"));
    let _server = Process::start("openssl", command, a.folder());
    eventually("openssl to listen", || {
        std::net::TcpStream::connect(address).is_ok()
    })
    .await;
    let weir = before(address, &format!("ca = {}", a.ca())).start().await;
    let (status, error) = outcome(&weir).await;
    assert_eq!(status, 502);
    assert_eq!(
        error,
        "TLS: the server's certificate expired on 2021-02-03 00:00:00 UTC"
    );
}

#[tokio::test]
async fn our_own_certificate_is_shown_to_servers_that_ask() {
    let (a, api) = (Authority::new(), Origin::named("api").await);
    a.issue("server", &["localhost"]);
    a.issue("proxy", &[]);
    let tls = format!("{}, client_ca = {}", a.pair("server"), a.ca());
    let server = server(&api, &tls).await;
    let weir = before(
        server.addr(),
        &format!("ca = {}, {}", a.ca(), a.pair("proxy")),
    )
    .start()
    .await;
    weir.get("/").await.expect(200);
    assert_eq!(api.last().header("x-client-cert-subject"), Some("CN=proxy"));
    let without = before(server.addr(), &format!("ca = {}", a.ca()))
        .start()
        .await;
    let (status, error) = outcome(&without).await;
    assert_eq!(status, 502);
    assert!(
        error.contains("the server wants a client certificate (tls.cert and tls.key)"),
        "{error}"
    );
}

/// TLS to an upstream goes on and off with a reload; no kept connection of the other kind is used afterwards.
#[tokio::test]
async fn tls_goes_on_with_a_reload() {
    let (a, api) = (Authority::new(), Origin::named("api").await);
    a.issue("server", &["localhost"]);
    let server = server(&api, &a.pair("server")).await;
    let mut weir = before(server.addr(), &format!("ca = {}", a.ca()))
        .start()
        .await;
    weir.get("/").await.expect(200);
    let to = api_address(&api).port();
    weir.rewrite_config(&format!(
        "[upstream.api]\nservers = [{{ address = 'localhost:{to}' }}]\ntls = {{ ca = 'gone.pem' }}"
    ));
    weir.process.signal(Signal::SIGHUP);
    eventually("the reload to be refused", || {
        let said = weir.process.stderr();
        said.contains("reload refused") && said.contains("upstream.api.tls.ca: ")
    })
    .await;
    weir.get("/").await.expect(200);
    assert_eq!(server.logged(2).await.len(), 2, "still the old one");
}
