//! Values that only a run can know, written so that they fit their place.

use std::fmt::Write as _;

/// Where a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Path and query: what may not stand there is percent-encoded; at the very beginning, scheme
    /// and host of a URL are left out, since the target is chosen on the command line alone.
    Path,
    /// Value of a header: control characters are left out.
    Header,
    /// Body: as it is.
    Body,
}

/// How a value is rewritten, as the placeholder asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    None,
    /// Everything but unreserved characters (RFC 3986 §2.3) is percent-encoded.
    Url,
    /// Escaped for the inside of a JSON string (RFC 8259 §7).
    Json,
}

impl Place {
    /// Appends a value; `first` if nothing stands before it in the template.
    pub(super) fn write(self, out: &mut String, value: &str, filter: Filter, first: bool) {
        match (self, filter) {
            (Self::Path, _) if first => {
                let local = without_host(value);
                if !local.starts_with('/') {
                    out.push('/');
                }
                percent_encode(out, local, is_path);
            }
            (_, Filter::Url) => percent_encode(out, value, is_unreserved),
            (Self::Path, _) => percent_encode(out, value, is_path),
            (_, Filter::Json) => json_escape(out, value),
            (Self::Header, Filter::None) => out.extend(value.chars().filter(|c| !c.is_control())),
            (Self::Body, Filter::None) => out.push_str(value),
        }
    }
}

fn without_host(value: &str) -> &str {
    let rest = value
        .strip_prefix("http://")
        .or_else(|| value.strip_prefix("https://"));
    match rest {
        Some(rest) => rest
            .find(['/', '?'])
            .and_then(|at| rest.get(at..))
            .unwrap_or("/"),
        None => value,
    }
}

fn percent_encode(out: &mut String, value: &str, plain: fn(u8) -> bool) {
    for byte in value.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// What may stand in a path or a query; `%` too, for values that are encoded already.
fn is_path(byte: u8) -> bool {
    is_unreserved(byte) || b"%!$&'()*+,;=:@/?".contains(&byte)
}

fn json_escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(place: Place, value: &str, filter: Filter, first: bool) -> String {
        let mut out = String::new();
        place.write(&mut out, value, filter, first);
        out
    }

    #[test]
    fn a_location_leads_to_the_target_and_nowhere_else() {
        let path = |value| write(Place::Path, value, Filter::None, true);
        assert_eq!(path("http://elsewhere.example:1/a/b?c=d"), "/a/b?c=d");
        assert_eq!(path("https://elsewhere.example"), "/");
        assert_eq!(path("/a?b"), "/a?b");
        assert_eq!(path("@elsewhere/x"), "/@elsewhere/x");
    }

    #[test]
    fn a_header_stays_one_line() {
        let value = write(Place::Header, "a\r\nb: c\u{7f}", Filter::None, true);
        assert_eq!(value, "ab: c");
    }

    proptest! {
        #[test]
        fn json_escapes_are_read_back(value: String) {
            let text = format!("\"{}\"", write(Place::Body, &value, Filter::Json, true));
            prop_assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
        }
    }
}
