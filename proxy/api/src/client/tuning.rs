//! Calls that tune: with conditions, by path, back to an older revision, into the file, by server.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::{AdminClient, Call, ClientError};
use crate::{
    admin::{
        ChangeView, DrainView, HistoryView, OverrideCreated, OverrideDeleted, OverrideRequest,
        ReloadView, SaveView,
    },
    units::format_duration,
};

/// The conditions of a change, and who makes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// Check and compare, but change nothing.
    pub dry_run: bool,
    /// Make the change only while the settings have this number (`If-Match`).
    pub expected: Option<u64>,
    /// Who makes it; empty: "admin API".
    pub who: String,
    /// Why; may be empty.
    pub why: String,
}

impl AdminClient {
    /// One setting, or a table of them, by the names on the way to it.
    ///
    /// # Errors
    /// As every call: see [`ClientError`]; [`ClientError::is_not_found`] when there is none.
    pub async fn get_setting(&self, path: &[&str]) -> Result<Value, ClientError> {
        self.run(Call::new(Method::GET, &["v1", "settings"]).below(path))
            .await
    }

    /// Gives one setting, or a whole table of them, another value.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn put_setting(
        &self,
        path: &[&str],
        value: &Value,
        terms: &Terms,
    ) -> Result<ChangeView, ClientError> {
        let call = Call::new(Method::PUT, &["v1", "settings"]).below(path);
        self.run(call.on(terms).with(value)?).await
    }

    /// As [`AdminClient::patch_settings`], on conditions.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn patch_settings_on(
        &self,
        patch: &Value,
        terms: &Terms,
    ) -> Result<ChangeView, ClientError> {
        let call = Call::new(Method::PATCH, &["v1", "settings"]);
        self.run(call.on(terms).with(patch)?).await
    }

    /// Takes every patch back: the file holds again.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn discard(&self, terms: &Terms) -> Result<ChangeView, ClientError> {
        self.run(Call::new(Method::DELETE, &["v1", "settings"]).on(terms))
            .await
    }

    /// Reads the configuration file again, or with `dry_run` only says what that would change.
    ///
    /// # Errors
    /// As every call: see [`ClientError`]; a file that does not validate is refused with 422.
    pub async fn reload(&self, terms: &Terms) -> Result<ReloadView, ClientError> {
        let call = Call::new(Method::POST, &["v1", "settings", "reload"]);
        self.run(call.on(terms)).await
    }

    /// A CPU profile as a flame graph (SVG).
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn profile(&self, seconds: u32, frequency: u32) -> Result<Vec<u8>, ClientError> {
        let call = Call::new(Method::GET, &["v1", "profile"])
            .query("seconds", seconds.to_string())
            .query("frequency", frequency.to_string())
            .patient(Duration::from_secs(seconds.into()));
        let answer = self.begin(call).await?;
        let body = answer.bytes().await.map_err(|e| self.strange(&e))?;
        Ok(body.to_vec())
    }

    /// The last seconds, at most 300, oldest first.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn history(&self, seconds: usize) -> Result<HistoryView, ClientError> {
        let call = Call::new(Method::GET, &["v1", "history"]);
        self.run(call.query("seconds", seconds.to_string())).await
    }

    /// Counters, gauges and histograms of the moment.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn stats(&self) -> Result<Value, ClientError> {
        self.run(Call::new(Method::GET, &["v1", "stats"])).await
    }

    /// Brings the lasting settings back to those of an older revision, as a new one.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn rollback(&self, revision: u64, terms: &Terms) -> Result<ChangeView, ClientError> {
        let number = revision.to_string();
        let call = Call::new(Method::POST, &["v1", "revisions", &number, "rollback"]);
        self.run(call.on(terms)).await
    }

    /// Writes the lasting settings to the configuration file.
    ///
    /// # Errors
    /// As every call: see [`ClientError`]; 409 when someone has edited the file.
    pub async fn save(&self, terms: &Terms) -> Result<SaveView, ClientError> {
        self.run(Call::new(Method::POST, &["v1", "settings", "save"]).on(terms))
            .await
    }

    /// As [`AdminClient::create_override`]; with `dry_run` nothing is changed.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn create_override_on(
        &self,
        request: &OverrideRequest,
        terms: &Terms,
    ) -> Result<OverrideCreated, ClientError> {
        let call = Call::new(Method::POST, &["v1", "overrides"]);
        self.run(call.on(terms).with(request)?).await
    }

    /// As [`AdminClient::delete_override`], with a name for the list of revisions.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn delete_override_on(
        &self,
        id: &str,
        terms: &Terms,
    ) -> Result<OverrideDeleted, ClientError> {
        self.run(Call::new(Method::DELETE, &["v1", "overrides", id]).on(terms))
            .await
    }

    /// The state of every rate limit, as the proxy reports it.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn limits(&self) -> Result<Value, ClientError> {
        self.run(Call::new(Method::GET, &["v1", "limits"])).await
    }

    /// Adds a server, in the form it has in the settings, to an upstream.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn add_server(
        &self,
        upstream: &str,
        server: &Value,
        terms: &Terms,
    ) -> Result<ChangeView, ClientError> {
        let call = Call::new(Method::POST, &["v1", "upstreams", upstream, "servers"]);
        self.run(call.on(terms).with(server)?).await
    }

    /// Changes fields of one server of an upstream.
    ///
    /// # Errors
    /// As every call: see [`ClientError`]; [`ClientError::is_not_found`] when there is none.
    pub async fn patch_server(
        &self,
        upstream: &str,
        address: &str,
        fields: &Value,
        terms: &Terms,
    ) -> Result<ChangeView, ClientError> {
        let path = ["v1", "upstreams", upstream, "servers", address];
        self.run(Call::new(Method::PATCH, &path).on(terms).with(fields)?)
            .await
    }

    /// Takes a server out of an upstream; requests in flight on it finish.
    ///
    /// # Errors
    /// As every call: see [`ClientError`]; [`ClientError::is_not_found`] when there is none.
    pub async fn remove_server(
        &self,
        upstream: &str,
        address: &str,
        terms: &Terms,
    ) -> Result<ChangeView, ClientError> {
        let path = ["v1", "upstreams", upstream, "servers", address];
        self.run(Call::new(Method::DELETE, &path).on(terms)).await
    }

    /// Sets a server down and waits, for `wait` at most, until no request is in flight on it.
    ///
    /// # Errors
    /// As every call: see [`ClientError`]; [`ClientError::is_not_found`] when there is none.
    pub async fn drain_server(
        &self,
        upstream: &str,
        address: &str,
        wait: Duration,
        terms: &Terms,
    ) -> Result<DrainView, ClientError> {
        let path = ["v1", "upstreams", upstream, "servers", address, "drain"];
        let call = Call::new(Method::POST, &path)
            .on(terms)
            .query("wait", format_duration(wait))
            .patient(wait);
        self.run(call).await
    }
}
