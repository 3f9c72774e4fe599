//! The documented raise for a test run: 100 r/s, burst 200, no delay; and the proof that it is put
//! back however its holder ends.

use std::{
    net::SocketAddr,
    process::{Child as Process, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use weir_lab::{
    proxies::tuned::RigSpec,
    tuning::{Tuning, settings_of},
};
use weir_load::stop::StopToken;

use super::{record::RaiseCase, workload::Workload};
use crate::study::rig::{Lab, Rig, RigError, until};

/// Time to live while the endings are tried: short, so that a killed holder's raise ends soon.
pub const SHORT_TTL: Duration = Duration::from_secs(2);
/// More than burst 20 and less than burst 200 admits.
const VOLLEY: Workload = Workload::Burst { size: 150 };
const WITHIN: Duration = Duration::from_secs(20);

/// The raise, as a patch.
#[must_use]
pub fn documented_raise() -> Value {
    json!({ "rate_limit": { weir_lab::proxies::tuned::LIMIT: { "rate": "100r/s", "burst": 200, "nodelay": true } } })
}

/// Holds the documented raise at a running proxy until the user asks to stop; `failing`: ends with
/// an error instead, as a run that fails does.
///
/// # Errors
///
/// When the proxy refuses, the settings are not back afterwards, or it is told to fail.
pub fn hold(
    admin: SocketAddr,
    ttl: Duration,
    failing: bool,
    stop: &StopToken,
) -> anyhow::Result<()> {
    let tuning = Tuning::apply(
        admin,
        documented_raise(),
        "documented raise for a test run",
        ttl,
    )?;
    weir_lab::stdio::say(format_args!(
        "raised: rate 100r/s, burst 200, no delay; Ctrl-C puts it back"
    ));
    if failing {
        // Dropping the holder puts the settings back, whatever the error.
        anyhow::bail!("a run that fails, on request");
    }
    while !stop.is_stopped() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let record = tuning.put_back();
    anyhow::ensure!(
        record.restored,
        "not verified as put back: {}",
        record.problem
    );
    weir_lab::stdio::say(format_args!("put back, verified"));
    Ok(())
}

/// How a holder ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Finished,
    Failed,
    Interrupted,
    Killed,
}

impl Ending {
    fn text(self) -> &'static str {
        match self {
            Self::Finished => "the run ends",
            Self::Failed => "the run fails",
            Self::Interrupted => "Ctrl-C (SIGINT)",
            Self::Killed => "kill -9 (SIGKILL)",
        }
    }
}

/// Tries every way in which the holder of a raise may end. The holder is another process of this
/// program, as a load run is.
///
/// # Errors
///
/// When the rig fails or the user asks to stop.
pub fn try_endings(lab: &Lab, say: &mut dyn FnMut(&str)) -> Result<Vec<RaiseCase>, RigError> {
    let spec = RigSpec {
        limited: true,
        ..RigSpec::default()
    };
    let mut rig = Rig::start(lab, "raise", spec)?;
    let Some(admin) = rig.admin() else {
        return Ok(Vec::new());
    };
    let mut cases = Vec::new();
    for ending in [
        Ending::Finished,
        Ending::Failed,
        Ending::Interrupted,
        Ending::Killed,
    ] {
        say(&format!(
            "the temporary raise, put back when {}",
            ending.text()
        ));
        cases.push(try_one(lab, &mut rig, admin, ending)?);
    }
    let _ = rig.close();
    Ok(cases)
}

fn try_one(
    lab: &Lab,
    rig: &mut Rig,
    admin: SocketAddr,
    ending: Ending,
) -> Result<RaiseCase, RigError> {
    let before = settings_of(admin)?.effective;
    let raised = |now: &Value| {
        now.pointer("/rate_limit/api_limit/burst")
            .and_then(Value::as_u64)
            == Some(200)
    };
    let mut holder = Holder::start(admin, ending == Ending::Failed)?;
    let seen = until(lab, WITHIN, || {
        // A holder that fails may have put everything back before this looks: its revisions tell.
        settings_of(admin)
            .ok()
            .filter(|view| raised(&view.effective) || holder.has_ended())
    })?;
    let in_force = seen.is_some_and(|view| raised(&view.effective))
        || (ending == Ending::Failed && holder.has_ended());
    let admitted = |rig: &mut Rig, settings: &Value| -> Result<f64, RigError> {
        let trial = VOLLEY.run(lab, rig, &super::workload::Prepared::default(), settings)?;
        Ok(trial.measures.get("admitted").copied().unwrap_or(f64::NAN))
    };
    let admitted_raised = if ending == Ending::Failed {
        f64::NAN
    } else {
        admitted(rig, &documented_raise())?
    };
    let ended = Instant::now();
    match ending {
        Ending::Finished => holder.signal(Signal::SIGTERM),
        Ending::Interrupted => holder.signal(Signal::SIGINT),
        Ending::Killed => holder.signal(Signal::SIGKILL),
        Ending::Failed => {}
    }
    until(lab, WITHIN, || holder.has_ended().then_some(()))?;
    let back = until(lab, WITHIN, || {
        settings_of(admin)
            .is_ok_and(|view| view.effective == before)
            .then_some(())
    })?;
    let back_after_s = ended.elapsed().as_secs_f64();
    Ok(RaiseCase {
        ending: ending.text().to_owned(),
        raised: in_force,
        admitted_raised,
        admitted_after: admitted(rig, &before)?,
        back_after_s,
        restored: back.is_some(),
    })
}

/// Another process of this program that holds the raise; killed when dropped.
struct Holder(Process);

impl Holder {
    fn start(admin: SocketAddr, failing: bool) -> Result<Self, RigError> {
        let own = std::env::current_exe().map_err(RigError::io("where is this program?"))?;
        let mut command = Command::new(own);
        command
            .args(["tuning", "--raise", &admin.to_string(), "--raise-ttl"])
            .arg(weir_load::units::format_duration(SHORT_TTL))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if failing {
            command.arg("--raise-and-fail");
        }
        let child = command
            .spawn()
            .map_err(RigError::io("cannot start the holder of the raise"))?;
        Ok(Self(child))
    }

    fn signal(&mut self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.0.id())
            && !self.has_ended()
        {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
