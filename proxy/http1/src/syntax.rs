//! The grammar that heads and trailers share (RFC 9110 section 5).

use std::ops::Range;

/// A line is no header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldSyntax;

/// The length of the name of a field line, and where its value lies.
pub(crate) fn split_field(line: &[u8]) -> Result<(usize, Range<usize>), FieldSyntax> {
    let mut colon = 0;
    loop {
        match line.get(colon) {
            Some(b':') => break,
            Some(&b) if is_token(b) => colon += 1,
            _ => return Err(FieldSyntax),
        }
    }
    if colon == 0 {
        return Err(FieldSyntax);
    }
    let value = line.get(colon + 1..).unwrap_or_default();
    if !is_field_value(value) {
        return Err(FieldSyntax);
    }
    let trimmed = value.trim_ascii_start();
    let start = line.len() - trimmed.len();
    let end = start + trimmed.trim_ascii_end().len();
    Ok((colon, start..end))
}

/// Whether a field may have this name: at least one `tchar`.
#[must_use]
pub fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&b| is_token(b))
}

/// No control characters but tabs.
#[must_use]
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    // Without an early end, so that it becomes one pass of vector instructions.
    !value.iter().fold(false, |bad, &b| {
        bad | (b < b' ' && b != b'\t') | (b == 0x7f)
    })
}

/// `tchar` of RFC 9110 section 5.6.2.
#[must_use]
pub(crate) fn is_token(b: u8) -> bool {
    const TABLE: [bool; 256] = token_table();
    TABLE[b as usize]
}

const fn token_table() -> [bool; 256] {
    let mut table = [false; 256];
    let extra = b"!#$%&'*+-.^_`|~";
    let mut i = 0;
    while i < extra.len() {
        table[extra[i] as usize] = true;
        i += 1;
    }
    let mut b = 0;
    while b < 128 {
        if (b as u8).is_ascii_alphanumeric() {
            table[b] = true;
        }
        b += 1;
    }
    table
}

/// A decimal number and nothing else (no sign, no list; RFC 9110 section 8.6).
#[must_use]
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        value
            .iter()
            .fold(0u64, |n, &d| n * 10 + u64::from(d - b'0')),
    )
}

/// `uri-host [ ":" port ]` (RFC 9110 section 7.2); empty is allowed there, for targets without authority.
#[must_use]
pub fn is_authority(host: &[u8]) -> bool {
    let (name, port) = match host.first() {
        Some(b'[') => {
            let Some(close) = memchr::memchr(b']', host) else {
                return false;
            };
            let (name, rest) = host.split_at(close + 1);
            let inner = name.get(1..close).unwrap_or_default();
            if inner.is_empty()
                || !inner
                    .iter()
                    .all(|&b| b.is_ascii_hexdigit() || b == b':' || b == b'.')
            {
                return false;
            }
            match rest {
                [] => return true,
                [b':', port @ ..] => (&b""[..], port),
                _ => return false,
            }
        }
        _ => match memchr::memchr(b':', host) {
            Some(at) => (&host[..at], host.get(at + 1..).unwrap_or_default()),
            None => (host, &b""[..]),
        },
    };
    name.iter()
        .all(|&b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&b))
        && port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
}
