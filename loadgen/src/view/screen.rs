//! The terminal, taken over and put back whatever happens.

use std::io::{self, Stderr, stderr};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::{Hide, Show},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};

pub(super) type Screen = Terminal<CrosstermBackend<Stderr>>;

/// Takes the terminal over: keys arrive one by one, and what was on it comes back afterwards.
pub(super) fn open() -> io::Result<Screen> {
    enable_raw_mode()?;
    let opened = execute!(stderr(), EnterAlternateScreen, Hide)
        .and_then(|()| Terminal::new(CrosstermBackend::new(stderr())));
    if opened.is_err() {
        restore();
    }
    opened
}

/// Puts the terminal back. Harmless when that has happened already.
pub(super) fn restore() {
    // There is nobody left to tell that it failed.
    let _ = execute!(stderr(), Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}
