//! A CPU profile of this process: a timer interrupts whatever runs, the stacks are counted and drawn as a
//! flame graph (B. Gregg, "The Flame Graph", 2016).

use std::fmt::Write as _;

use pprof::{ProfilerGuard, ProfilerGuardBuilder};

/// A profile could not be taken.
#[derive(Debug, thiserror::Error)]
#[error("the profile could not be taken: {0}")]
pub struct ProfileError(String);

impl ProfileError {
    /// With a reason.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// A profile in the making.
pub struct Profiler {
    guard: ProfilerGuard<'static>,
    frequency: u32,
}

impl Profiler {
    /// Starts to look, `frequency` times per second of processor time.
    ///
    /// # Errors
    /// When the timer cannot be set.
    pub fn start(frequency: u32) -> Result<Self, ProfileError> {
        let guard = ProfilerGuardBuilder::default()
            .frequency(i32::try_from(frequency).unwrap_or(99))
            // A stack cannot be walked safely while these hold their locks.
            .blocklist(&["libc", "libgcc", "pthread", "vdso"])
            .build()
            .map_err(|error| ProfileError(error.to_string()))?;
        Ok(Self { guard, frequency })
    }

    /// Stops, and draws what was seen as SVG.
    ///
    /// # Errors
    /// When nothing was seen, or it cannot be drawn.
    pub fn flame_graph(self) -> Result<Vec<u8>, ProfileError> {
        let wrong = |error: &dyn std::fmt::Display| ProfileError(error.to_string());
        let report = self.guard.report().build().map_err(|e| wrong(&e))?;
        let mut lines = Vec::new();
        let mut samples = 0;
        for (frames, count) in &report.data {
            let mut line = frames.thread_name.replace([';', ' '], "_");
            // The innermost call comes first.
            for symbols in frames.frames.iter().rev() {
                for symbol in symbols.iter().rev() {
                    // Writing to a string cannot fail.
                    let _ = write!(line, ";{symbol}");
                }
            }
            let _ = write!(line, " {count}");
            samples += *count;
            lines.push(line);
        }
        if lines.is_empty() {
            return Err(ProfileError::new(
                "no processor time was used meanwhile: there is nothing to draw; try again under load",
            ));
        }
        let mut options = inferno::flamegraph::Options::default();
        options.title = format!("weir: {samples} samples at {} a second", self.frequency);
        let mut svg = Vec::new();
        inferno::flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)
            .map_err(|e| wrong(&e))?;
        Ok(svg)
    }
}
