//! Text from outside, made safe to show.
//!
//! A terminal obeys control characters: it moves the cursor, changes its title, hides what was printed. Names,
//! reasons and messages that others wrote pass through here before they reach a terminal or a log.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether showing a character does something else than show it: a control character (C0, DEL, C1), a
/// line or paragraph separator, or a mark that turns the direction of the text around it.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The first character of a text that should not be in a name or a reason.
#[must_use]
pub fn unprintable_in(text: &str) -> Option<char> {
    text.chars().find(|c| is_unprintable(*c))
}

/// A text on one line: what is not printable is written as Rust and JavaScript do, `\n` or `\u{1b}`.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Several lines of text: as [`printable`], save that line ends and tabs stay. `\r\n` counts as a line end.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    let kept = |c| matches!(c, '\n' | '\t');
    if text.contains("\r\n") {
        let text = text.replace("\r\n", "\n");
        return Cow::Owned(escaped(&text, kept).into_owned());
    }
    escaped(text, kept)
}

/// JSON text with the same meaning in which nothing but line ends needs escaping: serde_json leaves DEL and C1 as they are.
#[must_use]
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let unsafe_here = |c: char| is_unprintable(c) && c != '\n';
    if !json.contains(unsafe_here) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if unsafe_here(c) {
            // All of them are in the basic plane, where a code point is one unit of UTF-16.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn escaped(text: &str, kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let escape = |c: char| is_unprintable(c) && !kept(c);
    if !text.contains(escape) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if escape(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        for (text, shown) in [
            ("plain – text", "plain – text"),
            ("\u{1b}[2Jgone\r", "\\u{1b}[2Jgone\\r"),
            ("two\nlines", "two\\nlines"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("a\u{202e}b", "a\\u{202e}b"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable_lines("a\r\n\tb\r\u{1b}\n"), "a\n\tb\\r\\u{1b}\n");
        assert!(matches!(printable_lines("as\nis"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({ "why": "\u{9b}31m\u{7f}\u{1b}\u{202e}" });
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        let shown = printable_json(&text);
        assert!(
            !shown.contains(|c| is_unprintable(c) && c != '\n'),
            "{shown}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).ok(),
            Some(value)
        );
    }
}
