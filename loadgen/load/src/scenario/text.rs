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

/// Users, written as a number, or a rate, written as text.
#[derive(Debug, Clone, Copy)]
pub(super) enum LevelText {
    Users(u32),
    Rate(Rate),
}

impl<'de> Deserialize<'de> for LevelText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LevelVisitor;

        impl Visitor<'_> for LevelVisitor {
            type Value = LevelText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of users such as 300, or a rate such as \"300/s\"")
            }

            fn visit_i64<E: Error>(self, users: i64) -> Result<LevelText, E> {
                u32::try_from(users)
                    .map(LevelText::Users)
                    .map_err(|_| E::custom(format!("{users} is not a number of users")))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<LevelText, E> {
                text.parse().map(LevelText::Rate).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(LevelVisitor)
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
    Replay,
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

/// `"none"`, `"1s"`, `{ min = "0.5s", max = "2s" }` or
/// `{ distribution = "lognormal", mean = "1s", deviation = "500ms" }`.
#[derive(Debug, Clone, Copy)]
pub(super) struct ThinkTimeText(pub(super) ThinkTime);

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Distribution {
    Constant,
    Uniform,
    Exponential,
    Normal,
    LogNormal,
}

/// The parameters of a distribution; which of them it takes depends on it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    distribution: Option<Distribution>,
    min: Option<DurationText>,
    max: Option<DurationText>,
    mean: Option<DurationText>,
    deviation: Option<DurationText>,
}

impl Parameters {
    fn think_time(&self) -> Result<ThinkTime, String> {
        let bounds = (self.min.map(|text| text.0), self.max.map(|text| text.0));
        let moments = (
            self.mean.map(|text| text.0),
            self.deviation.map(|text| text.0),
        );
        match (
            self.distribution.unwrap_or(Distribution::Uniform),
            bounds,
            moments,
        ) {
            (Distribution::Uniform, (Some(min), Some(max)), (None, None)) => {
                Ok(ThinkTime::Uniform { min, max })
            }
            (Distribution::Uniform, ..) => {
                Err("a uniform distribution takes `min` and `max`".into())
            }
            (_, (None, None), (Some(Duration::ZERO), _)) => {
                Err("`mean` must be above 0; write \"none\" for no pause".into())
            }
            (Distribution::Constant, (None, None), (Some(mean), None)) => {
                Ok(ThinkTime::Constant(mean))
            }
            (Distribution::Constant, ..) => Err("a constant pause takes `mean`".into()),
            (Distribution::Exponential, (None, None), (Some(mean), None)) => {
                Ok(ThinkTime::Exponential { mean })
            }
            (Distribution::Exponential, ..) => {
                Err("an exponential distribution takes `mean` alone".into())
            }
            (Distribution::Normal, (None, None), (Some(mean), Some(deviation))) => {
                Ok(ThinkTime::Normal { mean, deviation })
            }
            (Distribution::LogNormal, (None, None), (Some(mean), Some(deviation))) => {
                Ok(ThinkTime::LogNormal { mean, deviation })
            }
            (Distribution::Normal | Distribution::LogNormal, ..) => {
                Err("a normal or log-normal distribution takes `mean` and `deviation`".into())
            }
        }
    }
}

impl<'de> Deserialize<'de> for ThinkTimeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ThinkTimeVisitor;

        impl<'de> Visitor<'de> for ThinkTimeVisitor {
            type Value = ThinkTime;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"none\", a duration, { min = \"0.5s\", max = \"2s\" }, or { distribution = \"exponential\", mean = \"1s\" }")
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
                Parameters::deserialize(MapAccessDeserializer::new(map))?
                    .think_time()
                    .map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_any(ThinkTimeVisitor).map(Self)
    }
}
