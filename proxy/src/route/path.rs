//! The path of a request as routes compare it: decoded once, without dot segments and double slashes, as nginx's
//! `location` does (`$uri`). What the client wrote is what goes on to the server.

use std::borrow::Cow;

/// A path that cannot be normalised; the request is 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with a slash.
    #[error("the path does not begin with \"/\"")]
    Relative,
    /// A `%` without two hexadecimal digits.
    #[error("a \"%\" in the path is not followed by two hexadecimal digits")]
    Percent,
    /// A byte 0, written or encoded.
    #[error("the path holds a NUL")]
    Nul,
    /// More `..` than there are segments.
    #[error("the path goes above the root with \"..\"")]
    AboveRoot,
}

/// The path of a request's target, normalised. A query or fragment is left away: both begin at the first `?` or `#`
/// that is not encoded. A path that is normal already is not copied.
///
/// # Errors
/// See [`PathError`].
pub fn normalise(target: &[u8]) -> Result<Cow<'_, [u8]>, PathError> {
    let end = target.iter().position(|&b| b == b'?' || b == b'#');
    let path = target.get(..end.unwrap_or(target.len())).unwrap_or(target);
    if path.first() != Some(&b'/') {
        return Err(PathError::Relative);
    }
    if is_normal(path) {
        return Ok(Cow::Borrowed(path));
    }
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = if byte == b'%' {
            (decode(after)?, after.get(2..).unwrap_or_default())
        } else {
            (byte, after)
        };
        rest = after;
        match byte {
            0 => return Err(PathError::Nul),
            b'/' => end_segment(&mut out)?,
            byte => out.push(byte),
        }
    }
    end_last_segment(&mut out)?;
    Ok(Cow::Owned(out))
}

/// Whether nothing has to be done: no `%`, no NUL, no `//`, no segment that begins with a dot.
fn is_normal(path: &[u8]) -> bool {
    let mut before = 0;
    path.iter().all(|&byte| {
        let special = matches!(byte, 0 | b'%') || before == b'/' && matches!(byte, b'/' | b'.');
        before = byte;
        !special
    })
}

fn decode(digits: &[u8]) -> Result<u8, PathError> {
    let digit = |at: usize| {
        let digit = digits.get(at).and_then(|&b| char::from(b).to_digit(16));
        digit
            .and_then(|value| u8::try_from(value).ok())
            .ok_or(PathError::Percent)
    };
    Ok(digit(0)? << 4 | digit(1)?)
}

/// Ends the segment that has been written last.
fn end_segment(out: &mut Vec<u8>) -> Result<(), PathError> {
    end_last_segment(out)?;
    if out.last() != Some(&b'/') {
        out.push(b'/');
    }
    Ok(())
}

/// Takes `.` and `..` away again, with the segment before.
fn end_last_segment(out: &mut Vec<u8>) -> Result<(), PathError> {
    let begun = out.iter().rposition(|&b| b == b'/').map(|at| at + 1);
    let begun = begun.unwrap_or_default();
    match out.get(begun..) {
        Some(b".") => out.truncate(begun),
        Some(b"..") => {
            let above = begun.checked_sub(1).and_then(|slash| out.get(..slash));
            let above = above.and_then(|head| head.iter().rposition(|&b| b == b'/'));
            out.truncate(above.ok_or(PathError::AboveRoot)? + 1);
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_path_are_one_path() {
        for (written, path) in [
            ("/", "/"),
            ("/admin", "/admin"),
            ("//admin", "/admin"),
            ("/./admin", "/admin"),
            ("/x/../admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/x/%2e%2E/admin", "/admin"),
            ("/%2fadmin", "/admin"),
            ("/a%2Fb", "/a/b"),
            ("/admin/.", "/admin/"),
            ("/admin/x/..", "/admin/"),
            ("/admin/..", "/"),
            ("/a//..//b/", "/b/"),
            ("/a/b/../../c", "/c"),
            // Decoded once.
            ("/%2561dmin", "/%61dmin"),
            ("/a?b=/../../..", "/a"),
            ("/a#b", "/a"),
            ("/a%3Fb", "/a?b"),
            ("/...", "/..."),
            ("/.a/..b/c..", "/.a/..b/c.."),
            ("/a b", "/a b"),
        ] {
            let got = normalise(written.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&got), path, "{written}");
        }
    }

    #[test]
    fn what_cannot_be_normalised_is_refused() {
        for (written, error) in [
            ("", PathError::Relative),
            ("*", PathError::Relative),
            ("a/b", PathError::Relative),
            ("/..", PathError::AboveRoot),
            ("/../a", PathError::AboveRoot),
            ("/a/../../b", PathError::AboveRoot),
            ("/%2e%2e/a", PathError::AboveRoot),
            ("/%", PathError::Percent),
            ("/%4", PathError::Percent),
            ("/%4g", PathError::Percent),
            ("/%%34", PathError::Percent),
            ("/a%00b", PathError::Nul),
            ("/a\0b", PathError::Nul),
        ] {
            assert_eq!(normalise(written.as_bytes()), Err(error), "{written:?}");
        }
    }

    proptest! {
        /// However a path is spelt, and whatever it holds, the result has no dot segment and no double slash.
        #[test]
        fn a_result_is_normal(path in "/[a./%0-9\\?]{0,24}") {
            if let Ok(path) = normalise(path.as_bytes()) {
                prop_assert!(path.starts_with(b"/"));
                prop_assert!(!path.windows(2).any(|two| two == b"//"));
                prop_assert!(path.split(|&b| b == b'/').all(|s| s != b"." && s != b".."));
            }
        }

        /// Encoding every byte, and putting segments in that take themselves away, changes nothing.
        #[test]
        fn spelling_does_not_matter(segments in prop::collection::vec("[a-z]{1,5}", 1..5)) {
            let plain = format!("/{}", segments.join("/"));
            let encoded: String = plain.bytes().map(|b| format!("%{b:02X}")).collect();
            // The first slash has to be one.
            let encoded = format!("/{}", encoded.trim_start_matches("%2F"));
            let winding = format!("//./x/../{}", segments.join("/.//y/../"));
            for written in [&plain, &encoded, &winding] {
                let got = normalise(written.as_bytes()).unwrap();
                prop_assert_eq!(String::from_utf8_lossy(&got), plain.as_str());
            }
        }
    }
}
