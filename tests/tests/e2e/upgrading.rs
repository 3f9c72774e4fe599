//! Upgrades that fail: the old process goes on serving, whatever becomes of the new one.

use std::{
    net::TcpListener,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    time::Duration,
};

use nix::sys::signal::Signal;
use rand::RngExt as _;
use weir_tests::{
    Clients, Gate, Origin, Reply, Weir,
    process::{Process, free_address, program},
    wait::{eventually, eventually_some},
    weir::Builder,
};

/// How often the new process is killed.
const KILLS: usize = 50;

/// What an old process says of an upgrade that came to nothing.
const NOT_HANDED_OVER: &str = "this process goes on serving";

/// A proxy whose addresses the file names: it can be upgraded.
fn upgradable(api: &Origin, dir: &Path) -> Builder {
    Weir::before(&[api]).with(&format!(
        "listener = [{{ address = '{}' }}]
         admin.listen = '{}'
         admin.socket = '{dir}/admin.sock'
         server.upgrade_socket = '{dir}/upgrade.sock'
         server.pid_file = '{dir}/weir.pid'",
        free_address(),
        free_address(),
        dir = dir.display(),
    ))
}

async fn waits(dir: &Path) {
    let socket = dir.join("upgrade.sock");
    eventually("a successor to wait", || socket.exists()).await;
}

/// Sends SIGQUIT to the old process, and waits until it says that nothing came of it.
async fn fails(old: &Weir) {
    let before = old.process.stderr().matches(NOT_HANDED_OVER).count();
    old.process.signal(Signal::SIGQUIT);
    eventually("the old process to go on", || {
        old.process.stderr().matches(NOT_HANDED_OVER).count() > before
    })
    .await;
}

/// The old process serves, and so do its admin API and its admin socket.
async fn serves(old: &mut Weir, dir: &Path) {
    assert!(old.process.ended().is_none());
    old.get("/").await.expect(200);
    assert_eq!(old.admin.status("/readyz").await, 200);
    let node = format!("unix:{}", dir.join("admin.sock").display());
    let args = ["ctl", "--node", &node, "get", "compression.level"];
    let asked = weir_tests::process::run("weir", &args).await;
    assert_eq!(asked.code, Some(0), "{}", asked.stderr);
    let pid = std::fs::read_to_string(dir.join("weir.pid")).unwrap();
    assert_eq!(pid.trim(), old.process.id().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_is_killed_at_any_moment_costs_no_request() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let config = upgradable(&api, dir.path());
    let mut old = config.clone().start().await;
    let clients = Clients::asking(old.addr(), 2);
    let random = |millis| Duration::from_millis(rand::rng().random_range(0..millis));
    for round in 0..KILLS {
        let (mut new, _files) = config.spawn_upgrading();
        if round % 2 == 0 {
            old.process.signal(Signal::SIGQUIT);
        } else {
            eventually("a successor to wait", || {
                new.stderr().contains("waiting for SIGQUIT")
            })
            .await;
            old.process.signal(Signal::SIGQUIT);
        }
        // While it starts, and while it has the sockets and is not trusted yet.
        tokio::time::sleep(random(if round % 2 == 0 { 50 } else { 300 })).await;
        new.kill().await;
        assert!(old.process.ended().is_none(), "round {round}");
    }
    // It still looks for one, for a moment.
    eventually("the last attempt to be over", || {
        let said = old.process.stderr();
        said.matches(NOT_HANDED_OVER).count() == said.matches("looking for a successor").count()
    })
    .await;
    serves(&mut old, dir.path()).await;
    // What the dead have left is in nobody's way.
    let new = config.start_upgrading(&old).await;
    assert_eq!(old.process.exit_code().await, Some(0));
    new.get("/").await.expect(200);
    clients.stop().await;
}

#[tokio::test]
async fn a_configuration_that_cannot_be_served_leaves_the_old_process_serving() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let config = upgradable(&api, dir.path());
    let mut old = config.clone().start().await;
    let nowhere = dir.path().join("missing");
    for (bad, named) in [
        (
            format!("admin.socket = '{}/a.sock'", nowhere.display()),
            "admin.socket",
        ),
        (
            format!("server.pid_file = '{}/weir.pid'", nowhere.display()),
            "server.pid_file",
        ),
        (
            format!("access_log.path = '{}/log'", nowhere.display()),
            "access_log.path",
        ),
        (
            format!("admin.audit_log = '{}/log'", nowhere.display()),
            "admin.audit_log",
        ),
        (
            format!("admin.tokens = '{}/tokens'", nowhere.display()),
            "tokens",
        ),
    ] {
        let (mut new, _files) = config.clone().with(&bad).spawn_upgrading();
        // Without a signal: it does not even ask for the sockets.
        assert!(matches!(new.exit_code().await, Some(1 | 2)), "{bad}");
        assert!(new.stderr().contains(named), "{}", new.stderr());
    }
    serves(&mut old, dir.path()).await;

    // Whether an address is taken by the old process or by a third one is known when the sockets come.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (bad, named) in [
        (format!("admin.listen = '{address}'"), "admin.listen: "),
        (
            format!(
                "listener = [{{ address = '{}' }}, {{ address = '{address}' }}]",
                old.addr()
            ),
            "",
        ),
    ] {
        let (mut new, _files) = config.clone().with(&bad).spawn_upgrading();
        waits(dir.path()).await;
        fails(&old).await;
        assert_eq!(new.exit_code().await, Some(1), "{bad}");
        let why = format!("{named}cannot listen on {address}");
        for said in [new.stderr(), old.process.stderr()] {
            assert!(said.contains(&why), "{said}");
        }
        serves(&mut old, dir.path()).await;
    }
}

#[tokio::test]
async fn a_sigquit_without_a_successor_changes_nothing() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let config = upgradable(&api, dir.path());
    let mut old = config.clone().start().await;
    fails(&old).await;
    serves(&mut old, dir.path()).await;

    // It was stopped when the signal came, and by the time it goes on the new process has given up.
    old.process.signal(Signal::SIGSTOP);
    let (mut new, _files) = config.spawn_upgrading();
    waits(dir.path()).await;
    old.process.signal(Signal::SIGQUIT);
    new.signal(Signal::SIGTERM);
    assert_eq!(new.exit_code().await, Some(0));
    assert!(!dir.path().join("upgrade.sock").exists());
    old.process.signal(Signal::SIGCONT);
    eventually("the old process to go on", || {
        old.process.stderr().matches(NOT_HANDED_OVER).count() == 2
    })
    .await;
    serves(&mut old, dir.path()).await;
    // To stop it there is SIGTERM, also while it looks for a successor.
    old.process.signal(Signal::SIGQUIT);
    old.process.signal(Signal::SIGTERM);
    assert_eq!(old.process.exit_code().await, Some(0));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn of_two_successors_the_second_gives_up_and_the_first_takes_over() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let config = upgradable(&api, dir.path());
    let mut old = config.clone().start().await;
    let (mut first, files) = config.spawn_upgrading();
    waits(dir.path()).await;
    let (mut second, _files) = config.spawn_upgrading();
    assert_eq!(second.exit_code().await, Some(1));
    let said = second.stderr();
    let lines: Vec<_> = said
        .lines()
        .filter(|line| !line.contains(" INFO "))
        .collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(
        lines[0].contains("another weir with --upgrade waits"),
        "{said}"
    );
    old.process.signal(Signal::SIGQUIT);
    assert_eq!(old.process.exit_code().await, Some(0));
    eventually("the first to serve", || {
        files.path().join("ports.json").exists()
    })
    .await;
    assert!(first.ended().is_none());
    old.get("/").await.expect(200);
}

#[tokio::test]
async fn clients_of_a_successor_that_dies_go_back_to_a_process_that_still_drains() {
    let gate = Gate::closed();
    let opens = gate.clone();
    let api = Origin::start(move |request| match request.target.as_str() {
        "/held" => Reply::text("late").when(&opens),
        _ => Reply::text("a"),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let config = upgradable(&api, dir.path()).with("timeouts.drain = '60s'");
    let mut old = config.clone().start().await;
    let mut held = old.connect().await;
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    api.is_serving(1).await;
    let mut new = config.clone().start_upgrading(&old).await;
    new.get("/").await.expect(200);
    new.process.kill().await;
    eventually("the old process to serve again", || {
        old.process.stderr().contains("serves again")
    })
    .await;
    serves(&mut old, dir.path()).await;
    // And once more, with one that ends in good order: its clients are refused then.
    let mut new = config.start_upgrading(&old).await;
    new.get("/").await.expect(200);
    new.process.signal(Signal::SIGTERM);
    assert_eq!(new.process.exit_code().await, Some(0));
    eventually_some("clients to be refused", async || {
        weir_tests::Conn::try_open(old.addr()).await.err()
    })
    .await;
    gate.open();
    assert_eq!(held.answer().await.expect(200).text(), "late");
    assert_eq!(old.process.exit_code().await, Some(0));
}

/// Starts a successor, and waits until it has the sockets and is not trusted yet.
async fn has_the_sockets(config: &Builder, old: &Weir, dir: &Path) -> (Process, tempfile::TempDir) {
    let (new, files) = config.spawn_upgrading();
    waits(dir).await;
    old.process.signal(Signal::SIGQUIT);
    eventually("the sockets to be offered", || {
        new.stderr().contains("offers its sockets")
    })
    .await;
    (new, files)
}

#[tokio::test]
async fn a_successor_serves_when_the_old_process_dies_while_it_hands_over() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let config = upgradable(&api, dir.path());
    for after in [0, 300, 900, 1_000, 1_100] {
        let mut old = config.clone().start().await;
        let (mut new, files) = has_the_sockets(&config, &old, dir.path()).await;
        tokio::time::sleep(Duration::from_millis(after)).await;
        old.process.kill().await;
        // Nobody is refused meanwhile: the sockets are open.
        old.get("/").await.expect(200);
        eventually("the successor to serve", || {
            files.path().join("ports.json").exists()
        })
        .await;
        assert!(new.ended().is_none(), "{}", new.stderr());
        assert_eq!(old.admin.status("/readyz").await, 200);
        let pid = std::fs::read_to_string(dir.path().join("weir.pid")).unwrap();
        assert_eq!(pid.trim(), new.id().to_string());
        new.signal(Signal::SIGTERM);
        assert_eq!(new.exit_code().await, Some(0));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_successor_that_is_told_to_stop_leaves_the_admin_socket_to_the_old_process() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let config = upgradable(&api, dir.path());
    let mut old = config.clone().start().await;
    let (mut new, _files) = has_the_sockets(&config, &old, dir.path()).await;
    new.signal(Signal::SIGTERM);
    assert_eq!(new.exit_code().await, Some(0));
    serves(&mut old, dir.path()).await;
}

#[tokio::test]
async fn a_stop_of_the_old_process_while_it_hands_over_is_no_death() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let config = upgradable(&api, dir.path());
    let mut old = config.clone().start().await;
    let (mut new, _files) = has_the_sockets(&config, &old, dir.path()).await;
    old.process.signal(Signal::SIGTERM);
    assert_eq!(old.process.exit_code().await, Some(0));
    assert_eq!(new.exit_code().await, Some(1));
    let said = new.stderr();
    assert!(said.contains("has been told to stop"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn signals_that_come_early_end_nothing() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let config = upgradable(&api, dir.path());
    let mut old = config.clone().start().await;
    let (mut new, files) = config.spawn_upgrading();
    waits(dir.path()).await;
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGQUIT] {
        new.signal(signal);
    }
    old.process.signal(Signal::SIGQUIT);
    assert_eq!(old.process.exit_code().await, Some(0));
    eventually("the new process to serve", || {
        files.path().join("ports.json").exists()
    })
    .await;
    // What came early is done now.
    eventually("the reload and the search for a successor", || {
        let said = new.stderr();
        said.contains("configuration file read again") && said.contains(NOT_HANDED_OVER)
    })
    .await;
    assert!(new.ended().is_none());
    new.signal(Signal::SIGTERM);
    assert_eq!(new.exit_code().await, Some(0));
}

#[tokio::test]
async fn another_user_does_not_get_the_sockets() {
    use std::os::unix::fs::MetadataExt as _;
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("SKIPPED: only root can start a process of another user");
        return;
    }
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let config = upgradable(&api, dir.path());
    let mut old = config.clone().start().await;
    // A folder that anybody may use, and a program that anybody may run.
    let open = |path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    };
    open(dir.path());
    let copy = dir.path().join("weir");
    std::fs::copy(program("weir"), &copy).unwrap();
    open(&copy);
    let file = dir.path().join("foreign.toml");
    let foreign = config.with(&format!(
        "admin.socket = '{dir}/foreign.sock'
         server.pid_file = '{dir}/foreign.pid'",
        dir = dir.path().display(),
    ));
    std::fs::write(&file, foreign.text()).unwrap();
    open(&file);
    let mut command = std::process::Command::new(&copy);
    command.args(["run", "--upgrade", "--config"]).arg(&file);
    command.uid(65534).gid(65534);
    let mut new = Process::start("foreign", command.into(), dir.path());
    waits(dir.path()).await;
    fails(&old).await;
    let said = old.process.stderr();
    assert!(said.contains("belongs to user 65534"), "{said}");
    serves(&mut old, dir.path()).await;
    new.kill().await;
}

#[tokio::test]
async fn the_check_finds_places_that_cannot_be_used() {
    let api = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let config = upgradable(&api, dir.path());
    let file = dir.path().join("weir.toml");
    let check = async |more: &str| {
        std::fs::write(&file, config.clone().with(more).text()).unwrap();
        weir_tests::process::run("weir", &["check", file.to_str().unwrap()]).await
    };
    let good = check("").await;
    assert_eq!(good.code, Some(0), "{}", good.stderr);
    for field in ["admin.socket", "server.pid_file"] {
        for bad in ["missing/x", "weir.toml/x"] {
            let bad = dir.path().join(bad);
            let done = check(&format!("{field} = '{}'", bad.display())).await;
            assert_eq!(done.code, Some(2), "{}", done.stdout);
            assert!(done.stderr.contains(field), "{}", done.stderr);
        }
        // systemd makes it when it starts the service.
        let done = check(&format!("{field} = '/run/weir-that-is-not-there/x'")).await;
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    }
    let done = check(&format!("admin.socket = '{}'", file.display())).await;
    assert_eq!(done.code, Some(2), "{}", done.stdout);
}
