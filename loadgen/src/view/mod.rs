//! How a run looks while it goes on: a live screen on a terminal, plain lines elsewhere.
//!
//! Both are told once a second by the collecting thread ([`weir_load::progress::Progress`]). The live screen
//! draws in a thread of its own, at most four times a second, from a copy of what it was told; no
//! request ever waits for it.

mod charts;
mod draw;
mod ink;
mod lines;
mod live;
mod screen;
mod state;
mod tables;

use std::{
    io::{IsTerminal as _, stderr},
    sync::Arc,
};

use weir_lab::stdio;
use weir_load::{
    progress::{NoProgress, Progress},
    stop::StopToken,
};

use self::live::Live;
use crate::text::wrapped;
pub use lines::LiveProgress;
pub use state::About;

/// What a user wants to see while a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Choice {
    /// The live screen on a terminal, lines elsewhere.
    #[default]
    Auto,
    /// The live screen; lines where there is no terminal to draw on.
    Live,
    /// A line every few seconds.
    Lines,
    /// Nothing.
    None,
}

/// Lines with this label, or nothing.
#[must_use]
pub fn lines_unless(quiet: bool, label: impl Into<String>) -> Arc<dyn Progress> {
    if quiet {
        Arc::new(NoProgress)
    } else {
        Arc::new(LiveProgress::new(label.into()))
    }
}

/// What shows a run while it goes on; dropping it puts the terminal back.
pub struct Viewer {
    progress: Arc<dyn Progress>,
    // Held for its `Drop`.
    _live: Option<Live>,
}

impl Viewer {
    /// Begins to show a run.
    #[must_use]
    pub fn start(choice: Choice, about: About, stop: &StopToken) -> Self {
        let label = about.scenario.clone();
        let opening = format!("{}: {}, to {}", about.scenario, about.load, about.subject);
        let lines = || {
            stdio::note(wrapped(&opening, "", "  "));
            Self::of(Arc::new(LiveProgress::plain(label)))
        };
        let live = match choice {
            Choice::None => return Self::of(Arc::new(NoProgress)),
            Choice::Lines => None,
            Choice::Auto => drawable().then(|| Live::start(about, stop)),
            Choice::Live if drawable() => Some(Live::start(about, stop)),
            Choice::Live => {
                stdio::note("no terminal to draw on: lines instead of the live view");
                None
            }
        };
        match live {
            Some(Ok(live)) => Self {
                progress: live.progress(),
                _live: Some(live),
            },
            Some(Err(error)) => {
                stdio::note(format_args!("no live view ({error}): lines instead"));
                lines()
            }
            None => lines(),
        }
    }

    fn of(progress: Arc<dyn Progress>) -> Self {
        Self {
            progress,
            _live: None,
        }
    }

    /// Where the run tells how it goes.
    #[must_use]
    pub fn progress(&self) -> Arc<dyn Progress> {
        self.progress.clone()
    }
}

/// Whether standard error is a terminal that understands more than lines.
fn drawable() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    stderr().is_terminal() && !dumb
}
