//! What a claim is tried on: stand-in replicas and one proxy, of which a setting can be switched
//! while it stays warm.
//!
//! `weir` is switched by a temporary override that is renewed as long as the trial lasts; nginx by
//! a new configuration and a reload, after which only new workers serve.

pub(crate) mod base;
pub(crate) mod client;
mod full_queue;
mod haproxy;
mod lab;
mod nginx;
mod parts;

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use weir_lab::{error::TopologyError, host::CpuClock, proxies::tuned::RigSpec, tuning::Tuning};

pub use self::{
    base::base_settings,
    lab::{Lab, ProxyKind, RigError},
};
pub(crate) use self::{
    base::{merge, servers_patch},
    full_queue::FullQueue,
    lab::until,
};
use self::{
    haproxy::Haproxy,
    nginx::Nginx,
    parts::{Proxy, Replica},
};

/// Time to live of an override: what a killed generator leaves behind ends after this.
pub const OVERRIDE_TTL: Duration = Duration::from_secs(30);
/// Replicas and a proxy that run.
#[derive(Debug)]
pub struct Rig {
    // Declared first: dropped, and so put back, before the proxy ends.
    tuning: Option<Tuning>,
    proxy: Proxy,
    replicas: Vec<Replica>,
    token: String,
    /// Switches that could not be verified as put back.
    problems: Vec<String>,
    switches: u64,
    revision: Option<u64>,
}

impl Rig {
    /// Starts replicas and proxy, named after what they are for, and waits until both answer.
    ///
    /// # Errors
    ///
    /// When a process does not start, or the user asks to stop.
    pub fn start(lab: &Lab, name: &str, spec: RigSpec) -> Result<Self, RigError> {
        Self::start_with(lab, lab.proxy, name, spec)
    }

    /// As [`Rig::start`], with another proxy than the lab's.
    ///
    /// # Errors
    ///
    /// As for [`Rig::start`].
    pub fn start_with(
        lab: &Lab,
        kind: ProxyKind,
        name: &str,
        spec: RigSpec,
    ) -> Result<Self, RigError> {
        let folder = lab.folder.join(name);
        std::fs::create_dir_all(&folder).map_err(RigError::io("cannot make a folder"))?;
        let own = std::env::current_exe().map_err(TopologyError::OwnPath)?;
        let mut replicas = Vec::new();
        for number in 1..=spec.replicas.max(1) {
            replicas.push(Replica::start(lab, &own, number, spec, &folder)?);
        }
        let addresses: Vec<_> = replicas.iter().map(|replica| replica.address).collect();
        let first = addresses
            .first()
            .copied()
            .ok_or(TopologyError::NoReplicas)?;
        let proxy = match kind {
            ProxyKind::Direct => Proxy::Direct(first),
            ProxyKind::Haproxy => Proxy::Haproxy(Haproxy::start(lab, &addresses, &folder)?),
            ProxyKind::Weir => Proxy::weir(lab, &own, spec, &addresses, &folder)?,
            ProxyKind::Nginx => Proxy::Nginx(Nginx::start(lab, spec, &addresses, &folder)?),
        };
        let mut rig = Self {
            tuning: None,
            proxy,
            replicas,
            token: String::new(),
            problems: Vec::new(),
            switches: 0,
            revision: None,
        };
        rig.token = match rig.replicas.first_mut() {
            Some(replica) => lab.wait_for(async {
                let token = replica.side.login().await;
                token.map_err(RigError::io("cannot log in at a replica"))
            })?,
            None => String::new(),
        };
        Ok(rig)
    }

    /// Where load goes.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        match &self.proxy {
            Proxy::Weir { listener, .. } => *listener,
            Proxy::Nginx(nginx) => nginx.listener(),
            Proxy::Haproxy(haproxy) => haproxy.listener(),
            Proxy::Direct(replica) => *replica,
        }
    }

    /// Value of the `Authorization` header that the replicas accept.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where the replicas listen.
    #[must_use]
    pub fn replicas(&self) -> Vec<SocketAddr> {
        self.replicas
            .iter()
            .map(|replica| replica.address)
            .collect()
    }

    /// Number of the proxy's settings during the last switch, if it counts them.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// Switches so far.
    #[must_use]
    pub fn switches(&self) -> u64 {
        self.switches
    }

    /// Gives the running proxy other settings, in place of those of the last switch.
    ///
    /// # Errors
    ///
    /// When the proxy refuses them or does not take them over in time.
    pub fn switch(&mut self, lab: &Lab, patch: &Value, why: &str) -> Result<(), RigError> {
        self.put_back();
        self.switches += 1;
        match &mut self.proxy {
            Proxy::Weir { admin, .. } => {
                let tuning = Tuning::apply(*admin, patch.clone(), why, OVERRIDE_TTL)?;
                self.revision = Some(tuning.during().revision);
                self.tuning = Some(tuning);
            }
            Proxy::Nginx(nginx) => nginx.reload(lab, patch)?,
            Proxy::Haproxy(_) | Proxy::Direct(_) => {
                return Err(RigError::Config(
                    "only weir and nginx can be switched".to_owned(),
                ));
            }
        }
        Ok(())
    }

    fn put_back(&mut self) {
        if let Some(tuning) = self.tuning.take() {
            let record = tuning.put_back();
            if !record.restored {
                self.problems.push(record.problem);
            }
        }
    }

    /// Sets faults of every replica; an empty text clears them.
    ///
    /// # Errors
    ///
    /// When a replica does not answer.
    pub fn fault(&mut self, lab: &Lab, query: &str) -> Result<(), RigError> {
        self.fault_of(lab, 0..usize::MAX, query)
    }

    /// Sets faults of some replicas, by number from 0.
    ///
    /// # Errors
    ///
    /// When a replica does not answer.
    pub fn fault_of(
        &mut self,
        lab: &Lab,
        which: std::ops::Range<usize>,
        query: &str,
    ) -> Result<(), RigError> {
        let query = if query.is_empty() { "clear" } else { query };
        let chosen = self.replicas.iter_mut().enumerate();
        let chosen = chosen.filter(|(number, _)| which.contains(number));
        lab.wait_for(async {
            for (_, replica) in chosen {
                let path = format!("/__fault?{query}");
                let answer = replica.side.page(&path).await;
                answer.map_err(RigError::io("cannot set a replica's faults"))?;
            }
            Ok(())
        })
    }

    /// Connections accepted and requests received by all replicas so far.
    pub(super) async fn counts(&mut self) -> Result<Counts, RigError> {
        let mut counts = Counts::default();
        for replica in &mut self.replicas {
            let text = replica.side.page("/__stats").await;
            let text = text.map_err(RigError::io("cannot read a replica's statistics"))?;
            let stats: Value = serde_json::from_slice(&text)
                .map_err(|error| RigError::Config(format!("/__stats: {error}")))?;
            let number = |name: &str| stats.get(name).and_then(Value::as_u64).unwrap_or(0);
            counts.accepted += number("accepted");
            counts.requests += number("requests");
        }
        Ok(counts)
    }

    /// CPU time of the proxy so far.
    ///
    /// # Errors
    ///
    /// When the proxy is gone.
    pub fn cpu(&self) -> Result<CpuClock, RigError> {
        let clock = match &self.proxy {
            Proxy::Weir { child, .. } => CpuClock::of(&[child.pid()]),
            Proxy::Nginx(nginx) => CpuClock::of(&nginx.workers()),
            Proxy::Haproxy(haproxy) => CpuClock::of(&[haproxy.pid()]),
            Proxy::Direct(_) => Ok(CpuClock::default()),
        };
        clock.map_err(RigError::io("cannot read the proxy's CPU time"))
    }

    /// Puts every setting back and stops the processes; what could not be verified as put back.
    #[must_use]
    pub fn close(mut self) -> Vec<String> {
        self.put_back();
        std::mem::take(&mut self.problems)
    }

    /// The admin API, if the proxy has one.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        match &self.proxy {
            Proxy::Weir { admin, .. } => Some(*admin),
            Proxy::Nginx(_) | Proxy::Haproxy(_) | Proxy::Direct(_) => None,
        }
    }
}

/// What replicas have counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) requests: u64,
}
