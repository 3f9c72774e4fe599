//! curl and h2load.

use tokio::process::Command;
use weir_tests::{Origin, Reply, within};

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
