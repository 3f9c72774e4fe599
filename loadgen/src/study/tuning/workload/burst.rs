//! One volley of a client that the proxy never saw: exact counts, no statistics needed.

use serde_json::Value;

use super::{
    Trial,
    tools::{fresh_client, limit_of, open, volley},
};
use crate::study::rig::{
    Lab, Rig, RigError,
    client::{Asked, End},
};

pub(super) const MEASURES: &[&str] = &[
    "admitted_share",
    "admitted",
    "rejected",
    "requests",
    "failed",
    "model_least",
    "model_most",
    "model_gap",
    "span_ms",
];

pub(super) fn run(
    lab: &Lab,
    rig: &mut Rig,
    size: u32,
    settings: &Value,
) -> Result<Trial, RigError> {
    let (target, asked) = (rig.target(), Asked::read(rig.token()));
    let shots = lab.wait_for(async {
        let connections = open(target, Some(fresh_client()), size).await?;
        Ok(volley(connections, &asked).await.1)
    })?;
    let count =
        |wanted: fn(End) -> bool| shots.iter().filter(|shot| wanted(shot.end)).count() as f64;
    let span = shots
        .iter()
        .map(|shot| shot.answered)
        .max()
        .unwrap_or_default();
    let (admitted, rejected) = (count(End::is_served), count(End::is_rejected));
    let requests = shots.len() as f64;
    let (rate, burst) = limit_of(settings);
    // The volley takes a moment, in which the bucket leaks a little.
    let least = requests.min(1.0 + f64::from(burst));
    let most = requests.min(least + (rate * span.as_secs_f64()).ceil());
    let mut trial = Trial::default();
    trial.put("requests", requests);
    trial.put("admitted", admitted);
    trial.put("admitted_share", admitted / requests.max(1.0));
    trial.put("rejected", rejected);
    trial.put("failed", requests - admitted - rejected);
    trial.put("model_least", least);
    trial.put("model_most", most);
    trial.put(
        "model_gap",
        (least - admitted).max(admitted - most).max(0.0),
    );
    trial.put("span_ms", span.as_secs_f64() * 1e3);
    Ok(trial)
}
