//! Handshakes in memory.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Error, HandshakeKind, ServerConnection};
use weir_api::config::UpstreamTls;
use weir_api::config::{ClientAuth, ListenerTls, TlsVersion};

use super::authority::{Authority, NOW, files, table};
use crate::tls::{Alpn, ClientIdentity, ClientTls, ServerTls, handshake_failure};

struct Met {
    client: ClientConnection,
    server: ServerConnection,
}

/// Lets both sides talk until neither has anything to say.
fn meet(client: Arc<ClientConfig>, server: &ServerTls, name: &str) -> Result<Met, Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut met = Met {
        client: ClientConnection::new(client, name)?,
        server: ServerConnection::new(server.config())?,
    };
    let mut failed = None;
    while met.client.wants_write() || met.server.wants_write() {
        let mut wire = Vec::new();
        while met.client.wants_write() {
            met.client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            met.server.read_tls(&mut rest).unwrap();
            if let Err(error) = met.server.process_new_packets() {
                failed = failed.or(Some(error));
            }
        }
        let mut wire = Vec::new();
        while met.server.wants_write() {
            met.server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            met.client.read_tls(&mut rest).unwrap();
            if let Err(error) = met.client.process_new_packets() {
                failed = failed.or(Some(error));
            }
        }
    }
    failed.map_or(Ok(met), Err)
}

fn server(a: &Authority, table: &ListenerTls) -> ServerTls {
    ServerTls::load(table, a.path(), Alpn::Http1, now()).unwrap()
}

fn now() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A client that trusts the authority.
fn trusting(a: &Authority, own: Option<&str>) -> Arc<ClientConfig> {
    let table = UpstreamTls {
        ca: Some("ca.pem".into()),
        cert: own.map(|name| files(name).cert),
        key: own.map(|name| files(name).key),
        ..UpstreamTls::default()
    };
    ClientTls::load(&table, a.path(), now()).unwrap().config()
}

/// The subject of the certificate that a client sees.
fn shown(met: &Met) -> String {
    ClientIdentity::of(&met.client.peer_certificates().unwrap()[0])
        .unwrap()
        .subject
}

#[test]
fn the_certificate_follows_the_name() {
    let a = Authority::new();
    let default = a.issue("default", &["default.test", "other.test"]);
    let wild = a.issue("wild", &["*.wild.test"]);
    let exact = a.issue("exact", &["api.wild.test"]);
    let server = server(&a, &table([default, wild, exact]));
    let client = trusting(&a, None);
    for (name, subject) in [
        ("default.test", "CN=default"),
        ("other.test", "CN=default"),
        ("x.wild.test", "CN=wild"),
        ("api.wild.test", "CN=exact"),
        ("API.Wild.test", "CN=exact"),
    ] {
        let met = meet(Arc::clone(&client), &server, name).unwrap();
        assert_eq!(shown(&met), subject, "{name}");
    }
    // Names of none of them get the first certificate, which the client then refuses.
    for name in ["wild.test", "a.b.wild.test", "127.0.0.1"] {
        let refused = meet(Arc::clone(&client), &server, name).err().unwrap();
        let said = handshake_failure(&std::io::Error::other(refused));
        assert!(
            said.contains("but for default.test, other.test"),
            "{name}: {said}"
        );
    }
}

#[test]
fn old_versions_can_be_refused() {
    let a = Authority::new();
    let one = a.issue("one", &["one.test"]);
    let mut table = table([one]);
    let old = || {
        let mut config = ClientConfig::clone(&trusting(&a, None));
        config.resumption = Resumption::disabled();
        let mut roots = rustls::RootCertStore::empty();
        for der in crate::tls::read::certificates(&a.path().join("ca.pem")).unwrap() {
            roots.add(der).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(weir_api::tls::provider());
        let builder = builder
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    };
    let met = meet(old(), &server(&a, &table), "one.test").unwrap();
    assert_eq!(
        met.server.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_2)
    );
    table.min_version = TlsVersion::Tls13;
    assert!(meet(old(), &server(&a, &table), "one.test").is_err());
    assert!(meet(trusting(&a, None), &server(&a, &table), "one.test").is_ok());
}

#[test]
fn sessions_are_resumed_even_when_certificates_are_replaced() {
    let a = Authority::new();
    let table = table([a.issue("one", &["one.test"])]);
    let server = server(&a, &table);
    let client = trusting(&a, None);
    let kind = || {
        meet(Arc::clone(&client), &server, "one.test")
            .unwrap()
            .server
            .handshake_kind()
    };
    assert_eq!(kind(), Some(HandshakeKind::Full));
    assert_eq!(kind(), Some(HandshakeKind::Resumed));
    a.issue("one", &["one.test"]);
    server.replace(&table, now()).unwrap();
    assert_eq!(kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn client_certificates() {
    let a = Authority::new();
    let stranger = Authority::new();
    let mut table = table([a.issue("one", &["one.test"])]);
    a.issue("client", &[]);
    stranger.issue("stranger", &[]);
    a.write("stranger.pem", &stranger.read("stranger.pem"));
    a.write("stranger.key", &stranger.read("stranger.key"));
    table.client_ca = Some("ca.pem".into());
    let identity = |met: &Met| {
        let shown = met
            .server
            .peer_certificates()
            .and_then(|chain| chain.first());
        shown.and_then(ClientIdentity::of)
    };

    table.client_auth = ClientAuth::Optional;
    let optional = server(&a, &table);
    let met = meet(trusting(&a, None), &optional, "one.test").unwrap();
    assert_eq!(identity(&met), None);
    let met = meet(trusting(&a, Some("client")), &optional, "one.test").unwrap();
    let who = identity(&met).unwrap();
    assert_eq!(
        (who.subject.as_str(), who.fingerprint.len()),
        ("CN=client", 64)
    );
    assert!(meet(trusting(&a, Some("stranger")), &optional, "one.test").is_err());

    table.client_auth = ClientAuth::Required;
    let required = server(&a, &table);
    assert!(meet(trusting(&a, None), &required, "one.test").is_err());
    assert!(meet(trusting(&a, Some("client")), &required, "one.test").is_ok());

    table.client_auth = ClientAuth::Off;
    let off = server(&a, &table);
    let met = meet(trusting(&a, Some("client")), &off, "one.test").unwrap();
    assert_eq!(identity(&met), None);
}

/// A ticket stands for a client certificate that was verified; when other authorities come into force it
/// must not stand for one any more.
#[test]
fn tickets_do_not_outlive_a_change_of_authorities() {
    let a = Authority::new();
    let other = Authority::new();
    let mut table = table([a.issue("one", &["one.test"])]);
    a.issue("client", &[]);
    table.client_ca = Some("clients.pem".into());
    table.client_auth = ClientAuth::Required;
    a.write("clients.pem", &a.read("ca.pem"));
    let server = server(&a, &table);
    let client = trusting(&a, Some("client"));
    let kind =
        || meet(Arc::clone(&client), &server, "one.test").map(|met| met.server.handshake_kind());
    assert_eq!(kind(), Ok(Some(HandshakeKind::Full)));
    assert_eq!(kind(), Ok(Some(HandshakeKind::Resumed)));
    a.write("clients.pem", &other.read("ca.pem"));
    server.replace(&table, now()).unwrap();
    assert!(kind().is_err());
}

#[test]
fn servers_are_verified_unless_told_not_to() {
    let a = Authority::new();
    let other = Authority::new();
    let expired = a.issue_with("old", &["old.test"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 2, 3);
    });
    let past = 1_600_000_000;
    let old = ServerTls::load(&table([expired]), a.path(), Alpn::Http1, past).unwrap();
    let good = server(&a, &table([a.issue("good", &["good.test"])]));
    let reason = |client: Arc<ClientConfig>, server: &ServerTls, name: &str| {
        let error = meet(client, server, name).err().unwrap();
        handshake_failure(&std::io::Error::other(error))
    };
    assert_eq!(
        reason(trusting(&a, None), &old, "old.test"),
        "the server's certificate expired on 2021-02-03 00:00:00 UTC"
    );
    assert_eq!(
        reason(trusting(&other, None), &good, "good.test"),
        "the server's certificate is not signed by a trusted authority (tls.ca)"
    );
    let table = UpstreamTls {
        verify: false,
        ..UpstreamTls::default()
    };
    let blind = ClientTls::load(&table, a.path(), NOW).unwrap();
    assert!(meet(blind.config(), &old, "whatever.test").is_ok());
}

#[test]
fn names_of_servers() {
    let a = Authority::new();
    let load = |name: Option<&str>| {
        let table = UpstreamTls {
            ca: Some("ca.pem".into()),
            server_name: name.map(str::to_owned),
            ..UpstreamTls::default()
        };
        ClientTls::load(&table, a.path(), NOW).unwrap()
    };
    let asked =
        |tls: &ClientTls, host: &str| tls.server_name(host).map(|name| name.to_str().into_owned());
    let by_host = load(None);
    assert_eq!(
        asked(&by_host, "api.internal").as_deref(),
        Some("api.internal")
    );
    assert_eq!(asked(&by_host, "[::1]").as_deref(), Some("::1"));
    assert_eq!(asked(&by_host, "10.0.0.1").as_deref(), Some("10.0.0.1"));
    assert_eq!(asked(&by_host, "/run/api.sock"), None);
    assert_eq!(
        asked(&load(Some("x.test")), "/run/api.sock").as_deref(),
        Some("x.test")
    );
}
