//! The reference tables of `docs/reference/proxy-config.md`, printed from the definitions.

use std::fmt::Write as _;

use super::{Field, Shape, Table};

/// One Markdown table for each table of settings, with a heading that says where it stands in the file.
#[must_use]
pub fn markdown(root: &Table) -> String {
    let mut out = String::new();
    section(root, "", &mut out);
    out
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
            Shape::Table(table) => (format!("[{prefix}{}]", field.name), table),
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
        Shape::One(_) | Shape::List(_) | Shape::Texts(..) | Shape::Later
    )
}

fn row(field: &Field, out: &mut String) {
    let allowed = match field.shape {
        Shape::One(kind) => kind.allowed(),
        Shape::List(kind) => format!("a list; each: {}", kind.allowed()),
        Shape::Texts(names, texts) => {
            format!("texts by name; {}: {}", names.allowed, texts.allowed)
        }
        _ => "not supported yet: refused".to_owned(),
    };
    let default = match field.default {
        Some(text) => format!("`{text}`"),
        None if field.required => "required".to_owned(),
        None if matches!(field.shape, Shape::Later) => String::new(),
        None => "unset".to_owned(),
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
