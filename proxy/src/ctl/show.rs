//! Answers as tables.

use comfy_table::{Table, presets};
use serde_json::Value;
use weir_api::{
    admin::{
        Change, ChangeView, DrainView, OverrideCreated, OverrideList, OverrideView, ReloadView,
        RevisionList, SaveView, SettingsView,
    },
    text::printable,
    units::format_duration,
};

/// Rows under a header, in columns, each line ended.
fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    // Each cell on its own: a line end in one must not make a row.
    let printed = |row: Vec<String>| row.into_iter().map(|cell| printable(&cell).into_owned());
    for row in rows {
        table.add_row(printed(row));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.lines();
    lines
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// A value as people write it: text without quotation marks.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn settings(view: &SettingsView) -> String {
    let mut rows = Vec::new();
    flatten("", &view.effective, &mut rows);
    let rows = rows.into_iter().map(|(path, value)| {
        let field = path.split_once('[').map_or(path.as_str(), |(list, _)| list);
        let source = view.sources.get(field).map_or("file", String::as_str);
        vec![path, value, source.to_owned()]
    });
    format!(
        "revision {}\n{}",
        view.revision,
        table(&["SETTING", "VALUE", "FROM"], rows)
    )
}

/// One value alone, or a table of them.
pub(super) fn setting(path: &str, value: &Value) -> String {
    if !value.is_object() {
        return format!("{}\n", printable(&plain(value)));
    }
    let mut rows = Vec::new();
    flatten(path, value, &mut rows);
    let rows = rows.into_iter().map(|(path, value)| vec![path, value]);
    table(&["SETTING", "VALUE"], rows)
}

fn flatten(path: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    if let Some(list) = value.as_array()
        && list.iter().any(Value::is_object)
    {
        for server in list {
            let address = field(server, "address");
            let fields = server.as_object().into_iter().flatten();
            let rest = fields.filter(|(name, _)| *name != "address");
            let rest = rest.map(|(name, it)| format!("{name}={}", plain(it)));
            let told = rest.collect::<Vec<_>>().join(" ");
            rows.push((format!("{path}[{address}]"), told));
        }
        return;
    }
    let Some(fields) = value.as_object() else {
        rows.push((path.to_owned(), plain(value)));
        return;
    };
    for (name, value) in fields {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        flatten(&path, value, rows);
    }
}

pub(super) fn change(done: &ChangeView) -> String {
    let mut text = differences(done.revision, done.dry_run, &done.diff);
    for lost in &done.superseded {
        text += &format!(
            "{} was held by override {} of {}: this change wins, also when the override ends\n",
            printable(&lost.path),
            printable(&lost.id),
            printable(&lost.owner)
        );
    }
    text
}

pub(super) fn differences(revision: u64, dry_run: bool, diff: &[Change]) -> String {
    let what = if dry_run {
        format!("revision {revision} stays; this would change:\n")
    } else {
        format!("revision {revision}\n")
    };
    if diff.is_empty() {
        let said = if dry_run {
            "nothing would change\n"
        } else {
            "no setting has another value than before\n"
        };
        return what + said;
    }
    let mut rows = Vec::new();
    for change in diff {
        rows.extend(rows_of(change));
    }
    what + &table(&["SETTING", "BEFORE", "AFTER"], rows)
}

/// A change; of a list of servers only those that are different.
fn rows_of(change: &Change) -> Vec<Vec<String>> {
    let servers = |value: &Value| -> Option<Vec<Value>> {
        let list = value.as_array()?;
        let are = !list.is_empty() && list.iter().all(|it| it.get("address").is_some());
        are.then(|| list.clone())
    };
    let (Some(old), Some(new)) = (servers(&change.old), servers(&change.new)) else {
        return vec![vec![
            change.path.clone(),
            plain(&change.old),
            plain(&change.new),
        ]];
    };
    let address = |server: &Value| plain(server.get("address").unwrap_or(&Value::Null));
    let find = |list: &[Value], wanted: &str| list.iter().find(|it| address(it) == wanted).cloned();
    let mut rows = Vec::new();
    let mut addresses: Vec<String> = old.iter().map(address).collect();
    addresses.extend(
        new.iter()
            .map(address)
            .filter(|it| find(&old, it).is_none()),
    );
    for wanted in addresses {
        let path = format!("{}[{wanted}]", change.path);
        match (find(&old, &wanted), find(&new, &wanted)) {
            (Some(old), Some(new)) => {
                let fields = new.as_object().into_iter().flatten();
                let changed = fields.filter(|(name, it)| old.get(name) != Some(it));
                rows.extend(changed.map(|(name, it)| {
                    let before = old.get(name).unwrap_or(&Value::Null);
                    vec![format!("{path}.{name}"), plain(before), plain(it)]
                }));
            }
            (Some(_), None) => rows.push(vec![path, "there".to_owned(), "removed".to_owned()]),
            (None, _) => rows.push(vec![path, "-".to_owned(), "added".to_owned()]),
        }
    }
    if rows.is_empty() {
        rows.push(vec![
            change.path.clone(),
            "one order".to_owned(),
            "another order".to_owned(),
        ]);
    }
    rows
}

pub(super) fn saved(done: &SaveView) -> String {
    let file = printable(&done.file);
    let what = match (done.text_diff.is_empty(), done.dry_run) {
        (true, _) => format!("{file} says all of it already\n"),
        (false, true) => format!("{file} would change:\n"),
        (false, false) => format!("{file} has changed:\n"),
    };
    what + &done.text_diff
}

pub(super) fn reloaded(done: &ReloadView) -> String {
    let mut text = differences(done.revision, done.dry_run, &done.diff);
    if done.routes_changed {
        text += "routes: changed\n";
    }
    if !done.needs_restart.is_empty() {
        text += &format!(
            "needs a restart: {}\n",
            printable(&done.needs_restart.join(", "))
        );
    }
    for path in &done.shadowed {
        let path = printable(path);
        text += &format!("{path}: changed in the file, but a patch or an override is in force\n");
    }
    text
}

pub(super) fn drained(done: &DrainView) -> String {
    let state = match (done.dry_run, done.in_flight) {
        (true, n) => format!("{n} requests in flight now; nothing was changed\n"),
        (false, 0) => "drained: no request in flight\n".to_owned(),
        (false, n) => format!("still {n} requests in flight; the server stays down\n"),
    };
    differences(done.revision, done.dry_run, &done.diff) + &state
}

pub(super) fn created(done: &OverrideCreated) -> String {
    let mut text = if done.dry_run {
        String::new()
    } else {
        format!(
            "override {} until {}\n",
            printable(&done.id),
            printable(&done.expires_at)
        )
    };
    text += &differences(done.revision, done.dry_run, &done.diff);
    text
}

pub(super) fn overrides(list: &OverrideList) -> String {
    if list.overrides.is_empty() {
        return "no overrides\n".to_owned();
    }
    overrides_of(&list.overrides)
}

pub(super) fn overrides_of(list: &[OverrideView]) -> String {
    let rows = list.iter().map(|it| {
        let held = it
            .settings
            .iter()
            .map(|(path, value)| format!("{path}={}", plain(value)));
        let lost = it.superseded.iter().map(|path| format!("(lost {path})"));
        // Whole seconds are enough for people.
        let left = std::time::Duration::from_secs(it.remaining.as_secs());
        vec![
            it.id.clone(),
            format_duration(left),
            it.owner.clone(),
            it.reason.clone(),
            held.chain(lost).collect::<Vec<_>>().join(" "),
        ]
    });
    table(&["ID", "LEFT", "OWNER", "REASON", "SETTINGS"], rows)
}

pub(super) fn revisions(list: &RevisionList) -> String {
    let rows = list.revisions.iter().map(|it| {
        let changes: Vec<_> = it.diff.iter().map(brief).collect();
        vec![
            it.revision.to_string(),
            it.at.clone(),
            it.who.clone(),
            it.why.clone(),
            changes.join(", "),
        ]
    });
    table(&["REVISION", "AT", "WHO", "WHY", "CHANGES"], rows)
}

/// A change in a few words.
pub(super) fn brief(change: &Change) -> String {
    let rows = rows_of(change);
    let told: Vec<_> = rows
        .iter()
        .map(|row| match row.as_slice() {
            [path, old, new] => format!("{path} {old} -> {new}"),
            other => other.join(" "),
        })
        .collect();
    told.join(", ")
}

pub(super) fn upstreams(report: &Value) -> String {
    let mut rows = Vec::new();
    for upstream in items(report, "upstreams") {
        for server in items(upstream, "servers") {
            let connections = server.get("connections").unwrap_or(&Value::Null);
            rows.push(vec![
                field(upstream, "name"),
                field(server, "address"),
                field(server, "state"),
                field(server, "weight"),
                field(server, "in_flight"),
                field(server, "requests"),
                field(server, "failures"),
                field(connections, "idle"),
                check(server.get("check")),
            ]);
        }
    }
    table(
        &[
            "UPSTREAM",
            "SERVER",
            "STATE",
            "WEIGHT",
            "IN FLIGHT",
            "REQUESTS",
            "FAILURES",
            "IDLE",
            "LAST CHECK",
        ],
        rows,
    )
}

/// The last health check of a server: what, how long ago, and how far it is from changing the server's state.
fn check(check: Option<&Value>) -> String {
    let Some(check) = check else {
        return "-".to_owned();
    };
    let Some(last) = check.get("last") else {
        return "none yet".to_owned();
    };
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_u64);
    let ago = number(last, "ms_ago").unwrap_or_default() as f64 / 1000.0;
    let text = format!("{}, {ago:.1} s ago", field(last, "why"));
    let in_a_row = number(check, "against").unwrap_or_default();
    match (field(check, "state").as_str(), in_a_row) {
        (_, 0) => text,
        ("out", n) => format!("{text}, {n} passed in a row"),
        (_, n) => format!("{text}, {n} failed in a row"),
    }
}

pub(super) fn limits(report: &Value) -> String {
    let rows = items(report, "limits").map(|limit| {
        let counts = limit.get("counts").unwrap_or(&Value::Null);
        let busiest = items(limit, "top").next();
        vec![
            field(limit, "name"),
            field(limit, "enabled"),
            field(counts, "admitted"),
            field(counts, "delayed"),
            field(counts, "rejected"),
            field(counts, "keys"),
            busiest.map_or_else(|| "-".to_owned(), |it| field(it, "key")),
        ]
    });
    table(
        &[
            "LIMIT",
            "ENABLED",
            "ADMITTED",
            "DELAYED",
            "REJECTED",
            "KEYS",
            "BUSIEST KEY",
        ],
        rows,
    )
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn field(value: &Value, name: &str) -> String {
    value.get(name).map_or_else(|| "-".to_owned(), plain)
}
