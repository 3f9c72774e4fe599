//! The images of the shipped Compose files, with the programs under test in them.

use std::{
    fmt::Write as _,
    fs, io,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
    process::Command,
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use weir_load::stop::StopToken;

use super::command::{docker, run};
use crate::{error::TopologyError, stdio};

/// The base image, as docker/Dockerfile.prebuilt names it by default.
const BASE: &str = "debian:bookworm-slim";
/// The label of images that were built here.
const LABEL: &str = "weir.bench.image";
/// The longest that building may take.
const BUILD_WITHIN: Duration = Duration::from_secs(600);
/// Images of earlier programs are removed when they are older than this and nobody uses them.
const KEPT_FOR: &str = "1h";

/// Both images.
#[derive(Debug, Clone)]
pub(super) struct Images {
    pub(super) weir: String,
    pub(super) api: String,
}

impl Images {
    /// The images of these programs, built with `build.sh` in `folder` unless they are there.
    pub(super) fn of(
        weir: &Path,
        own: &Path,
        folder: &Path,
        stop: &StopToken,
    ) -> Result<Self, TopologyError> {
        let failed = |cause: io::Error| TopologyError::Engine {
            what: "tell the programs for the images apart",
            message: cause.to_string(),
        };
        let tag = tag(weir, own, folder).map_err(failed)?;
        let images = Self {
            weir: format!("weir:{tag}"),
            api: format!("weir-stand-in:{tag}"),
        };
        let there = [&images.weir, &images.api].map(|image| is_there(image, stop));
        for there in there {
            if !there? {
                build(weir, own, folder, &tag, stop)?;
                break;
            }
        }
        Ok(images)
    }
}

fn is_there(image: &str, stop: &StopToken) -> Result<bool, TopologyError> {
    let found = docker("look for an image", &["images", "--quiet", image], stop)?;
    Ok(!found.trim().is_empty())
}

/// A tag that changes when a program or the recipe does.
fn tag(weir: &Path, own: &Path, folder: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    for program in [weir, own] {
        // Reading hundreds of megabytes for each run would take longer than starting it.
        let found = fs::metadata(program)?;
        let facts = [
            i64::try_from(found.len()).unwrap_or(i64::MAX),
            found.mtime(),
            found.mtime_nsec(),
        ];
        facts
            .iter()
            .for_each(|fact| hash.update(fact.to_le_bytes()));
    }
    for recipe in ["Dockerfile.prebuilt", "http-ok", "build.sh"] {
        hash.update(fs::read(folder.join(recipe))?);
    }
    let mut tag = "bench-".to_owned();
    for byte in hash.finalize().iter().take(6) {
        // Writing to a string cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    Ok(tag)
}

fn build(
    weir: &Path,
    own: &Path,
    folder: &Path,
    tag: &str,
    stop: &StopToken,
) -> Result<(), TopologyError> {
    if !is_there(BASE, stop)? {
        return Err(TopologyError::NoBaseImage(BASE.to_owned()));
    }
    stdio::note(format_args!(
        "building the images weir:{tag} and weir-stand-in:{tag}"
    ));
    let older = format!("until={KEPT_FOR}");
    let label = format!("label={LABEL}");
    let prune = [
        "image", "prune", "--all", "--force", "--filter", &label, "--filter", &older,
    ];
    // Room for the new ones; if it cannot be made, nothing is worse than before.
    let _ = docker("remove images of earlier programs", &prune, stop);
    let failed = |cause: io::Error| TopologyError::Engine {
        what: "put the programs for the images together",
        message: cause.to_string(),
    };
    let programs = tempfile::tempdir().map_err(failed)?;
    for (name, program) in [("weir", weir), ("weir-bench", own)] {
        let program = program.canonicalize().map_err(failed)?;
        symlink(program, programs.path().join(name)).map_err(failed)?;
    }
    let mut command = Command::new(folder.join("build.sh"));
    command
        .arg("--prebuilt")
        .arg(programs.path())
        .env("TAG", tag)
        .env("LABEL", format!("{LABEL}={tag}"));
    run("build the images", command, BUILD_WITHIN, stop).map(|_| ())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn other_programs_and_other_recipes_have_other_tags() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        for recipe in ["Dockerfile.prebuilt", "http-ok", "build.sh"] {
            write(recipe, "first");
        }
        let (weir, own) = (write("weir", "1"), write("weir-bench", "1"));
        let tag = || tag(&weir, &own, folder.path()).unwrap();
        let first = tag();
        assert!(first.len() == 18 && tag() == first, "{first}");
        write("weir", "22");
        let second = tag();
        write("http-ok", "second");
        assert!(first != second && second != tag());
        fs::remove_file(&own).unwrap();
        assert!(super::tag(&weir, &own, folder.path()).is_err());
    }

    #[test]
    fn the_base_image_is_the_one_of_the_dockerfile() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker/Dockerfile.prebuilt");
        let text = fs::read_to_string(path).unwrap();
        let suite = text
            .lines()
            .find_map(|line| line.strip_prefix("ARG DEBIAN_SUITE="));
        assert_eq!(format!("debian:{}-slim", suite.unwrap()), BASE);
    }
}
