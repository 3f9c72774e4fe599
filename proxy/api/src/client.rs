//! A client of the admin API.

mod events;
mod node;
mod tuning;

use std::{net::SocketAddr, time::Duration};

use reqwest::{Method, StatusCode, Url, header};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use events::Events;
pub use node::{Credentials, Node};
pub use tuning::Terms;

use crate::{
    admin::{
        ChangeView, ErrorBody, ErrorDetail, OverrideCreated, OverrideDeleted, OverrideList,
        OverrideRequest, OverrideView, RenewRequest, RevisionList, SettingsView,
    },
    units::format_duration,
};

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a call of the admin API failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The proxy answered with an error.
    #[error("the admin API answered {status}: {}", .error.message)]
    Refused {
        /// The status of the answer.
        status: u16,
        /// What it says.
        error: ErrorDetail,
    },
    /// No answer came.
    #[error("the admin API at {address} cannot be reached: {reason}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What happened.
        reason: String,
    },
    /// What should be sent cannot be written as JSON.
    #[error("the request cannot be written as JSON: {reason}")]
    Body {
        /// Why not.
        reason: String,
    },
    /// An answer came that is none of the admin API's.
    #[error("{address} does not answer like weir's admin API: {reason}")]
    Strange {
        /// Where it came from.
        address: String,
        /// What is strange about it.
        reason: String,
    },
}

impl ClientError {
    /// Whether the proxy says that there is no such thing, for instance an override that has ended.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// A client of one proxy's admin API.
#[derive(Debug, Clone)]
pub struct AdminClient {
    node: Node,
    credentials: Credentials,
    http: reqwest::Client,
}

impl AdminClient {
    /// A client of the admin API at this address; calls end after 10 seconds. Nothing is sent yet.
    ///
    /// # Errors
    /// When the machine lacks what an HTTP client needs.
    pub fn new(address: SocketAddr) -> Result<Self, ClientError> {
        Self::with(Node::from(address), Credentials::default())
    }

    /// A client of the admin API at a node, with a token or certificates.
    ///
    /// # Errors
    /// When the machine lacks what an HTTP client needs, or the credentials are of no use.
    pub fn with(node: Node, credentials: Credentials) -> Result<Self, ClientError> {
        let http = node::builder(&node, &credentials)?
            .timeout(PATIENCE)
            .build()
            .map_err(|error| ClientError::Unreachable {
                address: node.to_string(),
                reason: chain(&error),
            })?;
        Ok(Self {
            node,
            credentials,
            http,
        })
    }

    /// Where the admin API is.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The settings in force.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn get_settings(&self) -> Result<SettingsView, ClientError> {
        self.call(Method::GET, "/v1/settings", None::<&()>).await
    }

    /// Changes settings for good (until the proxy stops).
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn patch_settings(&self, patch: &Value) -> Result<ChangeView, ClientError> {
        self.call(Method::PATCH, "/v1/settings", Some(patch)).await
    }

    /// Changes settings for a time.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn create_override(
        &self,
        request: &OverrideRequest,
    ) -> Result<OverrideCreated, ClientError> {
        self.call(Method::POST, "/v1/overrides", Some(request))
            .await
    }

    /// Lets an override last for `ttl` from now; none: as long as it was created for.
    ///
    /// # Errors
    /// As every call: see [`ClientError`]; [`ClientError::is_not_found`] when it has ended.
    pub async fn renew_override(
        &self,
        id: &str,
        ttl: Option<Duration>,
    ) -> Result<OverrideView, ClientError> {
        let request = RenewRequest {
            ttl: ttl.map(format_duration),
        };
        let path = format!("/v1/overrides/{id}/renew");
        self.call(Method::POST, &path, Some(&request)).await
    }

    /// Ends an override.
    ///
    /// # Errors
    /// As every call: see [`ClientError`]; [`ClientError::is_not_found`] when it has ended already.
    pub async fn delete_override(&self, id: &str) -> Result<OverrideDeleted, ClientError> {
        let path = format!("/v1/overrides/{id}");
        self.call(Method::DELETE, &path, None::<&()>).await
    }

    /// The overrides that have not ended.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn list_overrides(&self) -> Result<OverrideList, ClientError> {
        self.call(Method::GET, "/v1/overrides", None::<&()>).await
    }

    /// What was changed, newest first.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn revisions(&self) -> Result<RevisionList, ClientError> {
        self.call(Method::GET, "/v1/revisions", None::<&()>).await
    }

    /// The state of every server, as the proxy reports it.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn upstreams(&self) -> Result<Value, ClientError> {
        self.call(Method::GET, "/v1/upstreams", None::<&()>).await
    }

    /// The metrics in Prometheus' text format.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let answer = self.send(Method::GET, "/metrics", None::<&()>).await?;
        let answer = answer.error_for_status().map_err(|e| self.strange(&e))?;
        answer.text().await.map_err(|e| self.strange(&e))
    }

    /// Whether the proxy takes requests; false while it starts or drains.
    ///
    /// # Errors
    /// When no answer comes, or a strange one.
    pub async fn ready(&self) -> Result<bool, ClientError> {
        match self
            .send(Method::GET, "/readyz", None::<&()>)
            .await?
            .status()
        {
            StatusCode::OK => Ok(true),
            StatusCode::SERVICE_UNAVAILABLE => Ok(false),
            status => Err(self.strange(&format!("/readyz answers {status}"))),
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let answer = self.send(method, path, body).await?;
        self.read(answer).await
    }

    /// Makes a call that was put together step by step.
    async fn run<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, ClientError> {
        let answer = self.begin(call).await?;
        self.read(answer).await
    }

    /// Sends a call; its answer is a success, and its body is still to be read.
    async fn begin(&self, call: Call<'_>) -> Result<reqwest::Response, ClientError> {
        let mut url = self.url(&call.path)?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut request = self.http.request(call.method, url);
        if let Some(expected) = call.expected {
            request = request.header(header::IF_MATCH, format!("\"{expected}\""));
        }
        if let Some(body) = call.body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body);
        }
        if let Some(wait) = call.wait {
            request = request.timeout(wait.saturating_add(PATIENCE));
        }
        let answer = request.send().await.map_err(|e| self.unreachable(&e))?;
        if answer.status().is_success() {
            Ok(answer)
        } else {
            Err(self.failure(answer).await)
        }
    }

    async fn read<T: DeserializeOwned>(&self, answer: reqwest::Response) -> Result<T, ClientError> {
        if !answer.status().is_success() {
            return Err(self.failure(answer).await);
        }
        let body = answer.bytes().await.map_err(|e| self.strange(&e))?;
        serde_json::from_slice(&body).map_err(|e| self.strange(&e))
    }

    /// What an answer that is not a success says.
    async fn failure(&self, answer: reqwest::Response) -> ClientError {
        let status = answer.status();
        let path = answer.url().path().to_owned();
        match answer.json::<ErrorBody>().await {
            Ok(body) => ClientError::Refused {
                status: status.as_u16(),
                error: body.error,
            },
            Err(_) => self.strange(&format!("{path} answers {status} without saying why")),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<reqwest::Response, ClientError> {
        let url = self.node.url().join(path).map_err(|e| self.strange(&e))?;
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.map_err(|e| self.unreachable(&e))
    }

    /// The address of a resource; each segment is encoded.
    fn url(&self, path: &[&str]) -> Result<Url, ClientError> {
        let mut url = self.node.url().clone();
        // An http URL has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path);
        }
        Ok(url)
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Unreachable {
            address: self.node.to_string(),
            reason: chain(error),
        }
    }

    fn strange(&self, reason: &impl ToString) -> ClientError {
        ClientError::Strange {
            address: self.node.to_string(),
            reason: reason.to_string(),
        }
    }
}

/// A call, put together.
struct Call<'a> {
    method: Method,
    path: Vec<&'a str>,
    query: Vec<(&'static str, String)>,
    expected: Option<u64>,
    body: Option<Vec<u8>>,
    /// How much longer than usual it may take.
    wait: Option<Duration>,
}

impl<'a> Call<'a> {
    fn new(method: Method, path: &[&'a str]) -> Self {
        Self {
            method,
            path: path.to_vec(),
            query: Vec::new(),
            expected: None,
            body: None,
            wait: None,
        }
    }

    fn below(mut self, path: &[&'a str]) -> Self {
        self.path.extend(path);
        self
    }

    fn query(mut self, name: &'static str, value: String) -> Self {
        self.query.push((name, value));
        self
    }

    fn on(mut self, terms: &Terms) -> Self {
        if terms.dry_run {
            self = self.query("dry_run", "true".to_owned());
        }
        for (name, text) in [("who", &terms.who), ("why", &terms.why)] {
            if !text.is_empty() {
                self = self.query(name, text.clone());
            }
        }
        self.expected = terms.expected;
        self
    }

    fn with(mut self, body: &impl Serialize) -> Result<Self, ClientError> {
        self.body = Some(serde_json::to_vec(body).map_err(|error| ClientError::Body {
            reason: error.to_string(),
        })?);
        Ok(self)
    }

    fn patient(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }
}

/// An error with its causes: reqwest's own text does not have them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
