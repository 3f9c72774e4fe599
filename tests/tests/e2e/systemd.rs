//! The units for systemd, and the upgrade of a pair of them, driven without systemd.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use weir_tests::{
    Clients, Conn, Gate, Origin, Reply,
    process::{free_address, program, run},
    wait::eventually_some,
    weir::Server as _,
};

/// What the drain leaves of the time to stop at least, in seconds.
const TO_SPARE: u64 = 5;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docker/systemd")
        .join(name)
}

/// The settings of a unit: `KEY=VALUE` lines.
fn unit(name: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(shipped(name)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test]
async fn both_units_are_hardened_alike_and_wait_longer_than_a_drain() {
    let file = shipped("proxy.toml");
    let checked = run("weir", &["check", file.to_str().unwrap()]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let config: toml::Table = fs::read_to_string(&file).unwrap().parse().unwrap();
    let (one, pair) = (unit("weir.service"), unit("weir@.service"));
    let differs = ["Description", "Conflicts", "ExecStart", "EnvironmentFile"];
    let rest = |unit: &[(String, String)]| -> Vec<_> {
        let kept = unit
            .iter()
            .filter(|(key, _)| !differs.contains(&key.as_str()));
        kept.cloned().collect()
    };
    assert_eq!(rest(&one), rest(&pair));
    let value = |key: &str| {
        let found = one.iter().find(|(name, _)| name == key);
        found.unwrap_or_else(|| panic!("no {key}")).1.as_str()
    };
    let stop: u64 = value("TimeoutStopSec").parse().unwrap();
    let drain = config["timeouts"]["drain"].as_str().unwrap();
    let drain: u64 = drain.strip_suffix('s').unwrap().parse().unwrap();
    assert!(stop >= drain + TO_SPARE);
    assert_eq!(value("KillSignal"), "SIGTERM");
    assert_eq!(value("ExecReload"), "/bin/kill -HUP $MAINPID");
    assert_eq!(value("NoNewPrivileges"), "yes");
    assert_eq!(value("ProtectSystem"), "strict");
    assert_eq!(value("AmbientCapabilities"), "CAP_NET_BIND_SERVICE");
    let files: i64 = value("LimitNOFILE").parse().unwrap();
    assert!(files > 2 * config["connections"]["max"].as_integer().unwrap());
    let run_dir = format!("/run/{}/", value("RuntimeDirectory"));
    for (table, key) in [("server", "upgrade_socket"), ("admin", "socket")] {
        assert!(
            config[table][key].as_str().unwrap().starts_with(&run_dir),
            "{key}"
        );
    }
    // Where there is systemd, it has to understand every line. Its check wants the programs to exist.
    let dir = tempfile::tempdir().unwrap();
    for (name, as_name) in [
        ("weir.service", "weir.service"),
        ("weir@.service", "weir@a.service"),
    ] {
        let text = fs::read_to_string(shipped(name)).unwrap();
        let weir = program("weir");
        let text = text.replace("/usr/bin/weir", weir.to_str().unwrap());
        let path = dir.path().join(as_name);
        fs::write(&path, text).unwrap();
        let Ok(verified) = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&path)
            .output()
        else {
            eprintln!("SKIPPED: there is no systemd-analyze");
            return;
        };
        let said = String::from_utf8_lossy(&verified.stderr);
        let about: Vec<_> = said.lines().filter(|line| line.contains(as_name)).collect();
        assert!(about.is_empty(), "{about:?}");
    }
}

/// As much of systemctl as `weir-upgrade` uses, with the processes that it starts. A process that has ended but that
/// nobody has waited for counts as ended.
const SYSTEMCTL: &str = r#"#!/usr/bin/env bash
set -u
[ "$1" != --quiet ] || shift
verb=$1
unit=${*: -1}
name=${unit#weir@}; name=${name%.service}
echo "$*" >>"$STATE/calls"
pid=$(cat "$STATE/$name.pid" 2>/dev/null || echo 0)
alive() { [ "$pid" != 0 ] && [ -r "/proc/$pid/status" ] && ! grep -qs '^State:[[:space:]]*[ZX]' "/proc/$pid/status"; }
case $verb in
    is-active) alive ;;
    start)
        WEIR_RUN=
        [ ! -r "$WEIR_RUNTIME/$name.env" ] || . "$WEIR_RUNTIME/$name.env"
        $WEIR run --config "$CONFIG" --ports-file "$WEIR_RUNTIME/$name.json" $WEIR_RUN >"$STATE/$name.log" 2>&1 </dev/null &
        echo $! >"$STATE/$name.pid"
        ;;
    kill) signal=${3#--signal=SIG}; alive && kill -s "$signal" "$pid" ;;
    stop) ! alive || kill "$pid" ;;
    enable) touch "$STATE/$name.enabled" ;;
    disable) rm -f "$STATE/$name.enabled" ;;
    reset-failed) ;;
    *) exit 64 ;;
esac
"#;

/// A pair of units without systemd; its processes are ended when dropped.
struct Pair {
    dir: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let systemctl = dir.path().join("systemctl");
        fs::write(&systemctl, SYSTEMCTL).unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, program_path: &Path) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program_path);
        let path = std::env::var("PATH").unwrap();
        command
            .env("PATH", format!("{}:{path}", self.dir.path().display()))
            .env("STATE", self.dir.path())
            .env("WEIR", program("weir"))
            .env("CONFIG", self.path("proxy.toml"))
            .env("WEIR_RUNTIME", self.dir.path())
            .env("WEIR_UPGRADE_WAIT", "20")
            .kill_on_drop(true);
        command
    }

    async fn upgrade(&self) -> (Option<i32>, String) {
        let mut command = self.command(&shipped("weir-upgrade"));
        let done = weir_tests::within("weir-upgrade", command.output())
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        (done.status.code(), said)
    }

    async fn start(&self, name: &str) {
        let mut command = self.command(&self.path("systemctl"));
        let done = command
            .args(["start", &format!("weir@{name}.service")])
            .status();
        assert!(weir_tests::within("a start", done).await.unwrap().success());
        eventually_some("the first weir to be ready", async || {
            fs::read(self.path(&format!("{name}.json"))).ok()
        })
        .await;
    }

    async fn is_active(&self, name: &str) -> bool {
        let mut command = self.command(&self.path("systemctl"));
        command.args(["is-active", &format!("weir@{name}.service")]);
        command.status().await.unwrap().success()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in ["a", "b"] {
            if std::thread::panicking() {
                let log = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
                eprintln!("--- weir@{name}\n{log}");
            }
            let pid = fs::read_to_string(self.path(&format!("{name}.pid"))).unwrap_or_default();
            if let Ok(pid) = pid.trim().parse() {
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upgrade_of_a_pair_of_units_refuses_nobody_and_a_failed_one_changes_nothing() {
    let gate = Gate::closed();
    let opens = gate.clone();
    let api = Origin::start(move |request| match request.target.as_str() {
        "/held" => Reply::text("late").when(&opens),
        _ => Reply::text("a"),
    })
    .await;
    let (front, admin) = (free_address(), free_address());
    let pair = Pair::new();
    let config = |more: &str| {
        format!(
            "server = {{ threads = 1, upgrade_socket = '{socket}' }}
             admin = {{ listen = '{admin}', socket = '{admin_socket}' }}
             listener = [{{ address = '{front}' }}]
             route = [{{ upstream = 'api' }}]
             upstream.api.servers = [{{ address = '{}' }}]
             {more}",
            api.addr(),
            socket = pair.path("upgrade.sock").display(),
            admin_socket = pair.path("admin.sock").display(),
        )
    };
    let configure = |more: &str| fs::write(pair.path("proxy.toml"), config(more)).unwrap();
    configure("");
    let (code, said) = pair.upgrade().await;
    assert_eq!(code, Some(2), "{said}");
    pair.start("a").await;

    let mut held = Conn::open(front).await;
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    api.is_serving(1).await;
    let clients = Clients::asking(front, 2);

    // A configuration that the new program refuses: the old one goes on.
    configure("compression.level = 12");
    let (code, said) = pair.upgrade().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("weir@a goes on serving"), "{said}");
    assert!(pair.is_active("a").await && !pair.is_active("b").await);
    assert!(!pair.path("b.env").exists());

    // One that it cannot serve, which turns out when it has the sockets.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = config("").replace(
        &format!("listen = '{admin}'"),
        &format!("listen = '{address}'"),
    );
    fs::write(pair.path("proxy.toml"), text).unwrap();
    let (code, said) = pair.upgrade().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("weir@a goes on serving"), "{said}");
    assert!(pair.is_active("a").await && !pair.is_active("b").await);

    configure("compression.level = 3");
    let (code, said) = pair.upgrade().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(pair.path("b.enabled").exists() && !pair.path("a.enabled").exists());
    assert!(!pair.path("b.env").exists(), "a restart is no upgrade");
    assert!(pair.is_active("a").await, "it has a request in flight");
    let (code, said) = pair.upgrade().await;
    assert_eq!(code, Some(2), "{said}");
    gate.open();
    assert_eq!(held.answer().await.expect(200).text(), "late");
    eventually_some("the old one to end", async || {
        (!pair.is_active("a").await).then_some(())
    })
    .await;
    let settings = weir_tests::Admin::new(admin).settings().await;
    assert_eq!(
        settings["compression"]["level"], 3,
        "the new one has read the new file"
    );
    // The old one has left the socket of its successor alone.
    let socket = format!("unix:{}", pair.path("admin.sock").display());
    let asked = run(
        "weir",
        &["ctl", "--node", &socket, "get", "compression.level"],
    )
    .await;
    assert_eq!(asked.stdout.trim(), "3", "{}", asked.stderr);

    // And back again.
    let (code, said) = pair.upgrade().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(pair.path("a.enabled").exists() && !pair.path("b.enabled").exists());
    clients.stop().await;
}
