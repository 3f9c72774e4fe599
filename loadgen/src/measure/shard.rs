//! What is different when a run is one part of several.

use weir_load::{
    run::RunOptions,
    shard::{Shard, ShardRecord},
    slo::{Metric, Rule},
};

use crate::judge::{Reach, Thresholds};

/// What one part can be judged by: not by a throughput that all of them have together. The whole is
/// judged by everything when it is merged.
pub(super) fn thresholds(shard: Shard, thresholds: &Thresholds) -> Thresholds {
    if shard.is_whole() {
        return thresholds.clone();
    }
    let of_all = |rule: &&Rule| !matches!(rule.metric, Metric::Throughput | Metric::Rate);
    Thresholds {
        throughput_rps: None,
        rules: thresholds.rules.iter().filter(of_all).cloned().collect(),
        ..thresholds.clone()
    }
}

/// Which part of a run this was; none when it was not split.
pub(super) fn record(options: &RunOptions, reach: Option<Reach>) -> Option<ShardRecord> {
    let shard = options.shard;
    (!shard.is_whole()).then(|| ShardRecord {
        number: shard.number(),
        of: shard.of(),
        start_at: options
            .start_at
            .map(|at| humantime::format_rfc3339_millis(at).to_string()),
        reach_rps: reach.map(|reach| reach.rps),
    })
}
