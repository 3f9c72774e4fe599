//! What is published together, and names that have to be looked up before.

use weir_api::config::Route;

use super::*;

fn routes(paths: &[&str]) -> Vec<Route> {
    let route = |path: &&str| {
        let route = json!({ "path": path, "upstream": "api" });
        serde_json::from_value(route).unwrap()
    };
    paths.iter().map(route).collect()
}

#[test]
fn routes_and_settings_of_a_file_are_published_together_or_not_at_all() {
    let (store, _) = store();
    let seen: Arc<Mutex<Vec<(usize, u8)>>> = Arc::default();
    let refusing = Arc::new(AtomicBool::new(false));
    let (notes, refuses) = (Arc::clone(&seen), Arc::clone(&refusing));
    let hook = move |next: &Published| {
        if refuses.load(Ordering::Relaxed) {
            return Err("no".to_owned().into());
        }
        let level = next.settings.compression.level;
        notes.lock().push((next.routes.len(), level as u8));
        Ok(())
    };
    store.on_publish(Box::new(hook)).unwrap();
    let mut new = file();
    new.compression.level = 3;
    let done = store.reload(&new, &routes(&["/a"]), ops(), false).unwrap();
    assert!(done.routes_changed);

    refusing.store(true, Ordering::Relaxed);
    new.compression.level = 4;
    let more = routes(&["/a", "/b"]);
    store.reload(&new, &more, ops(), false).unwrap_err();
    refusing.store(false, Ordering::Relaxed);
    assert!(
        store
            .reload(&new, &more, ops(), true)
            .unwrap()
            .routes_changed
    );
    patch(&store, json!({"timeouts": {"connect": "10s"}}));
    assert_eq!(store.current().routes.len(), 1);
    let done = store.reload(&new, &routes(&["/a"]), ops(), false).unwrap();
    assert!(!done.routes_changed);
    assert_eq!(*seen.lock(), [(0, 6), (1, 3), (1, 3), (1, 4)]);
}

#[test]
fn names_are_looked_up_without_the_lock_and_the_change_is_made_again() {
    let (store, _) = store();
    let store = Arc::new(store);
    let known = Arc::new(AtomicBool::new(false));
    let knows = Arc::clone(&known);
    let hook = move |next: &Published| {
        let new = next.settings.compression.level == 3;
        if new && !knows.load(Ordering::Relaxed) {
            return Err(Refusal::Unresolved(vec![Unresolved {
                upstream: "api".to_owned(),
                address: "new.test:80".to_owned(),
            }]));
        }
        Ok(())
    };
    store.on_publish(Box::new(hook)).unwrap();
    let other = Arc::clone(&store);
    store.on_unresolved(Box::new(move |servers| {
        assert_eq!(servers[0].address, "new.test:80");
        // Others go on meanwhile.
        patch(&other, json!({"timeouts": {"connect": "10s"}}));
        known.store(true, Ordering::Relaxed);
        Ok(())
    }));
    let change = json!({"compression": {"level": 3}});
    let change = |store: &Store| store.patch(&change, ops(), Conditions::default());
    assert_eq!(store.make(change).unwrap().revision, 3);
    assert_eq!(value(&store, "/timeouts/connect"), "10s");
}

#[test]
fn a_name_that_cannot_be_looked_up_refuses_the_change() {
    let (store, _) = store();
    let hook = |next: &Published| match next.revision {
        1 => Ok(()),
        _ => Err(Refusal::Unresolved(Vec::new())),
    };
    store.on_publish(Box::new(hook)).unwrap();
    store.on_unresolved(Box::new(|_| Err("cannot resolve \"new.test\"".to_owned())));
    let change = set_rate("50r/s");
    let change = |store: &Store| store.patch(&change, ops(), Conditions::default());
    let error = store.make(change).unwrap_err();
    assert!(matches!(&error, StoreError::Refused(why) if why.contains("new.test")));
    assert_eq!(store.revision(), 1);
}
