#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs, os::unix::fs::PermissionsExt as _};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::settings::{NewOverride, ServerChange};

const FILE: &str = r#"# The front proxy.

[server]
threads = 1                 # one is enough

[[listener]]
address = "127.0.0.1:0"

# How long.
[timeouts]
connect = "30s"   # as documented
# read = "60s"

[rate_limit.api_limit]   # the zone
rate    = '10r/s'
burst   = 2_0
delay   = 5

[compression]
types = [ "application/json", "text/*" ]

# The servers.
[upstream.api]
keepalive = 32
servers = [
    # the first
    { address = "127.0.0.1:8000", max_fails = 3 }, # left rack
    # the second
    { address = "127.0.0.1:8001" }   # right rack
]

[[route]]
upstream = "api"    # all of it
rate_limit = ["api_limit"]
# The end.
"#;

/// Other layouts of the same.
const DOTTED: &str = r#"
listener = [{ address = "127.0.0.1:0" }]
route = [{ upstream = "api", rate_limit = ["api_limit"] }]
timeouts.connect = "30s" # kept
rate_limit = { api_limit = { rate = "10r/s", burst = 20, delay = 5 } } # inline
upstream.api.servers = [{ address = "127.0.0.1:8000", max_fails = 3 }, { address = "127.0.0.1:8001" }]
"#;

const TABLES: &str = r#"
[[listener]]
address = "127.0.0.1:0"

[[upstream.api.servers]] # the first
address = "127.0.0.1:8000"
max_fails = 3

# second
[[upstream.api.servers]]
address = "127.0.0.1:8001"

[rate_limit.api_limit]
rate = "10r/s"
burst = 20
delay = 5

[timeouts]
connect = "30s"

[[route]]
upstream = "api"
rate_limit = ["api_limit"]
"#;

struct Case {
    store: Store,
    path: PathBuf,
    dir: tempfile::TempDir,
}

impl Case {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weir.toml");
        fs::write(&path, text).unwrap();
        let config = config::parse(text, "weir.toml").unwrap_or_else(|e| panic!("{e}"));
        let store = Store::new(config.settings(), config.routes.as_slice().into()).unwrap();
        store.read_from(&path, text);
        Self { store, path, dir }
    }

    fn patch(&self, patch: Value) {
        self.store
            .patch(&patch, ops(), Conditions::default())
            .unwrap();
    }

    fn server(&self, change: ServerChange) {
        self.store
            .change_servers("api", &change, ops(), Conditions::default())
            .unwrap();
    }

    fn save(&self) -> Result<Saved, StoreError> {
        self.store.save(&ops(), Conditions::default())
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }

    /// Saves, and compares the text with one that is got by these replacements.
    fn saves(&self, before: &str, replacements: &[(&str, &str)]) {
        self.save().unwrap();
        let expected = replacements
            .iter()
            .fold(before.to_owned(), |text, (old, new)| {
                assert!(text.contains(old), "{old:?} is not in\n{text}");
                text.replacen(old, new, 1)
            });
        assert_eq!(self.text(), expected);
        let saved = config::load(&self.path).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(*saved.settings(), *self.store.current().settings);
    }
}

fn ops() -> Author {
    Author::new("ops", "")
}

#[test]
fn only_what_has_changed_is_touched() {
    let case = Case::new(FILE);
    case.patch(json!({
        "timeouts": {"connect": "10s", "read": "5s"},
        "rate_limit": {"api_limit": {"rate": "50r/s", "delay": null, "nodelay": true}},
        "compression": {"types": ["text/*", "image/svg+xml"]},
        "connections": {"max": 2048},
    }));
    case.server(ServerChange::Set(
        "127.0.0.1:8000".to_owned(),
        json!({"down": true}),
    ));
    case.server(ServerChange::Add(
        json!({"address": "127.0.0.1:8002", "weight": 2}),
    ));
    case.saves(
        FILE,
        &[
            (
                "connect = \"30s\"   # as documented\n",
                "connect = \"10s\"   # as documented\nread = \"5s\"\n",
            ),
            ("'10r/s'", "\"50r/s\""),
            ("delay   = 5\n", "nodelay = true\n"),
            (
                "[ \"application/json\", \"text/*\" ]",
                "[ \"text/*\", \"image/svg+xml\" ]",
            ),
            ("max_fails = 3 },", "max_fails = 3, down = true },"),
            (
                "}   # right rack\n",
                "},   # right rack\n    { address = \"127.0.0.1:8002\", weight = 2 }\n",
            ),
            ("# The end.\n", "\n[connections]\nmax = 2048\n# The end.\n"),
        ],
    );
    assert!(case.store.view().sources.is_empty(), "the file has it now");
}

#[test]
fn other_layouts_keep_their_style() {
    let case = Case::new(DOTTED);
    case.patch(json!({"timeouts": {"read": "5s"}, "rate_limit": {"api_limit": {"status": 503, "delay": null}},
        "upstream": {"api": {"keepalive": 9, "retry": {"tries": 1}}}}));
    case.server(ServerChange::Remove("127.0.0.1:8000".to_owned()));
    case.save().unwrap();
    let text = case.text();
    for kept in [
        "timeouts.connect = \"30s\" # kept",
        "timeouts.read = \"5s\"",
        "burst = 20, status = 503 } } # inline",
        "upstream.api.keepalive = 9",
        "upstream.api.retry.tries = 1",
        "[{ address = \"127.0.0.1:8001\" }]",
    ] {
        assert!(text.contains(kept), "{kept} is not in {text}");
    }
    let case = Case::new(TABLES);
    case.server(ServerChange::Add(json!({"address": "127.0.0.1:8002"})));
    case.server(ServerChange::Set(
        "127.0.0.1:8001".to_owned(),
        json!({"weight": 4}),
    ));
    case.saves(
        TABLES,
        &[("address = \"127.0.0.1:8001\"\n", "address = \"127.0.0.1:8001\"\nweight = 4\n\n[[upstream.api.servers]]\naddress = \"127.0.0.1:8002\"\n")],
    );
}

#[test]
fn comments_of_a_removed_server_go_and_the_others_stay() {
    let case = Case::new(FILE);
    case.server(ServerChange::Remove("127.0.0.1:8000".to_owned()));
    case.saves(
        FILE,
        &[(
            "    # the first\n    { address = \"127.0.0.1:8000\", max_fails = 3 }, # left rack\n",
            "",
        )],
    );
}

#[test]
fn overrides_are_not_saved() {
    let case = Case::new(FILE);
    let new = NewOverride {
        settings: json!({"timeouts": {"connect": "1s"}}),
        ttl: std::time::Duration::from_secs(60),
        owner: "bench".to_owned(),
        reason: String::new(),
    };
    case.store
        .create_override(new, Conditions::default())
        .unwrap();
    let saved = case.save().unwrap();
    assert!(saved.text_diff.is_empty() && saved.diff.is_empty());
    assert_eq!(case.text(), FILE);
    assert_eq!(case.store.overrides().len(), 1);
}

#[test]
fn a_dry_run_writes_nothing() {
    let case = Case::new(FILE);
    case.patch(json!({"timeouts": {"connect": "10s"}}));
    let dry = Conditions {
        expected: None,
        dry_run: true,
    };
    let saved = case.store.save(&ops(), dry).unwrap();
    assert!(
        saved.text_diff.contains(
            "-connect = \"30s\"   # as documented\n+connect = \"10s\"   # as documented\n"
        ),
        "{}",
        saved.text_diff
    );
    assert_eq!((case.text().as_str(), case.store.revision()), (FILE, 2));
}

#[test]
fn an_edited_file_is_not_overwritten() {
    let case = Case::new(FILE);
    case.patch(json!({"timeouts": {"connect": "10s"}}));
    let edited = FILE.replace("as documented", "as agreed");
    fs::write(&case.path, &edited).unwrap();
    let error = case.save().unwrap_err();
    assert!(
        matches!(error, StoreError::NotSaved(SaveError::Edited { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("SIGHUP"), "{error}");
    assert_eq!((case.text(), case.store.revision()), (edited.clone(), 2));
    // Once it has been read, it is the file that is changed.
    case.store
        .reload(
            config::load(&case.path).unwrap().settings(),
            &[],
            ops(),
            false,
        )
        .unwrap();
    case.store.read_from(&case.path, &edited);
    case.saves(&edited, &[("\"30s\"", "\"10s\"")]);
    fs::remove_file(&case.path).unwrap();
    case.patch(json!({"timeouts": {"connect": "11s"}}));
    assert!(
        case.save()
            .unwrap_err()
            .to_string()
            .contains("cannot be written (read)")
    );
}

#[test]
fn without_a_file_there_is_nothing_to_save_to() {
    let store = Store::new(config::parse(FILE, "x").unwrap().settings(), Arc::default()).unwrap();
    let error = store.save(&ops(), Conditions::default()).unwrap_err();
    assert!(matches!(error, StoreError::NotSaved(SaveError::NoFile)));
}

#[test]
fn permissions_and_links_stay() {
    let case = Case::new(FILE);
    fs::set_permissions(&case.path, fs::Permissions::from_mode(0o640)).unwrap();
    let link = case.dir.path().join("link.toml");
    std::os::unix::fs::symlink("weir.toml", &link).unwrap();
    case.store.read_from(&link, FILE);
    case.patch(json!({"timeouts": {"connect": "10s"}}));
    case.save().unwrap();
    assert!(case.text().contains("\"10s\""));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(
        fs::metadata(&case.path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    let files = fs::read_dir(case.dir.path()).unwrap().count();
    assert_eq!(files, 2, "no temporary file is left");
}

/// The end of the process after each step: a killed one runs no destructor, and nothing later.
#[test]
fn wherever_it_is_killed_the_file_is_whole() {
    let case = Case::new(FILE);
    let new = FILE.replace("30s", "10s");
    let temporary = case.dir.path().join(".weir.toml.weir-save");
    // Killed while the temporary file was being written, at every length.
    for length in (0..=new.len()).step_by(37) {
        fs::write(&temporary, &new.as_bytes()[..length]).unwrap();
        assert_eq!(case.text(), FILE);
        // The next save is not bothered by what is left.
        std::mem::forget(Staged::write(&case.path, &new).unwrap());
        assert_eq!(fs::read_to_string(&temporary).unwrap(), new);
        // Killed when all of it was written, and not renamed yet.
        assert_eq!(case.text(), FILE);
    }
    let staged = Staged::write(&case.path, &new).unwrap();
    staged.publish().unwrap();
    // Killed after the rename.
    assert_eq!(case.text(), new);
    assert!(!temporary.exists());
    drop(Staged::write(&case.path, FILE).unwrap());
    assert!(!temporary.exists(), "one that was not published goes away");
}

fn patches() -> impl Strategy<Value = Value> {
    let duration = prop_oneof![Just("1s"), Just("30s"), Just("2m")];
    prop_oneof![
        duration.clone().prop_map(|it| json!({"timeouts": {"connect": it}})),
        duration.prop_map(|it| json!({"timeouts": {"read": it}})),
        (1..9u32).prop_map(|it| json!({"compression": {"level": it}})),
        prop::collection::vec(prop_oneof![Just("text/*"), Just("image/svg+xml"), Just("application/json")], 0..4)
            .prop_map(|it| json!({"compression": {"types": it}})),
        prop::collection::vec(prop_oneof![Just("10.0.0.0/8"), Just("::1/128")], 0..3)
            .prop_map(|it| json!({"client": {"trusted_proxies": it}})),
        proptest::option::of(1..9u32)
            .prop_map(|it| json!({"rate_limit": {"api_limit": {"delay": it, "nodelay": it.is_none()}}})),
        (1..99u32).prop_map(|it| json!({"rate_limit": {"api_limit": {"rate": format!("{it}r/m"), "key": "client_ip+route"}}})),
        (0..9u32).prop_map(|it| json!({"upstream": {"api": {"keepalive": it + 1, "retry": {"tries": it + 1}}}})),
        prop::collection::btree_map(8000..8006u16, (1..5u32, any::<bool>()), 1..5).prop_map(|it| {
            let servers: Vec<_> = it
                .iter()
                .rev()
                .map(|(port, (weight, down))| json!({"address": format!("127.0.0.1:{port}"), "weight": weight, "down": down}))
                .collect();
            json!({"upstream": {"api": {"servers": servers}}})
        }),
    ]
}

proptest! {
    /// Whatever is changed, in whatever layout: it can be saved, the file says it, and comments stay.
    #[test]
    fn any_settings_can_be_saved(
        layout in 0..3usize,
        rounds in prop::collection::vec(prop::collection::vec(patches(), 1..5), 1..4),
    ) {
        let (text, comments) = [
            (FILE, &["# The front proxy.", "# one is enough", "# How long.", "# as documented", "# read = \"60s\"", "# the zone", "# The servers.", "# all of it", "# The end."][..]),
            (DOTTED, &["# kept", "# inline"]),
            (TABLES, &[]),
        ][layout];
        let case = Case::new(text);
        for patches in rounds {
            for patch in patches {
                case.patch(patch);
            }
            if let Err(error) = case.save() {
                prop_assert!(false, "{error}");
            }
            let now = case.text();
            for comment in comments {
                prop_assert!(now.contains(comment), "{comment} is gone:\n{now}");
            }
            let saved = config::load(&case.path).unwrap();
            prop_assert_eq!(saved.settings(), &*case.store.current().settings);
            prop_assert!(case.store.view().sources.is_empty());
        }
    }
}
