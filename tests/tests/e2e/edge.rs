//! A topology on a small machine: its processes are bounded, and say so.

use std::{fs, path::PathBuf};

use serde_json::Value;
use weir_tests::{process::start, wait::eventually_some};

/// A file of this repository.
fn shipped(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join(path).display().to_string()
}

/// Command lines of the children of a process, by process id.
fn children(parent: u32) -> Vec<(u32, String)> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| field(*pid, "status", "PPid:").as_deref() == Some(&parent.to_string()))
        .filter_map(|pid| {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
            Some((pid, words.replace('\0', " ")))
        })
        .collect()
}

/// What stands after `name` in a file of a process.
fn field(pid: u32, file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().to_owned())
}

#[tokio::test]
async fn the_processes_of_the_edge_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out").display().to_string();
    let (topology, proxy) = (
        shipped("config/topologies/edge.toml"),
        shipped("config/proxy.toml"),
    );
    let arguments = [
        "run",
        "--scenario",
        "edge",
        "--duration",
        "3s",
        "--warmup",
        "1s",
        "--quiet",
        "--topology",
        &topology,
        "--proxy",
        &proxy,
        "--output",
        &out,
    ];
    let mut bench = start("weir-bench", &arguments, dir.path());
    let bench_id = bench.id();
    // The proxy is started last; once it listens for its own threads, both are what they are to be.
    let bounded = eventually_some("both processes to run", || {
        assert!(bench.ended().is_none(), "{}", bench.stderr());
        let children = children(bench_id);
        let pid = |part: &str, start: &str| {
            let is = |words: &&(u32, String)| {
                words.1.contains(part) && !words.1.contains(" confined ") && words.1.contains(start)
            };
            children.iter().find(is).map(|(pid, _)| *pid)
        };
        let found = pid(" replica ", "replica-1").zip(pid(" run ", "proxy.toml"));
        async move { found }
    })
    .await;
    let own = field(std::process::id(), "status", "Cpus_allowed_list:").unwrap();
    let last: u32 = own.rsplit([',', '-']).next().unwrap().parse().unwrap();
    for pid in [bounded.0, bounded.1] {
        let cores = field(pid, "status", "Cpus_allowed_list:").unwrap();
        assert_eq!(cores, last.to_string());
        let memory = field(pid, "limits", "Max address space").unwrap();
        let memory: Vec<_> = memory.split_whitespace().collect();
        assert_eq!(memory, ["536870912", "536870912", "bytes"]);
        // Every thread, not only the first.
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
            let file = format!("task/{}/status", task.file_name().display());
            if let Some(cores) = field(pid, &file, "Cpus_allowed_list:") {
                assert_eq!(cores, last.to_string(), "{file}");
            }
        }
    }
    let code = bench.exit_code().await;
    assert!(
        [Some(0), Some(3), Some(5)].contains(&code),
        "{code:?}: {}",
        bench.stderr()
    );
    let run: Value = serde_json::from_slice(&fs::read(format!("{out}/run.json")).unwrap()).unwrap();
    let bounds = run["topology"]["bounds"].as_array().unwrap();
    let names: Vec<_> = bounds
        .iter()
        .map(|b| b["process"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["weir", "replica-1"]);
    for bound in bounds {
        assert_eq!(bound["cores"], serde_json::json!([last]));
        assert_eq!(bound["address_space_bytes"], 512 << 20);
    }
    let summary: Value =
        serde_json::from_slice(&fs::read(format!("{out}/summary.json")).unwrap()).unwrap();
    assert!(summary["ok"].as_u64().unwrap() > 0, "{}", bench.stdout());
    let report = fs::read_to_string(format!("{out}/report.html")).unwrap();
    let said = format!(
        "weir on core {last}, address space 512 MiB; replica-1 on core {last}, address space 512 MiB."
    );
    assert!(report.contains(&said), "{said}");
}

#[tokio::test]
async fn more_cores_than_there_are_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("huge.toml");
    fs::write(
        &file,
        "description = 'd'\nproxy = false\nreplicas = 1\n[replica]\nslots = 1\nservice_time = '1ms'\ncores = 100000\n",
    )
    .unwrap();
    let file = file.display().to_string();
    let proxy = shipped("config/proxy.toml");
    let out = dir.path().join("out").display().to_string();
    let arguments = [
        "run",
        "--scenario",
        "smoke",
        "--topology",
        &file,
        "--proxy",
        &proxy,
        "--output",
        &out,
    ];
    let done = weir_tests::process::run("weir-bench", &arguments).await;
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(
        done.stderr.contains("is to have 100000 cores"),
        "{}",
        done.stderr
    );
}
