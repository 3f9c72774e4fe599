//! Sizes in bytes.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use super::{UnitError, split_digits};

/// A number of bytes, in text `"1MiB"` or `"32KiB"`.
///
/// nginx's `32k`, `1m` and `1g` mean the same binary units, and a plain number is bytes. `"1KB"` and `"1MB"` are
/// refused: some read them as thousands, others as 1024s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

impl ByteSize {
    const EXPECTED: &'static str = "a size such as \"32KiB\", \"1MiB\" or \"1GiB\" (nginx's \"32k\", \"1m\", \"1g\"), or a whole number of bytes";

    /// `n` bytes.
    #[must_use]
    pub const fn bytes(n: u64) -> Self {
        Self(n)
    }

    /// `n` times 1024 bytes; the largest size there is on overflow.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 10))
    }

    /// `n` times 1024² bytes; the largest size there is on overflow.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 20))
    }

    /// The number of bytes.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The number of bytes, at most what this machine can address.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (digits, unit) = split_digits(text);
        let shift = match unit {
            "" | "B" => Some(0),
            "k" | "K" | "KiB" => Some(10),
            "m" | "M" | "MiB" => Some(20),
            "g" | "G" | "GiB" => Some(30),
            "TiB" => Some(40),
            _ => None,
        };
        shift
            .zip(digits.parse::<u64>().ok())
            .and_then(|(shift, n)| n.checked_mul(1 << shift))
            .map(Self)
            .ok_or_else(|| UnitError::new(text, Self::EXPECTED))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(ByteSize::EXPECTED)
            }

            fn visit_u64<E: Error>(self, n: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(n))
            }

            fn visit_i64<E: Error>(self, n: i64) -> Result<ByteSize, E> {
                u64::try_from(n)
                    .map(ByteSize)
                    .map_err(|_| E::custom(UnitError::new(&n.to_string(), ByteSize::EXPECTED)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_binary() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("1KiB", 1024),
            ("32k", 32 << 10),
            ("1m", 1 << 20),
            ("1MiB", 1 << 20),
            ("2g", 2 << 30),
        ] {
            assert_eq!(text.parse::<ByteSize>().unwrap().as_u64(), bytes, "{text}");
        }
        assert_eq!(
            serde_json::from_str::<ByteSize>("256").unwrap(),
            ByteSize::bytes(256)
        );
        assert_eq!(ByteSize::mib(1).to_string(), "1MiB");
        assert_eq!(ByteSize::bytes(1500).to_string(), "1500B");
    }

    #[test]
    fn ambiguous_or_odd_sizes_are_refused() {
        for text in [
            "",
            "k",
            "1KB",
            "1 MiB",
            "-1",
            "1.5m",
            "99999999999g",
            "1mib",
        ] {
            let error = text.parse::<ByteSize>().unwrap_err().to_string();
            assert!(error.contains("32KiB"), "{text}: {error}");
        }
        for json in ["-1", "1.5", "true", "null"] {
            assert!(serde_json::from_str::<ByteSize>(json).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(n: u64, shift in 0u32..50) {
            let size = ByteSize::bytes(n >> shift << shift);
            prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
            let json = serde_json::to_string(&size).unwrap();
            prop_assert_eq!(serde_json::from_str::<ByteSize>(&json).unwrap(), size);
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = text.parse::<ByteSize>();
        }
    }
}
