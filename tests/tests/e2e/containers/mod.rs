//! The shipped Compose files with the real engine, running the programs under test.
//!
//! Needs a Docker engine that answers, Compose, and the base image of docker/Dockerfile (pulled, or made by
//! docker/local-images.sh). Where one of them is missing, what needs it is skipped, and a line on standard error says so.

mod engine;
mod limits;
mod load;
mod replicas;
mod restart;
mod stack;

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
    for (file, port, replicas) in [("compose.yml", "8080", ""), ("compose.prod.yml", "80", "2")] {
        let shown = run(compose.command(file, "weir-e2e-config").arg("config"));
        let value = |key: &str| {
            let line = shown.lines().map(str::trim).find(|l| l.starts_with(key));
            line.map_or("", |line| line[key.len()..].trim()).to_owned()
        };
        assert_eq!(value("scale:"), replicas, "{shown}");
        assert!(value("cpus:").starts_with('1'), "{shown}");
        assert!(
            ["2g", "\"2147483648\""].contains(&value("mem_limit:").as_str()),
            "{shown}"
        );
        assert_eq!(value("stop_grace_period:"), "35s", "{shown}");
        assert_eq!(
            shown.matches("read_only: true").count(),
            3 - ro_mounts(&shown),
            "{shown}"
        );
        assert!(shown.contains(port), "{shown}");
    }
}

/// Compose v2 writes a read-only mount as `read_only: true` too; v1 as `:ro`.
fn ro_mounts(shown: &str) -> usize {
    usize::from(shown.contains(":/etc/weir:ro"))
}
