//! Offering the arrivals of an open model at their times.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, rngs::SmallRng};

use super::{dispatch::Job, lane::Shared};
use crate::{
    alarm::Alarm,
    client::{Plan, lane_seed},
    record::{Nanos, Timeline},
    scenario::{Arrivals as Model, Open, Trace},
    schedule::{ArrivalPacer, Pacer as _},
    shard::Share,
};

/// Arrivals closer together than this are sent in one go: waking up for each would cost more.
const SHORTEST_SLEEP: Duration = Duration::from_micros(50);
/// Arrivals offered in a row, when behind schedule, before the lanes get a turn.
const OFFERED_AT_ONCE: u32 = 64;

/// One arrival of the schedule.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    at: Nanos,
    endpoint: usize,
    line: usize,
}

/// The arrivals that fall to one worker, and how far it has got through them.
pub(super) struct Arrivals {
    pacer: ArrivalPacer,
    plan: Arc<Plan>,
    /// What says which request it is; drawn by weight if there is none.
    trace: Option<Arc<Trace>>,
    random: SmallRng,
    count: u64,
    share: Share,
    /// Drawn, but not offered to a lane yet.
    pending: Option<Drawn>,
    /// Offered, and dropped because too many waited; measured part only.
    pub(super) offered: u64,
    pub(super) dropped: u64,
    /// Whether the schedule is over.
    pub(super) done: bool,
}

impl Arrivals {
    pub(super) fn new(plan: Arc<Plan>, open: &Open, pacer: ArrivalPacer, share: Share) -> Self {
        let trace = match &open.arrivals {
            Model::Replay(replay) => Some(replay.trace.clone()),
            _ => None,
        };
        Self {
            trace,
            random: SmallRng::seed_from_u64(lane_seed(plan.seed, u32::MAX)),
            pacer,
            plan,
            count: 0,
            share,
            pending: None,
            offered: 0,
            dropped: 0,
            done: false,
        }
    }

    /// The next arrival of this worker.
    fn draw(&mut self) -> Option<Drawn> {
        loop {
            // Every worker draws all of them, so that the sequence does not depend on their number.
            let Some(at) = self.pacer.next_event() else {
                self.done = true;
                return None;
            };
            let number = self.count;
            let line = usize::try_from(number).unwrap_or(usize::MAX);
            let endpoint = match &self.trace {
                Some(trace) => trace.kind(line).unwrap_or(0),
                None => self.plan.choose(&mut self.random),
            };
            self.count += 1;
            if self.share.takes(number) {
                let at = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
                self.pending = Some(Drawn { at, endpoint, line });
                return self.pending;
            }
        }
    }

    /// How many were due before the end and yet not offered.
    pub(super) fn left_behind(&mut self, timeline: Timeline, end: Nanos) -> u64 {
        let mut left = 0;
        let mut next = self.pending.take();
        while let Some(Drawn { at, .. }) = next.filter(|drawn| drawn.at < end) {
            left += u64::from(timeline.counts(at));
            next = self.draw();
        }
        left
    }
}

/// Shared by the pacing task and the end of the run.
pub(super) type SharedArrivals = Rc<RefCell<Arrivals>>;

/// Offers this worker's share of the arrivals to its lanes, at their times.
pub(super) async fn arrive(shared: Rc<Shared>, arrivals: SharedArrivals, alarm: Alarm) {
    let epoch = shared.epoch.get();
    let mut without_a_pause = 0;
    loop {
        let Some(drawn) = arrivals.borrow_mut().draw() else {
            shared.no_more_arrivals();
            return;
        };
        let intended = drawn.at;
        let due = epoch + Duration::from_nanos(intended);
        loop {
            let wait = due.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                break;
            }
            without_a_pause = 0;
            if alarm.sleep(wait.max(SHORTEST_SLEEP)).await.is_err() {
                tokio::time::sleep(wait).await;
            }
        }
        let offered = shared.now();
        // Ended early, or hopelessly late: the pending arrival stays where it is, to be counted.
        if shared.over.get() {
            return;
        }
        let job = Job {
            endpoint: drawn.endpoint,
            line: drawn.line,
            intended,
            offered,
            waited: false,
        };
        let accepted = shared.dispatch.offer(job);
        {
            let mut arrivals = arrivals.borrow_mut();
            arrivals.pending = None;
            if shared.timeline.counts(intended) {
                arrivals.offered += 1;
                arrivals.dropped += u64::from(!accepted);
            }
        }
        // When behind schedule, lanes must still get their turn.
        without_a_pause += 1;
        if without_a_pause >= OFFERED_AT_ONCE {
            without_a_pause = 0;
            tokio::task::yield_now().await;
        }
    }
}
