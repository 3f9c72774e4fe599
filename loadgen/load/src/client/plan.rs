//! A scenario, prepared for sending.

use std::sync::atomic::{AtomicUsize, Ordering};

use rand::{Rng, RngExt as _};

use super::{Transport, user::FeedRun};
use crate::{
    record::FailureKind,
    scenario::{
        Expect, Extract, From, LOGIN, Login, OnFailure, RequestSpec, Scenario, Template, ThinkTime,
        Timeouts, UserState, Variable,
    },
    shard::Shard,
    stop::StopToken,
    target::{BaseUrl, Target},
};

/// A scenario, prepared for sending.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What can be sent: requests in scenario order, then the steps of the flows; the login comes
    /// last.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Index of the login, and where its answer holds the token, if it has one.
    pub(crate) login: Option<(usize, Option<Vec<String>>)>,
    /// What a user can begin with: requests, and the first steps of flows.
    starts: Vec<usize>,
    /// Upper ends of the weights of `starts`, added up.
    cumulative: Vec<f64>,
    pub(crate) bases: Vec<BaseUrl>,
    pub(crate) timeouts: Timeouts,
    pub(crate) transport: Transport,
    pub(crate) cookies: bool,
    pub(crate) seed: u64,
    pub(super) feeds: Vec<FeedRun>,
    /// Feeds whose values the variables begin with.
    pub(super) initial_feeds: Vec<usize>,
    pub(super) variables: Vec<Variable>,
    /// Users or slots of the whole run.
    pub(super) lanes: usize,
    /// Which part of the run this is.
    pub(super) shard: Shard,
    /// Users who still have data to work with.
    supplied: AtomicUsize,
    /// Ends the run once nobody has.
    pub(crate) out_of_data: StopToken,
}

/// One kind of request, prepared.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) method: http::Method,
    pub(crate) path: Template,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) body: Option<Template>,
    pub(crate) expect: Expect,
    pub(crate) extract: Vec<Extract>,
    /// Whether nothing but the status is looked at.
    pub(crate) is_plain: bool,
    /// Whether somebody wants to see the body.
    pub(crate) keeps_body: bool,
    /// Whether somebody wants to see the headers.
    pub(crate) keeps_headers: bool,
    /// Variables that it cannot do without.
    needs: Vec<usize>,
    /// Feeds of which a row is taken before it, also for the steps that follow.
    pub(super) feeds: Vec<usize>,
    /// What follows in its flow.
    next: Option<Next>,
}

/// The next step of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    /// Index of its endpoint.
    pub(crate) endpoint: usize,
    /// Pause before it, if the flow has its own.
    pub(crate) think_time: Option<ThinkTime>,
    /// Whether it follows a failure, too.
    on_failure: OnFailure,
}

impl Endpoint {
    fn of_request(request: &RequestSpec) -> Self {
        Self::new(
            &request.name,
            &request.method,
            &request.path,
            with_content_type(&request.headers, request.body.as_ref()),
            request.body.as_ref(),
            &request.expect,
            &request.extract,
        )
    }

    fn of_login(login: &Login) -> Self {
        let mut endpoint = Self::new(
            LOGIN,
            &login.method,
            &login.path,
            with_content_type(&login.headers, login.body.as_ref()),
            login.body.as_ref(),
            &login.expect,
            &login.extract,
        );
        endpoint.keeps_body |= login.token.is_some();
        endpoint.keeps_headers |= login.token.is_some();
        endpoint
    }

    fn new(
        name: &str,
        method: &http::Method,
        path: &Template,
        headers: Vec<(String, Template)>,
        body: Option<&Template>,
        expect: &Expect,
        extract: &[Extract],
    ) -> Self {
        let mut endpoint = Self {
            name: name.to_owned(),
            method: method.clone(),
            path: path.clone(),
            headers,
            body: body.cloned(),
            expect: expect.clone(),
            extract: extract.to_vec(),
            is_plain: extract.is_empty()
                && *expect
                    == Expect {
                        status: expect.status.clone(),
                        ..Expect::default()
                    },
            keeps_body: expect.needs_body()
                || extract.iter().any(|e| !matches!(e.from, From::Header(_))),
            keeps_headers: false,
            needs: Vec::new(),
            feeds: Vec::new(),
            next: None,
        };
        endpoint.keeps_headers =
            endpoint.keeps_body || expect.needs_headers() || !extract.is_empty();
        endpoint.needs = distinct(endpoint.templates().flat_map(Template::variables));
        endpoint.feeds = distinct(endpoint.templates().flat_map(Template::feeds));
        endpoint
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        let headers = self.headers.iter().map(|(_, value)| value);
        [&self.path].into_iter().chain(headers).chain(&self.body)
    }

    /// Whether every rendering is the same.
    pub(crate) fn is_static(&self) -> bool {
        self.templates().all(Template::is_static)
    }

    /// Whether a user has every value that this request needs.
    pub(crate) fn can_be_sent_by(&self, user: &UserState) -> bool {
        self.needs
            .iter()
            .all(|variable| user.variable(*variable).is_some())
    }

    /// The next step of its flow, after it ended like this.
    pub(crate) fn next(&self, failure: Option<FailureKind>) -> Option<Next> {
        let next = self.next?;
        // A slow answer is a good one otherwise: what follows can be done.
        let goes_on = matches!(failure, None | Some(FailureKind::Slow))
            || next.on_failure == OnFailure::Continue;
        goes_on.then_some(next)
    }
}

fn distinct(numbers: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn with_content_type(
    headers: &[(String, Template)],
    body: Option<&Template>,
) -> Vec<(String, Template)> {
    let mut headers = headers.to_vec();
    let given = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if body.is_some()
        && !given
        && let Ok(json) = Template::parse("application/json")
    {
        headers.push(("content-type".into(), json));
    }
    headers
}

impl Plan {
    pub(crate) fn new(scenario: &Scenario, target: &Target) -> Self {
        let mut endpoints: Vec<_> = scenario.requests.iter().map(Endpoint::of_request).collect();
        let mut starts: Vec<usize> = (0..endpoints.len()).collect();
        let mut weights: Vec<f64> = scenario.requests.iter().map(|r| r.weight).collect();
        for flow in &scenario.flows {
            let first = endpoints.len();
            starts.push(first);
            weights.push(flow.weight);
            for (index, step) in flow.steps.iter().enumerate() {
                let mut endpoint = Endpoint::of_request(&step.request);
                let follows = index + 1 < flow.steps.len();
                endpoint.next = follows.then_some(Next {
                    endpoint: first + index + 1,
                    think_time: step.think_time,
                    on_failure: flow.on_failure,
                });
                endpoints.push(endpoint);
            }
            // Rows are taken once for the whole flow, at its beginning.
            let steps = endpoints.iter_mut().skip(first);
            let feeds = distinct(steps.flat_map(|step| std::mem::take(&mut step.feeds)));
            if let Some(endpoint) = endpoints.get_mut(first) {
                endpoint.feeds = feeds;
            }
        }
        let login = scenario.login.as_ref().map(|login| {
            let index = endpoints.len();
            endpoints.push(Endpoint::of_login(login));
            let path = login.token.as_ref();
            let path = path.map(|path| path.split('.').map(str::to_owned).collect());
            (index, path)
        });
        let cumulative = weights
            .iter()
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let initial = scenario.variables.iter().filter_map(|v| v.initial.as_ref());
        Self {
            endpoints,
            login,
            starts,
            cumulative,
            bases: target.base_urls().to_vec(),
            timeouts: scenario.timeouts,
            transport: Transport::new(scenario),
            cookies: scenario.cookies,
            seed: scenario.seed,
            feeds: scenario.feeds.iter().cloned().map(FeedRun::new).collect(),
            initial_feeds: distinct(initial.flat_map(Template::feeds)),
            variables: scenario.variables.clone(),
            lanes: scenario.lanes() as usize,
            shard: Shard::WHOLE,
            supplied: AtomicUsize::new(scenario.lanes() as usize),
            out_of_data: StopToken::new(),
        }
    }

    /// The same plan for one shard of a run.
    pub(crate) fn for_shard(mut self, shard: Shard) -> Self {
        self.shard = shard;
        let lanes = shard.count_of(self.lanes as u64);
        self.supplied = AtomicUsize::new(usize::try_from(lanes).unwrap_or(usize::MAX));
        self
    }

    /// A user of a closed model stops, because a feed has no row left for it; the run ends with
    /// the last one.
    pub(crate) fn user_is_out_of_data(&self) {
        if self.supplied.fetch_sub(1, Ordering::Relaxed) <= 1 {
            self.out_of_data.stop();
        }
    }

    /// An arrival of an open model finds no row left: the schedule cannot be kept any more.
    pub(crate) fn data_is_used_up(&self) {
        self.out_of_data.stop();
    }

    /// Draws what a user begins with, by weight: a request, or the first step of a flow.
    pub(crate) fn choose(&self, random: &mut impl Rng) -> usize {
        let start = if self.cumulative.len() < 2 {
            0
        } else {
            let total = self.cumulative.last().copied().unwrap_or(0.0);
            let point = random.random::<f64>() * total;
            self.cumulative
                .partition_point(|end| *end <= point)
                .min(self.cumulative.len() - 1)
        };
        self.starts.get(start).copied().unwrap_or(0)
    }

    /// Base URL of a lane: they take turns.
    pub(crate) fn base(&self, lane: u32) -> Option<&BaseUrl> {
        self.bases.get(lane as usize % self.bases.len().max(1))
    }

    /// Whether there is a login whose answer holds a token.
    pub(crate) fn has_token(&self) -> bool {
        matches!(self.login, Some((_, Some(_))))
    }

    /// Finds the token in the answer to a login, its body decoded; `None` if the login has none.
    pub(crate) fn token(&self, body: &[u8]) -> Result<Option<String>, String> {
        let Some((_, Some(path))) = &self.login else {
            return Ok(None);
        };
        let json: serde_json::Value = serde_json::from_slice(body)
            .map_err(|error| format!("its answer is not JSON ({error})"))?;
        let mut value = &json;
        for key in path {
            value = value
                .get(key)
                .ok_or_else(|| format!("its answer has no `{}`", path.join(".")))?;
        }
        let token = value
            .as_str()
            .filter(|token| http::HeaderValue::from_str(token).is_ok())
            .ok_or_else(|| format!("`{}` in its answer is not a token", path.join(".")))?;
        Ok(Some(token.to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;

    fn plan() -> Plan {
        let source = r#"
            name = "t"
            duration = "1s"
            load = { model = "closed", users = 1 }
            login = { path = "/login", token = "data.token" }
            requests = [
                { name = "a", path = "/a", weight = 60 },
                { name = "b", path = "/b", weight = 30 },
                { name = "c", path = "/c", weight = 20 },
            ]
        "#;
        let scenario = Scenario::parse(source, "t").unwrap();
        Plan::new(
            &scenario,
            &Target::new(&["http://127.0.0.1:1"], &[]).unwrap(),
        )
    }

    #[test]
    fn weights_are_relative_and_the_login_is_never_drawn() {
        let plan = plan();
        let mut random = SmallRng::seed_from_u64(1);
        let mut counts = [0_u32; 4];
        for _ in 0..110_000 {
            counts[plan.choose(&mut random)] += 1;
        }
        assert_eq!(counts[3], 0);
        for (count, weight) in counts.iter().zip([60.0, 30.0, 20.0]) {
            assert!(
                (f64::from(*count) / 1000.0 - weight).abs() < 1.0,
                "{counts:?}"
            );
        }
    }

    #[test]
    fn a_flow_is_drawn_by_its_weight_and_leads_from_step_to_step() {
        let source = r#"
            name = "t"
            duration = "1s"
            load = { model = "closed", users = 1 }
            requests = [{ name = "a", path = "/a" }]
            [[flows]]
            name = "f"
            weight = 3
            think_time = "1s"
            steps = [{ name = "one", path = "/1" }, { name = "two", path = "/2" }]
        "#;
        let scenario = Scenario::parse(source, "t").unwrap();
        let target = Target::new(&["http://127.0.0.1:1"], &[]).unwrap();
        let plan = Plan::new(&scenario, &target);
        let mut random = SmallRng::seed_from_u64(1);
        let drawn: Vec<_> = (0..4000).map(|_| plan.choose(&mut random)).collect();
        let of = |endpoint| drawn.iter().filter(|drawn| **drawn == endpoint).count();
        assert_eq!(of(0) + of(1), 4000, "the second step is never drawn");
        assert!((2800..3200).contains(&of(1)), "{}", of(1));
        let next = plan.endpoints[1].next(None).unwrap();
        assert_eq!(next.endpoint, 2);
        let pause = std::time::Duration::from_secs(1);
        assert_eq!(next.think_time, Some(ThinkTime::Constant(pause)));
        assert_eq!(plan.endpoints[1].next(Some(FailureKind::Timeout)), None);
        assert!(plan.endpoints[1].next(Some(FailureKind::Slow)).is_some());
        assert_eq!(plan.endpoints[2].next(None), None);
    }

    #[test]
    fn tokens_are_found_by_their_path() {
        let plan = plan();
        let token = plan.token(br#"{"data":{"token":"abc"}}"#).unwrap();
        assert_eq!(token.as_deref(), Some("abc"));
        for bad in ["", "[]", r#"{"data":{}}"#, r#"{"data":{"token":7}}"#] {
            assert!(plan.token(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
