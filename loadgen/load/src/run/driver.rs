//! Setting a run up, letting it go, and putting together what it yields.

use std::{
    net::TcpStream,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::oneshot;

use super::{
    Outcome, RunError, RunOptions,
    budget::Budget,
    summarise,
    worker::{Ended, Worker},
};
use crate::{
    client::Plan,
    progress::Progress,
    record::{Recorder, Recording, Timeline},
    run::{AbortWatch, Collector},
    scenario::{Load, Order, Scenario},
    schedule::{ArrivalPacer, Pacer as _},
    shard::{Shard, Share},
    stop::StopToken,
    target::Target,
};

/// From "everybody is ready" to the first request: time for all threads to hear of it.
const HEAD_START: Duration = Duration::from_millis(20);
/// With a start time in the future, connecting and logging in begin this long before it: idle
/// connections would not survive a longer wait.
const PREPARE_BEFORE: Duration = Duration::from_secs(30);
/// How often a long wait for the start looks whether somebody asked for an end.
const WAIT_STEP: Duration = Duration::from_millis(100);
/// Descriptors beside the connections: standard streams, timers, files.
const OTHER_DESCRIPTORS: u64 = 64;

/// Drives `target` as `scenario` says, and blocks until the run is over or `stop` ends it early.
///
/// Call it through `tokio::task::spawn_blocking` from async code. `progress` is called once a
/// second from another thread. An early end yields an outcome of what was measured until then.
///
/// # Errors
///
/// When the run could not be made at all; failed requests are part of the outcome instead.
pub fn drive(
    scenario: &Scenario,
    target: &Target,
    options: &RunOptions,
    progress: Arc<dyn Progress>,
    stop: &StopToken,
) -> Result<Outcome, RunError> {
    check(scenario, target, options)?;
    // A breach ends the load, and is not the user asking for the end of everything.
    let ending = stop.child();
    let watch = Arc::new(AbortWatch::new(&options.abort, ending.clone()));
    let mut plan = Plan::new(scenario, target).for_shard(options.shard);
    plan.transport
        .load(scenario.engine, target)
        .map_err(|error| RunError::Options(error.to_string()))?;
    let plan = Arc::new(plan);
    let timeline = Timeline {
        warmup_ns: nanos(scenario.warmup),
        duration_ns: nanos(scenario.duration),
    };
    let open = matches!(scenario.load, Load::Open(_));
    let lanes = options.shard.count_of(u64::from(scenario.lanes()));
    let workers = options.threads.min(lanes as usize).max(1);
    let wanted = scenario.requests_total.map(|total| {
        let own = options.shard.count_of(total);
        // Turns go round from the first arrival of the warm-up on: one may fall to another shard.
        let uncertain = open && options.shard != Shard::WHOLE;
        own - u64::from(uncertain).min(own)
    });
    // A schedule ends by itself after so many.
    let budget = Budget::new(wanted.filter(|_| !open));
    wait_for_preparation(options.start_at, stop);
    let (out, reports) = mpsc::channel();
    let (ready, readiness) = mpsc::channel();
    let shared_scenario = Arc::new(scenario.clone());

    let mut recycle = Vec::with_capacity(workers);
    let mut starts = Vec::with_capacity(workers);
    let mut threads: Vec<JoinHandle<Result<Ended, RunError>>> = Vec::with_capacity(workers);
    for index in 0..workers {
        let (back, recycled) = mpsc::channel();
        let (start, started) = oneshot::channel();
        recycle.push(back);
        starts.push(start);
        let recorder = Recorder::new(
            index,
            timeline,
            plan.endpoints.len(),
            open,
            out.clone(),
            recycled,
        );
        let worker = Worker {
            index,
            share: options.shard.share(index, workers),
            scenario: shared_scenario.clone(),
            plan: plan.clone(),
            options: options.clone(),
            timeline,
            recorder,
            stop: ending.clone(),
            budget: budget.clone(),
            ready: ready.clone(),
            start: started,
        };
        let thread = std::thread::Builder::new()
            .name(format!("generator-{index}"))
            .spawn(move || {
                // Only a schedule needs it. Users who wait for answers would be woken for each
                // single one: measured at 64 connections, half as much CPU again per request.
                let nice = if open { crate::priority::raise() } else { 0 };
                worker.run().map(|ended| Ended { nice, ..ended })
            })
            .map_err(|source| RunError::System {
                what: "starting a generator thread",
                source,
            })?;
        threads.push(thread);
    }
    drop((out, ready));

    let prepared = (0..workers).try_for_each(|_| readiness.recv().unwrap_or(Ok(())));
    if let Err(error) = prepared {
        // Without a start the workers end by themselves.
        drop(starts);
        for thread in threads {
            let _ = thread.join();
        }
        return Err(error);
    }
    let head_start = match options.start_at {
        Some(at) => match at.duration_since(SystemTime::now()) {
            Ok(left) => left,
            Err(late) => {
                drop(starts);
                for thread in threads {
                    let _ = thread.join();
                }
                return Err(RunError::Late {
                    by: late.duration(),
                });
            }
        },
        None => HEAD_START,
    };
    let epoch = Instant::now() + head_start;
    let measured_start = SystemTime::now() + head_start + scenario.warmup;
    let collector = Collector {
        timeline,
        endpoints: plan.endpoints.iter().map(|e| e.name.clone()).collect(),
        open,
        workers,
        reports,
        recycle,
        progress,
        watch: watch.clone(),
        measured_start,
        intended: intended_per_second(scenario, options.shard.share(0, 1)),
    };
    let collecting = std::thread::Builder::new()
        .name("collector".into())
        .spawn(move || collector.collect())
        .map_err(|source| RunError::System {
            what: "starting the collecting thread",
            source,
        })?;
    for start in starts {
        let _ = start.send(epoch);
    }

    let mut ended = Vec::with_capacity(workers);
    for thread in threads {
        ended.push(thread.join().map_err(|_| crashed("a generator thread"))??);
    }
    let recording: Recording = collecting
        .join()
        .map_err(|_| crashed("the collecting thread"))?
        .map_err(|source| RunError::System {
            what: "keeping the interval logs",
            source,
        })?;
    let mut summary = summarise::summarise(scenario, lanes, wanted, timeline, &recording, &ended);
    summary.aborted = watch.breach();
    Ok(Outcome { summary, recording })
}

fn crashed(who: &str) -> RunError {
    RunError::System {
        what: "waiting for the end of the run",
        source: std::io::Error::other(format!("{who} panicked")),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// Everything that can be known to be wrong before a thread is started.
fn check(scenario: &Scenario, target: &Target, options: &RunOptions) -> Result<(), RunError> {
    if options.threads == 0 {
        return Err(RunError::Options("`threads` must be at least 1".into()));
    }
    if scenario.duration.is_zero() || scenario.sent().next().is_none() || scenario.lanes() == 0 {
        return Err(RunError::Options(
            "a run needs a duration, a user or connection, and a request".into(),
        ));
    }
    let lanes = options.shard.count_of(u64::from(scenario.lanes()));
    if lanes == 0 {
        return Err(RunError::Options(format!(
            "shard {} has nothing to do: the run has {} users or connections for {} shards",
            options.shard,
            scenario.lanes(),
            options.shard.of()
        )));
    }
    for feed in &scenario.feeds {
        let rows = feed.data.rows();
        if feed.order == Order::UniquePerUser && rows < scenario.lanes() as usize {
            return Err(RunError::Options(format!(
                "feed `{}` has {rows} rows, too few for {} users with rows of their own; add rows to {}, or use order = \"sequential\"",
                feed.name,
                scenario.lanes(),
                feed.file.display(),
            )));
        }
    }
    let loopback = |base: &crate::target::BaseUrl| {
        base.address().is_ipv4() && base.address().ip().is_loopback()
    };
    if options.source_addresses > 1 && !target.base_urls().iter().all(loopback) {
        return Err(RunError::Options(
            "several source addresses are possible only towards 127.0.0.0/8".into(),
        ));
    }
    if !(1..=0x00FF_0000).contains(&options.source_addresses) {
        return Err(RunError::Options(
            "`source addresses` must be between 1 and 16711680: there are no more in 127.0.0.0/8"
                .into(),
        ));
    }
    raise_descriptor_limit(lanes + OTHER_DESCRIPTORS)?;
    for base in target.base_urls() {
        TcpStream::connect_timeout(&base.address(), scenario.timeouts.connect).map_err(
            |error| RunError::TargetDown {
                url: base.to_string(),
                cause: error.to_string(),
            },
        )?;
    }
    Ok(())
}

/// Raises the soft limit of open files as far as needed and allowed.
fn raise_descriptor_limit(needed: u64) -> Result<(), RunError> {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return Ok(());
    };
    if soft >= needed {
        return Ok(());
    }
    if hard < needed {
        return Err(RunError::Options(format!(
            "the run needs {needed} open files and the limit is {hard}; raise it with `ulimit -n` or use fewer connections"
        )));
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard).map_err(|errno| RunError::System {
        what: "raising the limit of open files",
        source: errno.into(),
    })
}

/// Waits until it is time to connect for a start in the future.
fn wait_for_preparation(start_at: Option<SystemTime>, stop: &StopToken) {
    let Some(at) = start_at.and_then(|at| at.checked_sub(PREPARE_BEFORE)) else {
        return;
    };
    while let Ok(left) = at.duration_since(SystemTime::now()) {
        if stop.is_stopped() || left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(WAIT_STEP));
    }
}

/// Arrivals of a share that the schedule intends in each second of the measured part.
fn intended_per_second(scenario: &Scenario, share: Share) -> Vec<u64> {
    let Load::Open(open) = &scenario.load else {
        return Vec::new();
    };
    let mut pacer =
        ArrivalPacer::new(open, scenario.warmup, scenario.seed).limited_to(scenario.requests_total);
    let mut seconds = vec![0; scenario.duration.as_secs_f64().ceil() as usize];
    let arrivals = std::iter::from_fn(|| pacer.next_event()).zip(0..);
    for (at, _) in arrivals.filter(|(_, number)| share.takes(*number)) {
        let second = at
            .checked_sub(scenario.warmup)
            .and_then(|offset| seconds.get_mut(offset.as_secs() as usize));
        if let Some(second) = second {
            *second += 1;
        }
    }
    seconds
}
