//! Pages made from a synthetic run. `KEEP_PAGES=/some/folder` keeps them there for looking at.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde_json::json;
use weir_lab::{
    provenance::{Commit, Provenance},
    record::{BoundsRecord, Change, ContainersRecord, ReplicaRecord, TopologyRecord, TuningRecord},
    sample::growth::Growth,
};
use weir_load::summary::{
    Distributions, EndpointSummary, Failure, Interval, Latency, Model, ProcessSummary, Summary,
    Validity, Verdict,
};

use super::*;
use crate::{
    compare::{Comparison, Grade, JudgedChange, Outcome},
    judge::{
        Reach, Thresholds,
        bands::{Band, BandRow},
        gate, judge,
    },
    lint::{Finding, Severity},
    results::{
        Overhead, OverheadRow, ProfileRecord, RunFolder, RunRecord, StageBreakdown, StageRow,
        now_utc,
    },
};

const SECONDS: u32 = 60;

/// A number between 0 and 1 that looks random and never changes.
fn noise(index: u32) -> f64 {
    f64::from(index.wrapping_mul(2_654_435_761).rotate_left(13) % 1000) / 1000.0
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    Latency {
        count: histogram.len(),
        min_ms: histogram.min() as f64 / 1000.0,
        mean_ms: histogram.mean() / 1000.0,
        stdev_ms: histogram.stdev() / 1000.0,
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
        p999_ms: at(0.999),
        max_ms: histogram.max() as f64 / 1000.0,
    }
}

fn interval(second: u32) -> Interval {
    let p50 = 11.0 + noise(second) * 2.0;
    Interval {
        t_s: f64::from(second),
        intended: 600,
        requests: 600 + u64::from(second % 7),
        ok: if second == 30 {
            0
        } else {
            590 + u64::from(second % 5)
        },
        limited: if second > 40 {
            u64::from(second % 4) * 3
        } else {
            0
        },
        errors: if second == 31 { 12 } else { 0 },
        in_flight: 7 + u64::from(second % 3),
        p50_ms: p50,
        p95_ms: p50 * 1.4 + noise(second + 100) * 6.0,
        p99_ms: p50 * 1.9 + noise(second + 200) * 14.0,
        max_ms: 80.0,
        send_lag_p99_ms: Some(0.1 + noise(second + 300) * 0.2),
    }
}

fn process(name: &str, pid: u32, cpu: f64, rss: u64) -> ProcessSummary {
    let sample = |step: u32| {
        let wobble = noise(step + pid);
        (
            f64::from(step) / 2.0,
            cpu * (0.9 + 0.2 * wobble),
            rss + (wobble * 2e5) as u64,
        )
    };
    ProcessSummary {
        name: name.into(),
        pid,
        cpu_s: cpu * 0.6,
        user_s: 0.0,
        system_s: 0.0,
        cpu_percent: cpu,
        rss_start: rss,
        rss_end: rss + 100_000,
        rss_min: rss,
        rss_max: rss + 200_000,
        rss_mean: rss + 90_000,
        vms_end: 4 * rss,
        threads: 4,
        fds: 60,
        sockets: None,
        ended_s: None,
        samples: (0..SECONDS * 2).map(sample).collect(),
    }
}

pub(crate) fn summary() -> Summary {
    let mut response = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3).unwrap();
    let mut service = response.clone();
    for index in 0..36_000 {
        let tail = noise(index).powi(12) * 90_000.0;
        response.saturating_record((10_200.0 + noise(index + 7) * 3_000.0 + tail) as u64);
        service.saturating_record((10_100.0 + noise(index + 7) * 2_500.0 + tail / 3.0) as u64);
    }
    let endpoint = |name: &str, method: &str, path: &str, requests| EndpointSummary {
        name: name.into(),
        method: method.into(),
        path: path.into(),
        requests,
        ok: requests,
        limited: 0,
        errors: 0,
        response: latency(&response),
        failures: Default::default(),
    };
    Summary {
        scenario: "rate".into(),
        model: Model::Open,
        engine: "session".into(),
        started_at: "2026-01-01T00:00:00Z".into(),
        duration_s: f64::from(SECONDS),
        warmup_s: 5.0,
        requests: 36_000,
        ok: 35_900,
        limited: 88,
        errors: 12,
        error_rate: 12.0 / 36_000.0,
        throughput_rps: 598.3,
        intended_rps: Some(600.0),
        unsent: 3,
        response: latency(&response),
        service: latency(&service),
        send_lag: Some(Latency {
            count: 36_000,
            p99_ms: 0.31,
            max_ms: 2.0,
            ..Latency::default()
        }),
        endpoints: vec![
            endpoint(
                "compliance-statistics",
                "GET",
                "/api/v1/compliance/statistics",
                19_636,
            ),
            endpoint("audit-log", "POST", "/api/v1/compliance/audit/log", 1_636),
        ],
        failures: vec![
            Failure {
                kind: "status_429".into(),
                count: 88,
                percent: 0.244,
                likely_cause: "the proxy's rate limit".into(),
            },
            Failure {
                kind: "reset".into(),
                count: 12,
                percent: 0.033,
                likely_cause: "a replica went away <while> answering".into(),
            },
        ],
        intervals: (0..SECONDS).map(interval).collect(),
        processes: vec![
            process("weir", 11, 18.0, 24_000_000),
            process("replica-1", 12, 9.0, 12_000_000),
            process("replica-2", 13, 8.5, 12_300_000),
            process("generator", 14, 31.0, 41_000_000),
        ],
        validity: Validity {
            verdict: Verdict::Suspect,
            reasons: vec!["the generator ran at 55 % of its measured ceiling".into()],
        },
        aborted: None,
        distributions: Distributions::of(&response, &service),
        extra: [("littles_law_n".to_owned(), 7.1)].into(),
    }
}

fn tuning() -> TuningRecord {
    TuningRecord {
        owner: "weir-bench".into(),
        reason: "load test".into(),
        settings: json!({"rate_limit": {"api_limit": {"enabled": false}}}),
        ttl_s: 30.0,
        renewals: 6,
        applied_revision: Some(2),
        changes: vec![Change {
            path: "rate_limit.api_limit.enabled".into(),
            before: json!(true),
            during: json!(false),
            after: json!(true),
        }],
        restored: true,
        problem: String::new(),
    }
}

fn record(id: &str, topology: &str, summary: &Summary) -> RunRecord {
    let thresholds = Thresholds::documented();
    let verdict = judge(summary, &thresholds, Some(Reach { rps: 600.0 }));
    let capacity = |address: &str| ReplicaRecord {
        address: address.into(),
        slots: 8,
        service_ms: 10.0,
    };
    RunRecord {
        format: RunRecord::FORMAT,
        id: id.into(),
        provenance: Provenance::collect(now_utc()),
        label: topology.into(),
        targets: vec!["http://127.0.0.1:40000".into()],
        stopped: None,
        shard: None,
        merged: None,
        topology: Some(TopologyRecord {
            name: topology.into(),
            description: "Two replicas behind weir.".into(),
            proxy: true,
            replicas: vec![capacity("127.0.0.1:40001"), capacity("127.0.0.1:40002")],
            capacity_rps: 1600.0,
            bounds: vec![BoundsRecord {
                process: "weir".into(),
                cores: vec![1],
                address_space_bytes: Some(512 << 20),
                cpus: Some(1.0),
                memory_bytes: Some(2 << 30),
            }],
            containers: Some(ContainersRecord {
                engine: "Docker 20.10.24".into(),
                compose: "docker-compose 1.29.2".into(),
                file: "docker/compose.prod.yml".into(),
                images: vec!["weir:bench-0123".into()],
            }),
        }),
        scenario: json!({"name": "rate", "load": {"model": "open"}}),
        proxy_config: Some("[admin]\nlisten = \"127.0.0.1:0\"\n".into()),
        proxy_settings: Some(json!({"rate_limit": {"api_limit": {"rate": "10r/s"}}})),
        proxy_revision: Some(2),
        tuning: Some(tuning()),
        thresholds,
        gate: gate(&verdict, &summary.validity).text().into(),
        verdict,
        findings: vec![Finding {
            code: "weights".into(),
            severity: Severity::Note,
            title: "the weights add up to 110, not 100: they are relative".into(),
            detail: "Shares in effect: statistics 60 → 54.5 %.".into(),
            remedy: "Read them as relative weights, or scale them to 100.".into(),
            numbers: [("weight_total".to_owned(), 110.0)].into(),
        }],
        growth: vec![Growth {
            process: "weir".into(),
            per_minute: 12_000.0,
            low: -40_000.0,
            high: 61_000.0,
            detectable: 90_000.0,
            verdict: "no growth seen; one below 5.4 MB/h could not have been seen".into(),
        }],
        bands: vec![BandRow {
            metric: "p95".into(),
            value: "60.3 ms".into(),
            limits: "500 / 1000 / 2000 ms".into(),
            band: Band::Target,
            note: String::new(),
        }],
        comparison: Some(against_main()),
        overhead: Some(Overhead {
            against: "20260101T000000Z__rate__direct__git-unknown".into(),
            rows: vec![OverheadRow {
                metric: "p50".into(),
                direct_ms: 10.9,
                proxy_ms: 11.3,
                added_ms: 0.4,
            }],
            proxy_cpu_us_per_request: 212.0,
            proxy_cpu_percent: 12.7,
        }),
        stages: Some(StageBreakdown {
            requests: 35_990,
            total_ms: 11.2,
            rows: vec![
                StageRow {
                    stage: "network".into(),
                    meaning: "client to proxy and back, both kernels included".into(),
                    mean_ms: 0.4,
                    share: 0.036,
                    p50_ms: None,
                    p95_ms: None,
                    p99_ms: None,
                },
                StageRow {
                    stage: "wait".into(),
                    meaning: "connected to first byte of the server".into(),
                    mean_ms: 10.8,
                    share: 0.964,
                    p50_ms: Some(10.1),
                    p95_ms: Some(13.0),
                    p99_ms: Some(18.0),
                },
            ],
            note: String::new(),
        }),
        profile: Some(ProfileRecord {
            process: "weir".into(),
            pid: 1234,
            file: Some("flame.svg".into()),
            samples: 842,
            problem: String::new(),
        }),
    }
}

fn against_main() -> Comparison {
    Comparison {
        against: "main".into(),
        baseline_runs: vec!["a".into()],
        runs: vec!["b".into()],
        changes: vec![
            JudgedChange {
                figure: "p95".into(),
                before: "41.0 ms".into(),
                after: "60.3 ms".into(),
                change: Some(0.47),
                interval: Some((0.31, 0.62)),
                p_value: Some(0.004),
                grade: Grade::Regression,
                note: "p95 may grow by 25 %".into(),
            },
            JudgedChange {
                figure: "throughput".into(),
                before: "598.0/s".into(),
                after: "598.3/s".into(),
                change: Some(0.0005),
                interval: None,
                p_value: None,
                grade: Grade::Within,
                note: String::new(),
            },
        ],
        result: Outcome::Regression,
        differences: vec!["host: a, b".into()],
        notes: vec!["Five runs on each side.".into()],
    }
}

/// A synthetic run.
pub(crate) fn run(topology: &str) -> (RunRecord, Summary) {
    let summary = summary();
    (record("run", topology, &summary), summary)
}

fn pages_folder() -> (Option<tempfile::TempDir>, PathBuf) {
    match std::env::var_os("KEEP_PAGES") {
        Some(folder) => (None, folder.into()),
        None => {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().to_owned();
            (Some(folder), path)
        }
    }
}

fn self_contained(page: &str) {
    for outside in ["src=\"", "href=\"http", "url(http", "@import", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

fn saved(results: &Path, topology: &str) -> (RunFolder, RunRecord, Summary) {
    let summary = summary();
    let folder = RunFolder::create(results, "rate", topology, &Commit::here()).unwrap();
    let record = record(&folder.name(), topology, &summary);
    folder.save(&record, &summary).unwrap();
    (folder, record, summary)
}

#[test]
fn a_run_becomes_a_page_that_needs_nothing_else() {
    let (_keep, results) = pages_folder();
    let (folder, _, _) = saved(&results, "two");
    let page = std::fs::read_to_string(write_page(&folder).unwrap()).unwrap();
    self_contained(&page);
    for chart in [
        "latency",
        "throughput",
        "percentiles",
        "histogram",
        "failures",
        "in-flight",
        "send-lag",
        "cpu",
        "rss",
    ] {
        assert!(page.contains(&format!("id=\"chart-{chart}\"")), "{chart}");
    }
    assert!(page.contains("gate passed") || page.contains("gate failed"));
    assert!(page.contains("measurement suspect"));
    for part in [
        "Regression against the baseline main, although no threshold is missed",
        "Against the baseline main",
        "+47.00 %",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.contains("<h2>Bands</h2>") && page.contains("2000 ms"));
    assert!(page.contains("&lt;while&gt;"), "texts are escaped");
    assert!(page.len() < 600_000, "{} bytes", page.len());
}

#[test]
fn a_run_without_anything_measured_still_has_a_report() {
    let (_keep, results) = pages_folder();
    let (folder, mut record, mut summary) = saved(&results, "empty");
    summary.intervals.clear();
    summary.processes.clear();
    summary.distributions = Distributions::default();
    summary.requests = 0;
    record.topology = None;
    record.tuning = None;
    record.overhead = None;
    folder.save(&record, &summary).unwrap();
    assert!(write_page(&folder).is_ok());
}

#[test]
fn topologies_are_compared_on_one_page() {
    let (_keep, results) = pages_folder();
    let runs: Vec<_> = ["direct", "one", "two"]
        .map(|topology| saved(&results, topology))
        .into_iter()
        .map(|(_, record, summary)| (record, summary))
        .collect();
    let pair = ScalingPair {
        one_rps: 789.0,
        two_rps: 1560.0,
        efficiency: 0.9886,
    };
    let comparison = ComparisonRecord {
        format: ComparisonRecord::FORMAT,
        title: "One replica, two replicas, no proxy".into(),
        description: "Synthetic.".into(),
        gate: "passed".into(),
        provenance: Provenance::collect(now_utc()),
        runs: runs
            .iter()
            .map(|(record, summary)| RunCard::of(record, summary))
            .collect(),
        scaling: Some(ScalingRecord {
            one_rps: 789.0,
            two_rps: 1560.0,
            efficiency: 0.9886,
            interval: Some((0.981, 0.996)),
            pairs: vec![pair; 3],
            validity: Validity {
                verdict: Verdict::Valid,
                reasons: Vec::new(),
            },
            explanation: "Closed model, 64 connections.".into(),
        }),
        overheads: Vec::new(),
        tuning: vec![RunTuning {
            scenario: "rate".into(),
            topology: "two".into(),
            tuning: tuning(),
        }],
        findings: Vec::new(),
    };
    let folder = RunFolder::create(&results, "demo", "all", &Commit::here()).unwrap();
    let page = write_comparison(&folder, &comparison, &runs).unwrap();
    let first = std::fs::read_to_string(&page).unwrap();
    self_contained(&first);
    let again = comparison::rewrite_comparison(folder.path()).unwrap();
    let again = std::fs::read_to_string(again).unwrap();
    let charts = |page: &str| page.matches("<figure").count();
    assert_eq!((charts(&first), charts(&again)), (2, 2));
}
