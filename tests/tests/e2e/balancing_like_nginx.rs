//! The same servers behind the proxy and behind the real nginx: the same one is chosen.

use weir_tests::{Conn, Nginx, Origin, Weir, weir::Server as _};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The servers that answer so many requests, one after the other, at nginx and at the proxy. The parameters are
/// nginx's, for three servers.
async fn both(
    balance: &str,
    parameters: [&str; 3],
    stopped: Option<usize>,
    count: usize,
) -> [String; 2] {
    let mut origins = Vec::new();
    for name in NAMES {
        origins.push(Origin::named(name).await);
    }
    let addresses: Vec<_> = origins.iter().map(|origin| origin.addr()).collect();
    let servers = addresses.iter().zip(parameters);
    let for_nginx: String = servers
        .clone()
        .map(|(at, with)| format!("server {at} {with};\n"))
        .collect();
    let for_weir: Vec<String> = servers
        .map(|(at, with)| {
            let fields = with
                .split_whitespace()
                .map(|parameter| match parameter.split_once('=') {
                    Some((name, value)) if value.ends_with('s') => format!(", {name} = '{value}'"),
                    Some((name, value)) => format!(", {name} = {value}"),
                    None => format!(", {parameter} = true"),
                });
            format!("{{ address = '{at}'{} }}", fields.collect::<String>())
        })
        .collect();
    if let Some(at) = stopped {
        origins.remove(at).stop().await;
    }
    let method = if balance == "least_conn" {
        "least_conn;"
    } else {
        ""
    };
    let nginx = Nginx::start(
        &format!("upstream api {{ {method} {for_nginx} keepalive 8; }}"),
        "location / { proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection ''; }",
    )
    .await;
    let weir = Weir::before(&[])
        .servers(&for_weir)
        .with(&format!("upstream.api.balance = '{balance}'"))
        .start()
        .await;
    let mut answers = [String::new(), String::new()];
    for (to, answers) in [nginx.addr(), weir.addr()].into_iter().zip(&mut answers) {
        let mut client = Conn::open(to).await;
        for _ in 0..count {
            let response = client.get("/").await;
            answers.push_str(&if response.status == 200 {
                response.text()
            } else {
                response.status.to_string()
            });
        }
    }
    answers
}

#[tokio::test]
async fn weights() {
    for balance in ["round_robin", "least_conn"] {
        for parameters in [
            ["weight=5", "weight=1", "weight=1"],
            ["weight=3", "weight=2", ""],
            ["", "", ""],
        ] {
            let [nginx, weir] = both(balance, parameters, None, 28).await;
            assert_eq!(nginx, weir, "{balance}, {parameters:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_fails() {
    for balance in ["round_robin", "least_conn"] {
        let parameters = [
            "weight=2",
            "weight=4 max_fails=2 fail_timeout=60s",
            "weight=1",
        ];
        let [nginx, weir] = both(balance, parameters, Some(1), 30).await;
        assert_eq!(nginx, weir, "{balance}");
        assert!(!nginx.contains('5'), "{nginx}");
    }
}

#[tokio::test]
async fn down_and_backup() {
    let [nginx, weir] = both("least_conn", ["down", "weight=2", "backup"], None, 9).await;
    assert_eq!((nginx.as_str(), weir.as_str()), ("bbbbbbbbb", "bbbbbbbbb"));
    let parameters = ["down", "max_fails=1 fail_timeout=60s", "backup"];
    let [nginx, weir] = both("least_conn", parameters, Some(1), 9).await;
    assert_eq!((nginx.as_str(), weir.as_str()), ("ccccccccc", "ccccccccc"));
}
