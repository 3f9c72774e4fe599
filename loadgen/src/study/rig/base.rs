//! The settings that trials start from, and patches of them.

use std::{net::SocketAddr, path::Path};

use serde_json::{Value, json};
use weir_lab::proxies::tuned::{self, RigSpec, UPSTREAM};

use super::RigError;

/// The settings that every trial starts from, as JSON: the documented ones, with the rate limit and
/// compression off.
///
/// # Errors
///
/// When the built-in configuration is not accepted, which a test excludes.
pub fn base_settings() -> Result<Value, RigError> {
    let text = tuned::weir(
        RigSpec::default(),
        &[([127, 0, 0, 1], 1).into()],
        Path::new("."),
    );
    let config = weir_api::config::parse(&text, "experiment.toml")
        .map_err(|error| RigError::Config(error.to_string()))?;
    Ok(config.settings().to_json())
}

/// The patch that makes these the servers of the upstream.
pub(crate) fn servers_patch(servers: &[SocketAddr]) -> Value {
    let list: Vec<_> = servers
        .iter()
        .map(|server| json!({ "address": server.to_string(), "max_fails": 3, "fail_timeout": "30s" }))
        .collect();
    json!({ "upstream": { UPSTREAM: { "servers": list } } })
}

/// Merges one patch into another (RFC 7396, without nulls).
pub(crate) fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

/// The merge patch that gives the setting at a dotted path a value.
#[must_use]
pub(crate) fn patch(path: &str, value: Value) -> Value {
    path.rsplit('.')
        .fold(value, |inner, step| json!({ step: inner }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn trials_start_from_the_documented_settings() {
        let settings = base_settings().unwrap();
        let at = |pointer: &str| settings.pointer(pointer).cloned();
        assert_eq!(at("/connections/max"), Some(json!(1024)));
        assert_eq!(at("/upstream/api/keepalive"), Some(json!(32)));
        assert_eq!(at("/rate_limit/api_limit/rate"), Some(json!("10r/s")));
        assert_eq!(at("/rate_limit/api_limit/burst"), Some(json!(20)));
        assert_eq!(at("/rate_limit/api_limit/enabled"), Some(json!(false)));
        assert_eq!(at("/timeouts/connect"), Some(json!("30s")));
        assert_eq!(at("/compression/level"), Some(json!(6)));
    }

    #[test]
    fn patches_merge_key_by_key() {
        let mut settings = json!({"a": {"b": 1, "c": 2}});
        merge(&mut settings, &json!({"a": {"c": 3}, "d": [4]}));
        assert_eq!(settings, json!({"a": {"b": 1, "c": 3}, "d": [4]}));
    }
}
