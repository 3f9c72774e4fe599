//! The admin API, as a script would use it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::wait::within;

/// A client of the admin API.
#[derive(Debug, Clone)]
pub struct Admin {
    base: String,
    client: reqwest::Client,
    token: Option<String>,
    /// What `If-Match` says.
    expected: Option<u64>,
}

/// An answer of the admin API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub text: String,
}

impl Admin {
    pub fn new(address: SocketAddr) -> Self {
        weir_api::tls::provide();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            base: format!("http://{address}"),
            client,
            token: None,
            expected: None,
        }
    }

    /// The same, showing a token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// Any request, with a body as it is.
    pub async fn send(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(expected) = self.expected {
            request = request.header("if-match", format!("\"{expected}\""));
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_owned());
        }
        within("the admin API", async {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            let text = response.text().await.unwrap();
            let body = serde_json::from_str(&text).unwrap_or(Value::Null);
            Answer { status, body, text }
        })
        .await
    }

    pub async fn get(&self, path: &str) -> Value {
        self.send("GET", path, None).await.expect(200)
    }

    pub async fn text(&self, path: &str) -> String {
        let answer = self.send("GET", path, None).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    }

    pub async fn status(&self, path: &str) -> u16 {
        self.send("GET", path, None).await.status
    }

    /// A change of settings that is accepted.
    pub async fn patch(&self, settings: Value) -> Value {
        self.try_patch(&settings.to_string()).await.expect(200)
    }

    pub async fn try_patch(&self, body: &str) -> Answer {
        self.send("PATCH", "/v1/settings", Some(body)).await
    }

    /// A change that is made only while the settings are at this revision.
    pub async fn patch_if(&self, revision: u64, body: &Value) -> Answer {
        let conditional = Self {
            expected: Some(revision),
            ..self.clone()
        };
        conditional.try_patch(&body.to_string()).await
    }

    /// The effective settings.
    pub async fn settings(&self) -> Value {
        self.get("/v1/settings").await["effective"].clone()
    }

    /// The number of the settings in force.
    pub async fn revision(&self) -> u64 {
        self.get("/v1/settings").await["revision"].as_u64().unwrap()
    }

    /// A temporary override that is accepted.
    pub async fn override_for(&self, ttl: &str, settings: Value) -> Value {
        let body = json!({ "settings": settings, "ttl": ttl, "owner": "test", "reason": "a test" });
        self.send("POST", "/v1/overrides", Some(&body.to_string()))
            .await
            .expect(201)
    }

    /// One server of `GET /v1/upstreams`.
    pub async fn server(&self, address: SocketAddr) -> Value {
        let upstreams = self.get("/v1/upstreams").await;
        let list = upstreams.get("upstreams").unwrap_or(&upstreams);
        let servers = list.as_array().into_iter().flatten();
        servers
            .flat_map(|upstream| upstream["servers"].as_array().cloned().unwrap_or_default())
            .find(|server| server["address"] == address.to_string())
            .unwrap_or_else(|| panic!("{address} is not in {upstreams}"))
    }

    /// Requests in flight at one server.
    pub async fn in_flight(&self, address: SocketAddr) -> u64 {
        self.server(address).await["in_flight"].as_u64().unwrap()
    }
}

impl Answer {
    /// The body, if the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.body
    }
}
