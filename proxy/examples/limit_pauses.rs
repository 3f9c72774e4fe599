//! The longest pause that a request sees in the rate limiter while its table grows and shrinks.
//!
//! `cargo run --release -p weir --example limit_pauses [KEYS]`; a million keys unless told otherwise. Counted is the
//! CPU time of the thread, so that other programs on the machine do not show; beside it stands the time by the clock,
//! in which they do, and so does waiting for the lock.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use weir_api::units::Rate;
use weir_proxy::limit::{Delay, Policy, Zone};

/// As in the proxy.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keys: u32 = match std::env::args().nth(1) {
        Some(keys) => keys.parse()?,
        None => 1_000_000,
    };
    let rate = Rate::per_second(10).ok_or("no such rate")?;
    let policy = Policy::new(rate, 20, Delay::Never);
    let zone = Zone::new(keys);
    let check = |n: u32| {
        zone.check(&n.to_be_bytes(), &policy, 0);
    };
    let before = resident_kb();
    report("growing", (0..keys).map(|n| timed(|| check(n))));
    println!("memory: {} KB for {keys} keys", resident_kb() - before);
    report("full", (keys..2 * keys).map(|n| timed(|| check(n))));
    // Requests of keys that stay, while another thread shrinks the table.
    let shrinking = std::thread::scope(|scope| {
        let shrinking = scope.spawn(|| timed(|| zone.set_max_keys(keys / 1000)));
        report(
            "shrinking",
            std::iter::from_fn(|| {
                (!shrinking.is_finished()).then(|| timed(|| check(2 * keys - 1)))
            }),
        );
        shrinking.join()
    });
    println!("the change itself: {:?}", shrinking.unwrap_or_default());
    println!("memory: {} KB more than at first", resident_kb() - before);
    zone.set_max_keys(keys);
    (0..keys).for_each(check);
    println!("dropping the zone: {:?}", timed(|| drop(zone)));
    Ok(())
}

/// How long something took.
#[derive(Debug, Default, Clone, Copy)]
struct Took {
    cpu: Duration,
    clock: Duration,
}

fn timed(work: impl FnOnce()) -> Took {
    let (cpu, clock) = (thread_time(), Instant::now());
    work();
    Took {
        clock: clock.elapsed(),
        cpu: thread_time() - cpu,
    }
}

fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

fn report(what: &str, pauses: impl Iterator<Item = Took>) {
    let (mut count, mut sum, mut cpu, mut clock) =
        (0_u32, Duration::ZERO, [Duration::ZERO; 5], Duration::ZERO);
    for took in pauses {
        count += 1;
        sum += took.cpu;
        clock = clock.max(took.clock);
        if let Some(shortest) = cpu.last_mut()
            && took.cpu > *shortest
        {
            *shortest = took.cpu;
            cpu.sort_by(|a, b| b.cmp(a));
        }
    }
    let mean = sum.checked_div(count).unwrap_or_default();
    println!(
        "{what}: {count} requests, CPU mean {mean:?}, longest {cpu:?}; by the clock {clock:?}"
    );
}

/// Resident memory of this process, KB.
fn resident_kb() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let figure = line.and_then(|line| line.split_whitespace().next());
    figure.and_then(|kb| kb.parse().ok()).unwrap_or_default()
}
