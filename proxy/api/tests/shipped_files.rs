//! The configurations and the reference that ship with the project agree with the code.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs, path::PathBuf};

use weir_api::{config, endpoints, schema, settings::UpstreamProtocol};

fn shipped(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

#[test]
fn the_configurations_are_good_and_the_documented_ones() {
    for (file, servers) in [
        ("config/proxy.toml", 1),
        ("config/proxy-two-replicas.toml", 2),
        ("config/proxy-health.toml", 2),
    ] {
        let config = config::load(shipped(file)).unwrap_or_else(|errors| panic!("{errors}"));
        let settings = config.settings();
        let limit = &settings.rate_limit["api_limit"];
        assert_eq!(settings.connections.max, 1024);
        assert_eq!(
            (limit.rate.to_string(), limit.burst, limit.nodelay),
            ("10r/s".to_owned(), 20, true)
        );
        assert_eq!(settings.timeouts.connect.as_secs(), 30);
        assert_eq!(
            (settings.compression.enabled, settings.compression.level),
            (true, 6)
        );
        let api = &settings.upstream["api"];
        assert_eq!((api.keepalive, api.servers.len()), (32, servers));
        assert!(
            api.servers
                .iter()
                .all(|s| s.max_fails == 3 && s.fail_timeout.as_secs() == 30)
        );
    }
}

#[test]
fn the_configuration_with_tls_is_good() {
    let file = shipped("config/proxy-tls.toml");
    let config = config::load(&file).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.listeners.len(), 3);
    assert_eq!(config.folder, file.parent().unwrap());
    let tls = config.listeners[1].tls.as_ref().unwrap();
    assert_eq!(tls.client_auth, config::ClientAuth::Required);
    assert!(config.transports["api"].tls.as_ref().unwrap().verify);
}

#[test]
fn the_example_of_http2_is_good() {
    let config = config::load(shipped("config/proxy-http2.toml"));
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    assert!(config.listeners[0].h2c);
    assert_eq!(config.settings().client.max_streams, 128);
}

#[test]
fn the_examples_are_good() {
    let mut found = 0;
    for file in fs::read_dir(shipped("config/examples")).unwrap() {
        let file = file.unwrap().path();
        config::load(&file).unwrap_or_else(|errors| panic!("{errors}"));
        found += 1;
    }
    assert!(found > 0);
}

#[test]
fn the_example_of_grpc_speaks_http2_on_both_sides() {
    let config = config::load(shipped("config/proxy-grpc.toml"));
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    assert!(config.listeners[0].h2c);
    let orders = &config.settings().upstream["orders"];
    assert_eq!(orders.protocol, UpstreamProtocol::Http2);
    assert_eq!(orders.servers.len(), 2);
}

/// Run with `WEIR_UPDATE_DOCS=1` to print the tables into the file.
#[test]
fn the_reference_has_every_setting() {
    printed(
        "docs/reference/settings.md",
        "settings",
        &schema::reference::markdown(&schema::FILE),
    );
}

/// Run with `WEIR_UPDATE_DOCS=1` to print the table into the file.
#[test]
fn the_reference_has_every_endpoint() {
    printed(
        "docs/reference/admin-api.md",
        "endpoints",
        &endpoints::markdown(),
    );
}

/// What stands between the marks of this name in a document is what the code says.
fn printed(path: &str, name: &str, tables: &str) {
    let begin =
        format!("<!-- {name}: printed from the code, see proxy/api/tests/shipped_files.rs -->\n");
    let end = format!("<!-- end of {name} -->\n");
    let path = shipped(path);
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(&begin).unwrap();
    let (found, after) = rest.split_once(&end).unwrap();
    let expected = format!("\n{tables}");
    if std::env::var_os("WEIR_UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
        return;
    }
    assert!(
        found == expected,
        "{} is behind the code: run WEIR_UPDATE_DOCS=1 cargo test -p weir-api --test shipped_files",
        path.display()
    );
}

/// Every complete example of the reference is a configuration that works.
#[test]
fn the_examples_of_the_reference_are_good() {
    let path = shipped("docs/reference/settings.md");
    let text = fs::read_to_string(&path).unwrap();
    let mut found = 0;
    for block in text.split("```toml\n").skip(1) {
        let (example, _) = block.split_once("```").unwrap();
        if example.contains("[[listener]]") {
            config::parse(example, "example")
                .unwrap_or_else(|errors| panic!("{errors}\n{example}"));
            found += 1;
        }
    }
    assert!(found > 0);
}
