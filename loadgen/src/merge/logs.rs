//! Joining interval logs: histograms of the same second and endpoint are added up, bucket by
//! bucket, so that nothing is lost and the order of the shards does not matter.

use std::{collections::BTreeMap, io, path::Path, time::Duration, time::SystemTime};

use hdrhistogram::Histogram;

use weir_load::record::{IntervalLog, LoggedInterval, latency_histogram};

/// The joined intervals of one log.
#[derive(Debug, Default)]
pub(super) struct JoinedLog {
    /// By start and then by tag, in the order in which tags first appeared.
    intervals: BTreeMap<(Duration, usize), (Duration, Histogram<u64>)>,
    tags: Vec<Option<String>>,
}

impl JoinedLog {
    /// Adds the intervals of one more log.
    pub(super) fn add(&mut self, log: &[LoggedInterval]) -> Result<(), String> {
        for interval in log {
            let known = self.tags.iter().position(|tag| *tag == interval.tag);
            let tag = known.unwrap_or_else(|| {
                self.tags.push(interval.tag.clone());
                self.tags.len() - 1
            });
            let (length, total) = self
                .intervals
                .entry((interval.start, tag))
                .or_insert_with(|| (Duration::ZERO, latency_histogram()));
            *length = (*length).max(interval.length);
            total
                .add(&interval.histogram)
                .map_err(|error| format!("values beyond one hour ({error:?})"))?;
        }
        Ok(())
    }

    /// Everything in one histogram.
    pub(super) fn total(&self) -> Histogram<u64> {
        self.sum(|_, _| true)
    }

    /// Everything of one endpoint.
    pub(super) fn of_tag(&self, tag: &str) -> Histogram<u64> {
        self.sum(|_, of| of == Some(tag))
    }

    /// Everything of one second, which is told by its start.
    pub(super) fn of_second(&self, start_s: f64) -> Histogram<u64> {
        self.sum(|start, _| (start.as_secs_f64() - start_s).abs() < 0.0005)
    }

    fn sum(&self, wanted: impl Fn(Duration, Option<&str>) -> bool) -> Histogram<u64> {
        let mut sum = latency_histogram();
        for ((start, tag), (_, histogram)) in &self.intervals {
            let tag = self.tags.get(*tag).and_then(Option::as_deref);
            if wanted(*start, tag) {
                // Both have the bounds of `latency_histogram`.
                let _ = sum.add(histogram);
            }
        }
        sum
    }

    /// Writes the joined log.
    pub(super) fn save(&self, path: &Path, what: &str, started_at: SystemTime) -> io::Result<()> {
        let mut log = IntervalLog::new();
        for ((start, tag), (length, histogram)) in &self.intervals {
            let tag = self.tags.get(*tag).and_then(Option::as_deref);
            log.append(histogram, *start, *length, tag)?;
        }
        log.save(path, what, started_at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use weir_load::record::read_log;

    use super::*;

    /// Values by second and endpoint.
    type Sample = (u64, usize, u64);

    const TAGS: [Option<&str>; 3] = [None, Some("reads"), Some("writes")];

    fn log_of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Vec<LoggedInterval> {
        let mut intervals: BTreeMap<(u64, usize), Histogram<u64>> = BTreeMap::new();
        for (second, tag, value) in samples {
            let histogram = intervals
                .entry((*second, *tag))
                .or_insert_with(latency_histogram);
            histogram.record(*value).unwrap();
        }
        let interval =
            |((second, tag), histogram): ((u64, usize), Histogram<u64>)| LoggedInterval {
                tag: TAGS[tag].map(str::to_owned),
                start: Duration::from_secs(second),
                length: Duration::from_secs(1),
                histogram,
            };
        intervals.into_iter().map(interval).collect()
    }

    fn written_and_read(log: &JoinedLog) -> Vec<LoggedInterval> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("response.hlog");
        log.save(&path, "response time", SystemTime::UNIX_EPOCH)
            .unwrap();
        read_log(&path).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn merging_what_was_split_gives_the_whole(
            samples in prop::collection::vec((0_u64..4, 0_usize..3, 1_u64..3_600_000_000), 1..120),
            shards in 1_usize..6,
        ) {
            let mut whole = JoinedLog::default();
            whole.add(&log_of(samples.iter())).unwrap();
            let mut joined = JoinedLog::default();
            for shard in 0..shards {
                let own = samples.iter().skip(shard).step_by(shards);
                let mut part = JoinedLog::default();
                part.add(&log_of(own)).unwrap();
                // Through a file, as between machines.
                joined.add(&written_and_read(&part)).unwrap();
            }
            prop_assert_eq!(joined.total(), whole.total());
            prop_assert_eq!(joined.total().len(), samples.len() as u64);
            for tag in TAGS.iter().flatten() {
                prop_assert_eq!(joined.of_tag(tag), whole.of_tag(tag));
            }
            for second in 0..4 {
                prop_assert_eq!(
                    joined.of_second(f64::from(second)), whole.of_second(f64::from(second))
                );
            }
            // And the joined log, written and read again, is still all of it.
            let mut again = JoinedLog::default();
            again.add(&written_and_read(&joined)).unwrap();
            prop_assert_eq!(again.total(), whole.total());
        }
    }
}
