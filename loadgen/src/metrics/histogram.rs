//! Response times as a Prometheus histogram that takes whole buckets at once. The one of the client
//! library takes single values only, which would mean telling it of every request.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use prometheus::{
    core::{Collector, Desc},
    proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use weir_load::progress::{BUCKETS_S, EndpointTick};

const NAME: &str = "weir_bench_response_seconds";
const HELP: &str = "Response time of successes: in an open model from the intended start.";

/// Sums of one endpoint in one phase.
#[derive(Default)]
struct Sums {
    buckets: [u64; BUCKETS_S.len()],
    count: u64,
    sum_s: f64,
}

/// Response times by endpoint and phase.
#[derive(Clone)]
pub(super) struct ResponseTimes {
    desc: Desc,
    sums: Arc<Mutex<BTreeMap<(String, &'static str), Sums>>>,
}

impl ResponseTimes {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let labels = ["endpoint", "phase"].map(str::to_owned).to_vec();
        Ok(Self {
            desc: Desc::new(NAME.into(), HELP.into(), labels, [].into())?,
            sums: Arc::default(),
        })
    }

    /// Adds one second of an endpoint.
    pub(super) fn add(&self, phase: &'static str, tick: &EndpointTick) {
        if tick.buckets.is_empty() {
            return;
        }
        let mut all = self.sums.lock();
        let sums = all.entry((tick.name.clone(), phase)).or_default();
        for (sum, count) in sums.buckets.iter_mut().zip(&tick.buckets) {
            *sum += count;
        }
        sums.count += tick.buckets.iter().sum::<u64>();
        sums.sum_s += tick.sum_s;
    }
}

impl Collector for ResponseTimes {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all = self.sums.lock();
        if all.is_empty() {
            return Vec::new();
        }
        let metrics = all.iter().map(|((endpoint, phase), sums)| {
            let labels = vec![label("endpoint", endpoint), label("phase", phase)];
            let mut metric = Metric::from_label(labels);
            metric.set_histogram(histogram(sums));
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(NAME.to_owned());
        family.set_help(HELP.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

fn histogram(sums: &Sums) -> Histogram {
    let mut up_to = 0;
    let buckets = BUCKETS_S.iter().zip(&sums.buckets).map(|(edge, count)| {
        up_to += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*edge);
        bucket.set_cumulative_count(up_to);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(sums.count);
    histogram.set_sample_sum(sums.sum_s);
    histogram
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
