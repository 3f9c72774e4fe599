//! One definition of every setting: type, unit, range, default, nginx's name, when a change applies.
//!
//! The checks of the configuration file and of the admin API walk these tables, error messages take
//! what is allowed from them, and the tables in `docs/reference/settings.md` are printed from
//! them. The structs in [`settings`](crate::settings) and [`config`](crate::config) carry the
//! values; a test compares the two.

mod check;
mod file;
mod json;
mod live;
pub mod patch;
pub mod reference;
mod rules;
mod text;
mod transport;
mod upstream;

pub use check::check;
pub use file::FILE;
pub use json::{Purpose, json_schema};
pub use live::LIVE;

use std::time::Duration;

use serde_json::{Map, Value};

use crate::settings::{Path, Problem};

/// A table of settings.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// What may be in it.
    pub fields: &'static [Field],
    /// A check of the fields against each other; it must cope with fields of wrong types.
    pub rule: Option<Rule>,
}

/// A check of a table's fields against each other.
pub type Rule = fn(&Map<String, Value>, &Path, &mut Vec<Problem>);

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Its default as written in JSON and TOML; none: no default.
    pub default: Option<&'static str>,
    /// Whether it must be there.
    pub required: bool,
    /// Whether null in a patch may stand for a whole table: each of its fields goes back to its default.
    pub removable: bool,
    /// nginx's name for it; empty when nginx has no such thing.
    pub nginx: &'static str,
    /// When a change takes effect.
    pub applies: Applies,
    /// One sentence on what it does.
    pub help: &'static str,
}

/// What a setting holds.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// One value.
    One(Kind),
    /// A list of values.
    List(Kind),
    /// A table with fixed fields.
    Table(&'static Table),
    /// Tables of the same fields, each under a name of the user's choice.
    Named(&'static Table),
    /// A list of tables of the same fields.
    Tables(&'static Table),
    /// Texts by name; names and texts as described.
    Texts(TextRule, TextRule),
    /// A value, or a table with fixed fields.
    Either(Kind, &'static Table),
    /// Something that a later version will have.
    Later,
}

/// A type of value with its range, ends included.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int(u32, u32),
    /// A [`ByteSize`](crate::units::ByteSize), its ends as text.
    Bytes(&'static str, &'static str),
    /// A duration.
    Duration(Duration, Duration),
    /// A [`Rate`](crate::units::Rate).
    Rate,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A text of some form.
    Text(TextRule),
}

/// A form of text.
#[derive(Debug, Clone, Copy)]
pub struct TextRule {
    /// The form in words.
    pub allowed: &'static str,
    /// Whether a text has it.
    pub fits: fn(&str) -> bool,
}

/// When a change of a setting takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// With the next request, on every connection.
    Live,
    /// On connections opened after the change.
    NewConnections,
    /// When the file is read again (SIGHUP), without an interruption.
    Reload,
    /// When the proxy starts.
    Restart,
}

impl Applies {
    /// As the reference writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::NewConnections => "new-connections",
            Self::Reload => "reload",
            Self::Restart => "restart",
        }
    }
}

impl Field {
    const fn new(name: &'static str, shape: Shape, help: &'static str) -> Self {
        Self {
            name,
            shape,
            default: None,
            required: false,
            removable: false,
            nginx: "",
            applies: Applies::Live,
            help,
        }
    }

    const fn one(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self::new(name, Shape::One(kind), help)
    }

    const fn list(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self::new(name, Shape::List(kind), help)
    }

    const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn removable(mut self) -> Self {
        self.removable = true;
        self
    }

    const fn nginx(mut self, name: &'static str) -> Self {
        self.nginx = name;
        self
    }

    const fn applies(mut self, applies: Applies) -> Self {
        self.applies = applies;
        self
    }
}

impl Table {
    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Kind {
    /// What is allowed, in words.
    #[must_use]
    pub fn allowed(&self) -> String {
        use crate::units::format_duration as time;
        match *self {
            Self::Bool => "true or false".to_owned(),
            Self::Int(min, max) => format!("a whole number from {min} to {max}"),
            Self::Bytes(min, max) => format!(
                "a size from {min} to {max}, such as \"32KiB\" or \"1MiB\" (nginx's \"32k\", \"1m\"), or a whole number of bytes"
            ),
            Self::Duration(min, max) => format!(
                "a duration from {} to {} with its unit, such as \"500ms\", \"30s\", \"10m\" or \"1h30m\"",
                time(min),
                time(max)
            ),
            Self::Rate => format!(
                "a rate such as \"10r/s\" or \"600r/m\": a whole number from 1 to {}, then \"r/s\" or \"r/m\"",
                crate::units::Rate::MAX
            ),
            Self::OneOf(words) => words
                .iter()
                .map(|word| format!("{word:?}"))
                .collect::<Vec<_>>()
                .join(" or "),
            Self::Text(rule) => rule.allowed.to_owned(),
        }
    }

    /// What is allowed where a table may stand instead.
    #[must_use]
    pub fn or_table(&self, table: &Table) -> String {
        let names: Vec<_> = table.fields.iter().map(|it| it.name).collect();
        format!(
            "{}; or a table with one of: {}",
            self.allowed(),
            names.join(", ")
        )
    }

    /// What is allowed, without how to write it: `16 to 1000000`.
    #[must_use]
    pub fn range(&self) -> String {
        use crate::units::format_duration as time;
        match *self {
            Self::Int(min, max) => format!("{min} to {max}"),
            Self::Bytes(min, max) => format!("{min} to {max}"),
            Self::Duration(min, max) => format!("{} to {}", time(min), time(max)),
            Self::Rate => format!("1r/m to {}r/s", crate::units::Rate::MAX),
            Self::Bool | Self::OneOf(_) | Self::Text(_) => self.allowed(),
        }
    }

    /// Whether a value is allowed.
    #[must_use]
    pub fn fits(&self, value: &Value) -> bool {
        use crate::units::{ByteSize, Rate, parse_duration};
        let text = value.as_str();
        match *self {
            Self::Bool => value.is_boolean(),
            Self::Int(min, max) => value
                .as_u64()
                .is_some_and(|n| (u64::from(min)..=u64::from(max)).contains(&n)),
            Self::Bytes(min, max) => {
                let size =
                    text.map_or_else(|| value.as_u64().map(ByteSize::bytes), |t| t.parse().ok());
                let end = |text: &str| text.parse::<ByteSize>().ok();
                size.is_some_and(|size| end(min) <= Some(size) && Some(size) <= end(max))
            }
            Self::Duration(min, max) => text
                .and_then(|text| parse_duration(text).ok())
                .is_some_and(|duration| (min..=max).contains(&duration)),
            Self::Rate => text.is_some_and(|text| text.parse::<Rate>().is_ok()),
            Self::OneOf(words) => text.is_some_and(|text| words.contains(&text)),
            Self::Text(rule) => text.is_some_and(rule.fits),
        }
    }
}

#[cfg(test)]
mod tests;
