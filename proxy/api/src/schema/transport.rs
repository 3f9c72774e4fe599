//! Listeners, TLS and the PROXY protocol.

use super::{Applies, Field, Kind, Shape, Table, rules, text};

/// Where clients connect.
pub(super) static LISTENER: Table = Table {
    fields: &[
        Field::one(
            "address",
            Kind::Text(text::LISTENER),
            "Where clients connect.",
        )
        .required()
        .nginx("listen")
        .applies(Applies::Restart),
        Field::new(
            "tls",
            Shape::Table(&LISTENER_TLS),
            "TLS with these certificates. A table that is added or taken away needs a restart.",
        )
        .nginx("listen … ssl")
        .applies(Applies::Reload),
        Field::one(
            "http2",
            Kind::Bool,
            "Whether HTTP/2 is offered with `tls`, by ALPN.",
        )
        .or("true")
        .nginx("http2")
        .applies(Applies::Restart),
        Field::one(
            "h2c",
            Kind::Bool,
            "Whether clients may speak HTTP/2 in the clear, with prior knowledge; HTTP/1 is spoken beside it. Not with `tls`.",
        )
        .or("false")
        .nginx("http2")
        .applies(Applies::Restart),
        Field::one(
            "proxy_protocol",
            Kind::Bool,
            "Every connection begins with a PROXY protocol header, version 1 or 2, which says who the client is. Only `client.trusted_proxies` may send one (whoever is on a Unix socket counts as 127.0.0.1); others are closed.",
        )
        .or("false")
        .nginx("listen … proxy_protocol")
        .applies(Applies::Restart),
    ],
    rule: Some(rules::listener),
};

static LISTENER_TLS: Table = Table {
    fields: &[
        Field::one(
            "cert",
            Kind::Text(text::FILE_PATH),
            "Certificate chain, PEM, the certificate of the key first. Read again on SIGHUP, and when the file changes.",
        )
        .nginx("ssl_certificate")
        .applies(Applies::Reload),
        Field::one(
            "key",
            Kind::Text(text::FILE_PATH),
            "Private key, PEM, without a passphrase.",
        )
        .nginx("ssl_certificate_key")
        .applies(Applies::Reload),
        Field::new(
            "certificates",
            Shape::Tables(&CERTIFICATE),
            "Instead of `cert` and `key`, several of them, chosen by the name that the client asks for; the first is for all other names.",
        )
        .nginx("ssl_certificate")
        .applies(Applies::Reload),
        Field::one(
            "min_version",
            Kind::OneOf(&["1.2", "1.3"]),
            "The oldest version of TLS that is spoken.",
        )
        .or("\"1.2\"")
        .nginx("ssl_protocols")
        .applies(Applies::Reload),
        Field::one(
            "client_ca",
            Kind::Text(text::FILE_PATH),
            "The authorities that sign client certificates, PEM.",
        )
        .nginx("ssl_client_certificate")
        .applies(Applies::Reload),
        Field::one(
            "client_auth",
            Kind::OneOf(&["off", "optional", "required"]),
            "Whether clients must show a certificate. Without this, `required` if there is a `client_ca`, else `off`.",
        )
        .nginx("ssl_verify_client")
        .applies(Applies::Reload),
    ],
    rule: Some(rules::listener_tls),
};

static CERTIFICATE: Table = Table {
    fields: &[
        Field::one(
            "cert",
            Kind::Text(text::FILE_PATH),
            "Certificate chain, PEM; the names in it are those that it is used for.",
        )
        .required()
        .nginx("ssl_certificate")
        .applies(Applies::Reload),
        Field::one("key", Kind::Text(text::FILE_PATH), "Private key, PEM.")
            .required()
            .nginx("ssl_certificate_key")
            .applies(Applies::Reload),
    ],
    rule: None,
};

/// What an upstream has in the file beside its live settings.
pub(super) const UPSTREAM: [Field; 2] = [
    Field::new(
        "tls",
        Shape::Table(&UPSTREAM_TLS),
        "TLS to the servers, whose certificates are verified; `tls = {}` does so with the system's roots.",
    )
    .nginx("proxy_pass https://")
    .applies(Applies::Reload),
    Field::one(
        "proxy_protocol",
        Kind::OneOf(&["v1", "v2"]),
        "Each connection begins with a PROXY protocol header of this version, which tells the client's address; such a connection is used for one request.",
    )
    .nginx("proxy_protocol (stream)")
    .applies(Applies::Reload),
];

static UPSTREAM_TLS: Table = Table {
    fields: &[
        Field::one(
            "ca",
            Kind::Text(text::FILE_PATH),
            "The authorities that sign the servers' certificates, PEM; without it, the system's.",
        )
        .nginx("proxy_ssl_trusted_certificate")
        .applies(Applies::Reload),
        Field::one(
            "server_name",
            Kind::Text(text::HOST),
            "The name that is asked for (SNI) and verified; without it, the host in the server's address.",
        )
        .nginx("proxy_ssl_name")
        .applies(Applies::Reload),
        Field::one(
            "cert",
            Kind::Text(text::FILE_PATH),
            "Our own certificate chain, PEM, for servers that ask for one.",
        )
        .nginx("proxy_ssl_certificate")
        .applies(Applies::Reload),
        Field::one(
            "key",
            Kind::Text(text::FILE_PATH),
            "The key of `cert`, PEM, without a passphrase.",
        )
        .nginx("proxy_ssl_certificate_key")
        .applies(Applies::Reload),
        Field::one(
            "verify",
            Kind::Bool,
            "`false` takes any certificate, so that whoever is in between can read and change everything.",
        )
        .or("true")
        .nginx("proxy_ssl_verify")
        .applies(Applies::Reload),
    ],
    rule: None,
};
