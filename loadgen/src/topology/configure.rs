//! The proxy's configuration for a run: the user's file with its addresses replaced, everything
//! else, limits included, as it is.

use std::{fs, net::SocketAddr, path::Path};

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value, value};
use weir_api::config::{self, Config};

use super::TopologyError;

/// Any free loopback port.
const ANY_PORT: &str = "127.0.0.1:0";

/// Derives the text of a configuration file and its meaning.
pub(super) fn derive(
    base: &Path,
    replicas: &[SocketAddr],
    folder: &Path,
) -> Result<(String, Config), TopologyError> {
    // The user's own file is checked first, so that errors name its lines, not the derived ones.
    config::load(base).map_err(|error| TopologyError::ProxyConfig(error.to_string()))?;
    let text = fs::read_to_string(base)
        .map_err(|error| TopologyError::ProxyConfig(format!("{}: {error}", base.display())))?;
    let derived = replace(&text, replicas, folder).map_err(TopologyError::ProxyConfig)?;
    let config = config::parse(&derived, "derived proxy.toml")
        .map_err(|error| TopologyError::ProxyConfig(error.to_string()))?;
    Ok((derived, config))
}

fn replace(text: &str, replicas: &[SocketAddr], folder: &Path) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|error| format!("{error}"))?;
    let root = document.as_table_mut();
    if let Some(listeners) = root
        .get_mut("listener")
        .and_then(Item::as_array_of_tables_mut)
    {
        while listeners.len() > 1 {
            listeners.remove(listeners.len() - 1);
        }
        if let Some(first) = listeners.get_mut(0) {
            first.insert("address", value(ANY_PORT));
        }
    }
    let in_folder = |name: &str| folder.join(name).display().to_string();
    set(root, "admin", "listen", ANY_PORT);
    set(root, "server", "upgrade_socket", &in_folder("upgrade.sock"));
    set(root, "access_log", "path", &in_folder("access.log"));
    if let Some(server) = root.get_mut("server").and_then(Item::as_table_like_mut) {
        server.remove("pid_file");
    }
    let upstreams = root.get_mut("upstream").and_then(Item::as_table_like_mut);
    for (_, upstream) in upstreams.into_iter().flat_map(TableLike::iter_mut) {
        if let Some(upstream) = upstream.as_table_like_mut() {
            let first = upstream.remove("servers").and_then(first_server);
            upstream.insert("servers", value(servers(first.as_ref(), replicas)));
        }
    }
    Ok(document.to_string())
}

/// Sets a key of a table at the root; the table is made when it is missing.
fn set(root: &mut Table, name: &str, key: &str, text: &str) {
    let item = root
        .entry(name)
        .or_insert_with(|| Item::Table(Table::new()));
    if let Some(table) = item.as_table_like_mut() {
        table.insert(key, value(text));
    }
}

/// The settings of the first server in the file, which the replicas take over.
fn first_server(servers: Item) -> Option<InlineTable> {
    match servers {
        Item::Value(Value::Array(list)) => list.get(0)?.as_inline_table().cloned(),
        Item::ArrayOfTables(list) => list.get(0).map(|table| table.clone().into_inline_table()),
        _ => None,
    }
}

fn servers(like: Option<&InlineTable>, replicas: &[SocketAddr]) -> Array {
    let mut list = Array::new();
    for replica in replicas {
        let mut server = like.cloned().unwrap_or_default();
        for key in ["backup", "down", "weight"] {
            server.remove(key);
        }
        server.insert("address", replica.to_string().into());
        list.push(Value::InlineTable(server));
    }
    list
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BASE: &str = r#"
# kept
[admin]
listen = "127.0.0.1:9900"

[[listener]]
address = "127.0.0.1:8080"

[rate_limit.api_limit]
key = "client_ip"
rate = "10r/s"     # the documented limit
burst = 20
nodelay = true

[upstream.api]
keepalive = 32
servers = [ { address = "127.0.0.1:8000", weight = 3, max_fails = 3, fail_timeout = "30s" }, { address = "127.0.0.1:8001", backup = true } ]

[[route]]
path = "/"
upstream = "api"
rate_limit = ["api_limit"]
"#;

    fn replicas() -> Vec<SocketAddr> {
        vec![
            "127.0.0.1:4001".parse().unwrap(),
            "127.0.0.1:4002".parse().unwrap(),
        ]
    }

    #[test]
    fn addresses_change_and_limits_stay() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.toml");
        fs::write(&base, BASE).unwrap();
        let (text, config) = derive(&base, &replicas(), folder.path()).unwrap();
        assert!(text.contains("# the documented limit"), "{text}");
        assert_eq!(config.listeners[0].address.to_string(), ANY_PORT);
        assert_eq!(config.admin.listen.to_string(), ANY_PORT);
        let upstream = &config.settings().upstream["api"];
        let addresses: Vec<_> = upstream
            .servers
            .iter()
            .map(|s| s.address.as_str())
            .collect();
        assert_eq!(addresses, ["127.0.0.1:4001", "127.0.0.1:4002"]);
        assert!(
            upstream
                .servers
                .iter()
                .all(|s| s.max_fails == 3 && s.weight == 1 && !s.backup)
        );
        assert_eq!(upstream.keepalive, 32);
        assert_eq!(config.settings().rate_limit["api_limit"].burst, 20);
    }

    #[test]
    fn an_invalid_file_is_the_users_to_correct() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.toml");
        fs::write(&base, BASE.replace("burst = 20", "burts = 20")).unwrap();
        let error = derive(&base, &replicas(), folder.path()).unwrap_err();
        assert!(
            error.is_usage() && error.to_string().contains("burts"),
            "{error}"
        );
    }
}
