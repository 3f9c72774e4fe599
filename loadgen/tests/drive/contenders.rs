//! `weir-bench engines` as a whole, with the generators that are installed.

use std::process::Command;

use serde_json::Value;

/// Whether a program can be started.
fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[test]
fn the_generators_of_this_machine_take_turns() {
    if !is_installed("wrk") {
        eprintln!(
            "SKIPPED: wrk is not installed, without which `weir-bench engines` compares nothing"
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.json");
    let output = Command::new(env!("CARGO_BIN_EXE_weir-bench"))
        .args(["engines", "--quick", "--no-pin", "--json"])
        .arg(&file)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let printed = String::from_utf8_lossy(&output.stdout);
    let all: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((&all["rounds"], &all["seconds"]), (&1.into(), &1.into()));
    assert!(all["agreement"].is_null(), "left out when it must be quick");
    let turns = all["turns"].as_array().unwrap();
    let mut expected = vec!["wire", "session", "wrk"];
    expected.extend(
        ["h2load", "hey"]
            .into_iter()
            .filter(|name| is_installed(name)),
    );
    for name in expected {
        let own: Vec<_> = turns
            .iter()
            .filter(|turn| turn["name"].as_str().is_some_and(|n| n == name))
            .collect();
        assert_eq!(own.len(), 1, "{name} in {turns:?}");
        let flat = own[0].get("flat").unwrap_or(own[0]);
        assert!(flat["rate"].as_f64().unwrap() > 0.0, "{name}: {flat}");
        assert!(own[0]["cpu_us"].as_f64().unwrap() > 0.0, "{name}");
        assert!(printed.contains(name), "{name} not in\n{printed}");
    }
}
