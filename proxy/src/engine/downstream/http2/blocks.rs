//! What is wrong with a field block that `h2` could not take (RFC 7541, RFC 9113 section 4.3).
//!
//! `h2` says PROTOCOL_ERROR both for a block that cannot be decoded, where COMPRESSION_ERROR is due, and for names and
//! values that no field may have. Which of them it was can be told from the block alone, as far as its strings are not
//! Huffman-coded.

use weir_http1::is_field_name;

const PSEUDO: [&[u8]; 6] = [
    b":authority",
    b":method",
    b":path",
    b":protocol",
    b":scheme",
    b":status",
];

/// Whether it is the coding that is wrong with a block, and not the name or the value of a field.
pub(super) fn is_undecodable(block: &[u8]) -> bool {
    let mut rest = block;
    while let Some(&first) = rest.first() {
        let (bits, literal) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let Some(index) = integer(&mut rest, bits) else {
            return true;
        };
        if !literal {
            continue;
        }
        if index == 0 {
            match string(&mut rest) {
                None => return true,
                Some(Text::Plain(name)) if is_name(name) => {}
                // In Huffman code it may be one or the other.
                Some(_) => return false,
            }
        }
        match string(&mut rest) {
            None => return true,
            Some(Text::Plain(value)) if value.iter().any(|&b| b < b' ' && b != b'\t') => {
                return false;
            }
            Some(_) => {}
        }
    }
    // An index, a table size, or a Huffman code.
    true
}

fn is_name(name: &[u8]) -> bool {
    let lower = !name.iter().any(u8::is_ascii_uppercase);
    PSEUDO.contains(&name) || (lower && is_field_name(name))
}

/// A string literal.
enum Text<'a> {
    Plain(&'a [u8]),
    Huffman,
}

/// RFC 7541 section 5.2.
fn string<'a>(rest: &mut &'a [u8]) -> Option<Text<'a>> {
    let huffman = rest.first()? & 0x80 != 0;
    let length = integer(rest, 7)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(match huffman {
        true => Text::Huffman,
        false => Text::Plain(text),
    })
}

/// RFC 7541 section 5.1.
fn integer(rest: &mut &[u8], bits: u32) -> Option<usize> {
    let mask = (1usize << bits) - 1;
    let (&first, mut after) = rest.split_first()?;
    let mut n = usize::from(first) & mask;
    if n == mask {
        for shift in [0, 7, 14, 21, 28] {
            let (&next, further) = after.split_first()?;
            after = further;
            n += usize::from(next & 0x7f) << shift;
            if next & 0x80 == 0 {
                *rest = after;
                return Some(n);
            }
        }
        return None;
    }
    *rest = after;
    Some(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coding_and_content_are_told_apart() {
        for undecodable in [
            &[0x82, 0xff, 0x7f][..],
            &[0x80],
            &[0x00, 1, b'x', 9, b'y'],
            &[0x00, 1, b'x', 0x81, 0x18],
            &[0x40, 3, b'x'],
            &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(is_undecodable(undecodable), "{undecodable:?}");
        }
        for malformed in [
            &[0x82, 0x00, 1, b'X', 1, b'y'][..],
            &[0x00, 2, b':', b'x', 1, b'y'],
            &[0x00, 0, 1, b'y'],
            &[0x40, 1, b'x', 1, 0],
            &[0x00, 0x81, 0x18, 1, b'y'],
        ] {
            assert!(!is_undecodable(malformed), "{malformed:?}");
        }
    }
}
