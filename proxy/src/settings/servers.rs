//! Changes to single servers of an upstream.
//!
//! The list of servers is one setting, so such a change is a patch of that list. It is made in the
//! lasting list, and also in the list of every override that holds one: the server is gone, or down,
//! at once and stays so when the override ends, and what else the override changed ends with it.

use serde_json::{Map, Value};
use weir_api::{
    schema::patch::Leaves,
    settings::{Path, Problem, Problems, Settings, Subject},
};

use super::{Author, Conditions, Store, StoreError, store::Changed};

/// What can be changed about a server.
const FIELDS: [&str; 6] = [
    "weight",
    "max_fails",
    "fail_timeout",
    "max_conns",
    "backup",
    "down",
];

/// A change to the servers of an upstream.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerChange {
    /// One more server, as it stands in the settings.
    Add(Value),
    /// Other values for some fields of the server at this address; null: the default.
    Set(String, Value),
    /// Without the server at this address.
    Remove(String),
}

impl Store {
    /// Changes the servers of an upstream until the proxy stops or the settings are saved.
    ///
    /// # Errors
    /// When there is no such upstream or server, a server to add is there already, what would come
    /// out is not valid, another change came in between, or the engine refuses.
    pub fn change_servers(
        &self,
        upstream: &str,
        change: &ServerChange,
        author: Author,
        conditions: Conditions,
    ) -> Result<Changed, StoreError> {
        let mut state = self.lock();
        self.expect(conditions)?;
        let lasting = state.layers.effective_lasting()?.to_json();
        let path = Path::root().key("upstream").key(upstream).key("servers");
        let listed = |settings: &Value| -> Option<Vec<Value>> {
            let upstream = settings.get("upstream")?.get(upstream)?;
            Some(upstream.get("servers")?.as_array()?.clone())
        };
        let list = listed(&lasting).ok_or_else(|| StoreError::NoUpstream(upstream.to_owned()))?;
        let mut layers = state.layers.clone();
        let mut found = false;
        match change.apply(list)? {
            Some(changed) => {
                found = true;
                let changed = normal(upstream, changed, &lasting)?;
                if listed(&layers.file) == changed.as_array().cloned() {
                    layers.patch.remove(&path);
                } else {
                    layers.patch.extend(Leaves::from([(path.clone(), changed)]));
                }
            }
            None if matches!(change, ServerChange::Add(_)) => {
                return Err(StoreError::ServerExists(change.address().to_owned()));
            }
            None => {}
        }
        for active in &mut layers.overrides {
            let Some(Value::Array(list)) = active.leaves.get(&path).cloned() else {
                continue;
            };
            if let Some(changed) = change.apply(list)? {
                found = true;
                active.leaves.insert(path.clone(), Value::Array(changed));
            }
        }
        if !found {
            return Err(StoreError::NoServer {
                upstream: upstream.to_owned(),
                address: change.address().to_owned(),
            });
        }
        layers.effective_lasting()?;
        self.commit(&mut state, layers, author, conditions.into())
    }
}

// === impl ServerChange ===

impl ServerChange {
    fn address(&self) -> &str {
        match self {
            Self::Add(server) => address(server),
            Self::Set(address, _) | Self::Remove(address) => address,
        }
    }

    /// The list after the change; none when it does not concern the list: the server to add is
    /// there, the one to change or remove is not.
    fn apply(&self, mut list: Vec<Value>) -> Result<Option<Vec<Value>>, Problems> {
        let wanted = self.address();
        let at = list.iter().position(|server| address(server) == wanted);
        match (self, at) {
            (Self::Add(server), None) => {
                if !server.is_object() {
                    return Err(shape("a server with at least an address"));
                }
                list.push(server.clone());
            }
            (Self::Set(_, fields), Some(at)) => {
                if let Some(server) = list.get_mut(at).and_then(Value::as_object_mut) {
                    merge(server, fields)?;
                }
            }
            (Self::Remove(_), Some(at)) => {
                list.remove(at);
            }
            _ => return Ok(None),
        }
        Ok(Some(list))
    }
}

fn address(server: &Value) -> &str {
    server
        .get("address")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn merge(server: &mut Map<String, Value>, fields: &Value) -> Result<(), Problems> {
    let Some(fields) = fields.as_object() else {
        return Err(shape("an object with the fields to change"));
    };
    let unknown = fields
        .keys()
        .filter(|name| !FIELDS.contains(&name.as_str()));
    Problems::none_or(
        unknown
            .map(|name| {
                let message = match name.as_str() {
                    "address" => "the address is the server: add another one and remove this one",
                    _ => "unknown field",
                };
                Problem::new(Path::root().key(name), message, FIELDS.join(", "))
                    .about(Subject::Name)
            })
            .collect(),
    )?;
    for (name, value) in fields {
        if value.is_null() {
            server.shift_remove(name);
        } else {
            server.insert(name.clone(), value.clone());
        }
    }
    Ok(())
}

fn shape(allowed: &str) -> Problems {
    Problems::one(Problem::new(
        Path::root(),
        "the body is not an object",
        allowed,
    ))
}

/// A list of servers with every field filled in, checked.
fn normal(upstream: &str, list: Vec<Value>, lasting: &Value) -> Result<Value, Problems> {
    let mut whole = lasting.clone();
    if let Some(servers) = whole.pointer_mut(&format!("/upstream/{upstream}/servers")) {
        *servers = Value::Array(list);
    }
    let whole = Settings::from_json(&whole)?.to_json();
    let servers = whole.pointer(&format!("/upstream/{upstream}/servers"));
    Ok(servers.cloned().unwrap_or_default())
}
