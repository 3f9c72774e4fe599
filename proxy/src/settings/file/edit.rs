//! Changing values in a TOML text and leaving everything else as it is.

use serde_json::{Map, Value as Json};
use toml_edit::{DocumentMut, InlineTable, Item, Table, Value};
use weir_api::settings::{Path, Server};

mod list;

/// The text with other values; null takes a field away. `file` are the settings that it has now, every
/// field filled in.
///
/// # Errors
/// When the text is not TOML, or something is in the way of a table that is needed.
pub(super) fn edit(
    text: &str,
    file: &Json,
    changes: &[(Path, Json, Json)],
) -> Result<String, String> {
    if changes.is_empty() {
        return Ok(text.to_owned());
    }
    let mut document: DocumentMut = text.parse().map_err(|e| format!("{e}"))?;
    for (path, _, new) in changes {
        let Some((last, parents)) = path.steps().split_last() else {
            continue;
        };
        let last = last.to_string();
        let mut item = document.as_item_mut();
        for step in parents {
            item = inner(item, &step.to_string())
                .ok_or_else(|| format!("{path}: what should be a table is none"))?;
        }
        match new {
            Json::Null => take_away(item, &last),
            Json::Array(items) if items.iter().any(Json::is_object) => {
                let old = look(file, path).and_then(Json::as_array);
                servers(item, &last, old.map_or(&[], Vec::as_slice), items)
                    .ok_or_else(|| format!("{path}: not a list of tables"))?;
            }
            Json::Array(items) => plain_list(item, &last, items),
            new => set(item, &last, value(new)),
        }
    }
    Ok(document.to_string())
}

fn look<'a>(settings: &'a Json, path: &Path) -> Option<&'a Json> {
    let mut steps = path.steps().iter();
    steps.try_fold(settings, |value, step| value.get(step.to_string()))
}

/// The table of this name in another one, made in the same style when it is not there.
fn inner<'a>(item: &'a mut Item, name: &str) -> Option<&'a mut Item> {
    let inline = item.is_inline_table();
    let dotted = item.as_table().is_some_and(Table::is_dotted);
    let table = item.as_table_like_mut()?;
    if !table.contains_key(name) {
        let new = if inline {
            Item::Value(InlineTable::new().into())
        } else {
            let mut new = Table::new();
            new.set_dotted(dotted);
            Item::Table(new)
        };
        table.insert(name, new);
    }
    table.get_mut(name).filter(|item| item.is_table_like())
}

/// Gives a field another value in the same place.
fn set(item: &mut Item, name: &str, mut new: Value) {
    if let Some(old) = item.get_mut(name).and_then(Item::as_value_mut) {
        *new.decor_mut() = old.decor().clone();
        *old = new;
    } else if let Some(table) = item.as_inline_table_mut() {
        push(table, name, new);
    } else if let Some(table) = item.as_table_like_mut() {
        table.insert(name, Item::Value(new));
    }
}

/// Takes a field away; in braces, the space before the closing one stays there.
fn take_away(item: &mut Item, name: &str) {
    if let Some(table) = item.as_inline_table_mut() {
        let is_last = table.iter().last().is_some_and(|(last, _)| last == name);
        let removed = table.remove(name);
        if let (true, Some(removed)) = (is_last, removed)
            && let Some((_, last)) = table.iter_mut().last()
        {
            let suffix = removed.decor().suffix().and_then(|s| s.as_str());
            last.decor_mut().set_suffix(suffix.unwrap_or_default());
        }
    } else if let Some(table) = item.as_table_like_mut() {
        table.remove(name);
    }
}

/// Adds a field to a table in braces; the space before the closing one stays there.
fn push(table: &mut InlineTable, name: &str, mut new: Value) {
    let last = table.iter_mut().last().map(|(_, value)| value);
    if let Some(last) = last {
        let suffix = last.decor().suffix().and_then(|s| s.as_str());
        let suffix = suffix.unwrap_or_default().to_owned();
        if suffix.trim().is_empty() {
            last.decor_mut().set_suffix("");
            *new.decor_mut() = toml_edit::Decor::new(" ", suffix);
        }
    }
    table.insert(name, new);
}

/// A list of single values.
fn plain_list(item: &mut Item, name: &str, wanted: &[Json]) {
    match item.get_mut(name).and_then(Item::as_array_mut) {
        Some(array) => list::reconcile(
            array,
            wanted,
            |old, wanted| value(wanted).to_string().trim() == plain(old).trim(),
            |_, _| {},
            value,
        ),
        None => set(
            item,
            name,
            wanted
                .iter()
                .map(value)
                .collect::<toml_edit::Array>()
                .into(),
        ),
    }
}

/// A value as it would be written by default.
fn plain(value: &Value) -> String {
    let mut value = value.clone();
    value.decor_mut().clear();
    match &mut value {
        Value::String(text) => text.fmt(),
        Value::Integer(number) => number.fmt(),
        _ => {}
    }
    value.to_string()
}

/// The servers of an upstream, each in its place and as it is written, with other values.
fn servers(item: &mut Item, name: &str, old: &[Json], wanted: &[Json]) -> Option<()> {
    let before = |address: &str| old.iter().find(|server| text(server, "address") == address);
    let update = |table: &mut Item, wanted: &Json| {
        let before = before(text(wanted, "address"));
        for (field, value_now) in wanted.as_object().into_iter().flatten() {
            if before.and_then(|before| before.get(field)) != Some(value_now) {
                set(table, field, value(value_now));
            }
        }
    };
    match item.get_mut(name)? {
        Item::Value(Value::Array(array)) => {
            list::reconcile(
                array,
                wanted,
                |old, wanted| {
                    let table = old.as_inline_table();
                    let address = table.and_then(|t| t.get("address")?.as_str());
                    address == Some(text(wanted, "address"))
                },
                |old, wanted| {
                    let mut table = Item::Value(old.clone());
                    update(&mut table, wanted);
                    if let Item::Value(table) = table {
                        *old = table;
                    }
                },
                |wanted| value(&brief(wanted)),
            );
        }
        Item::ArrayOfTables(tables) => {
            let mut positions: Vec<_> = tables.iter().filter_map(Table::position).collect();
            positions.sort_unstable();
            let mut positions = positions.into_iter();
            let present: Vec<Table> = tables.iter().cloned().collect();
            tables.clear();
            for wanted in wanted {
                let address = text(wanted, "address");
                let is_it = |t: &&Table| t.get("address").and_then(Item::as_str) == Some(address);
                let mut table = match present.iter().find(is_it) {
                    Some(table) => {
                        let mut table = Item::Table(table.clone());
                        update(&mut table, wanted);
                        table.into_table().ok()?
                    }
                    None => {
                        let mut table = Table::new();
                        let fields = brief(wanted);
                        for (field, it) in fields.as_object().into_iter().flatten() {
                            table.insert(field, Item::Value(value(it)));
                        }
                        table
                    }
                };
                table.set_position(positions.next());
                tables.push(table);
            }
        }
        _ => return None,
    }
    Some(())
}

fn text<'a>(server: &'a Json, field: &str) -> &'a str {
    server.get(field).and_then(Json::as_str).unwrap_or_default()
}

/// A server with only what is not the default.
fn brief(server: &Json) -> Json {
    let address = text(server, "address");
    let usual = serde_json::to_value(Server::new(address)).unwrap_or_default();
    let fields = server.as_object().into_iter().flatten();
    let telling = fields.filter(|(name, it)| *name == "address" || usual.get(name) != Some(it));
    Json::Object(Map::from_iter(
        telling.map(|(name, it)| (name.clone(), it.clone())),
    ))
}

/// A setting as TOML has it.
fn value(json: &Json) -> Value {
    match json {
        Json::Bool(it) => (*it).into(),
        Json::Number(it) => match it.as_i64() {
            Some(whole) => whole.into(),
            None => it.as_f64().unwrap_or_default().into(),
        },
        Json::String(it) => it.as_str().into(),
        Json::Array(items) => Value::Array(items.iter().map(value).collect()),
        Json::Object(fields) => {
            let mut table = InlineTable::new();
            for (name, it) in fields {
                table.insert(name, value(it));
            }
            table.into()
        }
        // No setting is null; one that is taken away is handled by the caller.
        Json::Null => "".into(),
    }
}
