//! `/v1/profile`: where this process spends its processor time, as a flame graph.

use std::{sync::atomic::AtomicBool, sync::atomic::Ordering, time::Duration};

use axum::{
    Extension,
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;

use super::{AdminState, answer::Failure, guard::Place};
use crate::observe::profile::{ProfileError, Profiler};

/// Only one profile can be taken at a time: there is one timer for the process.
static BUSY: AtomicBool = AtomicBool::new(false);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    #[serde(default = "Parameters::usual_seconds")]
    seconds: u64,
    #[serde(default = "Parameters::usual_frequency")]
    frequency: u32,
}

impl Parameters {
    fn usual_seconds() -> u64 {
        10
    }

    // Not a round number: it must not keep step with what happens every millisecond.
    fn usual_frequency() -> u32 {
        99
    }
}

/// Released however the request ends.
struct Turn;

impl Turn {
    fn take() -> Option<Self> {
        let taken = BUSY.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok().then_some(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        BUSY.store(false, Ordering::Release);
    }
}

pub(super) async fn take(
    State(state): State<AdminState>,
    Extension(place): Extension<Place>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<impl IntoResponse, Failure> {
    if !state.access.profile {
        let message = "profiles are off; admin.profile = true in the configuration allows them";
        return Err(Failure::new(StatusCode::FORBIDDEN, "profile_off", message));
    }
    let wrong = |what: String| {
        let message = format!("{what}; allowed: seconds=1 to 60, frequency=1 to 1000");
        Failure::bad_request("bad_query", message)
    };
    let Query(parameters) = parameters.map_err(|rejection| wrong(rejection.body_text()))?;
    let Parameters { seconds, frequency } = parameters;
    if !(1..=60).contains(&seconds) || !(1..=1000).contains(&frequency) {
        return Err(wrong(format!("seconds={seconds}, frequency={frequency}")));
    }
    let Some(turn) = Turn::take() else {
        let message = "a profile is being taken already: try again when it is done";
        return Err(Failure::new(StatusCode::CONFLICT, "profile_busy", message));
    };
    let failed = |error: ProfileError| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "profile_failed",
            error.to_string(),
        )
    };
    let started = tokio::task::spawn_blocking(move || Profiler::start(frequency));
    let profiler = match started.await {
        Ok(started) => started.map_err(failed)?,
        Err(error) => return Err(failed(ProfileError::new(error.to_string()))),
    };
    let mut closing = state.closing.subscribe();
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
        // An error would say that the proxy has gone, and so has this request.
        _ = closing.wait_for(|closing| *closing) => {}
    }
    let drawn = tokio::task::spawn_blocking(move || {
        let drawn = profiler.flame_graph();
        drop((turn, place));
        drawn
    });
    let svg = match drawn.await {
        Ok(drawn) => drawn.map_err(failed)?,
        Err(error) => return Err(failed(ProfileError::new(error.to_string()))),
    };
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], svg))
}
