//! Requests, flows, feeds and checks as they are written in TOML.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::{AtEnd, OnFailure, Order, Per, Statuses};
use crate::scenario::text::{DurationText, ThinkTimeText};

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::scenario) struct RawFeed {
    pub(super) name: String,
    pub(super) file: String,
    #[serde(default)]
    pub(super) order: Order,
    pub(super) at_end: Option<AtEnd>,
    #[serde(default)]
    pub(super) per: Per,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::scenario) struct RawLogin {
    #[serde(default = "post")]
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) token: Option<String>,
    #[serde(default)]
    pub(super) expect: RawExpect,
    #[serde(default)]
    pub(super) extract: Vec<RawExtract>,
}

fn post() -> String {
    "POST".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::scenario) struct RawRequest {
    pub(super) name: String,
    #[serde(default = "get")]
    pub(super) method: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<String>,
    pub(super) weight: Option<f64>,
    /// Steps of flows only.
    pub(super) think_time: Option<ThinkTimeText>,
    #[serde(default)]
    pub(super) expect: RawExpect,
    #[serde(default)]
    pub(super) extract: Vec<RawExtract>,
}

fn get() -> String {
    "GET".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::scenario) struct RawFlow {
    pub(super) name: String,
    pub(super) weight: Option<f64>,
    pub(super) think_time: Option<ThinkTimeText>,
    #[serde(default)]
    pub(super) on_failure: OnFailure,
    #[serde(default)]
    pub(super) steps: Vec<RawRequest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::scenario) struct RawExtract {
    pub(super) name: String,
    pub(super) json_path: Option<String>,
    pub(super) header: Option<String>,
    pub(super) regex: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::scenario) struct RawExpect {
    pub(super) status: Option<StatusText>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, RawTextCheck>,
    pub(super) size: Option<RawSize>,
    pub(super) body_contains: Option<String>,
    pub(super) body_matches: Option<String>,
    #[serde(default)]
    pub(super) json: Vec<RawJsonCheck>,
    pub(super) max_time: Option<DurationText>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::scenario) struct RawSize {
    pub(super) min: Option<u64>,
    pub(super) max: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::scenario) struct RawJsonCheck {
    pub(super) path: String,
    pub(super) exists: Option<bool>,
    pub(super) equals: Option<toml::Value>,
    pub(super) contains: Option<String>,
    pub(super) matches: Option<String>,
    pub(super) count: Option<usize>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
}

/// `"json"` (contains), or a table with one of `contains`, `equals`, `matches`, `exists`.
#[derive(Default)]
pub(in crate::scenario) struct RawTextCheck {
    pub(super) contains: Option<String>,
    pub(super) equals: Option<String>,
    pub(super) matches: Option<String>,
    pub(super) exists: Option<bool>,
}

impl<'de> Deserialize<'de> for RawTextCheck {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            contains: Option<String>,
            equals: Option<String>,
            matches: Option<String>,
            exists: Option<bool>,
        }

        struct TextCheckVisitor;

        impl<'de> Visitor<'de> for TextCheckVisitor {
            type Value = RawTextCheck;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text it must contain, or { equals = \"…\" }, { contains = \"…\" }, { matches = \"…\" } or { exists = true }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawTextCheck, E> {
                Ok(RawTextCheck {
                    contains: Some(text.to_owned()),
                    ..RawTextCheck::default()
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawTextCheck, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawTextCheck {
                    contains: table.contains,
                    equals: table.equals,
                    matches: table.matches,
                    exists: table.exists,
                })
            }
        }

        deserializer.deserialize_any(TextCheckVisitor)
    }
}

/// `201`, `"2xx"`, or a list of them.
pub(in crate::scenario) struct StatusText(pub(super) Vec<RangeInclusive<u16>>);

impl<'de> Deserialize<'de> for StatusText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StatusVisitor;

        impl<'de> Visitor<'de> for StatusVisitor {
            type Value = StatusText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status such as 201, a class such as \"2xx\", or a list of them")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<StatusText, E> {
                let one = Statuses::parse_one(text).map_err(E::custom)?;
                Ok(StatusText(vec![one]))
            }

            fn visit_i64<E: Error>(self, status: i64) -> Result<StatusText, E> {
                self.visit_str(&status.to_string())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<StatusText, A::Error> {
                let mut all = Vec::new();
                while let Some(StatusText(some)) = seq.next_element()? {
                    all.extend(some);
                }
                if all.is_empty() {
                    return Err(A::Error::custom("an empty list accepts no answer at all"));
                }
                Ok(StatusText(all))
            }
        }

        deserializer.deserialize_any(StatusVisitor)
    }
}
