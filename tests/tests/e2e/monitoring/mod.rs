//! The shipped rules, dashboard and Compose overlay for Prometheus and Grafana.
//!
//! What needs Prometheus (Debian's package `prometheus`: `prometheus` and `promtool`) or Compose is skipped where it is
//! missing, and a line on standard error says so. Grafana itself is not run here.

mod dashboard;
mod prometheus;
mod rules;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A file or folder of the repository.
fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(shipped(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Says past the capture of the test runner that something was not tested.
fn skipped(reason: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "{name}: SKIPPED: {reason}");
}

/// Whether a program can be run.
fn there_is(program: &str, question: &str) -> bool {
    let answer = Command::new(program)
        .arg(question)
        .stdin(Stdio::null())
        .output();
    answer.is_ok_and(|output| output.status.success())
}

/// What a command wrote; it has to succeed, within a minute.
#[track_caller]
fn run(program: impl AsRef<std::ffi::OsStr>, prepare: impl FnOnce(&mut Command)) -> String {
    let mut command = Command::new("timeout");
    command.arg("60").arg(program);
    prepare(&mut command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}{errors}",
        output.status
    );
    said
}

#[test]
fn the_overlay_for_compose_is_valid() {
    let (program, first) = if there_is("docker-compose", "version") {
        ("docker-compose", None)
    } else if there_is("docker", "compose") {
        ("docker", Some("compose"))
    } else {
        return skipped("there is no Compose");
    };
    for base in ["docker/compose.yml", "docker/compose.prod.yml"] {
        let shown = run(program, |command| {
            command.args(first).args(["-p", "weir-e2e-monitoring"]);
            for file in [base, "docker/compose.monitoring.yml"] {
                command.arg("-f").arg(shipped(file));
            }
            command.env("GRAFANA_PASSWORD", "chosen").arg("config");
        });
        for mounted in [
            "/etc/prometheus/prometheus.yml",
            "/etc/prometheus/rules",
            "/etc/prometheus/weir.token",
            "/etc/grafana/provisioning/datasources",
            "/etc/grafana/provisioning/dashboards",
            "/etc/grafana/weir",
        ] {
            assert!(shown.contains(mounted), "{mounted}: {shown}");
        }
        assert!(
            shown.contains("docker/monitoring/private/config"),
            "{shown}"
        );
        assert!(!shown.contains(":latest"), "{shown}");
    }
    // What is mounted exists, but for what prepare.sh writes.
    for file in [
        "docker/monitoring/prometheus.yml",
        "docker/monitoring/grafana/datasources/prometheus.yml",
        "docker/monitoring/grafana/dashboards/weir.yml",
        "config/grafana/weir.json",
    ] {
        assert!(shipped(file).is_file(), "{file}");
    }
    let provider = text("docker/monitoring/grafana/dashboards/weir.yml");
    assert!(provider.contains("path: /etc/grafana/weir"), "{provider}");
}
