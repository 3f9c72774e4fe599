//! Histograms of a run folder, read from its interval logs.

use std::{collections::BTreeMap, path::Path};

use hdrhistogram::Histogram;

use weir_load::{
    record::{LogError, latency_histogram, sum_log},
    slo::{Time, figures::Histograms},
};

/// Histograms of a run folder, read from its interval logs.
#[derive(Debug)]
pub struct LoggedHistograms {
    response: Logged,
    service: Logged,
}

impl LoggedHistograms {
    /// Reads `response.hlog` and `service.hlog` of a run folder.
    ///
    /// # Errors
    ///
    /// When one of them is missing or not an interval log.
    pub fn read(folder: &Path) -> Result<Self, LogError> {
        let logged = |name: &str| {
            let endpoints = sum_log(&folder.join(name))?;
            let mut whole = latency_histogram();
            for histogram in endpoints.values() {
                // Bounds are the same everywhere, so that this cannot fail.
                let _ = whole.add(histogram);
            }
            Ok(Logged { whole, endpoints })
        };
        Ok(Self {
            response: logged("response.hlog")?,
            service: logged("service.hlog")?,
        })
    }
}

impl Histograms for LoggedHistograms {
    fn histogram(&self, endpoint: Option<&str>, time: Time) -> Option<&Histogram<u64>> {
        let logged = match time {
            Time::Response => &self.response,
            Time::Service => &self.service,
        };
        match endpoint {
            Some(name) => logged.endpoints.get(name),
            None => Some(&logged.whole),
        }
    }
}

#[derive(Debug)]
struct Logged {
    whole: Histogram<u64>,
    endpoints: BTreeMap<String, Histogram<u64>>,
}
