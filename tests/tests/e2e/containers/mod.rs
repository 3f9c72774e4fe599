//! The shipped Compose files with the real engine, running the programs under test.
//!
//! Needs a Docker engine that answers, Compose, and the base image of docker/Dockerfile (pulled, or made by
//! docker/local-images.sh). Where one of them is missing, what needs it is skipped, and a line on standard error says so.

pub(crate) mod engine;
mod limits;
mod load;
mod replicas;
mod restart;
mod stack;

use serde_json::{Value, json};

use self::engine::{Compose, folder, run, skipped};

#[tokio::test]
async fn the_configuration_in_the_image_is_valid() {
    let file = folder().join("config/proxy.toml");
    let checked = weir_tests::process::run("weir", &["check", file.to_str().unwrap()]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(checked.stdout.contains("api:8000"), "{}", checked.stdout);
}

#[test]
fn both_dockerfiles_make_the_same_images() {
    let text = |name: &str| std::fs::read_to_string(folder().join(name)).unwrap();
    let common = |text: &str| text[text.find("COPY docker/http-ok").unwrap()..].to_owned();
    assert_eq!(
        common(&text("Dockerfile")),
        common(&text("Dockerfile.prebuilt"))
    );
}

#[test]
fn both_compose_files_mean_what_is_documented() {
    let Some(compose) = Compose::find() else {
        return skipped("there is no Compose");
    };
    for (file, published, replicas) in [
        ("compose.yml", "127.0.0.1:8080", None),
        ("compose.prod.yml", "80", Some(2)),
    ] {
        let text = run(compose.command(file, "weir-e2e-config").arg("config"));
        let shown: Value = serde_saphyr::from_str(&text).unwrap();
        let (api, weir) = (&shown["services"]["api"], &shown["services"]["weir"]);
        for service in [api, weir] {
            assert_eq!(service["read_only"], true, "{text}");
            assert_eq!(service["cap_drop"], json!(["ALL"]), "{text}");
            let options = service["security_opt"].to_string();
            assert!(options.contains("no-new-privileges"), "{text}");
            assert!(!service["pids_limit"].is_null(), "{text}");
            assert!(!service["mem_limit"].is_null(), "{text}");
        }
        assert_eq!(api["scale"].as_u64(), replicas, "{text}");
        assert_eq!(api["cpus"].as_f64(), Some(1.0), "{text}");
        let memory = api["mem_limit"].as_str().unwrap_or_default();
        assert!(["2g", "2147483648"].contains(&memory), "{text}");
        assert_eq!(weir["stop_grace_period"], "35s", "{text}");
        // Versions of Compose differ in what they write in short and what in long.
        let mount = &weir["volumes"][0];
        let short = mount.as_str().is_some_and(|mount| mount.ends_with(":ro"));
        assert!(short || mount["read_only"] == true, "{text}");
        assert_eq!(published_at(&weir["ports"][0]), published, "{text}");
    }
}

/// A tag can be moved to another image; a digest is the image.
#[test]
fn images_of_others_are_named_by_digest() {
    let text = std::fs::read_to_string(folder().join("compose.monitoring.yml")).unwrap();
    let overlay: Value = serde_saphyr::from_str(&text).unwrap();
    for name in ["prometheus", "grafana"] {
        let service = &overlay["services"][name];
        let image = service["image"].as_str().unwrap();
        let digest = image.split_once("@sha256:").map(|(_, digest)| digest);
        let is_hex =
            |digest: &str| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(digest.is_some_and(is_hex), "{image}");
        assert!(!service["mem_limit"].is_null(), "{name}");
    }
    assert!(text.contains("pids_limit"), "{text}");
}

/// Where a port is published: `ADDRESS:PORT` or `PORT`.
fn published_at(port: &Value) -> String {
    if let Some(short) = port.as_str() {
        return short.trim_end_matches(":8080/tcp").to_owned();
    }
    let parts = [&port["host_ip"], &port["published"]].map(|part| match part {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        number => number.to_string(),
    });
    parts.join(":").trim_start_matches(':').to_owned()
}
