//! What a request is counted by, as bytes.

use std::{fmt::Write as _, net::IpAddr};

use smallvec::SmallVec;
use weir_api::settings::LimitKey;

/// The bytes of a key; up to 64 stay on the stack.
pub type KeyBuf = SmallVec<[u8; 64]>;

/// Where the parts of a key come from: the request at hand.
pub trait KeySource {
    /// The client's address, after trusted proxies have been believed.
    fn client_ip(&self) -> IpAddr;
    /// The first value of a header, by its name in lower case.
    fn header(&self, name: &str) -> Option<&[u8]>;
    /// What identifies the matched route.
    fn route(&self) -> &str;
}

/// The key of a request, or `None` if it is not limited: as in nginx, a request without a value for
/// the key is not counted. In a combined key any missing part has that effect.
///
/// An address counts as its 4 or 16 bytes (nginx: `$binary_remote_addr`); an IPv4 address that arrived
/// as IPv6 (`::ffff:a.b.c.d`) counts as IPv4. In a combined key every part is preceded by its length, so
/// that two different requests never get the same bytes.
#[must_use]
pub fn build_key(parts: &[LimitKey], source: &impl KeySource) -> Option<KeyBuf> {
    let mut key = KeyBuf::new();
    if let [only] = parts {
        push_part(&mut key, only, source)?;
        return Some(key);
    }
    for part in parts {
        let start = key.len();
        key.extend_from_slice(&[0; 4]);
        push_part(&mut key, part, source)?;
        let length = u32::try_from(key.len() - start - 4).ok()?;
        key.get_mut(start..start + 4)?
            .copy_from_slice(&length.to_be_bytes());
    }
    Some(key)
}

fn push_part(key: &mut KeyBuf, part: &LimitKey, source: &impl KeySource) -> Option<()> {
    match part {
        LimitKey::ClientIp => match source.client_ip().to_canonical() {
            IpAddr::V4(ip) => key.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => key.extend_from_slice(&ip.octets()),
        },
        LimitKey::Header(name) => {
            let value = source.header(name).filter(|value| !value.is_empty())?;
            key.extend_from_slice(value);
        }
        LimitKey::Route => key.extend_from_slice(source.route().as_bytes()),
        LimitKey::Global => key.push(b'*'),
    }
    Some(())
}

/// A key in words, for the admin API: `127.0.0.1`, or the parts joined by ` + `.
#[must_use]
pub fn describe_key(parts: &[LimitKey], mut key: &[u8]) -> String {
    if let [only] = parts {
        return describe_part(only, key);
    }
    let mut text = String::new();
    for part in parts {
        let Some((length, rest)) = key.split_first_chunk::<4>() else {
            break;
        };
        let length = u32::from_be_bytes(*length) as usize;
        let Some((value, rest)) = rest.split_at_checked(length) else {
            break;
        };
        key = rest;
        if !text.is_empty() {
            text.push_str(" + ");
        }
        text.push_str(&describe_part(part, value));
    }
    text
}

fn describe_part(part: &LimitKey, bytes: &[u8]) -> String {
    if matches!(part, LimitKey::ClientIp) {
        if let Ok(ip) = <[u8; 4]>::try_from(bytes) {
            return IpAddr::from(ip).to_string();
        }
        if let Ok(ip) = <[u8; 16]>::try_from(bytes) {
            return IpAddr::from(ip).to_string();
        }
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}
