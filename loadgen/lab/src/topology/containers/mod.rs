//! A topology of containers: a shipped Compose file, run by the Docker engine of this machine.
//!
//! Every run is a Compose project of its own, with an `overlay` that names its owner, mounts the
//! derived proxy configuration, and keeps dead replicas dead. Load goes to the address of the
//! container on its bridge and not to a published port, so that no process of the engine
//! (`docker-proxy`) passes on what is measured. The admin API wants a token that is made for the run.
//!
//! A project is removed when its `Containers` are dropped; by a `keeper` when this process is
//! killed; by the next start when both were.

mod command;
mod engine;
mod image;
mod keeper;
mod overlay;
mod owner;
mod part;
mod prepare;
pub mod project;
mod stack;
mod token;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use weir_load::{progress::Watched, stop::StopToken, units::format_duration};

use self::{
    engine::{Engine, Up},
    image::Images,
    owner::Owner,
    part::Part,
    prepare::Prepared,
    stack::Stack,
};
use super::{Front, Places, TopologySpec, find_weir, version_of};
use crate::{
    error::TopologyError,
    host::group_limits,
    process::confine,
    record::{BoundsRecord, ContainersRecord},
    tuning::{AdminAt, failed, runtime},
};

/// Port of the stand-in, as docker/Dockerfile has it.
const API_PORT: u16 = 8000;
/// Port of the proxy.
const PROXY_PORT: u16 = 8080;
/// Port of its admin API.
const ADMIN_PORT: u16 = 9900;
/// Where the images' recipes are, from the current folder.
const RECIPES: &str = "docker";
/// How long containers that have been started may take to be healthy, and the proxy to know all replicas.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two looks at the containers.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Running containers: the replicas, and the proxy if there is one.
#[derive(Debug)]
pub(super) struct Containers {
    stack: Stack,
    front: Option<Front>,
    bounds: Vec<BoundsRecord>,
    record: ContainersRecord,
}

impl Containers {
    /// Starts the containers and waits until they are healthy.
    pub(super) fn start(
        spec: &TopologySpec,
        compose: &Path,
        places: &Places,
        stop: &StopToken,
    ) -> Result<Self, TopologyError> {
        let file = compose
            .canonicalize()
            .map_err(|_| TopologyError::NoComposeFile(compose.to_owned()))?;
        let own = std::env::current_exe().map_err(TopologyError::OwnPath)?;
        let weir = find_weir(places.weir.as_deref(), &own)?;
        let engine = Engine::find(stop)?;
        let owner = Owner::own().map_err(|error| TopologyError::Engine {
            what: "tell whose containers these are",
            message: error.to_string(),
        })?;
        project::remove_stale(&owner, stop)?;
        let images = Images::of(&weir, &own, &recipes(&file)?, stop)?;

        let mut stack = Stack::new(&places.folder)?;
        let prepared = Prepared::write(spec, places, &owner)?;
        let up = Up {
            project: stack.project(),
            file: &file,
            overlay: &prepared.overlay,
            weir_image: &images.weir,
            api_image: &images.api,
            slots: spec.replica.slots,
            service_time: &format_duration(spec.replica.service_time),
            replicas: spec.replicas,
            services: if spec.proxy { &[] } else { &["api"] },
        };
        engine.up(&up, stop).map_err(|error| stack.explain(error))?;
        stack.wait_healthy(spec, stop)?;
        if let Some(far) = stack.parts().iter().find(|part| !part.is_here()) {
            let reason = format!("{} is no process of it", far.name);
            return Err(TopologyError::EngineElsewhere(reason));
        }
        let front = match (prepared.proxy, stack.parts().first()) {
            (Some(derived), Some(weir_part)) if spec.proxy => {
                let front = Front {
                    address: weir_part.at(PROXY_PORT),
                    admin: AdminAt::with_token(weir_part.at(ADMIN_PORT), derived.token),
                    config: derived.config,
                    text: derived.text,
                    version: version_of(&weir),
                };
                wait_known(&front, spec.replicas, stop)?;
                Some(front)
            }
            _ => None,
        };
        let mut used = vec![images.api];
        if spec.proxy {
            used.insert(0, images.weir);
        }
        Ok(Self {
            bounds: stack.parts().iter().filter_map(bounds_of).collect(),
            record: ContainersRecord {
                engine: engine.version,
                compose: engine.compose_version,
                file: compose.display().to_string(),
                images: used,
            },
            stack,
            front,
        })
    }

    pub(super) fn front(&self) -> Option<&Front> {
        self.front.as_ref()
    }

    /// Where the replicas listen.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let replicas = self.stack.parts().iter().filter(|part| part.is_replica());
        replicas.map(|part| part.at(API_PORT)).collect()
    }

    /// Every container, the proxy first.
    pub(super) fn watched(&self) -> Vec<Watched> {
        let parts = self.stack.parts().iter();
        parts
            .map(|part| Watched::container(&part.name, part.pid))
            .collect()
    }

    /// What each may use, as the kernel shows it.
    pub(super) fn bounds(&self) -> Vec<BoundsRecord> {
        self.bounds.clone()
    }

    pub(super) fn record(&self) -> ContainersRecord {
        self.record.clone()
    }

    /// Whether every container still runs, and has since it was started.
    pub(super) fn check(&self) -> Result<(), TopologyError> {
        let stop = StopToken::new();
        let now = Part::all(self.stack.project(), &stop)?;
        let other = self.stack.parts().iter().find(|part| {
            let same = |now: &Part| now.id == part.id && now.pid == part.pid;
            !now.iter().any(same)
        });
        match other {
            None => Ok(()),
            Some(part) => Err(TopologyError::Ended {
                name: part.name.clone(),
                status: "it is gone, or was started again".to_owned(),
                last_words: part.last_words(&stop),
            }),
        }
    }
}

/// The folder that images are built from: that of the Compose file, or the shipped one.
fn recipes(file: &Path) -> Result<PathBuf, TopologyError> {
    let beside = file.parent().unwrap_or(Path::new("."));
    [beside, Path::new(RECIPES)]
        .into_iter()
        .find(|folder| folder.join("build.sh").is_file())
        .map(Path::to_owned)
        .ok_or_else(|| TopologyError::NoComposeFile(Path::new(RECIPES).join("build.sh")))
}

/// Waits until the proxy has found every replica by the name of their service.
fn wait_known(front: &Front, replicas: u32, stop: &StopToken) -> Result<(), TopologyError> {
    let what = "ask the proxy for its servers";
    let runtime = runtime()?;
    let client = front.admin.client().map_err(failed(what))?;
    let deadline = Instant::now() + HEALTHY_WITHIN;
    loop {
        let report = runtime.block_on(client.upstreams()).map_err(failed(what))?;
        let known = report.to_string().matches("\"address\":").count();
        if known == replicas as usize {
            return Ok(());
        }
        if stop.is_stopped() {
            return Err(TopologyError::Stopped);
        }
        if Instant::now() >= deadline {
            return Err(TopologyError::Engine {
                what: "start the containers",
                message: format!(
                    "the proxy knows {known} replicas and not {replicas} after {} s",
                    HEALTHY_WITHIN.as_secs()
                ),
            });
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn bounds_of(part: &Part) -> Option<BoundsRecord> {
    let bounds = confine::read_back(&part.name, part.pid)?;
    let limits = group_limits(part.pid).unwrap_or_default();
    Some(BoundsRecord {
        cpus: limits.cpus,
        memory_bytes: limits.memory_bytes,
        ..bounds
    })
}
