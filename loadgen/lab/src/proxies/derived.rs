//! The proxy's configuration for a run: the user's file with its addresses replaced, everything
//! else, limits included, as it is.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value, value};
use weir_api::config::{self, Config};

use crate::error::TopologyError;

/// Any free loopback port.
const ANY_PORT: &str = "127.0.0.1:0";

/// What is replaced in a configuration.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// Where clients connect.
    pub(crate) listener: String,
    /// Where the admin API listens.
    pub(crate) admin: String,
    /// Who may use it, if it is not for this machine alone.
    pub(crate) tokens: Option<PathBuf>,
    /// The servers.
    pub(crate) servers: Vec<String>,
    /// Where an upgrade would hand sockets over.
    pub(crate) upgrade_socket: PathBuf,
    /// Where requests are logged.
    pub(crate) access_log: PathBuf,
}

impl Addresses {
    /// Those of processes: free loopback ports, and files in a folder.
    pub(crate) fn of_processes(replicas: &[SocketAddr], folder: &Path) -> Self {
        Self {
            listener: ANY_PORT.to_owned(),
            admin: ANY_PORT.to_owned(),
            tokens: None,
            servers: replicas.iter().map(ToString::to_string).collect(),
            upgrade_socket: folder.join("upgrade.sock"),
            access_log: folder.join("access.log"),
        }
    }
}

/// Derives the text of a configuration file and its meaning.
pub(crate) fn derive(
    base: &Path,
    addresses: &Addresses,
) -> Result<(String, Config), TopologyError> {
    // The user's own file is checked first, so that errors name its lines, not the derived ones.
    config::load(base).map_err(|error| TopologyError::ProxyConfig(error.to_string()))?;
    let text = fs::read_to_string(base)
        .map_err(|error| TopologyError::ProxyConfig(format!("{}: {error}", base.display())))?;
    let derived = replace(&text, addresses).map_err(TopologyError::ProxyConfig)?;
    let config = config::parse(&derived, "derived proxy.toml")
        .map_err(|error| TopologyError::ProxyConfig(error.to_string()))?;
    Ok((derived, config))
}

fn replace(text: &str, addresses: &Addresses) -> Result<String, String> {
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
            first.insert("address", value(&addresses.listener));
        }
    }
    let text = |path: &Path| path.display().to_string();
    set(root, "admin", "listen", &addresses.admin);
    set(
        root,
        "server",
        "upgrade_socket",
        &text(&addresses.upgrade_socket),
    );
    set(root, "access_log", "path", &text(&addresses.access_log));
    if let Some(tokens) = &addresses.tokens {
        set(root, "admin", "tokens", &text(tokens));
        if let Some(admin) = root.get_mut("admin").and_then(Item::as_table_like_mut) {
            // Files of this machine, which a container does not have.
            for key in ["socket", "audit_log", "tls"] {
                admin.remove(key);
            }
        }
    }
    if let Some(server) = root.get_mut("server").and_then(Item::as_table_like_mut) {
        server.remove("pid_file");
    }
    let upstreams = root.get_mut("upstream").and_then(Item::as_table_like_mut);
    for (_, upstream) in upstreams.into_iter().flat_map(TableLike::iter_mut) {
        if let Some(upstream) = upstream.as_table_like_mut() {
            let first = upstream.remove("servers").and_then(first_server);
            upstream.insert(
                "servers",
                value(servers(first.as_ref(), &addresses.servers)),
            );
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

fn servers(like: Option<&InlineTable>, addresses: &[String]) -> Array {
    let mut list = Array::new();
    for address in addresses {
        let mut server = like.cloned().unwrap_or_default();
        for key in ["backup", "down", "weight"] {
            server.remove(key);
        }
        server.insert("address", address.into());
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

    fn on(folder: &Path) -> Addresses {
        let replicas = ["127.0.0.1:4001", "127.0.0.1:4002"];
        Addresses::of_processes(&replicas.map(|text| text.parse().unwrap()), folder)
    }

    #[test]
    fn addresses_change_and_limits_stay() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.toml");
        fs::write(&base, BASE).unwrap();
        let (text, config) = derive(&base, &on(folder.path())).unwrap();
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
    fn a_container_has_no_files_of_this_machine_and_asks_for_a_token() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.toml");
        let local = "listen = \"127.0.0.1:9900\"\nsocket = \"/run/here.sock\"\naudit_log = \"/var/log/here\"";
        fs::write(&base, BASE.replace("listen = \"127.0.0.1:9900\"", local)).unwrap();
        let addresses = Addresses {
            listener: "0.0.0.0:8080".to_owned(),
            admin: "0.0.0.0:9900".to_owned(),
            tokens: Some("/etc/weir/tokens.toml".into()),
            servers: vec!["api:8000".to_owned()],
            ..on(folder.path())
        };
        let (text, config) = derive(&base, &addresses).unwrap();
        assert!(!text.contains("here"), "{text}");
        assert_eq!(config.admin.listen.to_string(), "0.0.0.0:9900");
        assert_eq!(config.admin.tokens, addresses.tokens);
        let servers = &config.settings().upstream["api"].servers;
        assert_eq!(
            (servers.len(), servers[0].address.as_str()),
            (1, "api:8000")
        );
        assert_eq!(servers[0].max_fails, 3, "taken over from the first one");
    }

    #[test]
    fn an_invalid_file_is_the_users_to_correct() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.toml");
        fs::write(&base, BASE.replace("burst = 20", "burts = 20")).unwrap();
        let error = derive(&base, &on(folder.path())).unwrap_err();
        assert!(
            error.is_usage() && error.to_string().contains("burts"),
            "{error}"
        );
    }
}
