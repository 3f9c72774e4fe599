//! The metrics as JSON, for live views: the same numbers as the text for Prometheus.

use prometheus::proto::{Metric, MetricFamily, MetricType};
use serde_json::{Map, Value, json};

/// `{"name": [{"labels": {…}, "value": 1}, …]}`; histograms have `count`, `sum` (seconds) and `buckets`, each
/// an upper bound with how many were at most that.
#[must_use]
pub fn to_json(families: &[MetricFamily]) -> Value {
    let mut all = Map::new();
    for family in families {
        let kind = family.get_field_type();
        let series = family.get_metric().iter().map(|m| series(m, kind));
        all.insert(family.name().to_owned(), series.collect());
    }
    Value::Object(all)
}

fn series(metric: &Metric, kind: MetricType) -> Value {
    let labels: Map<String, Value> = metric
        .get_label()
        .iter()
        .map(|label| (label.name().to_owned(), Value::from(label.value())))
        .collect();
    match kind {
        MetricType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            let buckets: Vec<Value> = histogram
                .get_bucket()
                .iter()
                .map(|bucket| json!([bucket.upper_bound(), bucket.cumulative_count()]))
                .collect();
            json!({
                "labels": labels,
                "count": histogram.get_sample_count(),
                "sum": histogram.get_sample_sum(),
                "buckets": buckets,
            })
        }
        MetricType::COUNTER => json!({"labels": labels, "value": metric.get_counter().get_value()}),
        _ => json!({"labels": labels, "value": metric.get_gauge().get_value()}),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

    use super::*;

    #[test]
    fn counters_and_histograms_keep_their_numbers() {
        let registry = Registry::new();
        let requests = IntCounterVec::new(Opts::new("requests", "r"), &["code"]).unwrap();
        let latency =
            Histogram::with_opts(HistogramOpts::new("latency", "l").buckets(vec![0.1, 1.0]))
                .unwrap();
        registry.register(Box::new(requests.clone())).unwrap();
        registry.register(Box::new(latency.clone())).unwrap();
        requests.with_label_values(&["200"]).inc_by(3);
        latency.observe(0.05);
        latency.observe(0.5);
        let json = to_json(&registry.gather());
        assert_eq!(
            json["requests"],
            json!([{"labels": {"code": "200"}, "value": 3.0}])
        );
        assert_eq!(json["latency"][0]["count"], 2);
        assert_eq!(json["latency"][0]["buckets"], json!([[0.1, 1], [1.0, 2]]));
    }
}
