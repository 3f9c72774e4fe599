//! Properties of the store: whatever is sent, and whatever happens in which order.

use proptest::prelude::*;

use super::*;

/// Patches of one field to three, some of them good: known and unknown fields, any value.
fn any_patch() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(vec![
        "connections.max",
        "timeouts.connect",
        "client.trusted_proxies",
        "client.max_body",
        "compression.level",
        "compression.types",
        "compression.enabled",
        "rate_limit.api_limit.rate",
        "rate_limit.api_limit.burst",
        "rate_limit.api_limit.nodelay",
        "rate_limit.api_limit.delay",
        "rate_limit.api_limit",
        "rate_limit.other.rate",
        "upstream.api.servers",
        "upstream.api.retry.tries",
        "upstream.api.keepalive",
        "timeouts.conect",
        "listener",
    ]);
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..3000).prop_map(Value::from),
        (1i64..10).prop_map(Value::from),
        "[0-9]{1,3}(s|ms|r/s|KiB|)".prop_map(Value::from),
        Just(json!([{"address": "127.0.0.1:1"}])),
        Just(json!(["text/html"])),
        Just(json!({})),
    ];
    prop::collection::vec((field, value), 1..4).prop_map(|fields| {
        let mut patch = json!({});
        for (field, value) in fields {
            let mut table = &mut patch;
            for name in field.split('.') {
                if !table.is_object() {
                    *table = json!({});
                }
                table = &mut table[name];
            }
            *table = value;
        }
        patch
    })
}

proptest! {
    /// Whatever is sent: either nothing changes, or what is in force is valid and each difference is told.
    #[test]
    fn no_patch_leaves_half_a_change(patches in prop::collection::vec(any_patch(), 1..6)) {
        let (store, _) = store();
        for patch in patches {
            let before = store.view();
            match store.patch(&patch, ops(), Conditions::default()) {
                Err(_) => prop_assert_eq!(store.view(), before),
                Ok(changed) => {
                    let after = store.view();
                    prop_assert!(store.current().settings.validate().is_ok());
                    prop_assert_eq!(after.effective == before.effective, changed.diff.is_empty());
                    prop_assert_eq!(after.revision, changed.revision);
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Patch(u32),
    Raise(u32, u64),
    Delete(usize),
    Pass(u64),
    Reload(u32),
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (1u32..1000).prop_map(Act::Patch),
        ((1u32..1000), (1u64..50)).prop_map(|(n, ttl)| Act::Raise(n, ttl)),
        (0usize..4).prop_map(Act::Delete),
        (1u64..30).prop_map(Act::Pass),
        (1u32..1000).prop_map(Act::Reload),
    ]
}

proptest! {
    /// Against the rule in one sentence: the newest override that no patch has overtaken since, else
    /// the last patch, else the file.
    #[test]
    fn any_history_ends_where_the_rule_says(acts in prop::collection::vec(any_act(), 1..40)) {
        let (store, clock) = store();
        let mut lowest = 10u32;
        let mut patched = None;
        let mut overrides: Vec<(String, u32, u64)> = Vec::new();
        let mut now = 0u64;
        for act in acts {
            match act {
                Act::Patch(n) => {
                    patch(&store, set_rate(&format!("{n}r/s")));
                    patched = Some(n);
                    for held in &mut overrides {
                        held.1 = 0;
                    }
                }
                Act::Raise(n, ttl) => {
                    let id = raise(&store, set_rate(&format!("{n}r/s")), ttl);
                    overrides.push((id, n, now + ttl));
                }
                Act::Delete(n) => {
                    if n < overrides.len() {
                        let (id, ..) = overrides.remove(n);
                        store.delete_override(&id, "ops").unwrap();
                    }
                }
                Act::Pass(seconds) => {
                    now += seconds;
                    clock.pass(seconds);
                    store.expire_due();
                    overrides.retain(|(_, _, due)| *due > now);
                }
                Act::Reload(n) => {
                    let mut new = file();
                    new.rate_limit.get_mut("api_limit").unwrap().rate = Rate::per_second(n).unwrap();
                    store.reload(&new, &[], ops(), false).unwrap();
                    lowest = n;
                }
            }
            let held = overrides.iter().rev().map(|o| o.1).find(|n| *n != 0);
            let expected = held.or(patched).unwrap_or(lowest);
            prop_assert_eq!(rate(&store), format!("{expected}r/s"));
            prop_assert_eq!(store.overrides().len(), overrides.len());
        }
    }
}
