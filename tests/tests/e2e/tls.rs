//! TLS from clients: curl, `openssl s_client` and Python's `ssl` in front.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::process::Command;
use weir_tests::{
    Authority, Origin, Weir,
    process::free_address,
    wait::{eventually, within},
    weir::Builder,
};

/// A proxy with one TLS listener; `tls` is the inside of its table.
fn secured(api: &Origin, tls: &str) -> Builder {
    Weir::before(&[api]).with(&format!(
        "listener = [{{ address = '127.0.0.1:0', tls = {{ {tls} }} }}]"
    ))
}

struct Ran {
    success: bool,
    out: String,
    err: String,
}

/// Runs a client of this machine to its end.
async fn run(program: &str, args: &[String]) -> Ran {
    let mut command = Command::new(program);
    command.args(args).kill_on_drop(true);
    let out = within(program, command.stdin(std::process::Stdio::null()).output());
    let out = out.await.unwrap();
    Ran {
        success: out.status.success(),
        out: String::from_utf8_lossy(&out.stdout).into_owned(),
        err: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

/// curl, asking the proxy as `host` for `/`, and trusting the authority.
async fn curl(weir: &Weir, a: &Authority, host: &str, more: &[&str]) -> Ran {
    let port = weir.addr().port();
    let mut args = vec![
        "-sS".to_owned(),
        "--max-time".to_owned(),
        "20".to_owned(),
        "--cacert".to_owned(),
        a.file("ca.pem").display().to_string(),
        "--resolve".to_owned(),
        format!("{host}:{port}:127.0.0.1"),
        format!("https://{host}:{port}/"),
    ];
    args.extend(more.iter().map(|&it| it.to_owned()));
    run("curl", &args).await
}

/// The subject of the certificate that `openssl s_client` is shown for a name.
async fn shown(weir: &Weir, name: Option<&str>) -> String {
    let mut args = vec![
        "s_client".to_owned(),
        "-connect".to_owned(),
        weir.addr().to_string(),
    ];
    match name {
        Some(name) => args.extend(["-servername".to_owned(), name.to_owned()]),
        None => args.push("-noservername".to_owned()),
    }
    let ran = run("openssl", &args).await;
    let subject = ran
        .out
        .lines()
        .find_map(|line| line.strip_prefix("subject="));
    subject.unwrap_or_default().replace(' ', "")
}

/// Python with `ssl`; `script` has `connect(name, context)` and `ask(socket)`.
async fn python(weir: &Weir, a: &Authority, script: &str) -> Ran {
    let prelude = "import socket, ssl, sys\n\
        address, folder = ('127.0.0.1', int(sys.argv[1])), sys.argv[2]\n\
        context = ssl.create_default_context(cafile=folder + '/ca.pem')\n\
        def connect(name, context=context, **more):\n    \
            return context.wrap_socket(socket.create_connection(address, 20), server_hostname=name, **more)\n\
        def ask(s):\n    \
            s.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n    \
            return s.recv(65536).decode()\n";
    let args = [
        "-c".to_owned(),
        format!("{prelude}{script}"),
        weir.addr().port().to_string(),
        a.folder().display().to_string(),
    ];
    run("python3", &args).await
}

#[tokio::test]
async fn the_certificate_is_chosen_by_name_and_the_server_learns_of_https() {
    let (a, api) = (Authority::new(), Origin::named("api").await);
    a.issue("first", &["first.test"]);
    a.issue("wild", &["*.wild.test"]);
    a.issue("exact", &["api.wild.test"]);
    let tls = format!(
        "certificates = [ {{ {} }}, {{ {} }}, {{ {} }} ]",
        a.pair("first"),
        a.pair("wild"),
        a.pair("exact")
    );
    let weir = secured(&api, &tls).start().await;
    for (name, subject) in [
        (Some("first.test"), "CN=first"),
        (Some("x.wild.test"), "CN=wild"),
        (Some("api.wild.test"), "CN=exact"),
        (Some("a.b.wild.test"), "CN=first"),
        (Some("elsewhere.test"), "CN=first"),
        (None, "CN=first"),
    ] {
        assert_eq!(shown(&weir, name).await, subject, "{name:?}");
    }
    let ran = curl(&weir, &a, "x.wild.test", &["-w", " %{http_code}"]).await;
    assert_eq!(ran.out, "api 200", "{}", ran.err);
    let seen = api.last();
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    assert_eq!(
        seen.header("x-forwarded-host"),
        Some(format!("x.wild.test:{}", weir.addr().port()).as_str())
    );
    let line = weir.logged(1).await.remove(0);
    assert_eq!(line["tls"]["version"], "1.3");
    assert_eq!(line["tls"]["server_name"], "x.wild.test");
    assert!(
        line["tls"]["cipher"]
            .as_str()
            .unwrap()
            .starts_with("TLS13_")
    );
    assert!(
        weir.metric("weir_tls_handshakes_total{outcome=\"full\",version=\"1.3\"}")
            .await
            >= 1.0
    );
    let days = format!(
        "weir_tls_certificate_days_left{{certificate=\"{}\"}}",
        a.file("first.pem").display()
    );
    assert!(weir.metric(&days).await > 20_000.0);
}

#[tokio::test]
async fn versions_alpn_and_resumption() {
    let (a, api) = (Authority::new(), Origin::named("api").await);
    a.issue("one", &["one.test"]);
    let weir = secured(&api, &a.pair("one")).start().await;
    let ran = python(
        &weir,
        &a,
        "for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):\n    \
            context = ssl.create_default_context(cafile=folder + '/ca.pem')\n    \
            context.minimum_version = context.maximum_version = version\n    \
            context.set_alpn_protocols(['http/1.1'])\n    \
            s = connect('one.test', context)\n    \
            assert ask(s).startswith('HTTP/1.1 200'), 'no answer'\n    \
            again = connect('one.test', context, session=s.session)\n    \
            assert ask(again).startswith('HTTP/1.1 200'), 'no answer'\n    \
            print(s.version(), s.selected_alpn_protocol(), again.session_reused)\n",
    )
    .await;
    assert_eq!(
        ran.out, "TLSv1.2 http/1.1 True\nTLSv1.3 http/1.1 True\n",
        "{}",
        ran.err
    );
    for version in ["1.2", "1.3"] {
        for outcome in ["full", "resumed"] {
            let name =
                format!("weir_tls_handshakes_total{{outcome=\"{outcome}\",version=\"{version}\"}}");
            assert_eq!(weir.metric(&name).await, 1.0, "{name}");
        }
    }
    let modern = format!("{}, min_version = '1.3'", a.pair("one"));
    let weir = secured(&api, &modern).start().await;
    let old = curl(&weir, &a, "one.test", &["--tls-max", "1.2"]).await;
    assert!(!old.success, "{}", old.out);
    let new = curl(&weir, &a, "one.test", &[]).await;
    assert_eq!(new.out, "api", "{}", new.err);
    assert_eq!(
        weir.metric("weir_tls_handshakes_total{outcome=\"failed\",version=\"none\"}")
            .await,
        1.0
    );
}

#[tokio::test]
async fn client_certificates_are_asked_for_and_told_to_the_server_and_the_log() {
    let (a, stranger, api) = (
        Authority::new(),
        Authority::new(),
        Origin::named("api").await,
    );
    a.issue("one", &["one.test"]);
    a.issue("alice", &[]);
    stranger.issue("mallory", &[]);
    let own = |a: &Authority, name: &str| {
        ["--cert", "--key"]
            .into_iter()
            .zip(["pem", "key"])
            .flat_map(|(option, end)| {
                let file = a.file(&format!("{name}.{end}"));
                [option.to_owned(), file.display().to_string()]
            })
            .collect::<Vec<_>>()
    };
    let claims = [
        "-H",
        "X-Client-Cert-Subject: CN=root",
        "-H",
        "X-Client-Cert-Fingerprint: 00",
    ];
    for auth in ["optional", "required"] {
        let tls = format!(
            "{}, client_ca = {}, client_auth = '{auth}'",
            a.pair("one"),
            a.ca()
        );
        let weir = secured(&api, &tls).start().await;
        let alice = own(&a, "alice");
        let mut args: Vec<&str> = alice.iter().map(String::as_str).collect();
        args.extend(claims);
        let ran = curl(&weir, &a, "one.test", &args).await;
        assert_eq!(ran.out, "api", "{}", ran.err);
        let seen = api.last();
        assert_eq!(seen.header("x-client-cert-subject"), Some("CN=alice"));
        let fingerprint = seen.header("x-client-cert-fingerprint").unwrap().to_owned();
        let asked = [
            "x509",
            "-in",
            &a.file("alice.pem").display().to_string(),
            "-noout",
            "-fingerprint",
            "-sha256",
        ]
        .map(str::to_owned);
        let openssl = run("openssl", &asked).await.out;
        let expected = openssl.trim().rsplit('=').next().unwrap().replace(':', "");
        assert_eq!(fingerprint, expected.to_lowercase());
        let line = weir.logged(1).await.remove(0);
        assert_eq!(line["tls"]["client_subject"], "CN=alice");
        assert_eq!(line["tls"]["client_fingerprint"], fingerprint.as_str());

        let without = curl(&weir, &a, "one.test", &claims).await;
        assert_eq!(
            without.success,
            auth == "optional",
            "{auth}: {}",
            without.err
        );
        if auth == "optional" {
            let seen = api.last();
            assert!(
                !seen.headers.has("x-client-cert-subject"),
                "{}",
                seen.headers
            );
            assert!(
                !seen.headers.has("x-client-cert-fingerprint"),
                "{}",
                seen.headers
            );
        }
        let mallory = own(&stranger, "mallory");
        let args: Vec<&str> = mallory.iter().map(String::as_str).collect();
        let refused = curl(&weir, &a, "one.test", &args).await;
        assert!(!refused.success, "{}", refused.out);
    }
}

/// Clients that send nothing, or a piece of a hello, hold nobody up, and go after `timeouts.client_header`.
#[tokio::test]
async fn slow_and_senseless_hellos_hold_nobody_up() {
    let (a, api) = (Authority::new(), Origin::named("api").await);
    a.issue("one", &["one.test"]);
    let weir = secured(&api, &a.pair("one"))
        .with("timeouts.client_header = '2s'")
        .start()
        .await;
    let mut slow = Vec::new();
    for n in 0..100 {
        let mut conn = weir.connect().await;
        if n % 2 == 0 {
            conn.send(b"\x16\x03\x01\x02\x00\x01").await;
        }
        slow.push(conn);
    }
    let started = Instant::now();
    let ran = curl(&weir, &a, "one.test", &[]).await;
    assert_eq!(ran.out, "api", "{}", ran.err);
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    // Plain HTTP on the port is no TLS.
    let mut plain = weir.connect().await;
    plain.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    plain.closed().await;
    for conn in &mut slow {
        conn.closed().await;
    }
    assert_eq!(
        weir.metric("weir_tls_handshakes_total{outcome=\"timed_out\",version=\"none\"}")
            .await,
        100.0
    );
    assert_eq!(
        weir.metric("weir_tls_handshakes_total{outcome=\"failed\",version=\"none\"}")
            .await,
        1.0
    );
    assert_eq!(api.count(), 1);
}

/// Whoever has not finished its handshake counts as idle at the limit of connections.
#[tokio::test]
async fn unfinished_handshakes_give_way() {
    let (a, api) = (Authority::new(), Origin::named("api").await);
    a.issue("one", &["one.test"]);
    let weir = secured(&api, &a.pair("one"))
        .with("connections.max = 16")
        .start()
        .await;
    let mut slow = Vec::new();
    for open in 1..=15_u8 {
        slow.push(weir.connect().await);
        within("it to be admitted", async {
            while weir.metric("weir_connections{side=\"client\"}").await < f64::from(open) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
    let ran = curl(&weir, &a, "one.test", &[]).await;
    assert_eq!(ran.out, "api", "{}", ran.err);
    let gave_way = "weir_tls_handshakes_total{outcome=\"gave_way\",version=\"none\"}";
    assert!(weir.metric(gave_way).await >= 1.0);
}

/// Asks over and over, on kept and on new connections, until told to stop; returns what went wrong.
async fn load(
    weir: &Weir,
    a: &Authority,
) -> (
    tokio::sync::oneshot::Sender<()>,
    tokio::task::JoinHandle<(usize, Vec<String>)>,
) {
    weir_api::tls::provide();
    let ca = std::fs::read(a.file("ca.pem")).unwrap();
    let url = format!("https://one.test:{}/", weir.addr().port());
    let address = weir.addr();
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let client = move || {
        reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
            .resolve("one.test", address)
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap()
    };
    let task = tokio::spawn(async move {
        let (mut done, mut failures) = (0, Vec::new());
        let kept = client();
        while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            for client in [&kept, &client()] {
                match client.get(&url).send().await {
                    Ok(answer) if answer.status() == 200 => done += 1,
                    Ok(answer) => failures.push(answer.status().to_string()),
                    Err(error) => failures.push(format!("{error:?}")),
                }
            }
        }
        (done, failures)
    });
    (stop, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_under_load_without_a_lost_request() {
    let (a, api) = (Authority::new(), Origin::named("api").await);
    a.issue("one", &["one.test"]);
    a.issue("two", &["two.test"]);
    let mut weir = secured(&api, &a.pair("one")).start().await;
    let (stop, task) = load(&weir, &a).await;

    // Files that change are noticed: certificate first, key later.
    let old = a.file("one.pem");
    a.issue("renewed", &["one.test"]);
    std::fs::copy(a.file("renewed.pem"), &old).unwrap();
    eventually("the half renewal to be refused", || {
        weir.process.stderr().contains("is not the key of")
    })
    .await;
    assert_eq!(shown(&weir, Some("one.test")).await, "CN=one");
    std::fs::copy(a.file("renewed.key"), a.file("one.key")).unwrap();
    eventually("the renewal to be used", || {
        weir.process
            .stderr()
            .contains("certificates and keys have changed")
    })
    .await;
    assert_eq!(shown(&weir, Some("one.test")).await, "CN=renewed");
    assert_eq!(
        weir.metric("weir_tls_reloads_total{outcome=\"failed\"}")
            .await,
        1.0
    );
    assert_eq!(
        weir.metric("weir_tls_reloads_total{outcome=\"replaced\"}")
            .await,
        1.0
    );

    // Another certificate by SIGHUP; then a file that is not good, which changes nothing.
    let listener = |more: &str| {
        format!(
            "listener = [{{ address = '127.0.0.1:0', tls = {{ certificates = [ {{ {} }}, {more} ] }} }}]",
            a.pair("one")
        )
    };
    weir.rewrite_config(&listener(&format!("{{ {} }}", a.pair("two"))));
    weir.process.signal(Signal::SIGHUP);
    eventually("the file to be read again", || {
        weir.process
            .stderr()
            .matches("configuration file read again")
            .count()
            >= 1
    })
    .await;
    assert_eq!(shown(&weir, Some("two.test")).await, "CN=two");
    assert!(!weir.process.stderr().contains("need a restart"));
    weir.rewrite_config(&listener("{ cert = 'gone.pem', key = 'gone.key' }"));
    weir.process.signal(Signal::SIGHUP);
    eventually("the reload to be refused", || {
        let said = weir.process.stderr();
        said.contains("reload refused") && said.contains("listener[0].tls.certificates[1].cert")
    })
    .await;
    assert_eq!(shown(&weir, Some("two.test")).await, "CN=two");

    let _ = stop.send(());
    let (done, failures) = task.await.unwrap();
    assert!(
        failures.is_empty() && done > 20,
        "{done} done, {failures:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_with_tls_loses_no_request() {
    let (a, api) = (Authority::new(), Origin::named("api").await);
    a.issue("one", &["one.test"]);
    let dir = tempfile::tempdir().unwrap();
    let config = secured(&api, &a.pair("one")).with(&format!(
        "listener = [{{ address = '{}', tls = {{ {} }} }}]
         admin.listen = '{}'
         server.upgrade_socket = '{}/upgrade.sock'",
        free_address(),
        a.pair("one"),
        free_address(),
        dir.path().display()
    ));
    let mut old = config.clone().start().await;
    let (stop, task) = load(&old, &a).await;
    let new = config.start_upgrading(&old).await;
    assert_eq!(old.process.exit_code().await, Some(0));
    let ran = curl(&new, &a, "one.test", &[]).await;
    assert_eq!(ran.out, "api", "{}", ran.err);
    let _ = stop.send(());
    let (done, failures) = task.await.unwrap();
    assert!(failures.is_empty() && done > 0, "{done} done, {failures:?}");
}

/// Bytes of a body, in both directions, over many records.
#[tokio::test]
async fn large_bodies_arrive_whole() {
    let (a, api) = (Authority::new(), Origin::echo().await);
    a.issue("one", &["one.test"]);
    let weir = secured(&api, &a.pair("one"))
        .with("client.max_body = '16MiB'")
        .start()
        .await;
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| (n >> 3) as u8).collect();
    let file = a.file("body");
    std::fs::write(&file, &body).unwrap();
    let (sent, got) = (format!("@{}", file.display()), a.file("got"));
    let ran = curl(
        &weir,
        &a,
        "one.test",
        &["--data-binary", &sent, "-o", &got.display().to_string()],
    )
    .await;
    assert!(ran.success, "{}", ran.err);
    assert!(std::fs::read(got).unwrap() == body);
}
