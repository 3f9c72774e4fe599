//! Every command of docs/guide/runbook.md is run against a real proxy, and every alert has its section there.

use std::{fs, path::Path, process::Stdio};

use weir_tests::{Conn, Origin, Reply, Weir, process::program, weir::Server as _, within};

fn shipped(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn runbook() -> String {
    fs::read_to_string(shipped("docs/guide/runbook.md")).unwrap()
}

/// The lines of the blocks of shell commands.
fn commands(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut commands = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            commands.push(line.to_owned());
        }
    }
    commands
}

/// The names by which headings are linked to.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let lower = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    lower
        .map(|heading| {
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_runbook_works() {
    let api = Origin::start(|request| match request.target.as_str() {
        "/fails" => Reply::status(500),
        _ => Reply::text("a"),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("access.log");
    let weir = Weir::before(&[&api])
        .with(&format!(
            "admin.profile = true
             access_log.path = '{}'
             route = [{{ upstream = 'api', rate_limit = ['api_limit'] }}]
             rate_limit.api_limit = {{ rate = '10r/s', burst = 20, nodelay = true }}",
            log.display()
        ))
        .start()
        .await;
    for target in ["/", "/fails"] {
        weir.get(target).await;
    }
    // A profile needs something to show.
    let to = weir.addr();
    let load = tokio::spawn(async move {
        loop {
            Conn::open(to).await.get("/").await;
        }
    });
    let has_jq = std::process::Command::new("jq")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    let weir_program = program("weir");
    let path = format!(
        "{}:{}",
        weir_program.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let commands = commands(&runbook());
    assert!(commands.len() > 40, "{commands:?}");
    let mut failed = Vec::new();
    for written in &commands {
        if written.starts_with("jq ") && !has_jq {
            continue;
        }
        let here = written.replace("127.0.0.1:9900", weir.admin.address());
        let run = tokio::process::Command::new("sh")
            .args(["-c", &here])
            .current_dir(dir.path())
            .env("PATH", &path)
            .env("WEIR_NODE", weir.admin.address())
            .env("SERVER", api.addr().to_string())
            .env("LOG", &log)
            .env("CONFIG", weir.config_path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let done = within(written, run).await.unwrap();
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            failed.push(format!("{written}\n  {}: {said}", done.status));
        }
    }
    load.abort();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn links_within_the_guides_of_operation_lead_somewhere() {
    for name in [
        "deploy",
        "kubernetes",
        "systemd",
        "backup",
        "runbook",
        "health-checks",
    ] {
        let file = shipped(&format!("docs/guide/{name}.md"));
        let text = fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1) {
            let link = link.split_once(')').unwrap().0;
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => file.clone(),
                path => file.parent().unwrap().join(path),
            };
            assert!(target.exists(), "{name}: {link}");
            if !anchor.is_empty() {
                let there = anchors(&fs::read_to_string(&target).unwrap());
                assert!(
                    there.iter().any(|it| it == anchor),
                    "{name}: {link}: {there:?}"
                );
            }
        }
    }
}

#[test]
fn every_alert_has_its_section_in_the_runbook() {
    let there = anchors(&runbook());
    let rules = fs::read_to_string(shipped("config/prometheus/alerts.rules.yml")).unwrap();
    let named: Vec<_> = rules
        .lines()
        .filter_map(|line| line.split_once("runbook.md#"))
        .map(|(_, anchor)| anchor.trim_end_matches(['"', '\'']).to_owned())
        .collect();
    assert_eq!(named.len(), rules.matches("alert: ").count());
    for anchor in named {
        assert!(there.contains(&anchor), "{anchor} is not in {there:?}");
    }
}
