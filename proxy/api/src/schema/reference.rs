//! The reference tables of `docs/reference/settings.md`, printed from the definitions.

use std::fmt::Write as _;

use super::{Field, Shape, Table};

/// One Markdown table for each table of settings, with a heading that says where it stands in the file.
#[must_use]
pub fn markdown(root: &Table) -> String {
    let mut out = String::new();
    section(root, "", &mut out);
    out
}

/// One setting, for a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it stands: `upstream.NAME.keepalive`.
    pub path: String,
    /// What is allowed.
    pub allowed: String,
    /// Its default, `required`, or `unset`.
    pub default: String,
    /// When a change applies.
    pub applies: &'static str,
    /// nginx's name; may be empty.
    pub nginx: String,
    /// One sentence.
    pub help: &'static str,
}

/// Every setting of a table and the tables in it, in order.
#[must_use]
pub fn rows(root: &Table) -> Vec<Row> {
    let mut rows = Vec::new();
    collect(root, "", &mut rows);
    rows
}

fn collect(table: &Table, prefix: &str, rows: &mut Vec<Row>) {
    for field in table.fields.iter().filter(|f| is_value(f)) {
        if matches!(field.shape, Shape::Later) {
            continue;
        }
        rows.push(Row {
            path: format!("{prefix}{}", field.name),
            allowed: allowed(field),
            default: default(field),
            applies: field.applies.as_str(),
            nginx: field.nginx.to_owned(),
            help: field.help,
        });
    }
    for field in table.fields {
        let (name, table) = match field.shape {
            Shape::Table(table) | Shape::Either(_, table) => (field.name.to_owned(), table),
            Shape::Named(table) => (format!("{}.NAME", field.name), table),
            Shape::Tables(table) => (format!("{}[N]", field.name), table),
            _ => continue,
        };
        collect(table, &format!("{prefix}{name}."), rows);
    }
}

fn section(table: &Table, prefix: &str, out: &mut String) {
    let values: Vec<_> = table.fields.iter().filter(|f| is_value(f)).collect();
    if !values.is_empty() {
        out.push_str(
            "| key | allowed | default | applies | nginx |  |\n|---|---|---|---|---|---|\n",
        );
        for field in values {
            row(field, out);
        }
        out.push('\n');
    }
    for field in table.fields {
        let (heading, table) = match field.shape {
            Shape::Table(table) | Shape::Either(_, table) => {
                (format!("[{prefix}{}]", field.name), table)
            }
            Shape::Named(table) => (format!("[{prefix}{}.NAME]", field.name), table),
            Shape::Tables(table) => (format!("[[{prefix}{}]]", field.name), table),
            _ => continue,
        };
        let inner = format!("{}.", heading.trim_matches(['[', ']']));
        let nginx = nginx(field);
        let nginx = if nginx.is_empty() {
            nginx
        } else {
            format!(" nginx: {nginx}.")
        };
        // Writing to a string cannot fail.
        let _ = write!(out, "### `{heading}`\n\n{}{nginx}\n\n", field.help);
        section(table, &inner, out);
    }
}

fn is_value(field: &Field) -> bool {
    matches!(
        field.shape,
        Shape::One(_) | Shape::List(_) | Shape::Texts(..) | Shape::Either(..) | Shape::Later
    )
}

fn row(field: &Field, out: &mut String) {
    let (allowed, default) = (allowed(field), default(field));
    let default = match field.default {
        Some(_) => format!("`{default}`"),
        None => default,
    };
    let applies = match field.shape {
        Shape::Later => "",
        _ => field.applies.as_str(),
    };
    let _ = writeln!(
        out,
        "| `{}` | {allowed} | {default} | {applies} | {} | {} |",
        field.name,
        nginx(field),
        field.help
    );
}

fn nginx(field: &Field) -> String {
    if field.nginx.is_empty() || field.nginx.contains(" of ") {
        return field.nginx.to_owned();
    }
    field
        .nginx
        .split(", ")
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn allowed(field: &Field) -> String {
    match field.shape {
        Shape::One(kind) => kind.allowed(),
        Shape::Either(kind, table) => kind.or_table(table),
        Shape::List(kind) => format!("a list; each: {}", kind.allowed()),
        Shape::Texts(names, texts) => {
            format!("texts by name; {}: {}", names.allowed, texts.allowed)
        }
        _ => "not supported yet: refused".to_owned(),
    }
}

fn default(field: &Field) -> String {
    match field.default {
        Some(text) => text.to_owned(),
        None if field.required => "required".to_owned(),
        None if matches!(field.shape, Shape::Later) => String::new(),
        None => "unset".to_owned(),
    }
}
