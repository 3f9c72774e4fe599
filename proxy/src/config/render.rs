//! Errors of a file as a terminal shows them.

use std::fmt::Write as _;

use super::{ConfigError, ConfigErrors};

/// Every error with the line it stands in and a caret under the place, then how many there are.
#[must_use]
pub fn render(errors: &ConfigErrors) -> String {
    let mut out = String::new();
    for error in errors.as_slice() {
        one(error, &mut out);
    }
    let count = errors.as_slice().len();
    let noun = if count == 1 { "error" } else { "errors" };
    let file = errors.as_slice().first().map_or("", |e| e.file.as_str());
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{file}: {count} {noun}");
    out
}

fn one(error: &ConfigError, out: &mut String) {
    out.push_str(&error.file);
    if let Some(at) = error.position {
        let _ = write!(out, ":{}:{}", at.line, at.column);
    }
    out.push_str(": ");
    if !error.field.is_empty() {
        let _ = write!(out, "{}: ", error.field);
    }
    let _ = writeln!(out, "{}", error.message);
    if let Some(at) = error.position {
        let number = at.line.to_string();
        let margin = " ".repeat(number.len());
        // Tabs stay tabs, so that the caret stands where the eye looks for it.
        let indent: String = error
            .source_line
            .chars()
            .take(at.column.saturating_sub(1))
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let carets = "^".repeat(error.width);
        let _ = writeln!(out, "{margin} |");
        let _ = writeln!(out, "{number} | {}", error.source_line);
        let _ = writeln!(out, "{margin} | {indent}{carets}");
    }
    if !error.allowed.is_empty() {
        let _ = writeln!(out, "  allowed: {}", error.allowed);
    }
    out.push('\n');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_shown_with_a_caret_under_the_place() {
        let text = "[connections]\n\tmax = 3\n";
        let shown = render(&weir_api::config::parse(text, "weir.toml").unwrap_err());
        let expected = "weir.toml:2:8: connections.max: 3 is not allowed\n  \
                        |\n2 | \tmax = 3\n  | \t      ^\n  \
                        allowed: a whole number from 16 to 1000000\n\n";
        assert!(shown.starts_with(expected), "{shown}");
        assert!(shown.ends_with("weir.toml: 3 errors\n"), "{shown}");
    }
}
