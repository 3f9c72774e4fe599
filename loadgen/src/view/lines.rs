//! Progress for people: a moving line on a terminal, a plain line every few seconds elsewhere.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use weir_lab::stdio;
use weir_load::progress::{Phase, Progress, Tick};

/// Seconds between two plain lines.
const PLAIN_EVERY: u64 = 4;

/// Shows how a run is going, on standard error.
#[derive(Debug)]
pub struct LiveProgress {
    label: String,
    bar: Option<ProgressBar>,
    last: Mutex<Option<(Phase, u64)>>,
}

impl LiveProgress {
    /// Progress under this label.
    #[must_use]
    pub fn new(label: String) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(1);
            let style = ProgressStyle::with_template("{prefix} {bar:18.cyan/dim} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(label.clone());
            bar.set_message("starting");
            bar.tick();
            bar
        });
        if bar.is_none() {
            stdio::note(format_args!("{label} starting"));
        }
        Self {
            label,
            bar,
            last: Mutex::new(None),
        }
    }

    /// Plain lines under this label, also on a terminal.
    #[must_use]
    pub fn plain(label: String) -> Self {
        Self {
            label,
            bar: None,
            last: Mutex::new(None),
        }
    }
}

impl Progress for LiveProgress {
    fn tick(&self, tick: &Tick) {
        let second = tick.elapsed.as_secs_f64().round() as u64;
        let text = describe(tick);
        match &self.bar {
            Some(bar) => {
                bar.set_length(tick.planned.as_millis() as u64);
                bar.set_position(tick.elapsed.as_millis() as u64);
                bar.set_message(text);
            }
            None => {
                let mut last = self.last.lock();
                let due = match *last {
                    Some((phase, at)) => phase != tick.phase || second >= at + PLAIN_EVERY,
                    None => true,
                };
                if due {
                    *last = Some((tick.phase, second));
                    stdio::note(format_args!("{} {text}", self.label));
                }
            }
        }
    }
}

impl Drop for LiveProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn describe(tick: &Tick) -> String {
    let phase = match tick.phase {
        Phase::WarmUp => "warm-up ",
        Phase::Measured => "",
    };
    let ms = |value: Duration| format!("{:.1}", value.as_secs_f64() * 1000.0);
    let mut text = format!(
        "{phase}{:.0}/{:.0} s  {:4} requests/s  p50 {} ms  p99 {} ms",
        tick.elapsed.as_secs_f64(),
        tick.planned.as_secs_f64(),
        tick.requests,
        ms(tick.p50),
        ms(tick.p99),
    );
    if tick.limited > 0 {
        text += &format!("  429: {}", tick.limited);
    }
    if tick.errors > 0 {
        text += &format!("  errors: {}", tick.errors);
    }
    text
}
