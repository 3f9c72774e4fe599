//! The program outlives its logs: whatever becomes of the files and pipes that it writes to, it serves, answers its
//! admin API, says what was lost, and ends when it is told to.

use std::{
    fs::{self, File, OpenOptions},
    io::{PipeReader, PipeWriter, Read as _, pipe},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use serde_json::json;
use tokio::process::Command;
use weir_tests::{
    Origin, Weir,
    process::{Process, program},
    wait::{eventually, eventually_some, within},
    weir::Builder,
};

const LOST_ERRORS: &str = r#"weir_log_lines_lost_total{log="error"}"#;
const LOST_REQUESTS: &str = r#"weir_log_lines_lost_total{log="access"}"#;
const LOST_AUDITS: &str = r#"weir_log_lines_lost_total{log="audit"}"#;

/// A device that is always full (full(4)).
fn full_disk() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// A pipe whose reader is gone.
fn closed_pipe() -> PipeWriter {
    pipe().unwrap().1
}

/// A pipe that nobody reads as long as the reader lives.
fn unread_pipe() -> (PipeReader, PipeWriter) {
    pipe().unwrap()
}

fn fifo(path: &Path) {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
}

/// Makes requests until the lines of the access log are larger than a pipe (64 KiB).
async fn fill_the_access_log(weir: &Weir) {
    let mut client = weir.connect().await;
    let target = format!("/{}", "x".repeat(1000));
    for _ in 0..100 {
        client.get(&target).await.expect(200);
    }
}

/// Makes 60 changes that are told in more bytes than a pipe holds.
async fn fill_the_error_log(weir: &Weir) {
    let why = "because-".repeat(120);
    for n in 0..60 {
        let path = format!("/v1/settings?who=test&why={why}");
        let body = json!({"timeouts": {"connect": format!("{}s", n % 7 + 1)}}).to_string();
        let changed = eventually_some("the change to be admitted", async || {
            let answer = weir.admin.send("PATCH", &path, Some(&body)).await;
            (answer.status != 429).then_some(answer)
        })
        .await;
        changed.expect(200);
    }
}

/// It serves, and answers who asks for its health and its metrics.
async fn is_well(weir: &Weir) {
    weir.get("/").await.expect(200);
    assert_eq!(weir.admin.status("/healthz").await, 200);
    assert_eq!(weir.admin.status("/metrics").await, 200);
}

/// SIGTERM ends it as it should, without waiting for readers that never come.
async fn ends_when_told_to(mut weir: Weir) {
    let told = Instant::now();
    weir.process.signal(Signal::SIGTERM);
    assert_eq!(weir.process.exit_code().await, Some(0));
    // Closing the three logs takes at most a second each; the rest is for a busy machine.
    assert!(
        told.elapsed() < Duration::from_secs(10),
        "{:?}",
        told.elapsed()
    );
}

/// A reload with something to say.
fn reload_nonsense(weir: &mut Weir) {
    fs::write(weir.config_path(), "nonsense").unwrap();
    weir.process.signal(Signal::SIGHUP);
}

#[tokio::test]
async fn standard_error_may_be_closed_or_full() {
    let api = Origin::named("a").await;
    for what in ["closed", "full"] {
        let stderr = match what {
            "closed" => Stdio::from(closed_pipe()),
            _ => Stdio::from(full_disk()),
        };
        let mut weir = Weir::before(&[&api])
            .start_writing_to(Stdio::null(), stderr)
            .await;
        let before = weir.metric(LOST_ERRORS).await;
        assert!(before > 0.0, "{what}: what is said at the start is lost");
        reload_nonsense(&mut weir);
        eventually_some("the refused reload to be lost, and counted", async || {
            (weir.metric(LOST_ERRORS).await > before).then_some(())
        })
        .await;
        is_well(&weir).await;
        ends_when_told_to(weir).await;
    }
}

#[tokio::test]
async fn standard_output_may_be_closed_or_full() {
    let api = Origin::named("a").await;
    for what in ["closed", "full"] {
        let stdout = match what {
            "closed" => Stdio::from(closed_pipe()),
            _ => Stdio::from(full_disk()),
        };
        let dir = tempfile::tempdir().unwrap();
        let errors = dir.path().join("errors");
        let weir = Weir::before(&[&api])
            .start_writing_to(stdout, File::create(&errors).unwrap())
            .await;
        fill_the_access_log(&weir).await;
        eventually_some("every line to be lost", async || {
            (weir.metric(LOST_REQUESTS).await >= 100.0).then_some(())
        })
        .await;
        is_well(&weir).await;
        ends_when_told_to(weir).await;
        let said = fs::read_to_string(&errors).unwrap();
        let told = said
            .matches("the log cannot be written: lines are lost")
            .count();
        assert_eq!(told, 1, "{what}: once, and not for each line: {said}");
    }
}

#[tokio::test]
async fn nobody_needs_to_read_standard_output_and_standard_error() {
    let api = Origin::named("a").await;
    let (unread_stdout, stdout) = unread_pipe();
    let (unread_stderr, stderr) = unread_pipe();
    let weir = Weir::before(&[&api]).start_writing_to(stdout, stderr).await;
    fill_the_access_log(&weir).await;
    fill_the_error_log(&weir).await;
    is_well(&weir).await;
    ends_when_told_to(weir).await;
    drop((unread_stdout, unread_stderr));
}

#[tokio::test]
async fn nobody_needs_to_read_standard_output_alone() {
    let api = Origin::named("a").await;
    let (unread, stdout) = unread_pipe();
    let weir = Weir::before(&[&api])
        .start_writing_to(stdout, Stdio::null())
        .await;
    fill_the_access_log(&weir).await;
    is_well(&weir).await;
    ends_when_told_to(weir).await;
    drop(unread);
}

#[tokio::test]
async fn what_a_late_reader_missed_is_told_once() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.fifo");
    fifo(&path);
    let weir = Weir::before(&[&api])
        .with(&format!("access_log.path = '{}'", path.display()))
        .start()
        .await;
    // A pipe holds 64 KiB, the queue 4 MiB, and as much may be on its way between them.
    let mut client = weir.connect().await;
    let target = format!("/{}", "x".repeat(6000));
    let mut sent = 0;
    while sent < 4000 && (sent % 50 != 0 || weir.metric(LOST_REQUESTS).await == 0.0) {
        client.get(&target).await.expect(200);
        sent += 1;
    }
    assert!(weir.metric(LOST_REQUESTS).await > 0.0, "{sent} requests");
    is_well(&weir).await;
    let errors = || weir.process.stderr();
    let full = "the log cannot be written as fast as lines come";
    assert_eq!(errors().matches(full).count(), 1, "{}", errors());

    let mut reader = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(&path)
        .unwrap();
    let mut read = Vec::new();
    let recovered = "the log is written again; lines were lost log=\"access\" lines=";
    eventually("the loss to be told", || {
        // Empty for the moment is no error.
        let _ = reader.read_to_end(&mut read);
        errors().contains(recovered)
    })
    .await;
    let lost = weir.metric(LOST_REQUESTS).await;
    assert_eq!(errors().matches(recovered).count(), 1, "{}", errors());
    assert!(
        errors().contains(&format!("{recovered}{lost}")),
        "{}",
        errors()
    );
    let text = String::from_utf8(read).unwrap();
    for line in text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
    {
        serde_json::from_str::<serde_json::Value>(line).expect("whole lines");
    }
    ends_when_told_to(weir).await;
}

#[tokio::test]
async fn a_change_needs_no_audit_log_that_can_be_written() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let unread = dir.path().join("audit.fifo");
    fifo(&unread);
    for path in [Path::new("/dev/full"), &unread] {
        let weir = Weir::before(&[&api])
            .with(&format!("admin.audit_log = '{}'", path.display()))
            .start()
            .await;
        let why = "x".repeat(900);
        let body = json!({"timeouts": {"connect": "7s"}}).to_string();
        // Of a FIFO the first 64 KiB are kept.
        let path = format!("/v1/settings?why={why}");
        for _ in 0..10 {
            weir.admin
                .send("PATCH", &path, Some(&body))
                .await
                .expect(200);
        }
        is_well(&weir).await;
        ends_when_told_to(weir).await;
    }
    let weir = Weir::before(&[&api])
        .with("admin.audit_log = '/dev/full'")
        .start()
        .await;
    weir.admin
        .patch(json!({"timeouts": {"connect": "7s"}}))
        .await;
    let lost = weir.metric(LOST_AUDITS).await;
    assert!(lost >= 1.0, "{lost}");
    let said = weir.process.stderr();
    assert!(
        said.contains("the log cannot be written: lines are lost log=\"audit\""),
        "{said}"
    );
}

/// What a command says with another standard output: its exit code and standard error.
async fn printing_to(stdout: Stdio, args: &[&str]) -> (Option<i32>, String) {
    let ending = Command::new(program("weir"))
        .args(args)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
        .wait_with_output();
    let output = within("a command to end", ending).await.unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn commands(builder: &Builder, weir: &Weir, dir: &Path) -> Vec<Vec<String>> {
    let config = dir.join("weir.toml");
    fs::write(&config, builder.text()).unwrap();
    let config = config.display().to_string();
    let node = weir.admin.address();
    [
        vec!["check", &config],
        vec!["settings"],
        vec!["settings", "--json-schema"],
        vec!["completions", "bash"],
        vec!["--help"],
        vec!["ctl", "--node", node, "get"],
        vec!["ctl", "--node", node, "--json", "get"],
        vec!["ctl", "--node", node, "revisions"],
        vec!["ctl", "--node", node, "upstreams"],
        vec!["ctl", "--node", node, "top", "--once"],
        vec!["ctl", "--node", node, "watch"],
    ]
    .into_iter()
    .map(|args| args.into_iter().map(str::to_owned).collect())
    .collect()
}

#[tokio::test]
async fn commands_are_quiet_about_a_reader_that_is_gone() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let builder = Weir::before(&[&api]);
    let weir = builder.clone().start().await;
    for args in commands(&builder, &weir, dir.path()) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (code, said) = printing_to(closed_pipe().into(), &args).await;
        assert_eq!((code, said.as_str()), (Some(0), ""), "{args:?}");
        if args != ["--help"] {
            let (code, said) = printing_to(full_disk().into(), &args).await;
            assert_eq!(code, Some(1), "{args:?}: {said}");
            assert!(
                said.contains("cannot write to standard output"),
                "{args:?}: {said}"
            );
        }
    }
    // Nobody else has the token: that it could not be shown is an error.
    let tokens = dir.path().join("tokens.toml").display().to_string();
    for args in [
        &["token", "new", "ana"][..],
        &["token", "new", "ana", "--file", &tokens],
    ] {
        let (code, said) = printing_to(closed_pipe().into(), args).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("cannot write to standard output"), "{said}");
    }
}

#[tokio::test]
async fn commands_need_no_standard_error() {
    let bad = ["check", "/nowhere/weir.toml"];
    let run = ["run", "--config", "/nowhere/weir.toml"];
    let ctl = ["ctl", "--node", "127.0.0.1:1", "get"];
    for (args, code) in [(&bad[..], 2), (&run, 2), (&ctl, 1)] {
        for stderr in [Stdio::from(closed_pipe()), Stdio::from(full_disk())] {
            let mut command = Command::new(program("weir"));
            command.args(args).stdout(Stdio::null()).stderr(stderr);
            let mut process = Process::start_writing_elsewhere("weir", command);
            assert_eq!(process.exit_code().await, Some(code), "{args:?}");
        }
    }
}
