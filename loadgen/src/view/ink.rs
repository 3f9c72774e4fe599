//! Colours of the live screen.

use ratatui::style::{Color, Modifier, Style};

/// Colours, or none of them when the environment says `NO_COLOR`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ink {
    pub(super) colors: bool,
}

impl Ink {
    /// What the environment asks for (<https://no-color.org>).
    pub(super) fn of_environment() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colors: !refused }
    }

    fn of(self, color: Color) -> Style {
        if self.colors {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    pub(super) fn soft(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn good(self) -> Style {
        self.of(Color::Green)
    }

    pub(super) fn bad(self) -> Style {
        self.of(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn warn(self) -> Style {
        self.of(Color::Yellow)
    }

    pub(super) fn first(self) -> Style {
        self.of(Color::Cyan)
    }

    pub(super) fn second(self) -> Style {
        self.of(Color::Yellow)
    }

    pub(super) fn third(self) -> Style {
        self.of(Color::Magenta)
    }
}
