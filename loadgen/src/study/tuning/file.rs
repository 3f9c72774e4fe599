//! `config/tuning.toml`: reading claims, with errors that name file, line, column and field.

use std::{collections::BTreeSet, fs, path::Path};

use serde::Deserialize;
use serde_json::Value;
use weir_load::scenario::locate::{Step, display, line_column, offset_of, path_at};

use super::{
    claim::{Claim, Condition},
    quantity::Quantity,
    workload::Workload,
};
use crate::study::{
    pairs::Direction,
    rig::{base::patch, base_settings},
};

/// Most claims of one file.
const MOST_CLAIMS: usize = 64;

/// A claims file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClaimsError {
    /// It cannot be read.
    #[error("cannot read {file}: {cause}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{file}:{line}:{column}: {}{message}", if .field.is_empty() { String::new() } else { format!("`{field}`: ", field = .field) })]
    Invalid {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The field; empty when the text is no TOML.
        field: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// A row was asked for that is not there.
    #[error("there is no row `{row}`: {known}")]
    NoSuchRow {
        /// As given.
        row: String,
        /// Those that there are.
        known: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    claim: Vec<RawClaim>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClaim {
    row: String,
    setting: String,
    #[serde(default)]
    nginx: String,
    current: Value,
    recommended: Vec<Value>,
    #[serde(default)]
    reason: String,
    metric: String,
    direction: String,
    smallest_effect: String,
    binds: String,
    #[serde(default)]
    needs: String,
    enough: Option<String>,
    #[serde(default)]
    series: Vec<f64>,
    #[serde(default)]
    exact: bool,
    binding: Workload,
    control: Workload,
}

/// Reads the claims of a file.
///
/// # Errors
///
/// When it cannot be read, or something in it is wrong.
pub fn load(path: &Path) -> Result<Vec<Claim>, ClaimsError> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|cause| ClaimsError::Unreadable {
        file: file.clone(),
        cause,
    })?;
    parse(&text, &file)
}

/// Reads claims from text; `file` stands in errors.
///
/// # Errors
///
/// When something is wrong.
pub fn parse(text: &str, file: &str) -> Result<Vec<Claim>, ClaimsError> {
    let invalid = |offset: usize, field: String, message: String| {
        let (line, column) = line_column(text, offset);
        ClaimsError::Invalid {
            file: file.to_owned(),
            line,
            column,
            field,
            message,
        }
    };
    let raw: RawFile = toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        invalid(
            offset,
            display(&path_at(text, offset)),
            error.message().to_owned(),
        )
    })?;
    if raw.claim.is_empty() || raw.claim.len() > MOST_CLAIMS {
        let message = format!("there must be 1 to {MOST_CLAIMS} tables [[claim]]");
        return Err(invalid(0, "claim".to_owned(), message));
    }
    let mut rows = BTreeSet::new();
    let mut claims = Vec::new();
    for (index, raw) in raw.claim.into_iter().enumerate() {
        let claim = checked(raw).and_then(|claim| {
            if rows.insert(claim.row.clone()) {
                Ok(claim)
            } else {
                Err(wrong("row", format!("`{}` is there twice", claim.row)))
            }
        });
        claims.push(claim.map_err(|(field, message)| {
            let mut path: Vec<Step> = vec!["claim".into(), index.into()];
            path.extend(field.split('.').map(Step::from));
            invalid(offset_of(text, &path), display(&path), message)
        })?);
    }
    Ok(claims)
}

/// The claims of these rows, in the order of the file; all of them if none is named.
///
/// # Errors
///
/// When a row is not there.
pub fn choose(claims: Vec<Claim>, rows: &[String]) -> Result<Vec<Claim>, ClaimsError> {
    for row in rows {
        if !claims.iter().any(|claim| claim.row == *row) {
            let known: Vec<_> = claims.iter().map(|claim| claim.row.as_str()).collect();
            return Err(ClaimsError::NoSuchRow {
                row: row.clone(),
                known: known.join(", "),
            });
        }
    }
    Ok(claims
        .into_iter()
        .filter(|claim| rows.is_empty() || rows.contains(&claim.row))
        .collect())
}

type Wrong = (&'static str, String);

fn wrong(field: &'static str, message: impl Into<String>) -> Wrong {
    (field, message.into())
}

fn checked(raw: RawClaim) -> Result<Claim, Wrong> {
    let name_ok = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if raw.row.is_empty() || !raw.row.chars().all(name_ok) {
        return Err(wrong("row", "letters, digits, `_` and `-`, at least one"));
    }
    let current = quantity(&raw.setting, &raw.current).map_err(|m| wrong("current", m))?;
    if raw.recommended.is_empty() || raw.recommended.len() > 4 {
        return Err(wrong("recommended", "one to four values"));
    }
    let mut recommended = Vec::new();
    for value in &raw.recommended {
        let value = quantity(&raw.setting, value).map_err(|m| wrong("recommended", m))?;
        if value.unit != current.unit {
            return Err(wrong(
                "recommended",
                format!("{value} has another unit than the current {current}"),
            ));
        }
        if value == current {
            return Err(wrong(
                "recommended",
                format!("{value} is the current value"),
            ));
        }
        recommended.push(value);
    }
    let direction = match raw.direction.as_str() {
        "higher" => Direction::Higher,
        "lower" => Direction::Lower,
        other => {
            return Err(wrong(
                "direction",
                format!("`{other}`: must be \"higher\" or \"lower\""),
            ));
        }
    };
    let smallest_effect = percent(&raw.smallest_effect).map_err(|m| wrong("smallest_effect", m))?;
    let known = raw.binding.measures();
    let measured = |name: &str| {
        if known.contains(&name) {
            Ok(())
        } else {
            Err(format!(
                "the workload `{}` does not measure `{name}`; it measures {}",
                raw.binding.name(),
                known.join(", ")
            ))
        }
    };
    measured(&raw.metric).map_err(|m| wrong("metric", m))?;
    let condition = |text: &str| {
        let condition = Condition::parse(text)?;
        measured(&condition.measure)?;
        Ok::<_, String>(condition)
    };
    let binds = condition(&raw.binds).map_err(|m| wrong("binds", m))?;
    let enough = raw
        .enough
        .as_deref()
        .map(condition)
        .transpose()
        .map_err(|m| wrong("enough", m))?;
    let same_proxy = raw.binding.rig() == raw.control.rig();
    if !same_proxy || !raw.control.measures().contains(&raw.metric.as_str()) {
        return Err(wrong(
            "control",
            format!(
                "a `{}` cannot stand beside a `{}`: the control must measure `{}` too, on the same kind of proxy",
                raw.control.name(),
                raw.binding.name(),
                raw.metric
            ),
        ));
    }
    raw.binding.check().map_err(|m| wrong("binding", m))?;
    raw.control.check().map_err(|m| wrong("control", m))?;
    if let Some(strange) = raw
        .series
        .iter()
        .find(|value| !(value.is_finite() && **value > 0.0))
    {
        return Err(wrong("series", format!("{strange}: positive numbers only")));
    }
    Ok(Claim {
        row: raw.row,
        setting: raw.setting,
        nginx: raw.nginx,
        current,
        recommended,
        reason: raw.reason,
        metric: raw.metric,
        direction,
        smallest_effect,
        binds,
        needs: raw.needs,
        enough,
        series: raw.series,
        exact: raw.exact,
        binding: raw.binding,
        control: raw.control,
    })
}

/// A value that the proxy would accept for this setting.
fn quantity(setting: &str, value: &Value) -> Result<Quantity, String> {
    let patch = patch(setting, value.clone());
    let mut settings = base_settings().map_err(|error| error.to_string())?;
    let leaves = weir_api::schema::patch::leaves(&patch, &settings)
        .map_err(|problems| format!("`{setting}` cannot be set: {problems}"))?;
    weir_api::schema::patch::apply(&leaves, &mut settings);
    weir_api::schema::check(&weir_api::schema::LIVE, &settings)
        .map_err(|problems| problems.to_string())?;
    Quantity::read(value)
}

/// Reads `5%` as 0.05.
fn percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.strip_suffix('%').and_then(|n| n.trim().parse().ok());
    match number {
        Some(percent) if (0.1..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err(format!("`{text}`: a percentage from \"0.1%\" to \"100%\"")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../../config/tuning.toml");

    fn error(from: &str, to: &str) -> String {
        assert!(SHIPPED.contains(from), "{from}");
        parse(&SHIPPED.replacen(from, to, 1), "tuning.toml")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_shipped_table_is_the_documented_one() {
        let claims = parse(SHIPPED, "tuning.toml").unwrap();
        let table: Vec<_> = claims
            .iter()
            .map(|claim| {
                let better: Vec<_> = claim.recommended.iter().map(ToString::to_string).collect();
                (
                    claim.row.as_str(),
                    claim.current.to_string(),
                    better.join("–"),
                )
            })
            .collect();
        let documented = [
            ("worker_connections", "1024", "2048–4096"),
            ("keepalive", "32", "64–128"),
            ("rate", "10r/s", "50r/s"),
            ("burst", "20", "50–100"),
            ("proxy_connect_timeout", "30s", "10s"),
            ("gzip_comp_level", "6", "4"),
        ];
        let documented = documented.map(|(a, b, c)| (a, b.to_owned(), c.to_owned()));
        assert_eq!(table, documented);
    }

    #[test]
    fn mistakes_are_named_with_line_column_and_field() {
        let found = error("row = \"keepalive\"", "row = \"worker_connections\"");
        assert!(
            found.contains("`claim[1].row`") && found.contains("twice"),
            "{found}"
        );
        let line = SHIPPED
            .lines()
            .position(|line| line == "row = \"keepalive\"")
            .unwrap()
            + 1;
        assert!(
            found.starts_with(&format!("tuning.toml:{line}:1: ")),
            "{found}"
        );
        let found = error("metric = \"served_share\"", "metric = \"happiness\"");
        assert!(
            found.contains("does not measure `happiness`; it measures "),
            "{found}"
        );
        let found = error("current = 1024", "current = 3");
        assert!(
            found.contains("`claim[0].current`") && found.contains("16"),
            "{found}"
        );
        let found = error(
            "setting = \"connections.max\"",
            "setting = \"connections.maximum\"",
        );
        assert!(found.contains("maximum"), "{found}");
        let found = error("recommended = [64, 128]", "recommended = [\"64s\"]");
        assert!(found.contains("claim[1].recommended"), "{found}");
        let found = error("direction = \"higher\"", "direction = \"up\"");
        assert!(found.contains("\"higher\" or \"lower\""), "{found}");
        let found = error("smallest_effect = \"5%\"", "smallest_effect = \"0.05\"");
        assert!(found.contains("percentage"), "{found}");
        let found = error("binds = \"unserved > 0\"", "binds = \"unserved\"");
        assert!(found.contains("is not a condition"), "{found}");
        let found = error("workload = \"hold\"", "workload = \"hug\"");
        assert!(
            found.contains("hug") && found.contains("claim[0].binding"),
            "{found}"
        );
        let other = "control = { workload = \"burst\", size = 15 }";
        let found = error(
            "control = { workload = \"hold\"",
            "control = { workload = \"burst\"",
        );
        assert!(found.contains("claim[0].control"), "{found}");
        let found = error(
            other,
            "control = { workload = \"poisson\", rate = \"100/s\", service_time = \"100ms\", duration = \"1s\" }",
        );
        assert!(
            found.contains("a `poisson` cannot stand beside a `burst`")
                && found.contains("`admitted_share`"),
            "{found}"
        );
        let found = error(
            "service_time = \"400ms\", duration = \"2s\"",
            "service_time = \"5s\", duration = \"2s\"",
        );
        assert!(
            found.contains("claim[1].control") && found.contains("1 to 400 requests in flight"),
            "{found}"
        );
        let found = error("exact = true", "exakt = true");
        assert!(found.contains("exakt"), "{found}");
    }

    #[test]
    fn rows_are_chosen_by_name() {
        let claims = parse(SHIPPED, "tuning.toml").unwrap();
        assert_eq!(choose(claims.clone(), &[]).unwrap().len(), 6);
        let one = choose(claims.clone(), &["burst".to_owned()]).unwrap();
        assert_eq!(one[0].row, "burst");
        let error = choose(claims, &["bursts".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(error.contains("worker_connections, keepalive"), "{error}");
    }
}
