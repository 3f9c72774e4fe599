//! A rule as it stands in a TOML file: a text, or a table.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{Abort, Metric, Relation, Rule, parse::possible};
use crate::units::parse_duration;

/// `"login: p95 < 80ms"`, or
/// `{ metric = "p95", endpoint = "login", below = "80ms", abort = true, abort_after = "10s" }`.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleEntry(pub Rule);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    metric: String,
    endpoint: Option<String>,
    below: Option<String>,
    at_most: Option<String>,
    above: Option<String>,
    at_least: Option<String>,
    abort: Option<bool>,
    abort_after: Option<String>,
}

impl TryFrom<Table> for Rule {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let metric: Metric = table.metric.parse()?;
        let given = [
            (Relation::Below, table.below),
            (Relation::AtMost, table.at_most),
            (Relation::Above, table.above),
            (Relation::AtLeast, table.at_least),
        ];
        let mut given = given
            .into_iter()
            .filter_map(|(relation, limit)| Some((relation, limit?)));
        let (Some((relation, limit)), None) = (given.next(), given.next()) else {
            return Err(
                "a rule has exactly one of `below`, `at_most`, `above` and `at_least`".to_owned(),
            );
        };
        let abort = match (table.abort, table.abort_after) {
            (Some(false) | None, None) => None,
            (Some(true), None) => Some(Abort::default()),
            (Some(true), Some(after)) => Some(Abort {
                after: parse_duration(&after).map_err(|error| format!("abort_after: {error}"))?,
            }),
            (Some(false) | None, Some(_)) => {
                return Err("`abort_after` needs `abort = true`".to_owned());
            }
        };
        if table.endpoint.as_deref().is_some_and(str::is_empty) {
            return Err("`endpoint` is empty; leave it out for the whole run".to_owned());
        }
        let rule = Self {
            endpoint: table.endpoint,
            limit: metric.unit().read(&limit)?,
            metric,
            relation,
            abort,
        };
        possible(&rule)?;
        Ok(rule)
    }
}

impl<'de> Deserialize<'de> for RuleEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Rule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a rule such as \"p99 < 200ms\" or { metric = \"p99\", below = \"200ms\" }",
                )
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Rule, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rule, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                Rule::try_from(table).map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_any(EntryVisitor).map(Self)
    }
}
