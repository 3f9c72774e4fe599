//! The form of a text that an edit must not change: its byte order mark, and how each line ends.
//!
//! Editors on Windows write both; TOML allows them, and a tool that rewrote every line would make a small
//! change look like a new file.

use similar::{ChangeTag, TextDiff};

/// U+FEFF at the beginning of a file says that it is UTF-8.
const MARK: char = '\u{feff}';

/// Edits a text as if it had no mark and every line ended with LF; then it has its mark again, lines that are
/// still there end as before, and new ones as most do.
pub(super) fn keep<E>(
    text: &str,
    edit: impl FnOnce(&str) -> Result<String, E>,
) -> Result<String, E> {
    let (mark, body) = match text.strip_prefix(MARK) {
        Some(body) => (MARK.to_string(), body),
        None => (String::new(), text),
    };
    if !body.contains("\r\n") {
        return edit(body).map(|edited| mark + &edited);
    }
    let plain = body.replace("\r\n", "\n");
    let edited = edit(&plain)?;
    let ends: Vec<bool> = body
        .split_inclusive('\n')
        .map(|line| line.ends_with("\r\n"))
        .collect();
    let most = ends.iter().filter(|&&crlf| crlf).count() * 2 >= ends.len();
    let mut out = mark;
    for change in TextDiff::from_lines(&plain, &edited).iter_all_changes() {
        let crlf = match change.tag() {
            ChangeTag::Delete => continue,
            ChangeTag::Insert => most,
            ChangeTag::Equal => change
                .old_index()
                .and_then(|n| ends.get(n).copied())
                .unwrap_or(most),
        };
        match change.value().strip_suffix('\n') {
            Some(line) => {
                out.push_str(line);
                out.push_str(if crlf { "\r\n" } else { "\n" });
            }
            None => out.push_str(change.value()),
        }
    }
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn replace(text: &str, old: &str, new: &str) -> String {
        keep(text, |plain| {
            assert!(!plain.contains(['\r', MARK]), "{plain:?}");
            Ok::<_, ()>(plain.replace(old, new))
        })
        .unwrap()
    }

    #[test]
    fn marks_and_line_ends_stay() {
        for (text, edited) in [
            ("a\nb\n", "a\nB\nc\n"),
            ("a\r\nb\r\n", "a\r\nB\r\nc\r\n"),
            ("\u{feff}a\r\nb\r\n", "\u{feff}a\r\nB\r\nc\r\n"),
            ("\u{feff}a\nb\n", "\u{feff}a\nB\nc\n"),
            // Mixed: each line that is still there as it was, new ones as most.
            ("x\r\ny\r\na\nb\r\n", "x\r\ny\r\na\nB\r\nc\r\n"),
            ("x\ny\na\r\nb\n", "x\ny\na\r\nB\nc\n"),
            ("a\r\nb", "a\r\nB\r\nc"),
        ] {
            assert_eq!(replace(text, "b", "B\nc"), edited, "{text:?}");
            assert_eq!(replace(text, "nothing", "else"), text);
        }
    }
}
