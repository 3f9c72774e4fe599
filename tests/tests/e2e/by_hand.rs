//! Processes that somebody else started, watched by a run: stages from the proxy's log, a flame
//! graph of any process. And the suite to its end, with the loss of a replica.

use serde_json::Value;
use weir_tests::{
    Replica, Weir,
    process::{Finished, run},
    weir::Server as _,
};

/// The workspace, where the configuration is.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Users who never think, for a second and a half.
const BUSY: &str = "name = 'busy'\nduration = '1500ms'\nwarmup = '200ms'\nengine = 'wire'\n\
    [load]\nmodel = 'closed'\nusers = 4\nthink_time = '5ms'\n\
    [[requests]]\nname = 'read'\npath = '/api/v1/compliance/statistics'\n";

/// A folder with the scenario, and the target's base URL.
struct Desk {
    dir: tempfile::TempDir,
    target: String,
}

impl Desk {
    fn before(target: std::net::SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("scenario.toml"), BUSY).unwrap();
        let target = format!("http://{target}");
        Self { dir, target }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// `weir-bench run` with these arguments too; results are in `out`.
    async fn run(&self, more: &[&str]) -> Finished {
        let (scenario, output) = (self.path("scenario.toml"), self.path("out"));
        let fixed = ["run", "--scenario", &scenario, "--target", &self.target];
        let own = ["--output", &output, "--quiet"];
        run("weir-bench", &[&fixed[..], &own, more].concat()).await
    }

    fn json(&self, name: &str) -> Value {
        let file = self.dir.path().join("out").join(name);
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
    }
}

fn shown(done: &Finished) -> String {
    format!("{:?}\n{}{}", done.code, done.stdout, done.stderr)
}

#[tokio::test]
async fn the_log_of_a_proxy_that_goes_on_running_divides_latency_by_stage() {
    let replica = Replica::start(&["--null", "--delay", "3ms"]).await;
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("access.log").display().to_string();
    // The usual buffer: the last lines of the run are still in memory when it ends.
    let weir = Weir::before(&[&replica])
        .with(&format!(
            "access_log.path = '{log}'\naccess_log.buffer = '64KiB'"
        ))
        .start()
        .await;
    let desk = Desk::before(weir.addr());
    let done = desk.run(&["--access-log", &log]).await;
    assert!(matches!(done.code, Some(0 | 5)), "{}", shown(&done));
    let (record, summary) = (desk.json("run.json"), desk.json("summary.json"));
    let stages = &record["stages"];
    let ok = summary["ok"].as_u64().unwrap();
    let logged = stages["requests"].as_u64().expect("stages");
    // Clocks of two processes, cut to milliseconds: a request at either end may fall to the other side.
    assert!(
        ok > 50 && logged.abs_diff(ok) <= 4,
        "{logged} logged, {ok} counted"
    );
    let rows = stages["rows"].as_array().unwrap();
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["stage"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["network", "choose", "connect", "wait", "send"]);
    let shares: f64 = rows.iter().map(|row| row["share"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{stages}");
    assert!(rows[3]["p50_ms"].as_f64().unwrap() >= 2.9, "{stages}");
    assert!(
        done.stdout.contains("connected to first byte"),
        "{}",
        shown(&done)
    );
    let page = std::fs::read_to_string(desk.path("out/report.html")).unwrap();
    assert!(page.contains("connected to first byte"));
}

#[tokio::test]
async fn a_log_that_is_of_no_use_is_told_and_costs_no_run() {
    let replica = Replica::start(&["--null"]).await;
    let desk = Desk::before(replica.addr());
    let missing = desk.path("missing.log");
    let done = desk.run(&["--access-log", &missing]).await;
    assert_eq!(done.code, Some(2), "{}", shown(&done));
    let said = format!("--access-log: cannot read {missing}");
    assert!(done.stderr.contains(&said), "{}", shown(&done));
    assert!(!desk.dir.path().join("out").exists());

    // Somebody else's log: no stage in it, and the run is kept all the same.
    let other = desk.path("other.log");
    std::fs::write(&other, "127.0.0.1 - - [x] \"GET / HTTP/1.1\" 200 2\n").unwrap();
    let done = desk.run(&["--access-log", &other]).await;
    assert!(matches!(done.code, Some(0 | 5)), "{}", shown(&done));
    assert!(
        done.stderr.contains("no latency by stage"),
        "{}",
        shown(&done)
    );
    assert!(desk.json("run.json")["stages"].is_null());
}

#[tokio::test]
async fn a_process_that_the_run_did_not_start_has_its_flame_graph() {
    let replica = Replica::start(&["--null"]).await;
    let desk = Desk::before(replica.addr());
    let pid = replica.process.id().to_string();
    let done = desk
        .run(&[
            "--set",
            "load.think_time=0s",
            "--profile",
            "1s",
            "--profile-pid",
            &pid,
        ])
        .await;
    assert!(matches!(done.code, Some(0 | 5)), "{}", shown(&done));
    let profile = desk.json("run.json")["profile"].clone();
    assert_eq!(profile["process"], "weir-bench", "{profile}");
    assert_eq!(profile["pid"].to_string(), pid, "{profile}");
    // Its cost is in the figures: the run is not believed without reserve.
    let summary = desk.json("summary.json");
    assert_ne!(summary["validity"]["verdict"], "valid", "{summary}");
    let Some(file) = profile["file"].as_str() else {
        eprintln!(
            "SKIPPED: no flame graph can be drawn here: {}",
            profile["problem"]
        );
        assert!(done.stderr.contains("no flame graph"), "{}", shown(&done));
        return;
    };
    assert!(profile["samples"].as_u64().unwrap() > 0);
    let picture = std::fs::read_to_string(desk.path("out").clone() + "/" + file).unwrap();
    assert!(picture.contains(&format!("CPU time of weir-bench (process {pid})")));
    let page = std::fs::read_to_string(desk.path("out/report.html")).unwrap();
    assert!(page.contains("flame.svg"));
}

#[tokio::test]
async fn the_suite_ends_with_the_loss_of_a_replica() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let proxy = std::fs::read_to_string(format!("{ROOT}/config/proxy.toml")).unwrap();
    assert!(proxy.contains("fail_timeout = \"30s\""));
    let proxy = proxy.replace("fail_timeout = \"30s\"", "fail_timeout = \"1s\"");
    std::fs::write(path("proxy.toml"), proxy).unwrap();
    let (topology, suite) = (
        format!("{ROOT}/config/topologies/two.toml"),
        format!("{ROOT}/config/suite.toml"),
    );
    let (proxy, results) = (path("proxy.toml"), path("results"));
    let fixed = ["suite", "--quick", "--quiet", "--only", "sequential"];
    let places = ["--suite", &suite, "--proxy", &proxy, "--results", &results];
    let two = ["--topology", &topology, "--recovery"];
    let done = run("weir-bench", &[&fixed[..], &places, &two].concat()).await;
    // A busy machine makes the generator late, which makes it invalid, and recovery slow.
    assert!(matches!(done.code, Some(0 | 3 | 5)), "{}", shown(&done));
    let folder = std::fs::read_dir(&results).unwrap().flatten();
    let mut folders = folder
        .map(|entry| entry.path())
        .filter(|path| !path.is_symlink());
    let folder = folders.next().expect("a folder");
    let json = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let record = json("suite.json");
    assert_eq!(record["tests"].as_array().unwrap().len(), 1);
    let recovery = &record["recovery"];
    assert_eq!(*recovery, json("recovery/recovery.json"));
    assert_eq!(recovery["killed"], "replica-1");
    let at = |name: &str| {
        recovery["moments"][name]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {recovery}"))
    };
    assert!(at("killed_s") >= 0.9 && at("restarted_s") >= at("killed_s") + 1.0);
    assert!(at("served_s") >= at("restarted_s"), "{recovery}");
    assert!(recovery["ok"].as_u64().unwrap() > 100, "{recovery}");
    assert_eq!(
        recovery["verdict"].as_array().unwrap().len(),
        3,
        "{recovery}"
    );
    assert!(
        done.stdout.contains("Recovery from the loss of replica-1"),
        "{}",
        shown(&done)
    );
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("replica-1"));

    // Where nobody could take over, it is refused before the first test.
    let one = format!("{ROOT}/config/topologies/one.toml");
    let one = ["--topology", &one, "--recovery"];
    let done = run("weir-bench", &[&fixed[..], &places, &one].concat()).await;
    assert_eq!(done.code, Some(2), "{}", shown(&done));
    assert!(
        done.stderr.contains("two replicas or more"),
        "{}",
        shown(&done)
    );
}
