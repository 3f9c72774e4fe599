//! The effective scenario, value by value, and where each comes from.

use std::{collections::HashMap, fmt, path::Path};

use serde::{Serialize, Serializer};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Overrides, Scenario, ScenarioError, Setting,
    describe::values,
    load::{self, Source},
    locate,
    overrides::{HTTP_FLAGS, STEPS},
    set::INHERITED,
};

/// Values that are told as a whole, however they are written.
const WHOLE: [&str; 4] = ["load.stages", "load.spike", "load.sine", "load.think_time"];

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the scenario's file.
    File {
        /// The file, or what is built in.
        file: String,
        /// Line, from 1.
        line: usize,
    },
    /// A line of the scenario that it extends.
    Extended {
        /// The file, or what is built in.
        file: String,
        /// Line, from 1.
        line: usize,
    },
    /// `--set` on the command line.
    Set,
    /// An environment variable.
    Environment(String),
    /// A flag on the command line.
    Flag(String),
    /// Nobody says anything else.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Extended { file, line } => write!(f, "{file}:{line} (extended)"),
            Self::Set => f.write_str("--set"),
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag(flag) => f.write_str(flag),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One value of a scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// Its field in the file: `load.users`.
    pub field: String,
    /// What it is in effect.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
    /// What it would be without environment and flags, if that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

impl Scenario {
    /// The scenario in effect and all its values, in the order of the file, then what it inherits,
    /// then defaults. `variable_of` tells the environment variable that stands for a flag, if the
    /// flag came from there.
    ///
    /// # Errors
    ///
    /// As loading it and applying the overrides.
    pub fn explain(
        name_or_path: &str,
        folder: &Path,
        settings: &[Setting],
        overrides: &Overrides,
        variable_of: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Explained>), ScenarioError> {
        let own = load::find(name_or_path, folder)?;
        let base = load::base_of(&own, folder);
        let mut rows = written(&own, base.as_ref());
        let mut scenario = Self::load_with(name_or_path, folder, settings)?;
        for setting in settings {
            let field = setting.field();
            let row = rows.iter_mut().find(|row| row.field == field);
            let value = setting.value().to_owned();
            match row {
                Some(row) => {
                    row.instead_of = Some(std::mem::replace(&mut row.value, value));
                    row.origin = Origin::Set;
                }
                None => rows.push(Explained {
                    field,
                    value,
                    origin: Origin::Set,
                    instead_of: None,
                }),
            }
        }
        let shape = rows
            .iter()
            .map(|row| row.field.as_str())
            .find(|field| {
                [
                    "load.stages",
                    "load.spike",
                    "load.sine",
                    "load.users",
                    "load.rate",
                    "load.trace",
                ]
                .contains(field)
            })
            .unwrap_or("load.stages")
            .to_owned();
        fill(&mut rows, values(&scenario, &shape));
        for (flag, step) in STEPS {
            let before: HashMap<_, _> = values(&scenario, &shape).into_iter().collect();
            step(overrides, &mut scenario)?;
            for (field, value) in values(&scenario, &shape) {
                let Some(old) = before.get(&field).filter(|old| **old != value) else {
                    continue;
                };
                let flag = if flag == HTTP_FLAGS {
                    http_flag(&field)
                } else {
                    flag
                };
                let origin = variable_of(flag)
                    .map_or_else(|| Origin::Flag(flag.to_owned()), Origin::Environment);
                if let Some(row) = rows.iter_mut().find(|row| row.field == field) {
                    row.instead_of.get_or_insert_with(|| old.clone());
                    row.value = value;
                    row.origin = origin;
                }
            }
        }
        Ok((scenario, rows))
    }
}

/// The flag that changes a value of `[http]` or `[tls]`.
fn http_flag(field: &str) -> &'static str {
    match field {
        "http.version" => "--http-version",
        "http.requests_per_connection" => "--requests-per-connection or --keepalive",
        "http.streams_per_connection" => "--streams-per-connection",
        "tls.ca" => "--tls-ca",
        "tls.insecure" => "--tls-insecure",
        "tls.server_name" => "--tls-server-name",
        "tls.certificate" => "--tls-cert",
        "tls.min_version" => "--tls-min-version",
        _ => HTTP_FLAGS,
    }
}

/// Gives the rows their effective values, and adds those that nobody wrote.
fn fill(rows: &mut Vec<Explained>, values: Vec<(String, String)>) {
    for (field, value) in values {
        match rows.iter_mut().find(|row| row.field == field) {
            Some(row) => row.value = value,
            None => rows.push(Explained {
                field,
                value,
                origin: Origin::Default,
                instead_of: None,
            }),
        }
    }
}

/// The values of a file as they are written, then those that it inherits.
fn written(own: &Source, base: Option<&Source>) -> Vec<Explained> {
    let mut rows = Vec::new();
    let mut keys = Vec::new();
    if let Ok(document) = DeTable::parse(&own.text) {
        for (key, value) in sorted(document.get_ref()) {
            keys.push(key.clone());
            leaves(own, &key, value, &mut rows, false);
        }
    }
    let Some(base) = base else {
        return rows;
    };
    let has_requests = keys.iter().any(|key| key == "requests" || key == "flows");
    if let Ok(document) = DeTable::parse(&base.text) {
        for (key, value) in sorted(document.get_ref()) {
            let replaced =
                keys.contains(&key) || (has_requests && (key == "requests" || key == "flows"));
            if INHERITED.contains(&key.as_str()) && !replaced {
                leaves(base, &key, value, &mut rows, true);
            }
        }
    }
    rows
}

/// The entries of a table, in the order in which they are written.
fn sorted<'a, 'i>(table: &'a DeTable<'i>) -> Vec<(String, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| (key.span().start, key.get_ref().to_string(), value))
        .collect();
    entries.sort_by_key(|(start, ..)| *start);
    entries
        .into_iter()
        .map(|(_, key, value)| (key, value))
        .collect()
}

fn leaves(
    source: &Source,
    field: &str,
    value: &Spanned<DeValue<'_>>,
    rows: &mut Vec<Explained>,
    extended: bool,
) {
    if !WHOLE.contains(&field) {
        if let Some(table) = value.get_ref().as_table() {
            for (key, value) in sorted(table) {
                leaves(source, &format!("{field}.{key}"), value, rows, extended);
            }
            return;
        }
        let array = value.get_ref().as_array();
        if let Some(array) = array.filter(|array| array.iter().any(|v| v.get_ref().is_table())) {
            for (index, value) in array.iter().enumerate() {
                leaves(source, &format!("{field}[{index}]"), value, rows, extended);
            }
            return;
        }
    }
    let (line, _) = locate::line_column(&source.text, value.span().start);
    let file = source.origin.clone();
    let text = source.text.get(value.span()).unwrap_or_default();
    rows.push(Explained {
        field: field.to_owned(),
        value: text.trim_matches(['"', '\'']).to_owned(),
        origin: if extended {
            Origin::Extended { file, line }
        } else {
            Origin::File { file, line }
        },
        instead_of: None,
    });
}
