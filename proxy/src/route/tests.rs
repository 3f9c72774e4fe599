//! The order of preference, against its definition.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use weir_api::config::{Route, RoutePath, path_regex};

use super::{Asked, NoRoute, RouteTable};

fn route(toml: &str) -> Route {
    toml::from_str(&format!("upstream = 'a'\n{toml}")).unwrap()
}

fn table(routes: &[&str]) -> (Vec<Route>, RouteTable<usize>) {
    let routes: Vec<_> = routes.iter().map(|toml| route(toml)).collect();
    let table = RouteTable::new(routes.iter().zip(0..));
    (routes, table)
}

fn find(
    table: &RouteTable<usize>,
    host: &str,
    path: &str,
    method: &str,
    fields: &[(&str, &str)],
) -> Result<usize, NoRoute> {
    let asked = Asked {
        host: host.as_bytes(),
        path: path.as_bytes(),
        method,
        has_field: &|name, value| fields.contains(&(name, value)),
    };
    table.find(&asked).copied()
}

#[test]
fn hosts_come_before_paths() {
    let (_, table) = table(&[
        "path = { exact = '/x' }",
        "host = '*.example.org'",
        "host = '*.b.Example.org'",
        "host = 'a.b.example.org'\npath = '/v1'",
        "path = '/only'",
        "host = '*.b.example.org'\npath = '/v2'",
    ]);
    let get = |host, path| find(&table, host, path, "GET", &[]);
    assert_eq!(get("a.b.example.org", "/v1/x"), Ok(3));
    // The next level is asked when nothing of the first fits.
    assert_eq!(get("a.b.example.org", "/v2"), Ok(5));
    assert_eq!(get("a.b.example.org", "/x"), Ok(2));
    assert_eq!(get("c.example.org", "/x"), Ok(1));
    assert_eq!(get("c.d.e.example.org", "/"), Ok(1));
    assert_eq!(get("example.org", "/x"), Ok(0));
    assert_eq!(get("example.org", "/only/1"), Ok(4));
    assert_eq!(get("example.org", "/"), Err(NoRoute::NotFound));
    assert_eq!(get(".example.org", "/x"), Ok(0), "no label in front");
    assert_eq!(
        get(&format!("{}example.org", "a.".repeat(200)), "/x"),
        Ok(0),
        "too long for a name"
    );
}

#[test]
fn exact_paths_before_expressions_before_prefixes() {
    let (_, table) = table(&[
        "path = '/a/long/prefix'",
        "path = { regex = '[.]png$' }",
        "path = { regex = '^/a/' }",
        "path = { exact = '/a/x.png' }",
        "path = '/a'",
        "",
    ]);
    let get = |path| find(&table, "", path, "GET", &[]);
    assert_eq!(get("/a/x.png"), Ok(3));
    assert_eq!(get("/a/y.png"), Ok(1));
    assert_eq!(get("/a/long/prefix"), Ok(2));
    assert_eq!(get("/ab"), Ok(4));
    assert_eq!(get("/b"), Ok(5));
}

#[test]
fn more_conditions_come_first_and_what_fails_is_passed_over() {
    let (_, table) = table(&[
        "path = '/a'",
        "path = '/a'\nmethods = ['POST']",
        "path = '/a'\nmethods = ['POST']\nheaders = { X-Canary = '1' }",
        "path = '/a/b'\nmethods = ['GET']",
        "path = '/a/b'\nmethods = ['PUT']\nheaders = { X-Canary = '1' }",
        "path = { exact = '/only' }\nmethods = ['GET', 'DELETE']",
        "path = { exact = '/only' }\nmethods = ['PUT']",
        "path = { exact = '/only' }\nmethods = ['PATCH']\nheaders = { X-Canary = '1' }",
    ]);
    let canary = &[("X-Canary", "1")][..];
    assert_eq!(find(&table, "", "/a", "GET", &[]), Ok(0));
    assert_eq!(find(&table, "", "/a", "POST", &[]), Ok(1));
    assert_eq!(find(&table, "", "/a", "POST", canary), Ok(2));
    assert_eq!(find(&table, "", "/a", "GET", canary), Ok(0));
    assert_eq!(find(&table, "", "/a/b", "GET", &[]), Ok(3));
    assert_eq!(find(&table, "", "/a/b", "HEAD", &[]), Ok(3));
    assert_eq!(find(&table, "", "/a/b", "PUT", canary), Ok(4));
    // The longer prefix does not take it, so the shorter one does.
    assert_eq!(find(&table, "", "/a/b", "DELETE", &[]), Ok(0));
    let allowed = |list: &[&str]| {
        Err(NoRoute::Method(
            list.iter().map(|it| (*it).to_owned()).collect(),
        ))
    };
    assert_eq!(
        find(&table, "", "/only", "POST", &[]),
        allowed(&["DELETE", "GET", "HEAD", "PUT"])
    );
    assert_eq!(
        find(&table, "", "/only", "POST", canary),
        allowed(&["DELETE", "GET", "HEAD", "PATCH", "PUT"])
    );
    assert_eq!(
        find(&table, "", "/none", "GET", &[]),
        Err(NoRoute::NotFound)
    );
}

/// The rules as they are written, by looking at every route.
fn by_definition(routes: &[Route], host: &str, path: &str, method: &str) -> Option<usize> {
    let level = |route: &Route| match route.host.as_deref() {
        None => Some((2, 0)),
        Some(name) => match name.strip_prefix('*') {
            None => (name == host).then_some((0, 0)),
            Some(suffix) => (host.len() > suffix.len() && host.ends_with(suffix))
                .then_some((1, usize::MAX - suffix.len())),
        },
    };
    let kind = |at: usize, route: &Route| match &route.path {
        RoutePath::Exact { exact } => (exact == path).then_some((0, 0)),
        RoutePath::Regex { regex } => {
            let found = path_regex(regex).unwrap().is_match(path.as_bytes());
            let first = routes[..at]
                .iter()
                .position(|it| it.host == route.host && it.path == route.path);
            found.then_some((1, first.unwrap_or(at)))
        }
        RoutePath::Prefix(prefix) => path
            .starts_with(prefix)
            .then_some((2, usize::MAX - prefix.len())),
    };
    let takes =
        |route: &Route| route.methods.is_empty() || route.methods.iter().any(|it| it == method);
    routes
        .iter()
        .enumerate()
        .filter(|(_, route)| takes(route))
        .filter_map(|(at, route)| {
            Some((
                level(route)?,
                kind(at, route)?,
                route.methods.is_empty(),
                at,
            ))
        })
        .min()
        .map(|(.., at)| at)
}

fn any_route() -> impl Strategy<Value = Route> {
    let host = prop::option::of(prop_oneof!["[ab](\\.[ab]){0,2}", "\\*(\\.[ab]){1,2}",]);
    let path = prop_oneof![
        3 => "/[ab/]{0,3}".prop_map(RoutePath::Prefix),
        1 => "/[ab/]{0,3}".prop_map(|exact| RoutePath::Exact { exact }),
        1 => "\\^?/?[ab]{1,2}\\$?".prop_map(|regex| RoutePath::Regex { regex }),
    ];
    let methods = prop_oneof![
        2 => Just(Vec::new()),
        1 => Just(vec!["PUT".to_owned()]),
        1 => Just(vec!["POST".to_owned(), "PUT".to_owned()]),
    ];
    (host, path, methods).prop_map(|(host, path, methods)| Route {
        host,
        path,
        methods,
        ..route("")
    })
}

proptest! {
    #[test]
    fn the_table_finds_what_the_rules_say(
        routes in prop::collection::vec(any_route(), 1..16),
        requests in prop::collection::vec(("[ab](\\.[ab]){0,3}", "/[ab/]{0,5}", "PUT|POST"), 20),
    ) {
        let table = RouteTable::new(routes.iter().zip(0..));
        for (host, path, method) in requests {
            let found = find(&table, &host, &path, &method, &[]).ok();
            prop_assert_eq!(found, by_definition(&routes, &host, &path, &method), "{} {} {}", host, path, method);
        }
    }
}
