//! One generator thread: its lanes, its clock, its share of the schedule.

use std::{
    cell::{Cell, RefCell},
    iter,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{Notify, oneshot},
    task::JoinSet,
};

use super::{
    RunError, RunOptions,
    arrivals::{Arrivals, SharedArrivals, arrive},
    budget::Budget,
    dispatch::Dispatch,
    lane::{Lane, Shared},
};
use crate::{
    alarm::Alarm,
    client::{
        Client, Http2Client, Http2Shared, Plan, SessionClient, Watch, WireClient, WireShared,
        lane_seed,
    },
    record::{Completion, Connections, FailureKind, Nanos, Recorder, Timeline},
    scenario::{Engine, Load, Scenario},
    schedule::{ArrivalPacer, Pace, Stay, UserPlan},
    shard::Share,
    stop::StopToken,
};

/// Lanes that connect and log in at the same time before the load begins.
const PREPARED_AT_ONCE: usize = 32;
/// Arrivals may wait for a free lane for this long, at the peak rate, before they are dropped.
const LONGEST_BACKLOG: f64 = 10.0;
/// Arrivals that were due before the end may be offered and sent this much after it, if it is the
/// generator that is late.
const LATE_OFFERS: Duration = Duration::from_millis(500);
/// After the end, whether requests are still on their way is checked this often.
const DRAIN_STEP: Duration = Duration::from_millis(2);
/// Longest wait for stragglers after somebody asked for an early end.
const DRAIN_AFTER_STOP: Duration = Duration::from_secs(1);

/// What a worker is made from.
pub(super) struct Worker {
    /// Number of the thread, from 0.
    pub(super) index: usize,
    /// Its part of the lanes and of the schedule.
    pub(super) share: Share,
    pub(super) scenario: Arc<Scenario>,
    pub(super) plan: Arc<Plan>,
    pub(super) options: RunOptions,
    pub(super) timeline: Timeline,
    pub(super) recorder: Recorder,
    pub(super) stop: StopToken,
    /// Requests of a closed model that are left, for all workers together.
    pub(super) budget: Budget,
    /// Tells that everything is connected and logged in, or why not.
    pub(super) ready: mpsc::Sender<Result<(), RunError>>,
    /// Tells when the load begins; closed if it never does.
    pub(super) start: oneshot::Receiver<Instant>,
}

/// What a worker tells at the end, apart from what it recorded.
#[derive(Debug, Clone, Default)]
pub(super) struct Ended {
    /// When the load ended.
    pub(super) at: Nanos,
    /// Arrivals of the measured part that the schedule intended up to then.
    pub(super) intended: u64,
    /// Those of them that were never sent.
    pub(super) unsent: u64,
    /// CPU time of the thread over the measured part.
    pub(super) cpu: Duration,
    /// Nice value of the thread.
    pub(super) nice: i32,
    /// Every connection that was opened, before the load and in it.
    pub(super) connections: Connections,
}

impl Worker {
    /// Does the whole run; returns when it is over.
    pub(super) fn run(self) -> Result<Ended, RunError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .map_err(|source| RunError::System {
                what: "starting a runtime",
                source,
            })?;
        let result = runtime.block_on(async {
            match self.scenario.engine {
                Engine::Wire if self.plan.transport.is_http2() => {
                    let shared = Http2Shared::new(self.plan.clone());
                    self.with_clients(move |lane, source| Http2Client::new(&shared, lane, source))
                        .await
                }
                Engine::Wire => {
                    let shared = WireShared::new(self.plan.clone());
                    self.with_clients(move |lane, source| {
                        WireClient::new(shared.clone(), lane, source)
                    })
                    .await
                }
                Engine::Session => {
                    let plan = self.plan.clone();
                    self.with_clients(move |lane, source| {
                        SessionClient::new(plan.clone(), lane, source)
                    })
                    .await
                }
            }
        });
        // Whatever still waits for an answer is not waited for.
        runtime.shutdown_background();
        result
    }

    async fn with_clients<C: Client + 'static>(
        self,
        make: impl Fn(u32, Option<IpAddr>) -> std::io::Result<C> + 'static,
    ) -> Result<Ended, RunError> {
        let addresses = self.options.source_addresses;
        let make = move |number| make(number, source_address(number, addresses));
        let numbers: Vec<u32> = (0..self.scenario.lanes())
            .filter(|lane| self.share.takes(u64::from(*lane)))
            .collect();
        let (peak, stays) = match &self.scenario.load {
            Load::Open(open) => (open.peak_rate(), Vec::new()),
            Load::Closed(closed) => {
                let plan = UserPlan::new(closed, self.scenario.warmup);
                let stays = numbers.iter().map(|user| plan.stays(*user));
                (0.0, stays.collect())
            }
        };
        let most_waiting = (peak * LONGEST_BACKLOG).ceil() as usize + 1;
        let shared = Rc::new(Shared {
            plan: self.plan,
            timeline: self.timeline,
            epoch: Cell::new(Instant::now()),
            end: Cell::new(self.timeline.end()),
            over: Cell::new(false),
            budget: self.budget,
            limited: self.scenario.requests_total.is_some(),
            scheduled: Cell::new(false),
            busy: Cell::new(0),
            idle: Notify::new(),
            recorder: RefCell::new(self.recorder),
            watch: Watch::default(),
            dispatch: Dispatch::new(numbers.len(), most_waiting),
            without_data: Cell::new(0),
        });
        let mut lanes = Vec::with_capacity(numbers.len());
        for (index, number) in numbers.iter().enumerate() {
            let client = make(*number).map_err(|source| RunError::System {
                what: "making a client",
                source,
            })?;
            lanes.push(Lane::new(shared.clone(), client, *number, index));
        }
        // Users who come later are made ready then. One always is: it proves that the login works.
        let at_once = match &self.scenario.load {
            Load::Closed(_) => {
                let at_start =
                    |stays: &&Vec<Stay>| stays.first().is_some_and(|stay| stay.from.is_zero());
                let count = stays.iter().filter(at_start).count();
                count.max(usize::from(self.index == 0))
            }
            Load::Open(_) => lanes.len(),
        };
        match prepare(lanes, at_once).await {
            Ok(prepared) => {
                lanes = prepared;
                let _ = self.ready.send(Ok(()));
            }
            Err(error) => {
                let _ = self.ready.send(Err(error));
                return Ok(Ended::default());
            }
        }
        let Ok(epoch) = self.start.await else {
            return Ok(Ended::default());
        };
        shared.epoch.set(epoch);
        let lanes = lanes
            .into_iter()
            .zip(stays.into_iter().chain(iter::repeat(Vec::new())));
        let make = Rc::new(make);
        let arrivals = start(&shared, lanes, &self.scenario, self.share, &make)?;
        Ok(finish(shared, arrivals, &self.stop, self.options.drain).await)
    }
}

/// Connects and logs in the first `count` lanes, several at a time.
async fn prepare<C: Client + 'static>(
    lanes: Vec<Lane<C>>,
    count: usize,
) -> Result<Vec<Lane<C>>, RunError> {
    let mut waiting = lanes.into_iter().enumerate();
    let mut done = Vec::new();
    let mut under_way = JoinSet::new();
    for (at, mut lane) in waiting.by_ref().take(count) {
        under_way.spawn_local(async move { lane.prepare().await.map(|()| (at, lane)) });
        if under_way.len() >= PREPARED_AT_ONCE {
            collect(under_way.join_next().await, &mut done)?;
        }
    }
    while !under_way.is_empty() {
        collect(under_way.join_next().await, &mut done)?;
    }
    done.extend(waiting);
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, lane)| lane).collect())
}

type Joined<C> = Option<Result<Result<(usize, Lane<C>), RunError>, tokio::task::JoinError>>;

fn collect<C>(joined: Joined<C>, done: &mut Vec<(usize, Lane<C>)>) -> Result<(), RunError> {
    match joined {
        Some(Ok(Ok(lane))) => {
            done.push(lane);
            Ok(())
        }
        Some(Ok(Err(error))) => Err(error),
        Some(Err(error)) => Err(RunError::System {
            what: "preparing a connection",
            source: std::io::Error::other(error),
        }),
        None => Ok(()),
    }
}

fn start<C: Client + 'static>(
    shared: &Rc<Shared>,
    lanes: impl Iterator<Item = (Lane<C>, Vec<Stay>)>,
    scenario: &Scenario,
    share: Share,
    make: &Rc<impl Fn(u32) -> std::io::Result<C> + 'static>,
) -> Result<Option<SharedArrivals>, RunError> {
    let sweep = shared.clone();
    tokio::task::spawn_local(async move {
        let interval = Watch::interval(sweep.plan.timeouts.total);
        loop {
            tokio::time::sleep(interval).await;
            sweep.watch.sweep(sweep.now());
        }
    });
    match &scenario.load {
        Load::Closed(closed) => {
            for (lane, stays) in lanes {
                let seed = lane_seed(scenario.seed, lane.number()).rotate_left(32);
                let pace = Pace::new(closed, seed);
                let make = make.clone();
                tokio::task::spawn_local(lane.user(stays, pace, move |user| make(user)));
            }
            Ok(None)
        }
        Load::Open(open) => {
            for (lane, _) in lanes {
                tokio::task::spawn_local(lane.slot());
            }
            let alarm = Alarm::new().map_err(|source| RunError::System {
                what: "making a timer",
                source,
            })?;
            let pacer = ArrivalPacer::new(open, scenario.warmup, scenario.seed)
                .limited_to(scenario.requests_total);
            let arrivals = Arrivals::new(shared.plan.clone(), open, pacer, share);
            let arrivals = Rc::new(RefCell::new(arrivals));
            tokio::task::spawn_local(arrive(shared.clone(), arrivals.clone(), alarm));
            Ok(Some(arrivals))
        }
    }
}

/// Waits for the end, then for stragglers, and hands over what was recorded.
async fn finish(
    shared: Rc<Shared>,
    arrivals: Option<SharedArrivals>,
    stop: &StopToken,
    drain: Duration,
) -> Ended {
    let (stopped, cpu_before) = wait_for_end(&shared, stop).await;
    let at = shared.now().min(shared.timeline.end());
    if let (false, Some(arrivals)) = (stopped, &arrivals) {
        // What was due in the last moment is late by no fault of the target: let it go.
        // Lanes that are free get what the generator brings them late; behind a slow target, what
        // waits at the end stays unsent.
        let patience = Instant::now() + LATE_OFFERS;
        let late = !arrivals.borrow().done;
        let owes = || !arrivals.borrow().done || (late && shared.dispatch.has_backlog());
        while owes() && Instant::now() < patience {
            tokio::time::sleep(DRAIN_STEP).await;
        }
    }
    shared.over.set(true);
    shared.end.set(at);
    let cpu = match (cpu_before, thread_cpu()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => Duration::ZERO,
    };
    let counts = |intended: Nanos| shared.timeline.counts(intended) && intended < at;
    let withdrawn = shared.dispatch.withdraw();
    let withdrawn = withdrawn.iter().filter(|job| counts(job.intended)).count() as u64;
    let (intended, unsent) = arrivals.map_or((0, 0), |arrivals| {
        let mut arrivals = arrivals.borrow_mut();
        let left = arrivals.left_behind(shared.timeline, at);
        // Arrivals that found no data ended the run: they are not part of it.
        let offered = arrivals.offered.saturating_sub(shared.without_data.get());
        (offered + left, arrivals.dropped + withdrawn + left)
    });
    shared.recorder.borrow_mut().end_at(at);

    let drain = if stopped {
        DRAIN_AFTER_STOP.min(drain)
    } else {
        drain
    };
    let patience = Instant::now() + drain;
    let busy = || shared.dispatch.is_handing_over() || shared.recorder.borrow().in_flight() > 0;
    while busy() && Instant::now() < patience {
        tokio::time::sleep(DRAIN_STEP).await;
    }
    let now = shared.now();
    let mut recorder = shared.recorder.borrow_mut();
    for (endpoint, began, sent) in shared.watch.in_flight() {
        recorder.completed(&Completion {
            endpoint,
            intended: began,
            sent,
            done: now,
            failure: Some(FailureKind::Unfinished),
            bytes: 0,
        });
    }
    recorder.finish(now);
    Ended {
        at,
        intended,
        unsent,
        cpu,
        nice: 0,
        connections: recorder.take_connections(),
    }
}

/// Waits for the planned end or an early one, and hands over seconds even when nothing happens;
/// says whether it was early, and the CPU time of the thread when the measured part began.
async fn wait_for_end(shared: &Shared, stop: &StopToken) -> (bool, Option<Duration>) {
    let after = |nanos: Nanos| shared.epoch.get() + Duration::from_nanos(nanos);
    let warm = after(shared.timeline.warmup_ns);
    let end = after(shared.timeline.end());
    let mut cpu_before = None;
    loop {
        if cpu_before.is_none() && Instant::now() >= warm {
            cpu_before = thread_cpu();
        }
        let now = shared.now();
        shared.recorder.borrow_mut().advance(now);
        if Instant::now() >= end {
            return (false, cpu_before);
        }
        let second = shared.timeline.second_of(now);
        let mut wake = after(shared.timeline.end_of(second));
        if cpu_before.is_none() {
            wake = wake.min(warm);
        }
        tokio::select! {
            biased;
            () = stop.stopped() => return (true, cpu_before),
            () = shared.plan.out_of_data.stopped() => return (true, cpu_before),
            () = shared.finished() => return (false, cpu_before),
            () = tokio::time::sleep_until(wake.into()) => {}
        }
    }
}

/// CPU time of the calling thread so far.
fn thread_cpu() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    u64::try_from(micros).ok().map(Duration::from_micros)
}

/// Local address of a lane: 127.0.0.1, 127.0.0.2, … in turns; `None` leaves it to the system.
fn source_address(lane: u32, addresses: u32) -> Option<IpAddr> {
    if addresses <= 1 {
        return None;
    }
    let first = u32::from(Ipv4Addr::LOCALHOST);
    Some(Ipv4Addr::from(first + lane % addresses).into())
}
