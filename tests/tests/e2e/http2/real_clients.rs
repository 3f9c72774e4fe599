//! curl and h2load.

use tokio::process::Command;
use weir_tests::{Authority, Origin, Reply, Weir, eventually, process::free_address, within};

use super::h2c;

async fn run(program: &str, args: &[&str]) -> String {
    let done = within(program, Command::new(program).args(args).output()).await;
    let done = done.unwrap_or_else(|error| panic!("{program}: {error}"));
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success(),
        "{program} {args:?}: {out}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    out
}

#[tokio::test]
async fn curl_speaks_http2() {
    let api = Origin::echo().await;
    let weir = h2c(&[&api]).start().await;
    let url = format!("http://{}/", weir.addr());
    let format = "\n%{http_version} %{response_code}";
    let base = ["-sS", "--http2-prior-knowledge", "-w", format, &url];
    let with = |more: &[&str]| {
        [&base[..], more]
            .concat()
            .iter()
            .map(|it| (*it).to_owned())
            .collect::<Vec<_>>()
    };
    for (more, body) in [
        (&["--data", "hello"][..], "hello"),
        (
            &["--data", "hello", "-H", "Expect: 100-continue"][..],
            "hello",
        ),
    ] {
        let args = with(more);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        assert_eq!(
            run("curl", &args).await,
            format!("{body}\n2 200"),
            "{more:?}"
        );
    }
    // Without prior knowledge: an Upgrade to h2c, which is not taken up.
    let plain = run(
        "curl",
        &["-sS", "--http2", "-w", "%{http_version}", "-d", "a", &url],
    )
    .await;
    assert_eq!(plain, "a1.1");
}

#[tokio::test]
async fn h2load_gets_every_answer() {
    let api = Origin::answering(Reply::sized(vec![b'x'; 5000])).await;
    let weir = h2c(&[&api]).start().await;
    let url = format!("http://{}/", weir.addr());
    let out = run("h2load", &["-n", "2000", "-c", "8", "-m", "20", &url]).await;
    assert!(out.contains("2000 succeeded, 0 failed, 0 errored"), "{out}");
    assert_eq!(weir.metric("weir_http2_connections_total").await, 8.0);
}

/// A proxy with TLS, and curl's arguments to ask it.
async fn secured(api: &Origin, a: &Authority, more: &str) -> (Weir, Vec<String>) {
    a.issue("one", &["one.test"]);
    let weir = Weir::before(&[api])
        .with(&format!(
            "listener = [{{ address = '127.0.0.1:0', tls = {{ {} }} {more} }}]",
            a.pair("one")
        ))
        .start()
        .await;
    let port = weir.addr().port();
    let args = vec![
        "-sS".to_owned(),
        "--cacert".to_owned(),
        a.file("ca.pem").display().to_string(),
        "--resolve".to_owned(),
        format!("one.test:{port}:127.0.0.1"),
        "-w".to_owned(),
        " %{http_version} %{response_code}".to_owned(),
        format!("https://one.test:{port}/"),
    ];
    (weir, args)
}

#[tokio::test]
async fn alpn_offers_http2_unless_it_is_switched_off() {
    let (a, api) = (Authority::new(), Origin::named("api").await);
    let (weir, args) = secured(&api, &a, "").await;
    let ask = async |args: &[String], more: &[&str]| {
        let args = args.iter().map(String::as_str).chain(more.iter().copied());
        run("curl", &args.collect::<Vec<_>>()).await
    };
    assert_eq!(ask(&args, &["--http2"]).await, "api 2 200");
    assert_eq!(ask(&args, &["--http1.1"]).await, "api 1.1 200");
    assert_eq!(
        ask(&args, &["--http2", "--tls-max", "1.2"]).await,
        "api 2 200"
    );
    assert_eq!(api.last().header("X-Forwarded-Proto"), Some("https"));
    let line = &weir.logged(3).await[0];
    assert_eq!(line["protocol"], "HTTP/2.0");
    assert_eq!(line["tls"]["version"], "1.3", "{line}");

    let (_weir, args) = secured(&api, &a, ", http2 = false").await;
    assert_eq!(ask(&args, &["--http2"]).await, "api 1.1 200");
}

#[tokio::test]
async fn h2load_gets_every_answer_with_tls() {
    let api = Origin::answering(Reply::sized(vec![b'x'; 50_000])).await;
    let (weir, _) = secured(&api, &Authority::new(), "").await;
    let url = format!("https://{}/", weir.addr());
    let out = run("h2load", &["-n", "1000", "-c", "4", "-m", "20", &url]).await;
    assert!(out.contains("1000 succeeded, 0 failed, 0 errored"), "{out}");
    assert!(out.contains("Application protocol: h2"), "{out}");
}

/// h2load begins nothing more once it has been told to go; what it has begun is answered.
#[tokio::test]
async fn a_hand_over_under_h2load_fails_no_request() {
    let api = Origin::answering(Reply::sized(vec![b'x'; 5000])).await;
    let dir = tempfile::tempdir().unwrap();
    let builder = Weir::before(&[&api]).with(&format!(
        "listener = [{{ address = '{}', h2c = true }}]
         server.upgrade_socket = '{}'",
        free_address(),
        dir.path().join("upgrade.sock").display(),
    ));
    let mut old = builder.clone().start().await;
    let url = format!("http://{}/", old.addr());
    let load =
        tokio::spawn(
            async move { run("h2load", &["-n", "100000", "-c", "8", "-m", "10", &url]).await },
        );
    eventually("load", || api.count() > 500).await;
    let _new = builder.start_upgrading(&old).await;
    assert_eq!(old.process.exit_code().await, Some(0));
    let out = within("h2load", load).await.unwrap();
    let count = |what: &str| -> u64 {
        let at = out.find(what).unwrap_or_else(|| panic!("{what} in {out}"));
        out[..at]
            .rsplit([' ', ','])
            .find(|it| !it.is_empty())
            .unwrap()
            .parse()
            .unwrap()
    };
    assert!(count(" started") >= 500, "{out}");
    assert_eq!(count(" started"), count(" succeeded"), "{out}");
    assert_eq!(count(" succeeded"), count(" 2xx"), "{out}");
}
