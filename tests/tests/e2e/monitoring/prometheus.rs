//! The real Prometheus, with the shipped configuration and rules, beside a real proxy with real traffic.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{process::Command, task::JoinHandle};
use weir_tests::{
    Conn, Origin, Reply, Weir,
    process::{Process, free_address, program},
    wait::eventually_some,
    weir::Server as _,
};

use super::{dashboard, run, shipped, skipped, text, there_is};

/// The longest that all queries together may take to have data, on a busy machine.
const BOUND: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_and_rule_has_data_about_a_real_proxy() {
    if !there_is("prometheus", "--version") {
        return skipped("Prometheus is not installed (Debian's package `prometheus`)");
    }
    let private = tempfile::tempdir().unwrap();
    let token = prepared(private.path());
    let tokens = private.path().join("config/tokens.toml");
    let writer = run(program("weir"), |command| {
        let scopes = ["--scope", "read", "--scope", "write"];
        command.args(["token", "new", "e2e"]).args(scopes);
        command.arg("--file").arg(&tokens);
    });

    let api = Origin::start(|request| {
        Reply::text("hello").with_status(if request.target == "/api/bad" {
            500
        } else {
            200
        })
    })
    .await;
    // Nobody listens there: attempts fail, and the server is taken out.
    let gone = free_address();
    let mut weir = Weir::before(&[&api, &gone])
        .with(&format!(
            "admin.tokens = '{}'
             route = [{{ path = '/api', upstream = 'api' }},
                      {{ path = '/limited', upstream = 'api', rate_limit = ['z'] }}]
             rate_limit.z = {{ rate = '1r/m', burst = 1, nodelay = true }}",
            tokens.display()
        ))
        .servers(&[
            format!("{{ address = '{}' }}", api.addr()),
            format!("{{ address = '{gone}', max_fails = 1, fail_timeout = '10m' }}"),
        ])
        .start()
        .await;
    let admin = weir.admin.with_token(writer.trim());
    let reader = weir
        .admin
        .with_token(fs::read_to_string(&token).unwrap().trim());
    assert_eq!(reader.status("/metrics").await, 200);
    assert_eq!(
        reader
            .try_patch("{\"compression\":{\"level\":3}}")
            .await
            .status,
        403,
        "the token of Prometheus may only read"
    );

    let prometheus = Prometheus::start(weir.admin.address(), &token).await;
    let traffic = traffic(weir.addr());
    admin
        .override_for("30m", json!({ "compression": { "level": 2 } }))
        .await;

    let mut missing = wanted(&prometheus).await;
    let started = Instant::now();
    let mut keepalive = 40;
    while !missing.is_empty() {
        // A revision for the annotation, at most each second.
        keepalive += 1;
        admin
            .patch(json!({ "upstream": { "api": { "keepalive": keepalive } } }))
            .await;
        let mut still = Vec::new();
        for (what, expr) in missing {
            if !prometheus.has_data(&expr).await {
                still.push((what, expr));
            }
        }
        missing = still;
        assert!(
            started.elapsed() < BOUND,
            "no data after {BOUND:?} for {missing:#?}\n{}",
            prometheus.process.stderr()
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    // What really happens here fires, and nothing else that this test could know of.
    prometheus
        .fires(&[
            "WeirErrorsHigh",
            "WeirErrorsCritical",
            "WeirLimitRejecting",
            "WeirOverrideHeld",
            "WeirServerDown",
        ])
        .await;
    let firing = prometheus.firing().await;
    for quiet in [
        "WeirDown",
        "WeirAbsent",
        "WeirUpstreamDown",
        "WeirRestarting",
        "WeirMemoryCritical",
        "WeirMemoryGrowing",
        "WeirConnectionsRefused",
        "WeirLimitFull",
        "WeirLogLinesLost",
    ] {
        assert!(!firing.contains(quiet), "{quiet} fires: {firing:?}");
    }
    prometheus.rules_are_healthy().await;

    traffic.abort();
    weir.process.kill().await;
    prometheus.fires(&["WeirDown"]).await;
}

/// Runs the script that makes the token and the configuration; returns the file with the token.
fn prepared(private: &Path) -> PathBuf {
    run(shipped("docker/monitoring/prepare.sh"), |command| {
        command.env("PRIVATE", private).env("WEIR", program("weir"));
    });
    let config = fs::read_to_string(private.join("config/proxy.toml")).unwrap();
    assert_eq!(config.matches("[admin]").count(), 1, "{config}");
    assert!(!config.contains("127.0.0.1:9900"), "{config}");
    let entries = fs::read_to_string(private.join("config/tokens.toml")).unwrap();
    let token = fs::read_to_string(private.join("prometheus.token")).unwrap();
    assert!(!entries.contains(&token), "only the digest is kept");
    private.join("prometheus.token")
}

/// Answers, errors, rejections and requests without a route, until aborted.
fn traffic(to: SocketAddr) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let mut client = Conn::open(to).await;
            for target in ["/api/good", "/api/bad", "/limited", "/nowhere"] {
                client.get(target).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
}

/// What has to have data: every query of the dashboard, and every recording rule.
async fn wanted(prometheus: &Prometheus) -> Vec<(String, String)> {
    let mut wanted: Vec<(String, String)> = dashboard::queries()
        .into_iter()
        .map(|query| {
            let expr = query
                .expr
                .replace("$job", "weir")
                .replace("$instance", ".+")
                .replace("$__rate_interval", "1m");
            assert!(!expr.contains('$'), "a variable that is not known: {expr}");
            (query.asked_by, expr)
        })
        .collect();
    assert!(wanted.len() > 40, "{wanted:#?}");
    let records: Vec<String> = prometheus
        .rules()
        .await
        .iter()
        .filter(|rule| rule["type"] == "recording")
        .map(|rule| rule["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(records.len() > 10, "{records:?}");
    wanted.extend(
        records
            .into_iter()
            .map(|name| (format!("rule {name}"), name)),
    );
    wanted
}

/// A running Prometheus with the shipped configuration, only faster.
struct Prometheus {
    process: Process,
    _dir: TempDir,
    base: String,
    client: reqwest::Client,
}

impl Prometheus {
    async fn start(admin: &str, token: &Path) -> Self {
        weir_api::tls::provide();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        // The port is free now; should someone take it first, Prometheus ends and another one is tried.
        for _ in 0..5 {
            let dir = tempfile::tempdir().unwrap();
            let config = configured(dir.path(), admin, token);
            let address = free_address();
            let mut command = Command::new("prometheus");
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    dir.path().join("data").display()
                ))
                .arg(format!("--web.listen-address={address}"));
            let mut process = Process::start("prometheus", command, dir.path());
            let url = format!("http://{address}/-/ready");
            let ready = eventually_some("Prometheus to be ready", async || {
                let ended = process.ended().is_some();
                let answer = client.get(&url).send().await;
                let ready = answer.is_ok_and(|answer| answer.status() == 200);
                (ended || ready).then_some(!ended)
            })
            .await;
            if ready {
                return Self {
                    process,
                    _dir: dir,
                    base: format!("http://{address}/api/v1"),
                    client,
                };
            }
            let said = process.stderr();
            assert!(said.contains("address already in use"), "{said}");
        }
        panic!("no free port for Prometheus");
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await;
        let body = answer.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {body}");
        answer["data"].clone()
    }

    /// Whether an instant query has at least one sample that is a number.
    async fn has_data(&self, expr: &str) -> bool {
        let data = self.get(&format!("/query?query={}", encoded(expr))).await;
        let series = data["result"].as_array().unwrap();
        series.iter().any(|one| one["value"][1] != "NaN")
    }

    async fn rules(&self) -> Vec<Value> {
        let data = self.get("/rules").await;
        let groups = data["groups"].as_array().unwrap().iter();
        groups
            .flat_map(|group| group["rules"].as_array().unwrap().clone())
            .collect()
    }

    async fn rules_are_healthy(&self) {
        for rule in self.rules().await {
            assert_eq!(rule["health"], "ok", "{rule}");
        }
    }

    async fn firing(&self) -> BTreeSet<String> {
        let data = self.get("/alerts").await;
        let alerts = data["alerts"].as_array().unwrap().iter();
        alerts
            .filter(|alert| alert["state"] == "firing")
            .map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn fires(&self, names: &[&str]) {
        eventually_some(&format!("{names:?} to fire"), async || {
            let firing = self.firing().await;
            names
                .iter()
                .all(|name| firing.contains(*name))
                .then_some(())
        })
        .await;
    }
}

/// The shipped files with the paths, the target and the pace of this test.
fn configured(dir: &Path, admin: &str, token: &Path) -> PathBuf {
    let rules = dir.join("rules");
    fs::create_dir(&rules).unwrap();
    for name in ["recording.rules.yml", "alerts.rules.yml"] {
        let mut paced = String::new();
        for line in text(&format!("config/prometheus/{name}")).lines() {
            let indent = &line[..line.len() - line.trim_start().len()];
            match line.trim() {
                "interval: 15s" => paced += &format!("{indent}interval: 1s\n"),
                wait if wait.starts_with("for: ") => paced += &format!("{indent}for: 0s\n"),
                _ => paced += &format!("{line}\n"),
            }
        }
        fs::write(rules.join(name), paced).unwrap();
    }
    let mut config = text("docker/monitoring/prometheus.yml");
    for (shipped, here) in [
        ("/etc/prometheus/rules", rules.display().to_string()),
        ("/etc/prometheus/weir.token", token.display().to_string()),
        ("weir:9900", admin.to_owned()),
        ("scrape_interval: 15s", "scrape_interval: 1s".to_owned()),
        ("scrape_timeout: 5s", "scrape_timeout: 1s".to_owned()),
        (
            "evaluation_interval: 15s",
            "evaluation_interval: 1s".to_owned(),
        ),
    ] {
        assert_eq!(config.matches(shipped).count(), 1, "{shipped}: {config}");
        config = config.replace(shipped, &here);
    }
    let file = dir.join("prometheus.yml");
    fs::write(&file, config).unwrap();
    if there_is("promtool", "--version") {
        run("promtool", |command| {
            command.args(["check", "config"]).arg(&file);
        });
    }
    file
}

/// Percent-encoding for a query string: all but letters and digits.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
