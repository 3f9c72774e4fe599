#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    settings::{RateLimit, Server, Settings, Upstream},
    units::Rate,
};

/// Settings with one entry in every map and list, all at their defaults.
fn complete() -> Settings {
    let mut settings = Settings::default();
    let limit = RateLimit::new(Rate::per_second(1).unwrap());
    settings.rate_limit.insert("limit".to_owned(), limit);
    let upstream = Upstream::new(vec![Server::new("127.0.0.1:8000")]);
    settings.upstream.insert("api".to_owned(), upstream);
    settings
}

/// Calls `f` with each field of the table and the value a document has there.
fn each<'a>(table: &Table, value: Option<&'a Value>, f: &mut dyn FnMut(&Field, Option<&'a Value>)) {
    for field in table.fields {
        let value = value.and_then(|v| v.get(field.name));
        f(field, value);
        match field.shape {
            Shape::Table(table) | Shape::Either(_, table) => each(table, value, f),
            Shape::Named(table) => {
                each(table, value.and_then(|v| v.as_object()?.values().next()), f)
            }
            Shape::Tables(table) => each(table, value.and_then(|v| v.get(0)), f),
            _ => {}
        }
    }
}

#[test]
fn fields_and_defaults_are_those_of_the_structs() {
    let document = complete().to_json();
    each(&LIVE, Some(&document), &mut |field, value| {
        // An optional field without a value is not written.
        let Some(value) = value else {
            assert!(["delay", "path", "host", "port"].contains(&field.name));
            return;
        };
        let Some(default) = field.default else {
            let composed = !matches!(field.shape, Shape::One(_) | Shape::List(_));
            assert!(field.required || composed, "{} has no default", field.name);
            return;
        };
        assert_eq!(
            *value,
            serde_json::from_str::<Value>(default).unwrap(),
            "{}",
            field.name
        );
    });
    assert!(
        check(&LIVE, &document).is_ok(),
        "a field of a struct is missing here"
    );
}

#[test]
fn every_default_is_allowed_and_every_field_explained() {
    each(&FILE, None, &mut |field, _| {
        assert!(field.help.ends_with('.'), "{}", field.name);
        if let (Some(default), Shape::One(kind)) = (field.default, field.shape) {
            let value = serde_json::from_str(default).unwrap();
            assert!(kind.fits(&value), "{}: {default}", field.name);
        }
        if let Shape::One(Kind::Bytes(min, max)) = field.shape {
            let end = |text: &str| text.parse::<crate::units::ByteSize>().unwrap();
            assert!(end(min) < end(max), "{}", field.name);
        }
    });
}

#[test]
fn both_ends_of_a_range_are_in_it() {
    for (path, good, bad) in [
        (
            "/compression/level",
            [json!(1), json!(9)],
            [json!(0), json!(10)],
        ),
        (
            "/connections/max",
            [json!(16), json!(1_000_000)],
            [json!(15), json!(1_000_001)],
        ),
        (
            "/timeouts/connect",
            [json!("1ms"), json!("10m")],
            [json!("0s"), json!("601s")],
        ),
        (
            "/client/max_streams",
            [json!(1), json!(10_000)],
            [json!(0), json!(10_001)],
        ),
        (
            "/client/max_header",
            [json!("1k"), json!("1m")],
            [json!(1023), json!("2MiB")],
        ),
        (
            "/rate_limit/limit/status",
            [json!(400), json!(599)],
            [json!(399), json!(600)],
        ),
        (
            "/upstream/api/keepalive_timeout",
            [json!("1ms"), json!("1h")],
            [json!("0s"), json!("2h")],
        ),
        (
            "/upstream/api/health_check/interval",
            [json!("100ms"), json!("1h")],
            [json!("99ms"), json!("61m")],
        ),
        (
            "/upstream/api/health_check/rise",
            [json!(1), json!(1000)],
            [json!(0), json!(1001)],
        ),
        (
            "/upstream/api/servers/0/weight",
            [json!(1), json!(65535)],
            [json!(0), json!(65536)],
        ),
    ] {
        let mut document = complete().to_json();
        for value in good {
            *document.pointer_mut(path).unwrap() = value.clone();
            assert!(Settings::from_json(&document).is_ok(), "{path} = {value}");
        }
        for value in bad {
            *document.pointer_mut(path).unwrap() = value.clone();
            let problems = Settings::from_json(&document).unwrap_err();
            let [problem] = problems.as_slice() else {
                panic!("{problems}")
            };
            let dotted = path[1..].replace('/', ".").replace(".0.", "[0].");
            assert_eq!(problem.field, dotted);
            assert!(problem.message.contains(&value.to_string()), "{problem}");
            assert!(problem.allowed.contains("from"), "{problem}");
        }
    }
}

#[test]
fn several_problems_come_together() {
    let mut document = complete().to_json();
    document["upstream"]["api"]["servers"] = json!([
        {"address": "a:1", "backup": true},
        {"address": "a:1", "backup": true, "wieght": 2}
    ]);
    document["rate_limit"]["a.b"] = json!({"burst": -1});
    let fields: Vec<_> = Settings::from_json(&document)
        .unwrap_err()
        .into_vec()
        .into_iter()
        .map(|p| p.field)
        .collect();
    assert_eq!(
        fields,
        [
            "rate_limit.\"a.b\"",
            "rate_limit.\"a.b\".burst",
            "rate_limit.\"a.b\".rate",
            "upstream.api.servers[1].wieght",
            "upstream.api.servers",
            "upstream.api.servers[1].address",
        ]
    );
}

/// Any value a field may hold, and some it may not.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0i64..1000).prop_map(Value::from),
        "[0-9]{1,4}(ms|s|m|h|r/s|r/m|KiB|MiB)".prop_map(Value::from),
        "[a-z_/*.:0-9]{0,12}".prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..3)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    /// What the tables let through, the structs can hold, and they write it back as they read it.
    #[test]
    fn what_passes_the_check_deserializes(value in any_json(), field in 0usize..40) {
        let mut document = complete().to_json();
        let mut pointers = Vec::new();
        leaves(&document, String::new(), &mut pointers);
        let pointer = &pointers[field % pointers.len()];
        *document.pointer_mut(pointer).unwrap() = value;
        if check(&LIVE, &document).is_ok() {
            let settings = Settings::from_json(&document);
            prop_assert!(settings.is_ok(), "{pointer}: {settings:?}");
            let settings = settings.unwrap();
            prop_assert_eq!(Settings::from_json(&settings.to_json()).unwrap(), settings);
        }
    }
}

fn leaves(value: &Value, pointer: String, out: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                leaves(value, format!("{pointer}/{key}"), out);
            }
        }
        Value::Array(items) => {
            out.push(pointer.clone());
            for (n, item) in items.iter().enumerate() {
                leaves(item, format!("{pointer}/{n}"), out);
            }
        }
        _ => out.push(pointer),
    }
}
