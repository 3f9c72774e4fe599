//! What a ceiling belongs to: an engine, the HTTP it speaks, and whether TLS is under it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use weir_load::{
    scenario::{Engine, HttpVersion, Scenario},
    target::{BaseUrl, Target},
};

/// An engine and how it travels; written `wire`, `session+h2`, `wire+tls`, `wire+h2+tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Way {
    wire: bool,
    http2: bool,
    tls: bool,
}

impl Way {
    /// HTTP/1.1 in clear text.
    pub const fn plain(engine: Engine) -> Self {
        Self {
            wire: matches!(engine, Engine::Wire),
            http2: false,
            tls: false,
        }
    }

    /// The same over HTTP/2.
    #[must_use]
    pub const fn over_http2(self) -> Self {
        Self {
            http2: true,
            ..self
        }
    }

    /// The same over TLS.
    #[must_use]
    pub const fn over_tls(self) -> Self {
        Self { tls: true, ..self }
    }

    /// The way that a scenario takes to a target; without one, to processes of our own, in clear
    /// text. Some base URLs over TLS make it count as TLS.
    pub fn of(scenario: &Scenario, target: Option<&Target>) -> Self {
        Self {
            wire: scenario.engine == Engine::Wire,
            http2: scenario.http.version == HttpVersion::Http2,
            tls: target.is_some_and(|target| target.base_urls().iter().any(BaseUrl::is_secure)),
        }
    }

    /// The client engine.
    pub fn engine(self) -> Engine {
        if self.wire {
            Engine::Wire
        } else {
            Engine::Session
        }
    }

    /// The version of HTTP.
    pub fn version(self) -> HttpVersion {
        if self.http2 {
            HttpVersion::Http2
        } else {
            HttpVersion::Http1
        }
    }

    /// Whether TLS is under it.
    pub fn is_secure(self) -> bool {
        self.tls
    }

    /// Every way there is, the cheapest first.
    pub fn all() -> Vec<Self> {
        let mut ways = Vec::new();
        for tls in [false, true] {
            for http2 in [false, true] {
                for wire in [true, false] {
                    ways.push(Self { wire, http2, tls });
                }
            }
        }
        ways
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.engine().name())?;
        if self.http2 {
            f.write_str("+h2")?;
        }
        if self.tls {
            f.write_str("+tls")?;
        }
        Ok(())
    }
}

impl From<Way> for String {
    fn from(way: Way) -> Self {
        way.to_string()
    }
}

impl TryFrom<String> for Way {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::all()
            .into_iter()
            .find(|way| way.to_string() == text)
            .ok_or_else(|| {
                let known: Vec<String> = Self::all().iter().map(Self::to_string).collect();
                format!("`{text}` is not one of {}", known.join(", "))
            })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        assert_eq!(Way::all().len(), 8);
        for way in Way::all() {
            assert_eq!(way.to_string().parse::<Way>().unwrap(), way);
        }
        let way: Way = "wire+h2+tls".parse().unwrap();
        assert_eq!(way, Way::plain(Engine::Wire).over_http2().over_tls());
        assert!(
            "wire+h3"
                .parse::<Way>()
                .unwrap_err()
                .contains("session+tls")
        );
    }
}
