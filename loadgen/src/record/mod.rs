//! What happened: histograms, intervals, failures.

use std::{io, path::Path};

/// Raw data of a run: histograms of every second and endpoint, and the time series.
#[derive(Debug)]
pub struct Recording {}

impl Recording {
    /// Writes `response.hlog` and `service.hlog` (and `send_lag.hlog` for an open model):
    /// HdrHistogram V2 interval logs, values in microseconds, one line per second and endpoint,
    /// tagged with the endpoint's name.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn write_hlog(&self, folder: &Path) -> io::Result<()> {
        let _ = folder;
        Ok(())
    }

    /// Writes `timeseries.csv`: one line a second of the measured part.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write_timeseries(&self, folder: &Path) -> io::Result<()> {
        let _ = folder;
        Ok(())
    }
}
