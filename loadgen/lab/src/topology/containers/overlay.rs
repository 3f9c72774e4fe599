//! What a run needs on top of a shipped Compose file. It adds and narrows; it takes no protection away.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::{process::Bounds, topology::TopologySpec};

/// Label of everything that a run starts: whose it is.
pub(super) const OWNER: &str = "weir.bench.owner";
/// Where the proxy finds its configuration in the container.
const CONFIG: &str = "/etc/weir";
/// Where it logs requests.
pub(super) const ACCESS_LOG: &str = "/var/log/weir/access.log";

/// The overlay as JSON, which is YAML. `config` is the folder with the proxy's configuration,
/// `access_log` the file for its access log; both absolute.
pub(super) fn overlay(spec: &TopologySpec, owner: &str, config: &Path, access_log: &Path) -> Value {
    let labels = json!({ OWNER: owner });
    let service = |bounds: Bounds| {
        let mut service = Map::new();
        service.insert("labels".to_owned(), labels.clone());
        // A replica that dies is part of the result, and nothing of a run comes back after a reboot.
        service.insert("restart".to_owned(), json!("no"));
        if let Some(cores) = bounds.cores {
            service.insert("cpus".to_owned(), json!(f64::from(cores)));
        }
        if let Some(bytes) = bounds.memory_bytes {
            service.insert("mem_limit".to_owned(), json!(bytes));
        }
        service
    };
    let mut weir = service(spec.proxy_bounds);
    weir.insert(
        "volumes".to_owned(),
        json!([
            {"type": "bind", "source": config, "target": CONFIG, "read_only": true},
            {"type": "bind", "source": access_log, "target": ACCESS_LOG},
        ]),
    );
    json!({
        "services": {"api": service(spec.replica_bounds), "weir": weir},
        "networks": {"default": {"labels": labels}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_the_topology_come_on_top_and_others_stay_as_shipped() {
        let Ok(mut spec) = TopologySpec::replicas(2) else {
            unreachable!("two replicas are a topology")
        };
        let made = |spec: &TopologySpec| {
            overlay(spec, "me", Path::new("/run/config"), Path::new("/run/log"))
        };
        let plain = made(&spec);
        let api = &plain["services"]["api"];
        assert!(api.get("cpus").is_none() && api.get("mem_limit").is_none());
        assert_eq!(api["restart"], "no");
        spec.replica_bounds = Bounds {
            cores: Some(1),
            memory_bytes: Some(64 << 20),
        };
        let bounded = made(&spec);
        let (api, weir) = (&bounded["services"]["api"], &bounded["services"]["weir"]);
        assert_eq!(
            (&api["cpus"], &api["mem_limit"]),
            (&json!(1.0), &json!(64 << 20))
        );
        assert!(weir.get("cpus").is_none());
        assert_eq!(weir["volumes"][0]["read_only"], true);
        for labelled in [api, weir, &bounded["networks"]["default"]] {
            assert_eq!(labelled["labels"][OWNER], "me");
        }
    }
}
