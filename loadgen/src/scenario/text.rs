//! Values of a scenario file that people write as text.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{Engine, Template, ThinkTime};
use crate::units::{Rate, parse_duration};

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DurationText(pub(super) Duration);

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(D::Error::custom)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct RateText(pub(super) Rate);

impl<'de> Deserialize<'de> for RateText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// A share between 0 and 1, written `"0.1%"` or `0.001`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share(pub(super) f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShareVisitor;

        impl Visitor<'_> for ShareVisitor {
            type Value = f64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share such as \"0.1%\" or 0.001")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
                text.trim()
                    .strip_suffix('%')
                    .and_then(|number| number.trim().parse::<f64>().ok())
                    .map(|percent| percent / 100.0)
                    .ok_or_else(|| {
                        E::custom(format!("`{text}` is not a share such as \"0.1%\" or 0.001"))
                    })
            }

            fn visit_f64<E: Error>(self, share: f64) -> Result<f64, E> {
                Ok(share)
            }

            fn visit_i64<E: Error>(self, share: i64) -> Result<f64, E> {
                Ok(share as f64)
            }
        }

        let share = deserializer.deserialize_any(ShareVisitor)?;
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(D::Error::custom(
                "a share lies between 0 and 1 (0% and 100%)",
            ))
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ModelText {
    Closed,
    Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ArrivalsText {
    Uniform,
    Poisson,
    Volley,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct EngineText(pub(super) Engine);

impl<'de> Deserialize<'de> for EngineText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Name {
            Session,
            Wire,
        }
        Ok(Self(match Name::deserialize(deserializer)? {
            Name::Session => Engine::Session,
            Name::Wire => Engine::Wire,
        }))
    }
}

/// `"none"`, `"1s"` or `{ min = "0.5s", max = "2s" }`.
#[derive(Debug, Clone, Copy)]
pub(super) struct ThinkTimeText(pub(super) ThinkTime);

impl<'de> Deserialize<'de> for ThinkTimeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Bounds {
            min: DurationText,
            max: DurationText,
        }

        struct ThinkTimeVisitor;

        impl<'de> Visitor<'de> for ThinkTimeVisitor {
            type Value = ThinkTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"none\", a duration, or { min = \"0.5s\", max = \"2s\" }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ThinkTime, E> {
                if text == "none" {
                    return Ok(ThinkTime::None);
                }
                match parse_duration(text).map_err(E::custom)? {
                    Duration::ZERO => Ok(ThinkTime::None),
                    pause => Ok(ThinkTime::Constant(pause)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ThinkTime, A::Error> {
                let Bounds { min, max } = Bounds::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ThinkTime::Uniform {
                    min: min.0,
                    max: max.0,
                })
            }
        }

        deserializer.deserialize_any(ThinkTimeVisitor).map(Self)
    }
}

pub(super) fn method(text: &str) -> Result<http::Method, String> {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    if KNOWN.contains(&text) {
        http::Method::from_bytes(text.as_bytes()).map_err(|error| error.to_string())
    } else {
        Err(format!("`{text}` is not one of {}", KNOWN.join(", ")))
    }
}

pub(super) fn path(text: &str) -> Result<Template, String> {
    if !text.starts_with('/') {
        return Err(format!(
            "`{text}` must begin with `/`; host and port come from the target"
        ));
    }
    let template = Template::parse(text).map_err(|error| error.to_string())?;
    let literal = template.literal();
    if literal
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || !c.is_ascii() || c == '#')
    {
        return Err(format!(
            "`{text}` holds a space, a control character, `#` or a letter outside ASCII; percent-encode it"
        ));
    }
    Ok(template)
}

pub(super) fn body(text: Option<&str>) -> Result<Option<Template>, String> {
    text.map(Template::parse)
        .transpose()
        .map_err(|error| error.to_string())
}

/// Headers that the engines write themselves.
const OWN: [&str; 4] = ["host", "content-length", "connection", "transfer-encoding"];

pub(super) fn headers(
    raw: &BTreeMap<String, String>,
) -> Result<Vec<(String, String)>, (String, String)> {
    for (name, value) in raw {
        let refuse = |why: &str| Err((name.clone(), why.to_owned()));
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return refuse("is not a header name: letters, digits and `-`");
        }
        if OWN.contains(&name.to_ascii_lowercase().as_str()) {
            return refuse("is written by the client itself; remove it");
        }
        if http::HeaderValue::from_str(value).is_err() {
            return refuse("is not a header value: visible ASCII without line ends");
        }
    }
    Ok(raw
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect())
}
