//! Requests that are reported together: same method, alike paths.

/// Segments of a path that tell endpoints apart; deeper ones do not.
const DEPTH: usize = 6;
/// Letters and digits mixed for at least this long are an identifier, not a word.
const IDENTIFIER: usize = 8;

/// The path with identifiers replaced by `*` and without query: `/items/17?x=1` → `/items/*`.
pub(super) fn pattern(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut out = String::with_capacity(path.len());
    for (depth, segment) in path.split('/').skip(1).enumerate() {
        out.push('/');
        if depth + 1 == DEPTH {
            out.push_str("**");
            break;
        }
        out.push_str(if is_identifier(segment) { "*" } else { segment });
    }
    out
}

/// The name under which a request is reported: it tags lines of interval logs, which know neither
/// commas nor spaces.
pub(super) fn tag(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == ',' || c.is_whitespace() || c.is_control() {
                '_'
            } else {
                c
            }
        })
        .collect()
}

/// Whether a segment looks like a number, a UUID, a hash, and not like a word.
fn is_identifier(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 {
        return false;
    }
    let version = segment.len() <= 3 && segment.starts_with('v');
    digits == segment.len()
        || (segment.len() >= IDENTIFIER && !version && digits * 4 >= segment.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_replaced_and_words_are_kept() {
        for (path, expected) in [
            ("/", "/"),
            ("/api/v1/items", "/api/v1/items"),
            ("/api/v1/items/17?full=1", "/api/v1/items/*"),
            ("/u/3f2b8c1e-9a4d-4e21-8f00-1c2d3e4f5a6b/x", "/u/*/x"),
            ("/a/b/c/d/e/f/g", "/a/b/c/d/e/**"),
            ("/blob/9f86d081884c7d65", "/blob/*"),
            ("/statistics/oauth2", "/statistics/oauth2"),
        ] {
            assert_eq!(pattern(path), expected);
        }
    }

    #[test]
    fn tags_hold_neither_commas_nor_spaces() {
        assert_eq!(tag("GET /a,b\tc"), "GET_/a_b_c");
    }
}
