//! Starting, stopping, tuning, with stand-ins for the programs.
#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

use super::*;
use crate::process::Child;

/// A shell script that is called like a child of a topology: its last arguments are
/// `--ports-file FILE --exit-with-parent PID`.
fn script(folder: &Path, body: &str) -> PathBuf {
    let path = folder.join("program");
    let find_file = "while [ $# -gt 0 ]; do [ \"$1\" = --ports-file ] && file=$2; shift; done";
    fs::write(&path, format!("#!/bin/sh\n{find_file}\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn is_alive(pid: u32) -> bool {
    // A zombie is dead; its parent just has not looked.
    procfs::process::Process::new(i32::try_from(pid).unwrap())
        .and_then(|process| process.stat())
        .is_ok_and(|stat| stat.state != 'Z')
}

#[test]
fn a_child_is_ready_when_its_ports_file_is_there_and_ends_with_its_guard() {
    let folder = tempfile::tempdir().unwrap();
    let ready = r#"echo '{"listeners":["127.0.0.1:4321"],"pid":1}' > "$file"; exec sleep 60"#;
    let program = script(folder.path(), ready);
    let mut child = Child::start("replica-1", &program, &[], folder.path()).unwrap();
    let ports = child.wait_ready(READY_WITHIN, &StopToken::new()).unwrap();
    assert_eq!(child.first_listener(&ports).unwrap().port(), 4321);
    let pid = child.pid();
    assert!(is_alive(pid));
    drop(child);
    assert!(!is_alive(pid));
}

#[test]
fn a_child_that_fails_is_reported_with_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let program = script(folder.path(), "echo 'the port is in use' >&2; exit 1");
    let mut child = Child::start("weir", &program, &[], folder.path()).unwrap();
    let error = child
        .wait_ready(READY_WITHIN, &StopToken::new())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("weir ended early") && error.contains("the port is in use"),
        "{error}"
    );
}

#[test]
fn a_child_that_is_never_ready_has_a_bound_and_a_stop_is_heard_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let program = script(folder.path(), "exec sleep 60");
    let mut child = Child::start("weir", &program, &[], folder.path()).unwrap();
    let error = child
        .wait_ready(Duration::from_millis(50), &StopToken::new())
        .unwrap_err();
    assert!(matches!(error, TopologyError::NotReady { .. }), "{error}");
    let stop = StopToken::new();
    stop.stop();
    let begun = Instant::now();
    let error = child.wait_ready(READY_WITHIN, &stop).unwrap_err();
    assert!(matches!(error, TopologyError::Stopped) && begun.elapsed() < READY_WITHIN);
}

#[test]
fn a_missing_proxy_says_how_to_get_one() {
    let error = find_weir(Some(Path::new("/nowhere/weir")), Path::new("/x")).unwrap_err();
    assert!(
        error.is_usage() && error.to_string().contains("make build"),
        "{error}"
    );
}
