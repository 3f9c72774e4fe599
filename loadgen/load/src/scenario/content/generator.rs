//! What a placeholder can make up by itself: numbers, text, identifiers, the time.

use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use rand::{Rng, RngExt as _};

/// Longest text or hexadecimal number that is made.
const LONGEST: usize = 1024;
/// Most digits after the point.
const MOST_DECIMALS: usize = 15;
/// Letters and digits, as `{{string N}}` draws them.
const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A generator; all but the time are seeded.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Generator {
    /// A whole number between two bounds, both included.
    Int { min: i64, max: i64 },
    /// A number between two bounds with so many digits after the point.
    Float { min: f64, max: f64, decimals: usize },
    /// Hexadecimal digits.
    Hex { digits: usize },
    /// Letters and digits.
    Text { length: usize },
    /// One of several texts.
    Choice(Vec<String>),
    /// A random identifier: UUID version 4 (RFC 9562 §5.4).
    Uuid,
    /// Seconds since 1970.
    Timestamp,
    /// Milliseconds since 1970.
    TimestampMs,
    /// The time in UTC, as RFC 3339 writes it.
    Now,
}

impl Generator {
    /// Parses a name and its parameters; `None` if there is no such generator.
    pub(super) fn parse(name: &str, parameters: &str) -> Option<Self> {
        let words: Vec<&str> = parameters.split_whitespace().collect();
        Some(match (name, words.as_slice()) {
            ("int", [min, max]) => {
                let (min, max) = (min.parse().ok()?, max.parse().ok()?);
                (min <= max).then_some(Self::Int { min, max })?
            }
            ("float", [min, max]) => Self::float(min, max, "2")?,
            ("float", [min, max, decimals]) => Self::float(min, max, decimals)?,
            ("hex", [digits]) => Self::Hex {
                digits: length(digits)?,
            },
            ("string", [text]) => Self::Text {
                length: length(text)?,
            },
            ("choice", [_, ..]) => Self::Choice(
                parameters
                    .split('|')
                    .map(|option| option.trim().to_owned())
                    .collect(),
            ),
            ("uuid", []) => Self::Uuid,
            ("timestamp", []) => Self::Timestamp,
            ("timestamp", ["ms"]) => Self::TimestampMs,
            ("now", []) => Self::Now,
            _ => return None,
        })
    }

    fn float(min: &str, max: &str, decimals: &str) -> Option<Self> {
        let (min, max): (f64, f64) = (min.parse().ok()?, max.parse().ok()?);
        let decimals = decimals.parse().ok().filter(|n| *n <= MOST_DECIMALS)?;
        let fits = min.is_finite() && max.is_finite() && min <= max && (max - min).is_finite();
        fits.then_some(Self::Float { min, max, decimals })
    }

    /// The texts it chooses from; they are written in the file, like plain text.
    pub(super) fn options(&self) -> &[String] {
        match self {
            Self::Choice(options) => options,
            _ => &[],
        }
    }

    /// Appends one value.
    pub(super) fn write(&self, out: &mut String, random: &mut impl Rng) {
        // Writing to a `String` cannot fail.
        let _ = match self {
            Self::Int { min, max } => write!(out, "{}", random.random_range(*min..=*max)),
            Self::Float { min, max, decimals } => {
                let value = min + (max - min) * random.random::<f64>();
                write!(out, "{value:.decimals$}")
            }
            Self::Hex { digits } => {
                for _ in 0..*digits {
                    let digit = random.random_range(0..16_u32);
                    out.push(char::from_digit(digit, 16).unwrap_or('0'));
                }
                Ok(())
            }
            Self::Text { length } => {
                for _ in 0..*length {
                    let index = random.random_range(0..ALPHANUMERIC.len());
                    out.push(char::from(ALPHANUMERIC.get(index).copied().unwrap_or(b'0')));
                }
                Ok(())
            }
            Self::Choice(options) => {
                let index = random.random_range(0..options.len());
                out.write_str(options.get(index).map_or("", String::as_str))
            }
            Self::Uuid => {
                let bits: u128 = random.random();
                // Version 4 and variant 10, as the RFC places them.
                let bits = bits & !(0xF << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
                write!(
                    out,
                    "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                    bits >> 96,
                    bits >> 80 & 0xFFFF,
                    bits >> 64 & 0xFFFF,
                    bits >> 48 & 0xFFFF,
                    bits & 0xFFFF_FFFF_FFFF
                )
            }
            Self::Timestamp => write!(out, "{}", since_1970().as_secs()),
            Self::TimestampMs => write!(out, "{}", since_1970().as_millis()),
            Self::Now => write!(
                out,
                "{}",
                humantime::format_rfc3339_millis(SystemTime::now())
            ),
        };
    }
}

fn length(text: &str) -> Option<usize> {
    text.parse().ok().filter(|n| (1..=LONGEST).contains(n))
}

fn since_1970() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;

    fn made(name: &str, parameters: &str, seed: u64) -> String {
        let mut out = String::new();
        Generator::parse(name, parameters)
            .unwrap()
            .write(&mut out, &mut SmallRng::seed_from_u64(seed));
        out
    }

    #[test]
    fn each_makes_what_its_name_says() {
        assert_eq!(made("string", "20", 1).len(), 20);
        assert!(
            made("string", "200", 1)
                .bytes()
                .all(|b| b.is_ascii_alphanumeric())
        );
        assert_eq!(made("float", "2 2 3", 1), "2.000");
        let seconds: u64 = made("timestamp", "", 1).parse().unwrap();
        let ms: u64 = made("timestamp", "ms", 1).parse().unwrap();
        assert!(ms / 1000 >= seconds && ms / 1000 - seconds < 60);
        let now = made("now", "", 1);
        assert!(now.ends_with('Z') && humantime::parse_rfc3339(&now).is_ok());
    }

    #[test]
    fn wrong_parameters_are_refused() {
        for (name, parameters) in [
            ("int", "9 1"),
            ("int", "1"),
            ("float", "1 nan"),
            ("float", "0 1 99"),
            ("float", "2 1"),
            ("hex", "0"),
            ("string", "99999"),
            ("uuid", "4"),
            ("timestamp", "us"),
            ("choice", " "),
            ("nope", ""),
        ] {
            assert_eq!(
                Generator::parse(name, parameters),
                None,
                "{name} {parameters}"
            );
        }
    }

    proptest! {
        #[test]
        fn identifiers_are_version_4(seed: u64) {
            let id = made("uuid", "", seed);
            let groups: Vec<usize> = id.split('-').map(str::len).collect();
            prop_assert_eq!(groups, vec![8, 4, 4, 4, 12]);
            prop_assert_eq!(id.as_bytes()[14], b'4');
            prop_assert!(b"89ab".contains(&id.as_bytes()[19]), "{}", id);
        }

        #[test]
        fn numbers_stay_within_bounds(min in -1e6..1e6_f64, width in 0.0..1e6_f64, seed: u64) {
            let (min, max) = (min.round(), (min + width).round());
            let number: f64 = made("float", &format!("{min} {max} 3"), seed).parse().unwrap();
            prop_assert!((min..=max).contains(&number), "{} in {} {}", number, min, max);
        }
    }
}
