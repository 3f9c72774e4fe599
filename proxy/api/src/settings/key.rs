//! What a rate limit counts by.

use std::{fmt, str::FromStr};

use crate::units::UnitError;

/// What a rate limit counts by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// The client's address (nginx: `$binary_remote_addr`). In text: `client_ip`.
    ClientIp,
    /// A request header's value. In text: `header:NAME`. A request without it is not limited, as with an empty key in nginx.
    Header(String),
    /// The matched route. In text: `route`.
    Route,
    /// One bucket for everything. In text: `global`.
    Global,
}

pub(crate) const EXPECTED: &str = "a key: \"client_ip\", \"header:NAME\", \"route\", \"global\", or several different ones joined with \"+\" (\"global\" stands alone)";

impl LimitKey {
    /// Reads the parts of a key such as `"client_ip+route"`.
    ///
    /// # Errors
    /// When a part is unknown or twice there, or `global` is combined with another part.
    pub fn parse_parts(text: &str) -> Result<Vec<Self>, UnitError> {
        let refused = || UnitError::new(text, EXPECTED);
        let mut parts = Vec::new();
        for part in text.split('+') {
            let part = part.parse().map_err(|_| refused())?;
            if parts.contains(&part) {
                return Err(refused());
            }
            parts.push(part);
        }
        if parts.len() > 1 && parts.contains(&Self::Global) {
            return Err(refused());
        }
        Ok(parts)
    }
}

impl FromStr for LimitKey {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        match text {
            "client_ip" => Ok(Self::ClientIp),
            "route" => Ok(Self::Route),
            "global" => Ok(Self::Global),
            _ => text
                .strip_prefix("header:")
                // "+" joins parts here, although HTTP allows it in a name.
                .filter(|name| !name.contains('+'))
                .and_then(|name| http::HeaderName::from_str(name).ok())
                .map(|name| Self::Header(name.as_str().to_owned()))
                .ok_or_else(|| UnitError::new(text, EXPECTED)),
        }
    }
}

impl fmt::Display for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client_ip"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Route => f.write_str("route"),
            Self::Global => f.write_str("global"),
        }
    }
}

/// Serde for the parts of a key as one text.
pub(super) mod parts {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use super::LimitKey;

    pub(crate) fn serialize<S: Serializer>(
        parts: &[LimitKey],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let parts: Vec<_> = parts.iter().map(LimitKey::to_string).collect();
        serializer.serialize_str(&parts.join("+"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<LimitKey>, D::Error> {
        let text = String::deserialize(deserializer)?;
        LimitKey::parse_parts(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parts_combine_and_names_of_headers_are_lower_case() {
        assert_eq!(
            LimitKey::parse_parts("client_ip+header:X-Api-Key+route").unwrap(),
            [
                LimitKey::ClientIp,
                LimitKey::Header("x-api-key".to_owned()),
                LimitKey::Route
            ]
        );
    }

    #[test]
    fn unknown_or_contradicting_parts_are_refused() {
        for text in [
            "",
            "+",
            "ip",
            "client_ip+",
            "client_ip+client_ip",
            "global+route",
            "header:",
            "header:a b",
            "header:a+b",
        ] {
            assert!(LimitKey::parse_parts(text).is_err(), "{text}");
        }
    }
}
