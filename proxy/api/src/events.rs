//! What `GET /v1/events` tells, one server-sent event each.

use serde::{Deserialize, Serialize};

use crate::admin::Change;

/// Something that happened to the settings or to a server.
///
/// As JSON it has the field `event` with the name of the kind, which is also the `event:` of the
/// stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first of every stream.
    Hello {
        /// Number of the settings in force when the stream began.
        revision: u64,
    },
    /// Settings were published.
    Settings {
        /// Their number.
        revision: u64,
        /// When (RFC 3339, UTC).
        at: String,
        /// Who changed them.
        who: String,
        /// Why.
        why: String,
        /// What became different.
        diff: Vec<Change>,
    },
    /// An override began, was renewed or ended.
    Override {
        /// Number of the settings in force after it.
        revision: u64,
        /// When (RFC 3339, UTC).
        at: String,
        /// What happened to it.
        action: OverrideAction,
        /// Its id.
        id: String,
        /// Its owner.
        owner: String,
        /// Its reason; for an end, why it ended.
        reason: String,
        /// When it ends unless it is renewed; none when it has ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<String>,
    },
    /// The lasting settings were written to the configuration file.
    Saved {
        /// Number of the settings in force after it.
        revision: u64,
        /// When (RFC 3339, UTC).
        at: String,
        /// Who saved.
        who: String,
        /// The file.
        file: String,
    },
    /// A server is in another state than a quarter of a second ago.
    Server {
        /// When (RFC 3339, UTC).
        at: String,
        /// The upstream's name.
        upstream: String,
        /// The server as written in the settings.
        server: String,
        /// The address that it stands for.
        address: String,
        /// `up`, `unhealthy`, `failed`, `full` or `down`; none: it was not there.
        old: Option<String>,
        /// The same now; none: it is not there any more.
        new: Option<String>,
        /// What the last health check said, when health checks made the change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// This reader was too slow, and that many events are lost to it.
    Missed {
        /// How many.
        count: u64,
    },
}

impl Event {
    /// The name of the kind: the `event:` of the stream.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Settings { .. } => "settings",
            Self::Override { .. } => "override",
            Self::Saved { .. } => "saved",
            Self::Server { .. } => "server",
            Self::Missed { .. } => "missed",
        }
    }
}

/// What happened to an override.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverrideAction {
    /// It began.
    Created,
    /// It lasts longer, or less long, than before.
    Renewed,
    /// It has ended.
    Ended,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_in_the_json() {
        let event = Event::Server {
            at: "2026-03-02T10:00:00.000Z".to_owned(),
            upstream: "api".to_owned(),
            server: "127.0.0.1:8000".to_owned(),
            address: "127.0.0.1:8000".to_owned(),
            old: Some("up".to_owned()),
            new: None,
            why: None,
        };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["event"], event.name());
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }
}
