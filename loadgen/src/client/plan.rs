//! A scenario, prepared for sending.

use rand::{Rng, RngExt as _};

use super::Transport;
use crate::{
    record::FailureKind,
    run::{BaseUrl, Target},
    scenario::{Expect, Login, RequestSpec, Scenario, Template, Timeouts},
};

/// Name of the login among the endpoints.
pub(crate) const LOGIN: &str = "login";

/// A scenario, prepared for sending.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What can be sent, in scenario order; the login comes last.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Index of the login, and where its answer holds the token.
    pub(crate) login: Option<(usize, Vec<String>)>,
    /// Upper ends of the weights, added up, without the login.
    cumulative: Vec<f64>,
    pub(crate) bases: Vec<BaseUrl>,
    pub(crate) timeouts: Timeouts,
    pub(crate) transport: Transport,
    pub(crate) cookies: bool,
    pub(crate) seed: u64,
}

/// One kind of request, prepared.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) method: http::Method,
    pub(crate) path: Template,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Template>,
    pub(crate) expect: Expect,
    /// Whether somebody wants to see the body.
    pub(crate) keeps_body: bool,
}

impl Endpoint {
    fn of_request(request: &RequestSpec) -> Self {
        Self {
            name: request.name.clone(),
            method: request.method.clone(),
            path: request.path.clone(),
            headers: with_content_type(&request.headers, request.body.as_ref()),
            body: request.body.clone(),
            expect: request.expect.clone(),
            keeps_body: request.expect.body_contains.is_some(),
        }
    }

    fn of_login(login: &Login) -> Self {
        Self {
            name: LOGIN.to_owned(),
            method: login.method.clone(),
            path: login.path.clone(),
            headers: with_content_type(&login.headers, login.body.as_ref()),
            body: login.body.clone(),
            expect: Expect::default(),
            keeps_body: true,
        }
    }

    /// What is wrong with an answer, if anything is.
    pub(crate) fn judge(&self, status: u16, body: &[u8]) -> Option<FailureKind> {
        if !self.expect.accepts(status) {
            return Some(FailureKind::Status(status));
        }
        let text = self.expect.body_contains.as_ref()?;
        let found = memchr::memmem::find(body, text.as_bytes()).is_some();
        (!found).then_some(FailureKind::WrongBody)
    }

    /// Whether every rendering is the same.
    pub(crate) fn is_static(&self) -> bool {
        self.path.is_static() && self.body.as_ref().is_none_or(Template::is_static)
    }
}

fn with_content_type(
    headers: &[(String, String)],
    body: Option<&Template>,
) -> Vec<(String, String)> {
    let mut headers = headers.to_vec();
    let given = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if body.is_some() && !given {
        headers.push(("content-type".into(), "application/json".into()));
    }
    headers
}

impl Plan {
    pub(crate) fn new(scenario: &Scenario, target: &Target) -> Self {
        let mut endpoints: Vec<_> = scenario.requests.iter().map(Endpoint::of_request).collect();
        let login = scenario.login.as_ref().map(|login| {
            let index = endpoints.len();
            endpoints.push(Endpoint::of_login(login));
            (index, login.token.split('.').map(str::to_owned).collect())
        });
        let cumulative = scenario
            .requests
            .iter()
            .scan(0.0, |sum, request| {
                *sum += request.weight;
                Some(*sum)
            })
            .collect();
        Self {
            endpoints,
            login,
            cumulative,
            bases: target.base_urls().to_vec(),
            timeouts: scenario.timeouts,
            transport: Transport::new(scenario),
            cookies: scenario.cookies,
            seed: scenario.seed,
        }
    }

    /// Draws an endpoint by weight.
    pub(crate) fn choose(&self, random: &mut impl Rng) -> usize {
        if self.cumulative.len() < 2 {
            return 0;
        }
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let point = random.random::<f64>() * total;
        self.cumulative
            .partition_point(|end| *end <= point)
            .min(self.cumulative.len() - 1)
    }

    /// Base URL of a lane: they take turns.
    pub(crate) fn base(&self, lane: u32) -> Option<&BaseUrl> {
        self.bases.get(lane as usize % self.bases.len().max(1))
    }

    /// Finds the token in the answer to a login.
    pub(crate) fn token(&self, body: &[u8]) -> Result<String, String> {
        let Some((_, path)) = &self.login else {
            return Err("the scenario has no login".into());
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
        Ok(token.to_owned())
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
    fn tokens_are_found_by_their_path() {
        let plan = plan();
        assert_eq!(plan.token(br#"{"data":{"token":"abc"}}"#).unwrap(), "abc");
        for bad in ["", "[]", r#"{"data":{}}"#, r#"{"data":{"token":7}}"#] {
            assert!(plan.token(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
