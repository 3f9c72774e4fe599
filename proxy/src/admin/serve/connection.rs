//! One connection of the admin API: what it is doing, and since when.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::admin::access::{Origin, Peer};

/// How long a new connection may say nothing.
const SILENCE: Duration = Duration::from_secs(10);
/// How long the head of a request may take, counted from its first byte.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection is kept for another request. Much longer than clients keep one, so that none is closed just
/// as it is used again.
const IDLE: Duration = Duration::from_secs(75);
/// How long a client that has an answer to read may read nothing of it.
const STALL: Duration = Duration::from_secs(10);
/// How long a client may take for an answer that is no stream.
const ANSWER: Duration = Duration::from_secs(60);
/// For how long a connection that waits for its client counts as one that may go on at once.
const GRACE: Duration = Duration::from_millis(500);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) enum Phase {
    /// It was accepted, and nobody has looked yet whether it has sent something. On a busy thread that may
    /// take a while, which is not its client's doing.
    Accepted,
    /// It has sent nothing yet that could be understood.
    New,
    /// A TLS handshake has begun: the client has said hello.
    Handshake,
    /// It has begun to send the head of a request.
    Head,
    /// The head has come; the body may still be missing.
    Body,
    /// The request is complete and waits for its turn, or needs none.
    Queued,
    /// The request has one of the places for work, which are few, and is being worked on.
    Working,
    /// The answer is being sent.
    Answering,
    /// The answer is a stream of events.
    Streaming,
    /// It waits for another request.
    Idle,
}

/// What a connection is worth when all places are taken: the lowest gives way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It has not got a whole head together.
    Unproven,
    /// Its client neither sends the body nor reads the answer.
    Stalled,
    /// It has been served and waits for another request.
    Idle,
    /// It has only just begun to wait for its client.
    Fresh,
    /// It waits for this process, with a request that its client sent before it had the answer to the last one.
    Pipelined,
    /// It waits for this process: what it has sent was not looked at yet, or its answer is not ready. How long that
    /// takes is not its client's doing.
    Waiting,
    /// Its request is being worked on.
    Working,
}

/// A client that has not taken what was written to it.
#[derive(Debug, Clone, Copy)]
struct Stall {
    /// Since when something waits to be taken.
    begun: Instant,
    /// When something was last taken.
    progress: Instant,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    stall: Option<Stall>,
    /// Whether the request had come before the last one was answered.
    pipelined: bool,
}

/// A connection. Its task, its input and output, and its requests tell it how they get on.
#[derive(Debug)]
pub(in crate::admin) struct Connection {
    pub(super) origin: Origin,
    state: Mutex<State>,
    closed: Notify,
}

impl Connection {
    pub(super) fn new(peer: Peer, now: Instant) -> Self {
        Self {
            origin: peer.origin(),
            state: Mutex::new(State {
                phase: Phase::Accepted,
                since: now,
                stall: None,
                pipelined: false,
            }),
            closed: Notify::new(),
        }
    }

    /// Does something else from now on.
    pub(in crate::admin) fn enter(&self, phase: Phase) {
        self.enter_at(phase, Instant::now());
    }

    pub(super) fn enter_at(&self, phase: Phase, now: Instant) {
        let mut state = self.state.lock();
        if matches!(phase, Phase::Body | Phase::Queued) {
            // Nothing was read since the last answer.
            state.pipelined = state.phase == Phase::Idle;
        }
        (state.phase, state.since) = (phase, now);
    }

    /// Something has come in: the head of a request, if none was under way.
    pub(super) fn received(&self, now: Instant) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Accepted | Phase::New | Phase::Idle) {
            (state.phase, state.since) = (Phase::Head, now);
        }
    }

    /// There is nothing to read: from now on it waits for its client.
    pub(super) fn waits(&self, now: Instant) {
        let mut state = self.state.lock();
        if state.phase == Phase::Accepted {
            (state.phase, state.since) = (Phase::New, now);
        }
    }

    /// Something could not be written: the client does not read.
    pub(super) fn blocked(&self, now: Instant) {
        self.state.lock().stall.get_or_insert(Stall {
            begun: now,
            progress: now,
        });
    }

    /// Something was written.
    pub(super) fn wrote(&self, now: Instant) {
        if let Some(stall) = &mut self.state.lock().stall {
            stall.progress = now;
        }
    }

    /// Everything was written.
    pub(super) fn flushed(&self) {
        self.state.lock().stall = None;
    }

    /// Whether it takes one of the places: streams of events have a budget of their own.
    pub(super) fn takes_place(&self) -> bool {
        self.state.lock().phase != Phase::Streaming
    }

    /// What it is worth, and since when it is so.
    pub(super) fn standing(&self, now: Instant) -> (Standing, Instant) {
        let state = self.state.lock();
        let (standing, since) = match (state.phase, state.stall) {
            (Phase::Working, _) => return (Standing::Working, state.since),
            (_, Some(stall)) => (Standing::Stalled, stall.begun),
            // It is not the client that they wait for.
            (Phase::Accepted | Phase::Queued | Phase::Answering, None) => {
                let standing = if state.pipelined {
                    Standing::Pipelined
                } else {
                    Standing::Waiting
                };
                return (standing, state.since);
            }
            (Phase::New | Phase::Head, None) => (Standing::Unproven, state.since),
            (Phase::Handshake | Phase::Body | Phase::Streaming, None) => {
                (Standing::Stalled, state.since)
            }
            (Phase::Idle, None) => return (Standing::Idle, state.since),
        };
        if now.saturating_duration_since(since) < GRACE {
            return (Standing::Fresh, since);
        }
        (standing, since)
    }

    /// Whether its client has taken too long.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let state = self.state.lock();
        let over = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        if let Some(stall) = state.stall
            && (over(stall.progress, STALL)
                || state.phase != Phase::Streaming && over(stall.begun, ANSWER))
        {
            return true;
        }
        match state.phase {
            Phase::New => over(state.since, SILENCE),
            Phase::Head => over(state.since, HEAD),
            Phase::Idle => over(state.since, IDLE),
            // The time of a body and of the work is the request's: it is told when it is over. A handshake has its own.
            Phase::Accepted
            | Phase::Handshake
            | Phase::Body
            | Phase::Queued
            | Phase::Working
            | Phase::Answering
            | Phase::Streaming => false,
        }
    }

    /// What it is doing.
    pub(super) fn phase(&self) -> Phase {
        self.state.lock().phase
    }

    /// Ends it, whatever it is doing.
    pub(super) fn close(&self) {
        self.closed.notify_one();
    }

    /// Completes when it has to end.
    pub(super) async fn closed(&self) {
        self.closed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(now: Instant) -> Connection {
        let it = Connection::new(Peer::Unix(Some(1)), now);
        it.waits(now);
        it
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_head_has_ten_seconds_however_its_bytes_come() {
        let start = Instant::now();
        let it = connection(start);
        assert!(!it.is_overdue(start + ms(9_999)));
        it.received(start + ms(9_000));
        for n in 9..19 {
            it.received(start + ms(n * 1000));
            assert!(!it.is_overdue(start + ms(n * 1000)));
        }
        assert!(it.is_overdue(start + ms(19_000)));
        assert!(connection(start).is_overdue(start + ms(10_000)), "silent");
    }

    #[test]
    fn an_answer_that_nobody_reads_is_given_up_and_a_slow_reader_later() {
        let start = Instant::now();
        let it = connection(start);
        it.enter_at(Phase::Answering, start);
        it.blocked(start);
        assert!(!it.is_overdue(start + ms(9_000)));
        assert!(it.is_overdue(start + ms(10_000)));
        for n in 1..60 {
            it.wrote(start + ms(n * 1000));
            assert!(!it.is_overdue(start + ms(n * 1000)), "{n} s");
        }
        assert!(it.is_overdue(start + ms(60_000)));
        it.enter_at(Phase::Streaming, start);
        assert!(!it.is_overdue(start + ms(60_000)), "a stream has no end");
        it.flushed();
        assert!(!it.is_overdue(start + ms(600_000)));
    }

    #[test]
    fn our_own_slowness_is_not_the_clients() {
        let start = Instant::now();
        let it = Connection::new(Peer::Unix(Some(1)), start);
        let later = start + ms(20_000);
        assert_eq!(it.standing(later).0, Standing::Waiting);
        assert!(!it.is_overdue(later));
        it.waits(later);
        assert!(it.is_overdue(later + ms(10_000)));
    }

    #[test]
    fn whoever_waits_for_its_client_for_long_is_worth_less_than_whoever_has_just_begun() {
        let start = Instant::now();
        let later = start + ms(600);
        let of = |phase| {
            let it = connection(start);
            it.enter_at(phase, start);
            it.standing(later).0
        };
        assert_eq!(connection(start).standing(later).0, Standing::Unproven);
        assert_eq!(of(Phase::Head), Standing::Unproven);
        assert_eq!(of(Phase::Body), Standing::Stalled);
        assert_eq!(of(Phase::Idle), Standing::Idle);
        assert_eq!(of(Phase::Queued), Standing::Waiting);
        assert_eq!(of(Phase::Working), Standing::Working);
        assert_eq!(
            connection(start).standing(start + ms(10)).0,
            Standing::Fresh
        );
    }

    #[test]
    fn whoever_waits_for_us_is_worth_more_than_whoever_has_answers_to_read() {
        let start = Instant::now();
        let (waits, reads_not, pipelines) =
            (connection(start), connection(start), connection(start));
        for it in [&waits, &reads_not, &pipelines] {
            it.received(start);
            it.enter_at(Phase::Queued, start);
        }
        reads_not.enter_at(Phase::Answering, start);
        reads_not.blocked(start);
        pipelines.enter_at(Phase::Idle, start);
        pipelines.enter_at(Phase::Queued, start);
        // At once, before anybody can be said to stall.
        let standing = |it: &Connection| it.standing(start + ms(1)).0;
        assert!(standing(&reads_not) < standing(&pipelines));
        assert!(standing(&pipelines) < standing(&waits));
        // Another request on a connection that is kept is as good as the first one.
        pipelines.enter_at(Phase::Idle, start);
        pipelines.received(start);
        pipelines.enter_at(Phase::Queued, start);
        assert_eq!(standing(&pipelines), Standing::Waiting);
    }
}
