//! What one lane does: a user of a closed model, or a slot of an open one.

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, rngs::SmallRng};

use super::{RunError, dispatch::Dispatch};
use crate::{
    client::{Answer, Client, Plan, Slot, Watch, lane_seed},
    record::{Completion, FailureKind, Nanos, Recorder, Timeline},
    scenario::Facts,
    schedule::Thinker,
};

/// A lane that cannot connect pauses before it tries again: a dead target is not hammered.
const AFTER_REFUSAL: Duration = Duration::from_millis(10);
/// A user whose login failed tries again after this.
const AFTER_FAILED_LOGIN: Duration = Duration::from_secs(1);
/// Logins before the load begins are tried this often.
const LOGIN_ATTEMPTS: u32 = 5;

/// What the lanes of a worker share.
pub(super) struct Shared {
    pub(super) plan: Arc<Plan>,
    pub(super) timeline: Timeline,
    /// When the load begins; set once everybody is ready.
    pub(super) epoch: Cell<Instant>,
    /// When the load ends; earlier than planned if somebody asks for it.
    pub(super) end: Cell<Nanos>,
    /// Whether it has ended: no further arrivals are offered.
    pub(super) over: Cell<bool>,
    pub(super) recorder: RefCell<Recorder>,
    pub(super) watch: Watch,
    pub(super) dispatch: Dispatch,
}

impl Shared {
    /// Nanoseconds since the load began; 0 before.
    pub(super) fn now(&self) -> Nanos {
        let elapsed = Instant::now().saturating_duration_since(self.epoch.get());
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }

    fn deadline(&self, now: Nanos) -> Nanos {
        let timeout = u64::try_from(self.plan.timeouts.total.as_nanos()).unwrap_or(u64::MAX);
        now.saturating_add(timeout)
    }
}

/// One lane.
pub(super) struct Lane<C> {
    pub(super) shared: Rc<Shared>,
    pub(super) client: C,
    slot: Rc<Slot>,
    /// Number in the whole run.
    number: u32,
    /// Number within its worker.
    index: usize,
    sequence: u64,
    /// Whether it is connected and logged in.
    ready: bool,
}

impl<C: Client> Lane<C> {
    pub(super) fn new(shared: Rc<Shared>, client: C, number: u32, index: usize) -> Self {
        Self {
            slot: shared.watch.slot(),
            shared,
            client,
            number,
            index,
            sequence: 0,
            ready: false,
        }
    }

    /// Number in the whole run, from 0.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    fn facts(&mut self) -> Facts {
        self.sequence += 1;
        Facts {
            user: u64::from(self.number) + 1,
            sequence: self.sequence,
        }
    }

    /// Connects and logs in before the load begins; nothing of it is recorded.
    pub(super) async fn prepare(&mut self) -> Result<(), RunError> {
        let url = self
            .shared
            .plan
            .base(self.number)
            .map_or_else(String::new, ToString::to_string);
        self.client
            .connect()
            .await
            .map_err(|kind| RunError::TargetDown {
                url: url.clone(),
                cause: format!("{}: {}", kind.name(), kind.likely_cause()),
            })?;
        self.note_connections(false);
        let Some((login, _)) = self.shared.plan.login.clone() else {
            self.ready = true;
            return Ok(());
        };
        let result = self.log_in(login, &url).await;
        self.note_connections(false);
        result
    }

    async fn log_in(&mut self, login: usize, url: &str) -> Result<(), RunError> {
        let mut attempt = 1;
        loop {
            let facts = self.facts();
            let timeout = self.shared.plan.timeouts.total;
            let answer = tokio::time::timeout(timeout, self.client.exchange(login, facts)).await;
            let cause = match answer {
                Ok(Answer { failure: None, .. }) => {
                    match self.shared.plan.token(self.client.body()) {
                        Ok(token) => {
                            self.client.authorize(&token);
                            self.ready = true;
                            return Ok(());
                        }
                        Err(cause) => cause,
                    }
                }
                Ok(Answer {
                    failure: Some(kind),
                    ..
                }) => format!("{}: {}", kind.name(), kind.likely_cause()),
                Err(_) => format!("no answer within {timeout:?}"),
            };
            if attempt >= LOGIN_ATTEMPTS {
                let path = self
                    .shared
                    .plan
                    .endpoints
                    .get(login)
                    .map_or("", |endpoint| endpoint.path.source());
                return Err(RunError::Login {
                    url: format!("{url}{path}"),
                    cause,
                });
            }
            tokio::time::sleep(Duration::from_millis(100) * attempt * attempt).await;
            attempt += 1;
        }
    }

    /// Records connections that were opened; in the time series only once the load is on.
    fn note_connections(&mut self, counts: bool) {
        while let Some(setup) = self.client.opened() {
            self.shared.recorder.borrow_mut().connected(&setup, counts);
        }
    }

    /// Sends one request and records what becomes of it.
    async fn request(&mut self, endpoint: usize, intended: Nanos, sent: Nanos) -> Answer {
        let facts = self.facts();
        let shared = &self.shared;
        shared.recorder.borrow_mut().sent(sent);
        let answer = {
            let exchange = pin!(self.client.exchange(endpoint, facts));
            let request = (endpoint, intended, sent);
            let deadline = shared.deadline(sent);
            self.slot.guard(request, deadline, exchange).await
        };
        let done = shared.now();
        let mut answer = answer.unwrap_or(Answer {
            failure: Some(FailureKind::Timeout),
            bytes: 0,
        });
        let login = shared.plan.login.as_ref().map(|(index, _)| *index);
        if answer.failure.is_none() && login == Some(endpoint) {
            match shared.plan.token(self.client.body()) {
                Ok(token) => self.client.authorize(&token),
                Err(_) => answer.failure = Some(FailureKind::LoginFailed),
            }
        }
        self.note_connections(true);
        self.shared.recorder.borrow_mut().completed(&Completion {
            endpoint,
            intended,
            sent,
            done,
            failure: answer.failure,
            bytes: answer.bytes,
        });
        answer
    }

    /// A user of a closed model: starts, logs in, then sends and thinks until the end.
    pub(super) async fn user(mut self, start: Duration, mut thinker: Thinker) {
        let seed = lane_seed(self.shared.plan.seed, self.number).rotate_left(16);
        let mut random = SmallRng::seed_from_u64(seed);
        tokio::time::sleep_until((self.shared.epoch.get() + start).into()).await;
        self.shared.recorder.borrow_mut().user_started();
        let login = self.shared.plan.login.as_ref().map(|(index, _)| *index);
        let mut now = self.shared.now();
        while let (false, Some(login)) = (self.ready, login) {
            if now >= self.shared.end.get() {
                return;
            }
            let answer = self.request(login, now, now).await;
            self.ready = answer.failure.is_none();
            if !self.ready {
                tokio::time::sleep(AFTER_FAILED_LOGIN).await;
            }
            now = self.shared.now();
        }
        loop {
            if now >= self.shared.end.get() {
                return;
            }
            let endpoint = self.shared.plan.choose(&mut random);
            let answer = self.request(endpoint, now, now).await;
            let mut pause = thinker.pause();
            if is_refusal(answer.failure) {
                pause = pause.max(AFTER_REFUSAL);
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            now = self.shared.now();
        }
    }

    /// A slot of an open model: sends what it is given.
    pub(super) async fn slot(mut self) {
        self.shared.recorder.borrow_mut().user_started();
        loop {
            let job = self.shared.dispatch.next(self.index).await;
            let sent = self.shared.now();
            {
                let mut recorder = self.shared.recorder.borrow_mut();
                if job.waited {
                    recorder.send_lag(job.intended, job.offered.saturating_sub(job.intended));
                    recorder.connection_wait(job.intended, sent.saturating_sub(job.offered));
                } else {
                    recorder.send_lag(job.intended, sent.saturating_sub(job.intended));
                }
            }
            let answer = self.request(job.endpoint, job.intended, sent).await;
            if is_refusal(answer.failure) {
                tokio::time::sleep(AFTER_REFUSAL).await;
            }
        }
    }
}

/// Whether not even a connection came about.
fn is_refusal(failure: Option<FailureKind>) -> bool {
    matches!(
        failure,
        Some(
            FailureKind::ConnectionRefused
                | FailureKind::PortsExhausted
                | FailureKind::DescriptorsExhausted
                | FailureKind::Other
        )
    )
}
