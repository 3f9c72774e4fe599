//! What one lane does: a user of a closed model, or a slot of an open one.

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::sync::Notify;

use super::{RunError, budget::Budget, dispatch::Dispatch};
use crate::{
    client::{Answer, Client, Next, Plan, Slot, User, Watch, lane_seed},
    record::{Completion, FailureKind, Nanos, Recorder, Timeline},
    schedule::{Pace, Stay, Thinker},
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
    /// Requests that users may still start.
    pub(super) budget: Budget,
    /// Whether the number of requests is fixed.
    pub(super) limited: bool,
    /// Whether all arrivals of a schedule have been offered.
    pub(super) scheduled: Cell<bool>,
    /// Slots that work on an arrival, which may be a flow.
    pub(super) busy: Cell<usize>,
    /// Told when the last request of a fixed number may have been answered.
    pub(super) idle: Notify,
    pub(super) recorder: RefCell<Recorder>,
    pub(super) watch: Watch,
    pub(super) dispatch: Dispatch,
    /// Arrivals of the measured part that came when a feed had no row left.
    pub(super) without_data: Cell<u64>,
}

impl Shared {
    /// Nanoseconds since the load began; 0 before.
    pub(super) fn now(&self) -> Nanos {
        let elapsed = Instant::now().saturating_duration_since(self.epoch.get());
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether the load has ended.
    fn is_over(&self) -> bool {
        self.now() >= self.end.get()
    }

    /// Every arrival of the schedule has been offered.
    pub(super) fn no_more_arrivals(&self) {
        self.scheduled.set(true);
        self.idle.notify_one();
    }

    /// Whether a fixed number of requests has been started, and answered as far as this worker
    /// sent them.
    fn is_finished(&self) -> bool {
        let started = self.budget.is_spent() || (self.limited && self.scheduled.get());
        let idle = self.busy.get() == 0 && self.recorder.borrow().in_flight() == 0;
        started && idle && self.dispatch.is_empty()
    }

    /// Tells whoever waits for the end of a fixed number of requests that it may have come.
    fn tell_if_idle(&self) {
        if self.limited && self.recorder.borrow().in_flight() == 0 {
            self.idle.notify_one();
        }
    }

    /// Waits until a fixed number of requests has been started and answered; for ever if it is not
    /// fixed.
    pub(super) async fn finished(&self) {
        if !self.limited {
            return std::future::pending().await;
        }
        while !self.is_finished() {
            tokio::select! {
                () = self.idle.notified() => {}
                () = self.budget.spent(), if !self.budget.is_spent() => {}
            }
        }
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
    user: User,
    /// Of the choice of requests and of pauses within flows.
    random: SmallRng,
    /// Whether it is connected and logged in.
    ready: bool,
}

impl<C: Client> Lane<C> {
    pub(super) fn new(shared: Rc<Shared>, client: C, number: u32, index: usize) -> Self {
        let seed = lane_seed(shared.plan.seed, number).rotate_left(16);
        Self {
            slot: shared.watch.slot(),
            user: User::new(&shared.plan, number),
            random: SmallRng::seed_from_u64(seed),
            shared,
            client,
            number,
            index,
            ready: false,
        }
    }

    /// Number in the whole run, from 0.
    pub(super) fn number(&self) -> u32 {
        self.number
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
        let result = self.first_login(login, &url).await;
        self.note_connections(false);
        result
    }

    async fn first_login(&mut self, login: usize, url: &str) -> Result<(), RunError> {
        let plan = self.shared.plan.clone();
        self.user
            .prepare(&plan, login)
            .map_err(|feed| RunError::Login {
                url: url.to_owned(),
                cause: format!("the feed `{feed}` has no row left for it"),
            })?;
        let mut attempt = 1;
        loop {
            let timeout = plan.timeouts.total;
            self.user.state.next_request();
            let exchange = self.client.exchange(login, &self.user.state);
            let cause = match tokio::time::timeout(timeout, exchange).await {
                Ok(answer) => match self.log_in(login, answer.failure, Duration::ZERO) {
                    Ok(()) => return Ok(()),
                    Err((_, cause)) => cause,
                },
                Err(_) => format!("no answer within {timeout:?}"),
            };
            if attempt >= LOGIN_ATTEMPTS {
                let path = plan
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

    /// Takes the token and what else is needed from the answer to a login; or why not.
    fn log_in(
        &mut self,
        login: usize,
        failure: Option<FailureKind>,
        took: Duration,
    ) -> Result<(), (FailureKind, String)> {
        if let Some(kind) = failure.or_else(|| self.judge(login, took)) {
            return Err(named(kind));
        }
        let token = self.token()?;
        if let Some(token) = token {
            self.client.authorize(&token);
        }
        self.ready = true;
        Ok(())
    }

    /// The token of the last answer, which may be compressed; `None` if the login has none.
    fn token(&self) -> Result<Option<String>, (FailureKind, String)> {
        let plan = &self.shared.plan;
        if !plan.has_token() {
            return Ok(None);
        }
        let body = self.client.received().decoded().map_err(named)?;
        plan.token(&body)
            .map_err(|cause| (FailureKind::LoginFailed, cause))
    }

    /// What is wrong with the last answer, if anything; values to extract are kept.
    fn judge(&mut self, endpoint: usize, took: Duration) -> Option<FailureKind> {
        let endpoint = self.shared.plan.endpoints.get(endpoint)?;
        endpoint.judge(&self.client.received(), took, &mut self.user.state)
    }

    /// Sends one request and records what becomes of it.
    async fn request(&mut self, endpoint: usize, intended: Nanos, sent: Nanos) -> Answer {
        self.user.state.next_request();
        let shared = self.shared.clone();
        shared.recorder.borrow_mut().sent(sent);
        let spec = shared.plan.endpoints.get(endpoint);
        let answer = if spec.is_some_and(|spec| !spec.can_be_sent_by(&self.user.state)) {
            Some(Answer {
                failure: Some(FailureKind::ValueMissing),
                bytes: 0,
            })
        } else {
            let exchange = pin!(self.client.exchange(endpoint, &self.user.state));
            let request = (endpoint, intended, sent);
            let deadline = shared.deadline(sent);
            self.slot.guard(request, deadline, exchange).await
        };
        let done = shared.now();
        let mut answer = answer.unwrap_or(Answer {
            failure: Some(FailureKind::Timeout),
            bytes: 0,
        });
        let took = Duration::from_nanos(done.saturating_sub(sent));
        let login = shared.plan.login.as_ref().map(|(index, _)| *index);
        if login == Some(endpoint) {
            let logged_in = self.log_in(endpoint, answer.failure, took);
            answer.failure = logged_in.err().map(|(kind, _)| kind);
        } else if answer.failure.is_none() {
            answer.failure = self.judge(endpoint, took);
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
        self.shared.tell_if_idle();
        answer
    }

    /// The step that follows in a flow, and the pause before it.
    fn next(&mut self, endpoint: usize, answer: &Answer) -> Option<Next> {
        self.shared
            .plan
            .endpoints
            .get(endpoint)?
            .next(answer.failure)
    }

    /// A pause within a flow.
    fn pause_of(&mut self, next: &Next) -> Option<Duration> {
        let seed = self.random.random();
        Some(Thinker::new(next.think_time?, seed).pause())
    }

    /// Takes the rows of feeds that a request or flow needs; `false` if there is none left.
    fn take_data(&mut self, endpoint: usize) -> bool {
        self.user.prepare(&self.shared.plan, endpoint).is_ok()
    }

    /// A user of a closed model: comes and goes as `stays` says. Each time it starts, logs in, then
    /// sends and thinks; `renew` makes it a new one, without connection, token, cookies and values.
    pub(super) async fn user(
        mut self,
        stays: Vec<Stay>,
        mut pace: Pace,
        renew: impl Fn(u32) -> std::io::Result<C>,
    ) {
        let mut stays = stays.into_iter().peekable();
        while let Some(stay) = stays.next() {
            let Some(start) = self.shared.epoch.get().checked_add(stay.from) else {
                return;
            };
            tokio::time::sleep_until(start.into()).await;
            if self.shared.is_over() {
                return;
            }
            self.shared.recorder.borrow_mut().user_started();
            let until = stay.until.map_or(Nanos::MAX, |until| {
                u64::try_from(until.as_nanos()).unwrap_or(Nanos::MAX)
            });
            let may_return = self.stay(until, &mut pace).await;
            if !may_return || self.shared.is_over() || self.shared.budget.is_spent() {
                return;
            }
            self.shared.recorder.borrow_mut().user_left();
            if stays.peek().is_none() {
                // Its connections close with it.
                return;
            }
            let Ok(client) = renew(self.number) else {
                return;
            };
            self.client = client;
            self.user = User::new(&self.shared.plan, self.number);
            self.ready = self.shared.plan.login.is_none();
        }
    }

    /// Logs in if need be, then sends and thinks until it is time to go; a request that is on its
    /// way then is still waited for. `false` if it must not come back: it is out of data.
    async fn stay(&mut self, until: Nanos, pace: &mut Pace) -> bool {
        let login = self.shared.plan.login.as_ref().map(|(index, _)| *index);
        let mut now = self.shared.now();
        if let (false, Some(login)) = (self.ready, login)
            && !self.take_data(login)
        {
            self.shared.plan.user_is_out_of_data();
            return false;
        }
        while let (false, Some(login)) = (self.ready, login) {
            if now >= self.shared.end.get().min(until) {
                return true;
            }
            let answer = self.request(login, now, now).await;
            self.ready = answer.failure.is_none();
            now = if self.ready {
                self.shared.now()
            } else {
                self.pause(AFTER_FAILED_LOGIN, self.shared.now(), until)
                    .await
            };
        }
        let mut flow: Option<Next> = None;
        let mut begun = now;
        loop {
            if now >= self.shared.end.get().min(until) {
                return true;
            }
            let endpoint = match flow {
                Some(next) => next.endpoint,
                None => {
                    begun = now;
                    let endpoint = self.shared.plan.choose(&mut self.random);
                    if !self.take_data(endpoint) {
                        self.shared.plan.user_is_out_of_data();
                        return false;
                    }
                    self.user.state.begin_iteration();
                    endpoint
                }
            };
            if self.shared.timeline.counts(now) && !self.shared.budget.take() {
                return true;
            }
            let answer = self.request(endpoint, now, now).await;
            flow = self.next(endpoint, &answer);
            let done = self.shared.now();
            let mut pause = match flow {
                Some(next) => self.pause_of(&next).unwrap_or_else(|| pace.within()),
                None => pace.pause(Duration::from_nanos(done.saturating_sub(begun))),
            };
            if is_refusal(answer.failure) {
                pause = pause.max(AFTER_REFUSAL);
            }
            now = self.pause(pause, done, until).await;
        }
    }

    /// Waits from `now` on, but not longer than until it is time to go; says how late it is then.
    async fn pause(&self, pause: Duration, now: Nanos, until: Nanos) -> Nanos {
        let left = Duration::from_nanos(until.saturating_sub(now));
        let pause = pause.min(left);
        if pause.is_zero() {
            return now;
        }
        tokio::time::sleep(pause).await;
        self.shared.now()
    }

    /// A slot of an open model: sends what it is given.
    pub(super) async fn slot(mut self) {
        self.shared.recorder.borrow_mut().user_started();
        loop {
            let job = self.shared.dispatch.next(self.index).await;
            if !self.take_data(job.endpoint) {
                if self.shared.timeline.counts(job.intended) {
                    let without = self.shared.without_data.get();
                    self.shared.without_data.set(without + 1);
                }
                return self.shared.plan.data_is_used_up();
            }
            self.user.state.begin_iteration();
            self.user.state.replay(job.line);
            let busy = &self.shared.busy;
            busy.set(busy.get() + 1);
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
            let mut answer = self.request(job.endpoint, job.intended, sent).await;
            let mut flow = self.next(job.endpoint, &answer);
            // The schedule says when a flow begins; what follows comes when it can.
            while let Some(next) = flow {
                if let Some(pause) = self.pause_of(&next).filter(|pause| !pause.is_zero()) {
                    tokio::time::sleep(pause).await;
                }
                let now = self.shared.now();
                if now >= self.shared.end.get() {
                    break;
                }
                answer = self.request(next.endpoint, now, now).await;
                flow = self.next(next.endpoint, &answer);
            }
            let busy = &self.shared.busy;
            busy.set(busy.get().saturating_sub(1));
            self.shared.tell_if_idle();
            if is_refusal(answer.failure) {
                tokio::time::sleep(AFTER_REFUSAL).await;
            }
        }
    }
}

/// Whether not even a connection came about, or nothing was sent.
fn is_refusal(failure: Option<FailureKind>) -> bool {
    matches!(
        failure,
        Some(
            FailureKind::ConnectionRefused
                | FailureKind::PortsExhausted
                | FailureKind::DescriptorsExhausted
                | FailureKind::ValueMissing
                | FailureKind::Other
        )
    )
}

/// A kind of failure with what is likely behind it.
fn named(kind: FailureKind) -> (FailureKind, String) {
    let text = format!("{}: {}", kind.name(), kind.likely_cause());
    (kind, text)
}
