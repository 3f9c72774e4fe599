//! What containers may do: nobody is root, nothing is writable, processor time has a limit.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    engine::{compose_with_engine, docker, until},
    stack::{Stack, configuration},
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
    // It may be too busy to answer checks in time.
    let config = configuration("upstream.api.health_check.timeout = '30s'");
    let variables = [
        ("WEIR_CONFIG", config.path().to_str().unwrap()),
        // Every request takes 10 ms of a processor: more than one is asked for.
        ("CPU_WORK", "yes"),
    ];
    let stack = Stack::up(compose, "compose.yml", 1, &variables);
    is_hardened(&stack, None);

    let clients = busy(&stack.address());
    let api = stack.id("api");
    // As shipped: one processor.
    measured(&api).is_at_most(1.0);
    // On a busy machine it may never get as much as that. Less than its share, it gets anywhere.
    docker(&["update", "--cpus", "0.2", &api]);
    let before = Cpu::of(&api).throttled;
    until("the limit to be felt", || {
        (Cpu::of(&api).throttled > before).then_some(())
    });
    measured(&api).is_at_most(0.2);
    drop(clients);
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

/// Processor time that a container used within a time.
struct Used {
    used: Duration,
    wall: Duration,
}

/// Looks at a container for a while.
fn measured(id: &str) -> Used {
    // From before the first reading until after the second: if anything, the share comes out too small by the time that
    // the readings take.
    let (started, before) = (Instant::now(), Cpu::of(id));
    std::thread::sleep(WINDOW);
    let (after, wall) = (Cpu::of(id), started.elapsed());
    println!("{before:?}, {after:?} after {wall:?}");
    Used {
        used: after.used - before.used,
        wall,
    }
}

impl Used {
    #[track_caller]
    fn is_at_most(&self, processors: f64) {
        // The limit holds for each period of 100 ms; the first and the last are not whole.
        let most = self.wall.mul_f64(processors * 1.05) + Duration::from_millis(100);
        let Self { used, wall } = self;
        assert!(*used <= most, "{used:?} of processor time in {wall:?}");
        // Nor is it idle.
        assert!(
            *used >= wall.mul_f64(0.05),
            "{used:?} of processor time in {wall:?}"
        );
    }
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
    let limits = [
        ("api", 1_000_000_000_u64, 2_u64 << 30),
        ("weir", 0, 512 << 20),
    ];
    for (service, cpus, memory) in limits {
        for id in stack.ids(service) {
            let inspected: Value = serde_json::from_str(&docker(&["inspect", &id])).unwrap();
            let host = &inspected[0]["HostConfig"];
            assert_eq!(host["NanoCpus"], cpus, "{service}");
            assert_eq!(host["Memory"], memory, "{service}");
            assert_eq!(host["PidsLimit"], 1024, "{service}");
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

/// Looks at every process of a container. What starts a command in it, as for a health check, is still root for a moment:
/// so it is looked at again.
fn nobody_is_root(id: &str) {
    until("every process of a container to be unprivileged", || {
        let found = privileged(id);
        println!("{found:?}");
        found.is_empty().then_some(())
    });
    // And seen from outside.
    until("every process of a container to be no root", || {
        let seen = docker(&["top", id, "-eo", "pid,uid"]);
        let mut users = seen
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().nth(1));
        users.all(|user| user != Some("0")).then_some(())
    });
}

/// Every field of a process' status that tells of privileges.
fn privileged(id: &str) -> Vec<String> {
    let look = "cat /proc/[0-9]*/status 2>/dev/null || true";
    let all = docker(&["exec", id, "sh", "-c", look]);
    // At least the main process and the one that looks.
    assert!(all.matches("Name:").count() >= 2, "{all}");
    let user = USER.to_string();
    let (no_capability, set) = ("0000000000000000".to_owned(), "1".to_owned());
    let expected = |field: &str| match field {
        // Real, effective, saved, and of the file system.
        "Uid" | "Gid" | "Groups" => Some(&user),
        "NoNewPrivs" => Some(&set),
        _ if field.starts_with("Cap") => Some(&no_capability),
        _ => None,
    };
    all.lines()
        .filter(|line| {
            let (field, values) = line.split_once(':').unwrap_or_default();
            expected(field).is_some_and(|good| values.split_whitespace().any(|v| v != good))
        })
        .map(str::to_owned)
        .collect()
}
