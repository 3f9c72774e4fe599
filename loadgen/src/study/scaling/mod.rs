//! What further replicas buy: throughput and latency of one, two and more, efficiency with its
//! interval, a sweep over concurrency with the scalability law, where the bottleneck is, how
//! balancers cope with a slow replica, and what a failing one costs.

mod demo;
pub(crate) mod measure;
pub(crate) mod record;
pub(crate) mod report;

pub use record::{Balance, Bottleneck, Efficiency, Failing, ScalingReport, Sweep, TopologyResult};

pub use self::demo::{ScalingError, ScalingPlan, measure_scaling, scaling_record};
