//! Values of a scenario file that people write as text.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{Engine, ThinkTime};
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
