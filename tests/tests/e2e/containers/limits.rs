//! What containers may do: nobody is root, nothing is writable, processor time has a limit.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    engine::{compose_with_engine, docker, until},
    stack::{Stack, without_limit},
};

/// User and group of the shipped images.
const USER: u32 = 10001;
/// Clients that keep a replica busy: more than its slots.
const CLIENTS: usize = 12;
/// How long processor time is measured.
const WINDOW: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_development_stack_is_healthy_and_keeps_its_limits() {
    let Some(compose) = compose_with_engine() else {
        return;
    };
    let config = without_limit();
    let variables = [
        ("WEIR_CONFIG", config.path().to_str().unwrap()),
        // Every request takes 10 ms of a processor: more than one is asked for.
        ("CPU_WORK", "yes"),
    ];
    let stack = Stack::up(compose, "compose.yml", 1, &variables);
    is_hardened(&stack, None);

    let clients = busy(&stack.address());
    let api = stack.id("api");
    until("the limit to be felt", || {
        (Cpu::of(&api).throttled > 0).then_some(())
    });
    // From before the first reading until after the last: if anything, the share comes out too small by the time that the
    // readings take.
    let (started, before) = (Instant::now(), Cpu::of(&api));
    tokio::time::sleep(WINDOW).await;
    let (after, wall) = (Cpu::of(&api), started.elapsed());
    drop(clients);
    let used = after.used - before.used;
    println!("{used:?} of processor time in {wall:?}; {before:?}, {after:?}");
    // A limit of one is kept for each period of 100 ms; the first and the last are not whole.
    let most = wall.mul_f64(1.05) + Duration::from_millis(100);
    assert!(used <= most, "{used:?} of processor time in {wall:?}");
}

/// Clients that log in, again and again, until aborted.
fn busy(address: &str) -> tokio::task::JoinSet<()> {
    weir_api::tls::provide();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{address}/api/v1/auth/login");
    (0..CLIENTS)
        .map(|_| {
            let request = client
                .post(&url)
                .json(&serde_json::json!({ "username": "e2e" }));
            async move {
                loop {
                    let answer = request.try_clone().unwrap().send().await;
                    assert_eq!(answer.unwrap().status(), 200);
                }
            }
        })
        .collect()
}

/// Processor time of a container since its start.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    used: Duration,
    /// Periods at whose end it had to wait for the next.
    throttled: u64,
}

impl Cpu {
    /// Reads the control group from within: version 2, or 1.
    #[track_caller]
    fn of(id: &str) -> Self {
        let script = "cd /sys/fs/cgroup
             if [ -f cpu.stat ]; then cat cpu.stat
             else cat cpu/cpu.stat; echo usage_nsec $(cat cpuacct/cpuacct.usage); fi";
        let text = docker(&["exec", id, "sh", "-c", script]);
        let field = |name: &str| {
            let mut fields = text.lines().filter_map(|line| line.split_once(' '));
            let value = fields.find(|(key, _)| *key == name)?.1;
            Some(value.trim().parse::<u64>().unwrap())
        };
        let used = field("usage_usec").map(Duration::from_micros);
        let used = used.or_else(|| field("usage_nsec").map(Duration::from_nanos));
        Self {
            used: used.unwrap_or_else(|| panic!("{text}")),
            throttled: field("nr_throttled").unwrap_or_else(|| panic!("{text}")),
        }
    }
}

/// Nobody is root, nothing is writable, and the documented limits are in force, in every container.
pub(super) fn is_hardened(stack: &Stack, restart: Option<&str>) {
    for (service, cpus, memory) in [("api", 1_000_000_000_u64, 2_u64 << 30), ("weir", 0, 0)] {
        for id in stack.ids(service) {
            let inspected: Value = serde_json::from_str(&docker(&["inspect", &id])).unwrap();
            let host = &inspected[0]["HostConfig"];
            assert_eq!(host["NanoCpus"], cpus, "{service}");
            assert_eq!(host["Memory"], memory, "{service}");
            assert_eq!(host["ReadonlyRootfs"], true, "{service}");
            assert_eq!(host["Privileged"], false, "{service}");
            let policy = host["RestartPolicy"]["Name"].as_str();
            let policy = policy.filter(|policy| !["", "no"].contains(policy));
            assert_eq!(policy, restart, "{service}");
            nobody_is_root(&id);
            let write = [
                "exec",
                &id,
                "sh",
                "-c",
                "touch /usr/new /etc/weir/new 2>&1 || true",
            ];
            let refused = docker(&write).matches("Read-only file system").count();
            assert_eq!(refused, 2, "{service}");
            if service == "api" {
                let quota = "cat /sys/fs/cgroup/cpu.max || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us";
                let quota = docker(&["exec", &id, "sh", "-c", quota]);
                assert!(quota.starts_with("100000"), "{quota}");
            }
        }
    }
}

/// Looks at every process of a container, with the one that looks.
fn nobody_is_root(id: &str) {
    let all = docker(&[
        "exec",
        id,
        "sh",
        "-c",
        "cat /proc/[0-9]*/status 2>/dev/null || true",
    ]);
    let values = |field: &str| -> Vec<Vec<String>> {
        let lines = all.lines().filter_map(|line| line.strip_prefix(field));
        lines
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect()
    };
    let user = USER.to_string();
    // Real, effective, saved, and of the file system.
    for field in ["Uid:", "Gid:"] {
        let found = values(field);
        assert!(found.len() >= 2, "{all}");
        for ids in found {
            assert!(ids.len() == 4 && ids.iter().all(|id| *id == user), "{all}");
        }
    }
    for field in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        for capabilities in values(field) {
            assert_eq!(capabilities, ["0000000000000000"], "{field} {all}");
        }
    }
    for group in values("Groups:").iter().flatten() {
        assert_eq!(*group, user, "{all}");
    }
    for flag in values("NoNewPrivs:") {
        assert_eq!(flag, ["1"], "{all}");
    }
    // And seen from outside.
    let seen = docker(&["top", id, "-eo", "pid,uid"]);
    for line in seen.lines().skip(1) {
        assert_ne!(line.split_whitespace().nth(1), Some("0"), "{seen}");
    }
}
