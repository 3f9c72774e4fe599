//! Changing any value of a scenario file from the command line: `--set load.users=20`.

use std::str::FromStr;

use toml_edit::{DocumentMut, Item, TableLike, Value};

/// One value to set, by its path in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    path: Vec<String>,
    value: String,
}

/// Tables that a scenario takes from the one it extends when it has none of its own.
pub(super) const INHERITED: [&str; 9] = [
    "feeds",
    "flows",
    "http",
    "login",
    "requests",
    "thresholds",
    "timeouts",
    "tls",
    "variables",
];

impl FromStr for Setting {
    type Err = String;

    /// Reads `load.users=20`; lists are counted from 0, as in `requests.0.weight=5`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` must be a path and a value, such as load.users=20 or thresholds.p99=300ms"
            )
        };
        let (path, value) = text.split_once('=').ok_or_else(wrong)?;
        let path: Vec<String> = path.split('.').map(|key| key.trim().to_owned()).collect();
        if path.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Ok(Self {
            path,
            value: value.trim().to_owned(),
        })
    }
}

impl Setting {
    /// The field, as error messages name it: `requests[0].weight`.
    pub fn field(&self) -> String {
        let mut text = String::new();
        for key in &self.path {
            if key.parse::<usize>().is_ok() {
                text.push_str(&format!("[{key}]"));
            } else {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
        }
        text
    }

    /// The value, as it was given.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// TOML if it is any, otherwise text: `20`, `"1m"` and `1m` all mean what they look like.
    fn toml(&self) -> Value {
        self.value
            .parse()
            .unwrap_or_else(|_| Value::from(self.value.as_str()))
    }

    /// Writes it into a document; a table that `base` has and this document has not comes along.
    fn write(&self, document: &mut DocumentMut, base: Option<&DocumentMut>) -> Result<(), String> {
        if let Some(first) = self.path.first()
            && !document.contains_key(first)
            && INHERITED.contains(&first.as_str())
            && let Some(item) = base.and_then(|base| base.get(first))
        {
            document.insert(first, item.clone());
        }
        set(document.as_table_mut(), &self.path, self.toml())
    }
}

fn set(table: &mut dyn TableLike, path: &[String], value: Value) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else {
        return Ok(());
    };
    if rest.is_empty() {
        match table.get_mut(key) {
            Some(Item::Value(old)) => {
                let decor = old.decor().clone();
                *old = value;
                *old.decor_mut() = decor;
            }
            Some(item) => *item = Item::Value(value),
            None => {
                table.insert(key, Item::Value(value));
            }
        }
        return Ok(());
    }
    let item = table
        .entry(key)
        .or_insert_with(|| Item::Table(toml_edit::Table::new()));
    inside(item, key, rest, value)
}

fn inside(item: &mut Item, key: &str, rest: &[String], value: Value) -> Result<(), String> {
    if let Some(table) = item.as_table_like_mut() {
        return set(table, rest, value);
    }
    let index = rest.first().and_then(|index| index.parse::<usize>().ok());
    let count = item
        .as_array_of_tables()
        .map(toml_edit::ArrayOfTables::len)
        .or_else(|| item.as_array().map(toml_edit::Array::len));
    let (Some(index), Some(count)) = (index, count) else {
        return Err(match count {
            Some(count) => format!("`{key}` is a list: number its {count} entries from 0"),
            None => format!("`{key}` is a value and holds no other"),
        });
    };
    let missing = || format!("`{key}` has {count} entries, counted from 0; there is no {index}");
    let rest = rest.get(1..).unwrap_or_default();
    if let Some(tables) = item.as_array_of_tables_mut() {
        return set(tables.get_mut(index).ok_or_else(missing)?, rest, value);
    }
    let array = item.as_array_mut().ok_or_else(missing)?;
    let entry = array.get_mut(index).ok_or_else(missing)?;
    match (rest, entry.as_inline_table_mut()) {
        ([], _) => {
            *entry = value;
            Ok(())
        }
        (rest, Some(table)) => set(table, rest, value),
        (_, None) => Err(format!("`{key}[{index}]` is a value and holds no other")),
    }
}

/// The text of a scenario with these values written into it. `base` is the text of the scenario
/// that it extends. Texts that do not parse come back as they are: loading them says why.
pub(super) fn write_all(
    text: &str,
    base: Option<&str>,
    settings: &[Setting],
) -> Result<String, (String, String)> {
    let Ok(mut document) = text.parse::<DocumentMut>() else {
        return Ok(text.to_owned());
    };
    let base = base.and_then(|base| base.parse::<DocumentMut>().ok());
    for setting in settings {
        setting
            .write(&mut document, base.as_ref())
            .map_err(|message| (setting.field(), message))?;
    }
    Ok(document.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str = "name = \"a\" # what it is\nextends = \"b\"\n[load]\nusers = 3\nstages = [{ rate = \"1/s\" }]\n[[requests]]\nweight = 1\n";
    const BASE: &str = "[thresholds]\np50 = \"1s\"\np99 = \"2s\"\n";

    fn written(settings: &[&str]) -> Result<String, (String, String)> {
        let settings: Vec<Setting> = settings.iter().map(|text| text.parse().unwrap()).collect();
        write_all(TEXT, Some(BASE), &settings)
    }

    #[test]
    fn values_are_set_where_they_are_and_added_where_they_are_not() {
        let text = written(&["load.users=20", "requests.0.weight = 5", "seed=7"]).unwrap();
        assert!(
            text.contains("users = 20") && text.contains("weight = 5"),
            "{text}"
        );
        assert!(
            text.contains("seed = 7") && text.contains("# what it is"),
            "{text}"
        );
        let text = written(&["load.stages.0.rate=9/s", "duration=1m"]).unwrap();
        assert!(
            text.contains("rate = \"9/s\"") && text.contains("duration = \"1m\""),
            "{text}"
        );
        let text = written(&["load.think_time={ min = \"1s\", max = \"2s\" }"]).unwrap();
        assert!(
            text.contains("think_time = { min = \"1s\", max = \"2s\" }"),
            "{text}"
        );
    }

    #[test]
    fn an_inherited_table_comes_along() {
        let text = written(&["thresholds.p99=300ms"]).unwrap();
        assert!(
            text.contains("p50 = \"1s\"") && text.contains("p99 = \"300ms\""),
            "{text}"
        );
    }

    #[test]
    fn what_cannot_be_set_is_said() {
        for (setting, expected) in [
            ("requests.weight=5", "number its 1 entries"),
            ("requests.3.weight=5", "there is no 3"),
            ("name.first=5", "holds no other"),
        ] {
            let (_, message) = written(&[setting]).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        for bad in ["load.users", "=5", "load..users=5"] {
            assert!(bad.parse::<Setting>().is_err(), "{bad}");
        }
        assert_eq!(
            "requests.0.weight=5".parse::<Setting>().unwrap().field(),
            "requests[0].weight"
        );
    }
}
