//! Certificates and keys that cannot be used: `check` and `run` say what, where, and what would be right.

use weir_tests::{Authority, Origin, Weir, process};

/// The lines of `check` for a listener with this inside of its `tls` table, which `run` repeats.
async fn refused(a: &Authority, tls: &str) -> String {
    let file = a.file("weir.toml");
    let text = format!(
        "admin.listen = '127.0.0.1:0'\n\
         server.threads = 1\n\
         listener = [\n  {{ address = '127.0.0.1:0', tls = {{ {tls} }} }}\n]\n\
         route = [{{ upstream = 'api' }}]\n\
         upstream.api.servers = [{{ address = '127.0.0.1:1' }}]\n"
    );
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let checked = process::run("weir", &["check", &file]).await;
    assert_eq!(checked.code, Some(2), "{tls}: {}", checked.stdout);
    let run = process::run("weir", &["run", "--config", &file]).await;
    assert_eq!(run.code, Some(2), "{tls}: {}", run.stderr);
    assert_eq!(run.stderr, checked.stderr);
    checked.stderr
}

#[tokio::test]
async fn each_fault_of_files_has_a_place_and_a_remedy() {
    let a = Authority::new();
    a.issue("one", &["one.test"]);
    a.issue("two", &["two.test"]);
    a.issue_expired("old", &["old.test"]);
    let read = |name: &str| std::fs::read_to_string(a.file(name)).unwrap();
    let write = |name: &str, text: &str| std::fs::write(a.file(name), text).unwrap();
    write("empty.pem", "");
    write("turned.pem", &(read("ca.pem") + &read("one.pem")));
    write("odd.pem", &(read("one.pem") + &read("two.pem")));
    write("ca-first.pem", &(read("one.pem") + &read("ca.pem")));
    for (tls, field, says, remedy) in [
        (
            "cert = 'one.pem', key = 'gone.key'",
            "tls.key",
            "gone.key: cannot be read",
            "a file that exists",
        ),
        (
            "cert = 'gone.pem', key = 'one.key'",
            "tls.cert",
            "gone.pem: cannot be read",
            "a file that exists",
        ),
        (
            "cert = 'one.pem', key = 'two.key'",
            "tls.key",
            "two.key is not the key of",
            "the key with which",
        ),
        (
            "cert = 'old.pem', key = 'old.key'",
            "tls.cert",
            "(CN=old) expired on 2021-02-03",
            "a renewed certificate",
        ),
        (
            "cert = 'empty.pem', key = 'one.key'",
            "tls.cert",
            "empty.pem: holds no certificate in PEM",
            "BEGIN CERTIFICATE",
        ),
        (
            "cert = 'one.pem', key = 'empty.pem'",
            "tls.key",
            "empty.pem: holds no private key in PEM",
            "BEGIN PRIVATE KEY",
        ),
        (
            "cert = 'turned.pem', key = 'one.key'",
            "tls.cert",
            "the certificate of the key is number 2",
            "first, then the one that issued it",
        ),
        (
            "cert = 'odd.pem', key = 'one.key'",
            "tls.cert",
            "was issued by CN=Authority, but the one after it is of CN=two",
            "first, then the one that issued it",
        ),
        (
            "certificates = [ { cert = 'one.pem', key = 'one.key' }, { cert = 'two.pem', key = 'one.key' } ]",
            "tls.certificates[1].key",
            "one.key is not the key of",
            "the key with which",
        ),
        (
            "cert = 'one.pem', key = 'one.key', client_ca = 'one.key'",
            "tls.client_ca",
            "one.key: holds no certificate in PEM",
            "BEGIN CERTIFICATE",
        ),
    ] {
        let said = refused(&a, tls).await;
        let place = "weir.toml:4:";
        assert!(
            said.contains(place) && said.contains(&format!("listener[0].{field}: ")),
            "{said}"
        );
        assert!(
            said.contains(says) && said.contains(remedy),
            "{tls}: {said}"
        );
        assert!(
            said.contains('^') && said.ends_with("weir.toml: 1 error\n"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn each_fault_of_the_tables_has_a_place_and_a_remedy() {
    let a = Authority::new();
    a.issue("one", &["one.test"]);
    for (tls, says) in [
        (
            "cert = 'one.pem'",
            "listener[0].tls.key: missing beside cert",
        ),
        ("min_version = '1.3'", "listener[0].tls: no certificate"),
        ("certificates = []", "listener[0].tls: no certificate"),
        (
            "cert = 'one.pem', key = 'one.key', certificates = [ { cert = 'one.pem', key = 'one.key' } ]",
            "listener[0].tls: certificates beside cert and key",
        ),
        (
            "cert = 'one.pem', key = 'one.key', min_version = '1.1'",
            "listener[0].tls.min_version: \"1.1\" is not allowed",
        ),
        (
            "cert = 'one.pem', key = 'one.key', client_auth = 'required'",
            "listener[0].tls.client_ca: missing",
        ),
        (
            "cert = 'one.pem', key = 'one.key', ciphers = 'x'",
            "listener[0].tls.ciphers: unknown field",
        ),
    ] {
        let said = refused(&a, tls).await;
        assert!(said.contains(says), "{tls}: {said}");
    }
}

/// Paths are relative to the folder of the file, wherever the program is started.
#[tokio::test]
async fn check_tells_what_is_verified_and_what_is_not() {
    let (a, api) = (Authority::new(), Origin::named("api").await);
    a.issue("one", &["one.test"]);
    let text = Weir::before(&[&api])
        .with(
            "listener = [{ address = '127.0.0.1:0', tls = { cert = 'one.pem', key = 'one.key' } }]
             upstream.api.tls = { verify = false }",
        )
        .text();
    let file = a.file("weir.toml");
    std::fs::write(&file, text).unwrap();
    let checked = process::run("weir", &["check", &file.display().to_string()]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(
        checked.stdout.contains("TLS 1.2 and later with one.pem"),
        "{}",
        checked.stdout
    );
    assert!(
        checked.stdout.contains("UNVERIFIED (verify = false)"),
        "{}",
        checked.stdout
    );
}
