//! Flags that change how requests travel.

use std::path::PathBuf;

use clap::ValueEnum;

use weir_load::scenario::{HttpOverrides, HttpVersion, TlsVersion};

/// Arguments that change the `[http]` and `[tls]` tables of a scenario.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct HttpArgs {
    /// Version of HTTP: ALPN over TLS, prior knowledge in clear text.
    #[arg(long, value_enum, value_name = "VERSION")]
    http_version: Option<Version>,
    /// Keep connections after an answer; `false` opens one for each request.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    keepalive: Option<bool>,
    /// Requests on a connection before it is closed and another one opened.
    #[arg(long, value_name = "N")]
    requests_per_connection: Option<u32>,
    /// HTTP/2 with the wire engine: lanes that share a connection.
    #[arg(long, value_name = "N")]
    streams_per_connection: Option<u32>,
    /// Certificates (PEM) to trust instead of those of the system.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Accept any certificate.
    #[arg(long)]
    tls_insecure: bool,
    /// Name to ask for in TLS, to verify, and to send as host, instead of the target's.
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Certificate chain (PEM) to show to the server.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Oldest version of TLS to accept.
    #[arg(long, value_enum, value_name = "VERSION")]
    tls_min_version: Option<Oldest>,
}

/// Version of HTTP by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Version {
    /// HTTP/1.1.
    #[value(name = "1.1")]
    Http1,
    /// HTTP/2.
    #[value(name = "2")]
    Http2,
}

/// Version of TLS by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Oldest {
    /// TLS 1.2.
    #[value(name = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[value(name = "1.3")]
    Tls13,
}

impl From<&HttpArgs> for HttpOverrides {
    fn from(args: &HttpArgs) -> Self {
        Self {
            version: args.http_version.map(|version| match version {
                Version::Http1 => HttpVersion::Http1,
                Version::Http2 => HttpVersion::Http2,
            }),
            keepalive: args.keepalive,
            requests_per_connection: args.requests_per_connection,
            streams_per_connection: args.streams_per_connection,
            ca: args.tls_ca.clone(),
            insecure: args.tls_insecure,
            server_name: args.tls_server_name.clone(),
            certificate: args.tls_cert.clone(),
            key: args.tls_key.clone(),
            min_version: args.tls_min_version.map(|version| match version {
                Oldest::Tls12 => TlsVersion::Tls12,
                Oldest::Tls13 => TlsVersion::Tls13,
            }),
        }
    }
}
