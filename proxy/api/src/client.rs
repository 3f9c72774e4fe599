//! A client of the admin API.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    admin::{
        ChangeView, ErrorBody, ErrorDetail, OverrideCreated, OverrideDeleted, OverrideList,
        OverrideRequest, OverrideView, RenewRequest, RevisionList, SettingsView,
    },
    units::format_duration,
};

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
        address: SocketAddr,
        /// What happened.
        reason: String,
    },
    /// An answer came that is none of the admin API's.
    #[error("{address} does not answer like weir's admin API: {reason}")]
    Strange {
        /// Where it came from.
        address: SocketAddr,
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
    address: SocketAddr,
    http: reqwest::Client,
}

impl AdminClient {
    /// A client of the admin API at this address; calls end after 10 seconds. Nothing is sent yet.
    ///
    /// # Errors
    /// When the machine lacks what an HTTP client needs.
    pub fn new(address: SocketAddr) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| ClientError::Unreachable {
                address,
                reason: chain(&error),
            })?;
        Ok(Self { address, http })
    }

    /// Where the admin API is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
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
        let status = answer.status();
        let body = answer.bytes().await.map_err(|e| self.strange(&e))?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|e| self.strange(&e));
        }
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => Err(ClientError::Refused {
                status: status.as_u16(),
                error: body.error,
            }),
            Err(_) => Err(self.strange(&format!("{path} answers {status} without saying why"))),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<reqwest::Response, ClientError> {
        let mut request = self
            .http
            .request(method, format!("http://{}{path}", self.address));
        if let Some(body) = body {
            request = request.json(body);
        }
        request
            .send()
            .await
            .map_err(|error| ClientError::Unreachable {
                address: self.address,
                reason: chain(&error),
            })
    }

    fn strange(&self, reason: &impl ToString) -> ClientError {
        ClientError::Strange {
            address: self.address,
            reason: reason.to_string(),
        }
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
