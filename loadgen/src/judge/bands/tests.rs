//! Every figure falls into one band, and the documented ones are the documented ones.

use weir_load::config_file::ConfigText;

use super::*;
use crate::judge::tests::good_summary;

fn band_of(rows: &[BandRow], metric: &str) -> (Band, String) {
    let row = rows.iter().find(|row| row.metric == metric).unwrap();
    (row.band, row.note.clone())
}

#[test]
fn the_shipped_file_holds_the_documented_bands() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/bands.toml");
    assert_eq!(Bands::load(Some(&path)).unwrap(), Bands::documented());
}

#[test]
fn limits_part_four_bands_and_belong_to_the_better_one() {
    let three = Limits(vec![200.0, 500.0, 1000.0]);
    let bands = [200.0, 500.0, 1000.0, 1000.1].map(|value| three.band(value));
    assert_eq!(
        bands,
        [Band::Target, Band::Acceptable, Band::Poor, Band::Critical]
    );
    let two = Limits(vec![1.0, 5.0]);
    assert_eq!(
        [1.0, 5.0, 9.0].map(|v| two.band(v)),
        [Band::Target, Band::Acceptable, Band::Poor]
    );
    let one = Limits(vec![1.0]);
    assert_eq!([1.0, 2.0].map(|v| one.band(v)), [Band::Target, Band::Poor]);
}

#[test]
fn errors_are_judged_by_the_load_and_throughput_by_concurrency() {
    let mut summary = good_summary();
    summary.error_rate = 0.02;
    summary.throughput_rps = 55.0;
    let bands = Bands::documented();
    let at = |load: f64| bands.judge(&summary, &[], load);
    assert_eq!(band_of(&at(99.0), "error rate").0, Band::Poor);
    assert_eq!(band_of(&at(100.0), "error rate").0, Band::Acceptable);
    assert_eq!(band_of(&at(301.0), "error rate").0, Band::Target);
    assert_eq!(
        band_of(&at(99.0), "throughput"),
        (Band::Target, "from concurrency 50 on".into())
    );
    assert_eq!(band_of(&at(100.0), "throughput").0, Band::Poor);
    assert!(at(0.5).iter().all(|row| row.metric != "throughput"));
}

#[test]
fn processes_under_test_have_bands_and_the_generator_has_none() {
    let process = |name: &str, cpu_percent: f64| -> ProcessSummary {
        serde_json::from_value(serde_json::json!({
            "name": name, "pid": 1, "cpu_s": 1.0, "cpu_percent": cpu_percent,
            "rss_start": 600_000_000, "rss_end": 0, "rss_max": 1_500_000_000,
            "threads": 1, "fds": 1, "samples": [],
        }))
        .unwrap()
    };
    let mut summary = good_summary();
    summary.processes = vec![process("weir", 60.0), process("generator", 99.0)];
    let growth = |detectable| Growth {
        process: "weir".into(),
        per_minute: 7e6,
        low: 6e6,
        high: 8e6,
        detectable,
        verdict: String::new(),
    };
    let bands = Bands::documented();
    let rows = bands.judge(&summary, &[growth(1e6)], 50.0);
    assert_eq!(band_of(&rows, "CPU of weir").0, Band::Acceptable);
    assert_eq!(band_of(&rows, "initial memory of weir").0, Band::Acceptable);
    assert_eq!(band_of(&rows, "memory growth of weir").0, Band::Acceptable);
    assert!(
        rows.iter()
            .all(|row| !row.metric.contains("generator") && !row.metric.contains("largest"))
    );
    let (band, note) = band_of(
        &bands.judge(&summary, &[growth(6e6)], 50.0),
        "memory growth of weir",
    );
    assert_eq!(band, Band::NotMeasured);
    assert_eq!(
        note,
        "too short: growth below 6 MB/min could not have been seen"
    );
    summary.duration_s = 3600.0;
    let rows = bands.judge(&summary, &[], 500.0);
    assert_eq!(band_of(&rows, "largest memory of weir").0, Band::Acceptable);
    assert_eq!(band_of(&rows, "CPU of weir").1, "limits of 100 users");
    let text = band_table(&rows).to_string();
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}

#[test]
fn wrong_bands_are_located() {
    let refuse = |text: &str| {
        file::bands(&ConfigText::new("bands.toml".into(), text.into()))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refuse("[latency]\np95 = [\"1s\", \"500ms\"]\n"),
        "bands.toml:2:1: `latency.p95`: limits must rise: target, acceptable, poor"
    );
    assert_eq!(
        refuse("[memory]\ngrowth = [\"5\"]\n"),
        "bands.toml:2:1: `memory.growth`: `5` is not a growth: write \"5MB/m\" or \"10MB/h\""
    );
    assert!(refuse("[latency]\np97 = [\"1s\"]\n").contains("`p97` has no bands"));
    assert!(
        refuse("[[cpu]]\nup_to = 9\nlimits = [\"5%\"]\n[[cpu]]\nup_to = 9\nlimits = [\"5%\"]\n")
            .contains("must rise")
    );
    assert!(refuse("[latncy]\n").contains("unknown field"));
}
