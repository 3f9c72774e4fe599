//! The routes by host, and within a host by path.

use std::collections::HashMap;

use regex::bytes::{Regex, RegexSet, RegexSetBuilder};
use weir_api::config::{Route, RoutePath, path_regex};

use super::host;
use super::prefixes::Prefixes;

/// A domain name is not longer (RFC 1035, 2.3.4); what is has no wildcard, so that a request cannot ask for a search in
/// thousands of labels.
const MAX_HOST: usize = 253;
/// Most memory for the automaton of all expressions of a host; with more they are tried one by one.
const MAX_SET: usize = 64 << 20;

/// What a request is compared by. Host and path are normalised, see [`host::normalise`] and
/// [`path::normalise`](super::path::normalise).
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The host.
    pub host: &'a [u8],
    /// The path.
    pub path: &'a [u8],
    /// The method.
    pub method: &'a str,
    /// Whether there is a header field of this name, in any case, with this value.
    pub has_field: &'a dyn Fn(&str, &str) -> bool,
}

/// Why no route takes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRoute {
    /// None is for its host and path, or the header conditions of none are met.
    NotFound,
    /// Routes would take it with one of these methods.
    Method(Vec<String>),
}

/// Routes in the order of preference.
///
/// Exact hosts come first, then wildcards, the longest first, then routes for any host. For each of them: exact paths, then
/// expressions in the order of the file, then prefixes, the longest first. Among equals, those with more conditions come
/// first, then those that stand earlier in the file. When nothing of a level fits, the next level is asked.
#[derive(Debug, Clone)]
pub struct RouteTable<T> {
    entries: Vec<Entry<T>>,
    hosts: HashMap<Vec<u8>, Level>,
    /// By what follows `*.`.
    wildcards: HashMap<Vec<u8>, Level>,
    any: Level,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    /// Empty: any.
    methods: Vec<String>,
    headers: Vec<(String, String)>,
    target: T,
}

/// Routes with the same host and path, by their position in the table, in the order of preference.
pub(super) type Group = Vec<u32>;

/// The routes of one host.
#[derive(Debug, Clone, Default)]
struct Level {
    exact: HashMap<Vec<u8>, Group>,
    expressions: Expressions,
    prefixes: Prefixes,
}

#[derive(Debug, Clone, Default)]
struct Expressions {
    groups: Vec<Group>,
    matcher: Matcher,
}

#[derive(Debug, Clone, Default)]
enum Matcher {
    #[default]
    None,
    Set(RegexSet),
    Each(Vec<Option<Regex>>),
}

/// Whether a route takes a request that has its host and path.
enum Fit {
    Yes,
    /// It would, with another method.
    Method,
    No,
}

// === impl RouteTable ===

impl<T> RouteTable<T> {
    /// A table of these routes.
    pub fn new<'r>(routes: impl IntoIterator<Item = (&'r Route, T)>) -> Self {
        let mut entries = Vec::new();
        let mut by_host: HashMap<Option<Vec<u8>>, Vec<(u32, &Route)>> = HashMap::new();
        for (route, target) in routes {
            let at = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            let host = route.host.as_ref();
            let host = host.map(|host| host::normalise(host.as_bytes()).into_owned());
            by_host.entry(host).or_default().push((at, route));
            entries.push(Entry {
                methods: with_head(&route.methods),
                headers: route.headers.clone().into_iter().collect(),
                target,
            });
        }
        let mut table = Self {
            entries,
            hosts: HashMap::new(),
            wildcards: HashMap::new(),
            any: Level::default(),
        };
        for (host, routes) in by_host {
            let level = Level::new(&routes);
            match host {
                None => table.any = level,
                Some(host) => match host.strip_prefix(b"*.") {
                    Some(rest) => drop(table.wildcards.insert(rest.to_vec(), level)),
                    None => drop(table.hosts.insert(host, level)),
                },
            }
        }
        table
    }

    /// The target of the route that takes a request.
    ///
    /// # Errors
    /// [`NoRoute`] if none does.
    pub fn find(&self, asked: &Asked<'_>) -> Result<&T, NoRoute> {
        let mut others: Vec<&str> = Vec::new();
        let found = self
            .levels(asked.host)
            .find_map(|level| level.find(asked.path, |at| self.try_entry(at, asked, &mut others)));
        match found {
            Some(target) => Ok(target),
            None if others.is_empty() => Err(NoRoute::NotFound),
            None => {
                others.sort_unstable();
                others.dedup();
                Err(NoRoute::Method(
                    others.into_iter().map(str::to_owned).collect(),
                ))
            }
        }
    }

    fn try_entry<'t>(
        &'t self,
        at: u32,
        asked: &Asked<'_>,
        others: &mut Vec<&'t str>,
    ) -> Option<&'t T> {
        let entry = self.entries.get(at as usize)?;
        match entry.fit(asked) {
            Fit::Yes => return Some(&entry.target),
            Fit::Method => others.extend(entry.methods.iter().map(String::as_str)),
            Fit::No => {}
        }
        None
    }

    /// The levels for a host, in the order of preference.
    fn levels<'t>(&'t self, host: &[u8]) -> impl Iterator<Item = &'t Level> {
        let exact = self.hosts.get(host);
        let wild = !self.wildcards.is_empty() && host.len() <= MAX_HOST;
        let dots = host
            .iter()
            .enumerate()
            .filter(move |(at, byte)| wild && **byte == b'.' && *at > 0);
        let wildcards: Vec<&Level> = dots
            .filter_map(|(at, _)| self.wildcards.get(host.get(at + 1..)?))
            .collect();
        exact.into_iter().chain(wildcards).chain([&self.any])
    }

    /// All targets, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.target)
    }
}

// === impl Entry ===

impl<T> Entry<T> {
    fn fit(&self, asked: &Asked<'_>) -> Fit {
        if !self
            .headers
            .iter()
            .all(|(name, value)| (asked.has_field)(name, value))
        {
            return Fit::No;
        }
        if self.methods.is_empty() || self.methods.iter().any(|method| method == asked.method) {
            return Fit::Yes;
        }
        Fit::Method
    }
}

/// Whoever takes GET takes HEAD (RFC 9110, 9.3.2; nginx: `limit_except`).
fn with_head(methods: &[String]) -> Vec<String> {
    let mut methods = methods.to_vec();
    if methods.iter().any(|it| it == "GET") && !methods.iter().any(|it| it == "HEAD") {
        methods.push("HEAD".to_owned());
    }
    methods
}

// === impl Level ===

impl Level {
    /// The routes of a host, in the order of the file.
    fn new(routes: &[(u32, &Route)]) -> Self {
        // Lists, for the order of the expressions.
        let mut exact: Vec<(&str, Vec<(u32, &Route)>)> = Vec::new();
        let (mut regexes, mut prefixes) = (exact.clone(), exact.clone());
        let mut places: HashMap<(u8, &str), usize> = HashMap::new();
        for &(at, route) in routes {
            let (kind, text, list) = match &route.path {
                RoutePath::Exact { exact: text } => (0, text, &mut exact),
                RoutePath::Regex { regex: text } => (1, text, &mut regexes),
                RoutePath::Prefix(text) => (2, text, &mut prefixes),
            };
            let place = *places.entry((kind, text.as_str())).or_insert(list.len());
            match list.get_mut(place) {
                Some((_, group)) => group.push((at, route)),
                None => list.push((text.as_str(), vec![(at, route)])),
            }
        }
        let named = |list: Vec<(&str, Vec<(u32, &Route)>)>| {
            let group =
                |(text, routes): (&str, Vec<_>)| (text.as_bytes().to_vec(), by_conditions(routes));
            list.into_iter().map(group).collect::<Vec<_>>()
        };
        Self {
            exact: named(exact).into_iter().collect(),
            expressions: Expressions::new(regexes),
            prefixes: Prefixes::new(named(prefixes)),
        }
    }

    /// The first route for a path of which `accept` makes something.
    fn find<R>(&self, path: &[u8], mut accept: impl FnMut(u32) -> Option<R>) -> Option<R> {
        let mut try_group = |group: &Group| group.iter().find_map(|&at| accept(at));
        if let Some(found) = self.exact.get(path).and_then(&mut try_group) {
            return Some(found);
        }
        if let Some(found) = self.expressions.find(path, &mut try_group) {
            return Some(found);
        }
        self.prefixes.longest_first(path).find_map(try_group)
    }
}

/// Those with more conditions first, else as they were.
fn by_conditions(mut routes: Vec<(u32, &Route)>) -> Group {
    let conditions = |route: &Route| usize::from(!route.methods.is_empty()) + route.headers.len();
    routes.sort_by_key(|(_, route)| std::cmp::Reverse(conditions(route)));
    routes.into_iter().map(|(at, _)| at).collect()
}

// === impl Expressions ===

impl Expressions {
    fn new(expressions: Vec<(&str, Vec<(u32, &Route)>)>) -> Self {
        let texts: Vec<&str> = expressions.iter().map(|(text, _)| *text).collect();
        let set = || {
            let mut set = RegexSetBuilder::new(&texts);
            set.unicode(false).size_limit(MAX_SET).build().ok()
        };
        let matcher = match texts.is_empty() {
            true => Matcher::None,
            false => set().map_or_else(
                || Matcher::Each(texts.iter().map(|text| path_regex(text).ok()).collect()),
                Matcher::Set,
            ),
        };
        Self {
            groups: expressions
                .into_iter()
                .map(|(_, routes)| by_conditions(routes))
                .collect(),
            matcher,
        }
    }

    fn find<R>(&self, path: &[u8], mut accept: impl FnMut(&Group) -> Option<R>) -> Option<R> {
        match &self.matcher {
            Matcher::None => None,
            Matcher::Set(set) => {
                let matches = set.matches(path);
                matches.iter().find_map(|at| accept(self.groups.get(at)?))
            }
            Matcher::Each(each) => each.iter().zip(&self.groups).find_map(|(regex, group)| {
                let fits = regex.as_ref().is_some_and(|regex| regex.is_match(path));
                fits.then(|| accept(group)).flatten()
            }),
        }
    }
}
