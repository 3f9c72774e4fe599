//! What is wrong with files is said in words.

use weir_api::config::ListenerTls;
use weir_api::config::UpstreamTls;

use super::authority::{Authority, NOW, files, table};
use crate::tls::{Alpn, ClientTls, FileError, Refreshed, ServerTls, TlsProblem, TlsProblems};

fn problems(authority: &Authority, table: &ListenerTls) -> Vec<TlsProblem> {
    match ServerTls::load(table, authority.path(), Alpn::Http1, NOW) {
        Ok(_) => Vec::new(),
        Err(TlsProblems(problems)) => problems,
    }
}

/// The one problem of one certificate: field and text.
fn problem(authority: &Authority, name: &str) -> (String, String) {
    let found = problems(authority, &table([files(name)]));
    let [one] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert!(!one.error.remedy().is_empty());
    (one.field.to_string(), one.error.to_string())
}

#[test]
fn good_files_have_no_problems() {
    let a = Authority::new();
    a.issue("one", &["one.test"]);
    a.issue_chain("chain.test");
    // Certificate and key in one file.
    let both = a.read("one.pem") + &a.read("one.key");
    a.write("both.pem", &both);
    a.write("both.key", &both);
    for name in ["one", "chain.test", "both"] {
        assert_eq!(problems(&a, &table([files(name)])), [], "{name}");
    }
    let tls = ServerTls::load(&table([files("one")]), a.path(), Alpn::Http1, NOW).unwrap();
    let [pair] = &tls.pairs()[..] else { panic!() };
    assert_eq!(
        (pair.subject.as_str(), pair.names.as_slice()),
        ("CN=one", &["one.test".to_owned()][..])
    );
    assert!(pair.days_left(NOW) > 20_000 && pair.days_left(pair.not_after + 1) == -1);
}

#[test]
fn files_that_are_not_there_or_hold_something_else() {
    let a = Authority::new();
    a.issue("one", &[]);
    let (field, text) = problem(&a, "gone");
    assert_eq!(field, "certificates[0].cert");
    assert!(
        text.ends_with("gone.pem: cannot be read: No such file or directory (os error 2)"),
        "{text}"
    );

    a.write("keyless.pem", &a.read("one.pem"));
    let (field, text) = problem(&a, "keyless");
    assert_eq!(field, "certificates[0].key");
    assert!(text.contains("keyless.key: cannot be read"), "{text}");

    a.write("empty.pem", "\n");
    a.write("empty.key", "");
    assert!(
        problem(&a, "empty")
            .1
            .ends_with("empty.pem: holds no certificate in PEM")
    );
    a.write("empty.pem", &a.read("one.pem"));
    assert!(
        problem(&a, "empty")
            .1
            .ends_with("empty.key: holds no private key in PEM")
    );

    a.write("cut.pem", &a.read("one.pem")[..200]);
    a.write("cut.key", &a.read("one.key"));
    assert!(
        problem(&a, "cut")
            .1
            .ends_with("cut.pem: is not good PEM: a section has no END line")
    );
    a.write(
        "cut.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    assert!(
        problem(&a, "cut")
            .1
            .ends_with("cut.pem: certificate 1 cannot be parsed")
    );

    a.write("locked.pem", &a.read("one.pem"));
    a.write(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    assert!(
        problem(&a, "locked")
            .1
            .ends_with("locked.key: the key is encrypted")
    );
}

#[test]
fn a_key_of_another_certificate() {
    let a = Authority::new();
    a.issue("one", &[]);
    a.issue("two", &[]);
    a.write("mixed.pem", &a.read("one.pem"));
    a.write("mixed.key", &a.read("two.key"));
    let (field, text) = problem(&a, "mixed");
    assert_eq!(field, "certificates[0].key");
    assert!(text.contains("mixed.key is not the key of"), "{text}");
    assert!(text.ends_with("(its subject: CN=one)"), "{text}");
}

#[test]
fn a_chain_out_of_order() {
    let a = Authority::new();
    let [leaf, between, root] = a.issue_chain("leaf");
    a.write("leaf.pem", &[between.clone(), leaf.clone()].concat());
    let (field, text) = problem(&a, "leaf");
    assert_eq!(field, "certificates[0].cert");
    assert!(
        text.ends_with("the certificate of the key is number 2, not the first"),
        "{text}"
    );
    a.write("leaf.pem", &[leaf.clone(), root, between.clone()].concat());
    let text = problem(&a, "leaf").1;
    assert!(
        text.ends_with(
            "certificate 1 was issued by CN=Between, but the one after it is of CN=Root"
        ),
        "{text}"
    );
    a.write("leaf.pem", &[leaf, between].concat());
    assert_eq!(
        problems(&a, &table([files("leaf")])),
        [],
        "the root may be left out"
    );
}

#[test]
fn certificates_out_of_their_time() {
    let a = Authority::new();
    a.issue_with("old", &[], |params| {
        params.not_after = rcgen::date_time_ymd(2021, 2, 3)
    });
    a.issue_with("new", &[], |params| {
        params.not_before = rcgen::date_time_ymd(2080, 2, 3)
    });
    let old = problem(&a, "old").1;
    assert!(
        old.ends_with("certificate 1 (CN=old) expired on 2021-02-03 00:00:00 UTC"),
        "{old}"
    );
    let new = problem(&a, "new").1;
    assert!(
        new.ends_with("certificate 1 (CN=new) is not valid before 2080-02-03 00:00:00 UTC"),
        "{new}"
    );
}

#[test]
fn everything_is_said_at_once_with_its_place() {
    let a = Authority::new();
    a.issue("one", &[]);
    let mut table = table([files("gone"), files("one"), files("lost")]);
    table.client_ca = Some("nobody.pem".into());
    table.client_auth = weir_api::config::ClientAuth::Required;
    let found = problems(&a, &table);
    let fields: Vec<_> = found.iter().map(|one| one.field.to_string()).collect();
    assert_eq!(
        fields,
        ["certificates[0].cert", "certificates[2].cert", "client_ca"]
    );
    let place = weir_api::settings::Path::root()
        .key("listener")
        .index(0)
        .key("tls");
    assert_eq!(found[2].at(&place).field, "listener[0].tls.client_ca");
}

#[test]
fn a_name_is_written_so_that_it_can_stand_in_a_header() {
    let a = Authority::new();
    a.issue_with("odd", &[], |params| {
        let name = &mut params.distinguished_name;
        *name = rcgen::DistinguishedName::new();
        name.push(rcgen::DnType::OrganizationName, "a, b\r\nX: y");
        name.push(rcgen::DnType::CommonName, "Zoë");
    });
    let tls = ServerTls::load(&table([files("odd")]), a.path(), Alpn::Http1, NOW).unwrap();
    assert_eq!(tls.pairs()[0].subject, r"CN=Zo\C3\AB,O=a\, b\0D\0AX: y");
}

#[test]
fn tables_of_upstreams_are_checked_the_same_way() {
    let a = Authority::new();
    a.issue("one", &[]);
    let load = |table: UpstreamTls| match ClientTls::load(&table, a.path(), NOW) {
        Ok(_) => Vec::new(),
        Err(TlsProblems(problems)) => problems,
    };
    let good = UpstreamTls {
        ca: Some("ca.pem".into()),
        cert: Some("one.pem".into()),
        key: Some("one.key".into()),
        ..UpstreamTls::default()
    };
    assert_eq!(load(good.clone()), []);
    let bad = load(UpstreamTls {
        ca: Some("one.key".into()),
        key: Some("ca.pem".into()),
        ..good
    });
    let fields: Vec<_> = bad.iter().map(|one| one.field.to_string()).collect();
    assert_eq!(fields, ["ca", "key"]);
    assert!(matches!(
        bad[0].error,
        FileError::Empty {
            wanted: "certificate",
            ..
        }
    ));
}

#[test]
fn changed_files_are_read_when_they_have_settled() {
    let a = Authority::new();
    a.issue("one", &["first.test"]);
    let tls = ServerTls::load(&table([files("one")]), a.path(), Alpn::Http1, NOW).unwrap();
    let names = || tls.pairs()[0].names.clone();
    assert!(matches!(tls.refresh(NOW), Refreshed::Unchanged));

    // Half of a renewal: first seen, then tried, and kept away.
    a.issue("two", &["second.test"]);
    a.write("one.pem", &a.read("two.pem"));
    assert!(matches!(tls.refresh(NOW), Refreshed::Unchanged));
    let Refreshed::Kept(TlsProblems(problems)) = tls.refresh(NOW) else {
        panic!()
    };
    assert!(matches!(problems[0].error, FileError::AnotherKey { .. }));
    assert_eq!(names(), ["first.test"]);
    assert!(
        matches!(tls.refresh(NOW), Refreshed::Unchanged),
        "said once"
    );

    a.write("one.key", &a.read("two.key"));
    assert!(matches!(tls.refresh(NOW), Refreshed::Unchanged));
    assert!(matches!(tls.refresh(NOW), Refreshed::Replaced));
    assert_eq!(names(), ["second.test"]);
}
