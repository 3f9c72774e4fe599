//! How requests travel: the `[http]` and `[tls]` tables of a scenario.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Engine, locate::Step, validate::Wrong};

/// Most streams that lanes may share a connection for.
const MOST_STREAMS: u32 = 1_000;

/// Version of HTTP that is spoken; nothing is negotiated down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpVersion {
    /// HTTP/1.1: one request at a time on a connection (RFC 9112).
    #[default]
    #[serde(rename = "1.1")]
    Http1,
    /// HTTP/2 (RFC 9113): through ALPN over TLS, with prior knowledge in clear text.
    #[serde(rename = "2")]
    Http2,
}

impl HttpVersion {
    /// Name in scenario files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http1 => "1.1",
            Self::Http2 => "2",
        }
    }
}

/// Connections and what travels on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Http {
    /// Version of HTTP.
    pub version: HttpVersion,
    /// Requests on one connection before it is closed and another one opened; `None` keeps it.
    /// `Some(1)` is what `keepalive = false` means.
    pub requests_per_connection: Option<u32>,
    /// HTTP/2, wire engine: lanes that share a connection; at least 1.
    pub streams_per_connection: u32,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            version: HttpVersion::default(),
            requests_per_connection: None,
            streams_per_connection: 1,
        }
    }
}

impl Http {
    /// Whether a connection is kept after an answer at all.
    pub fn keeps_alive(&self) -> bool {
        self.requests_per_connection != Some(1)
    }
}

/// Oldest version of TLS that is accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    Tls13,
}

/// How `https` targets are talked to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// Certificates (PEM) that are trusted instead of those of the system.
    pub ca: Option<PathBuf>,
    /// Whether any certificate at all is accepted.
    pub insecure: bool,
    /// Name asked for in TLS, verified in the certificate and sent as host, instead of the target's.
    pub server_name: Option<String>,
    /// Certificate chain of the client (PEM), with its key.
    pub certificate: Option<ClientCertificate>,
    /// Oldest version accepted.
    pub min_version: TlsVersion,
    /// Whether a user's later connections may resume the session of its earlier ones.
    pub resumption: bool,
}

/// What a client shows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientCertificate {
    /// Certificate chain, PEM.
    pub chain: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHttp {
    pub(super) version: Option<HttpVersion>,
    pub(super) keepalive: Option<bool>,
    pub(super) requests_per_connection: Option<u32>,
    pub(super) streams_per_connection: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    ca: Option<PathBuf>,
    #[serde(default)]
    insecure: bool,
    server_name: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    #[serde(default)]
    min_version: TlsVersion,
    #[serde(default)]
    resumption: bool,
}

/// A field of one of the two tables that cannot be, and what would be right.
struct Misfit(&'static str, String);

impl Misfit {
    fn in_table(self, table: &'static str) -> Wrong {
        Wrong {
            path: vec![Step::from(table), Step::from(self.0)],
            message: self.1,
        }
    }
}

pub(super) fn http(raw: Option<&RawHttp>, engine: Engine) -> Result<Http, Wrong> {
    let Some(raw) = raw else {
        return Ok(Http::default());
    };
    let requests_per_connection = match (raw.keepalive, raw.requests_per_connection) {
        (Some(false), Some(_)) => {
            let message = "`keepalive = false` is one request a connection: give one of the two";
            return Err(Misfit("requests_per_connection", message.into()).in_table("http"));
        }
        (Some(false), None) => Some(1),
        (_, given) => given,
    };
    let http = Http {
        version: raw.version.unwrap_or_default(),
        requests_per_connection,
        streams_per_connection: raw.streams_per_connection.unwrap_or(1),
    };
    check_http(&http, engine).map_err(|misfit| misfit.in_table("http"))?;
    Ok(http)
}

fn check_http(http: &Http, engine: Engine) -> Result<(), Misfit> {
    if http.requests_per_connection == Some(0) {
        let message = "must be at least 1; leave it out to keep connections".to_owned();
        return Err(Misfit("requests_per_connection", message));
    }
    if !(1..=MOST_STREAMS).contains(&http.streams_per_connection) {
        let message = format!("must be between 1 and {MOST_STREAMS}");
        return Err(Misfit("streams_per_connection", message));
    }
    if http.streams_per_connection > 1
        && (http.version != HttpVersion::Http2 || engine != Engine::Wire)
    {
        let message = "sharing connections needs version = \"2\" and engine = \"wire\"".to_owned();
        return Err(Misfit("streams_per_connection", message));
    }
    Ok(())
}

pub(super) fn tls(raw: Option<&RawTls>) -> Result<Tls, Wrong> {
    let Some(raw) = raw else {
        return Ok(Tls::default());
    };
    let wrong = |field, message: &str| Misfit(field, message.to_owned()).in_table("tls");
    let certificate = match (&raw.certificate, &raw.key) {
        (Some(chain), Some(key)) => Some(ClientCertificate {
            chain: chain.clone(),
            key: key.clone(),
        }),
        (None, None) => None,
        (Some(_), None) => {
            return Err(wrong("certificate", "needs its private key: add `key`"));
        }
        (None, Some(_)) => return Err(wrong("key", "belongs to a `certificate`: add it")),
    };
    let tls = Tls {
        ca: raw.ca.clone(),
        insecure: raw.insecure,
        server_name: raw.server_name.clone(),
        certificate,
        min_version: raw.min_version,
        resumption: raw.resumption,
    };
    check_tls(&tls).map_err(|misfit| misfit.in_table("tls"))?;
    Ok(tls)
}

fn check_tls(tls: &Tls) -> Result<(), Misfit> {
    if tls.insecure && tls.ca.is_some() {
        let message = "accepts any certificate, so that `ca` means nothing: give one of the two";
        return Err(Misfit("insecure", message.to_owned()));
    }
    if let Some(name) = &tls.server_name
        && rustls::pki_types::ServerName::try_from(name.as_str()).is_err()
    {
        let message = format!("`{name}` is neither a DNS name nor an address");
        return Err(Misfit("server_name", message));
    }
    Ok(())
}

/// What the command line may change in the two tables; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HttpOverrides {
    /// Version of HTTP.
    pub version: Option<HttpVersion>,
    /// Whether connections are kept; `Some(true)` also lifts a limit of requests per connection.
    pub keepalive: Option<bool>,
    /// Requests on one connection.
    pub requests_per_connection: Option<u32>,
    /// HTTP/2, wire engine: lanes that share a connection.
    pub streams_per_connection: Option<u32>,
    /// Certificates that are trusted instead of those of the system.
    pub ca: Option<PathBuf>,
    /// Accept any certificate.
    pub insecure: bool,
    /// Name asked for in TLS and sent as host.
    pub server_name: Option<String>,
    /// Certificate chain of the client.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Oldest version of TLS accepted.
    pub min_version: Option<TlsVersion>,
}

impl HttpOverrides {
    /// Applies the overrides; the flag and what is wrong with it if they do not fit.
    pub(super) fn apply(
        &self,
        http: &mut Http,
        tls: &mut Tls,
        engine: Engine,
    ) -> Result<(), (&'static str, String)> {
        http.version = self.version.unwrap_or(http.version);
        match (self.keepalive, self.requests_per_connection) {
            (Some(false), Some(_)) => {
                let message = "contradicts `--keepalive false`: give one of the two";
                return Err(("--requests-per-connection", message.into()));
            }
            (Some(false), None) => http.requests_per_connection = Some(1),
            (Some(true), None) => http.requests_per_connection = None,
            (_, Some(requests)) => http.requests_per_connection = Some(requests),
            (None, None) => {}
        }
        if let Some(streams) = self.streams_per_connection {
            http.streams_per_connection = streams;
        }
        if let Some(ca) = &self.ca {
            tls.ca = Some(ca.clone());
            tls.insecure = false;
        }
        if self.insecure {
            if self.ca.is_some() {
                let message = "accepts any certificate, so that `--tls-ca` means nothing";
                return Err(("--tls-insecure", message.into()));
            }
            tls.insecure = true;
            tls.ca = None;
        }
        if self.server_name.is_some() {
            tls.server_name.clone_from(&self.server_name);
        }
        tls.min_version = self.min_version.unwrap_or(tls.min_version);
        match (&self.certificate, &self.key) {
            (Some(chain), Some(key)) => {
                tls.certificate = Some(ClientCertificate {
                    chain: chain.clone(),
                    key: key.clone(),
                });
            }
            (None, None) => {}
            (Some(_), None) => return Err(("--tls-cert", "needs `--tls-key`".into())),
            (None, Some(_)) => return Err(("--tls-key", "needs `--tls-cert`".into())),
        }
        let flag = |Misfit(field, message): Misfit| {
            let flag = match field {
                "requests_per_connection" => "--requests-per-connection",
                "streams_per_connection" => "--streams-per-connection",
                "server_name" => "--tls-server-name",
                _ => "--tls-insecure",
            };
            (flag, message)
        };
        check_http(http, engine).map_err(flag)?;
        check_tls(tls).map_err(flag)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, Scenario};

    fn parse(tables: &str) -> Result<Scenario, String> {
        let source = format!(
            "name = \"t\"\nduration = \"1s\"\nengine = \"wire\"\n[load]\nmodel = \"closed\"\nusers = 1\n{tables}\n[[requests]]\nname = \"a\"\npath = \"/\"\n"
        );
        Scenario::parse(&source, "t").map_err(|error| error.to_string())
    }

    #[test]
    fn connections_are_kept_and_http_1_is_spoken_unless_said_otherwise() {
        let scenario = parse("").unwrap();
        assert_eq!(scenario.http, Http::default());
        assert!(scenario.http.keeps_alive());
        assert_eq!(scenario.tls, Tls::default());
    }

    #[test]
    fn every_key_is_read() {
        let scenario = parse(
            "[http]\nversion = \"2\"\nrequests_per_connection = 50\nstreams_per_connection = 8\n\
             [tls]\nca = \"ca.pem\"\nserver_name = \"api.example\"\ncertificate = \"c.pem\"\nkey = \"k.pem\"\nmin_version = \"1.3\"\nresumption = true",
        )
        .unwrap();
        assert_eq!(scenario.http.version, HttpVersion::Http2);
        assert_eq!(scenario.http.requests_per_connection, Some(50));
        assert_eq!(scenario.http.streams_per_connection, 8);
        assert_eq!(scenario.tls.ca, Some("ca.pem".into()));
        assert_eq!(scenario.tls.server_name.as_deref(), Some("api.example"));
        assert_eq!(scenario.tls.min_version, TlsVersion::Tls13);
        assert!(scenario.tls.resumption && scenario.tls.certificate.is_some());
        let closing = parse("[http]\nkeepalive = false").unwrap();
        assert_eq!(closing.http.requests_per_connection, Some(1));
        assert!(!closing.http.keeps_alive());
    }

    #[test]
    fn what_contradicts_itself_is_refused_where_it_stands() {
        for (tables, place) in [
            (
                "[http]\nkeepalive = false\nrequests_per_connection = 3",
                "t:9:1: `http.requests_per_connection`",
            ),
            ("[http]\nrequests_per_connection = 0", "t:8:1"),
            ("[http]\nstreams_per_connection = 4", "t:8:1"),
            ("[http]\nversion = \"3\"", "t:8"),
            ("[tls]\ncertificate = \"c.pem\"", "`tls.certificate`"),
            ("[tls]\nkey = \"c.pem\"", "`tls.key`"),
            ("[tls]\ninsecure = true\nca = \"x\"", "`tls.insecure`"),
            ("[tls]\nserver_name = \"no name\"", "`tls.server_name`"),
        ] {
            let error = parse(tables).unwrap_err();
            assert!(error.contains(place), "{tables}: {error}");
        }
    }

    #[test]
    fn the_command_line_wins_and_is_checked_too() {
        let apply = |http: HttpOverrides| {
            let scenario = parse("[http]\nrequests_per_connection = 5").unwrap();
            Overrides {
                http,
                ..Overrides::default()
            }
            .apply(scenario)
            .map_err(|error| error.to_string())
        };
        let kept = apply(HttpOverrides {
            keepalive: Some(true),
            version: Some(HttpVersion::Http2),
            insecure: true,
            ..HttpOverrides::default()
        })
        .unwrap();
        assert_eq!(kept.http.requests_per_connection, None);
        assert_eq!(kept.http.version, HttpVersion::Http2);
        assert!(kept.tls.insecure);
        let error = apply(HttpOverrides {
            streams_per_connection: Some(2),
            ..HttpOverrides::default()
        })
        .unwrap_err();
        assert!(error.contains("--streams-per-connection"), "{error}");
        let error = apply(HttpOverrides {
            certificate: Some("c.pem".into()),
            ..HttpOverrides::default()
        })
        .unwrap_err();
        assert!(error.contains("--tls-key"), "{error}");
    }
}
