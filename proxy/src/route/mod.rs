//! Which route a request takes: by host, then by the longest path prefix.

pub mod client;
pub mod host;
pub mod path;

/// Routes in the order of preference.
#[derive(Debug, Clone)]
pub struct RouteTable<T> {
    entries: Vec<Entry<T>>,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    /// Lower case, without a port.
    host: Option<String>,
    prefix: String,
    target: T,
}

impl<T> RouteTable<T> {
    /// A table of `(host, path prefix, target)`.
    ///
    /// A route for the request's host goes before one for any host, a longer prefix before a
    /// shorter one, an earlier one before a later one (nginx: `server_name`, prefix `location`).
    pub fn new(routes: impl IntoIterator<Item = (Option<String>, String, T)>) -> Self {
        let mut entries: Vec<_> = routes
            .into_iter()
            .map(|(host, prefix, target)| Entry {
                host: host
                    .map(|host| String::from_utf8_lossy(&host::normalise(host.as_bytes())).into()),
                prefix,
                target,
            })
            .collect();
        // A stable sort keeps the order of the file among equals.
        entries.sort_by_key(|e| (e.host.is_none(), std::cmp::Reverse(e.prefix.len())));
        Self { entries }
    }

    /// The target for a request, by host and path as [`host::normalise`] and [`path::normalise`] make them.
    #[must_use]
    pub fn find(&self, host: &[u8], path: &[u8]) -> Option<&T> {
        self.entries
            .iter()
            .find(|e| {
                path.starts_with(e.prefix.as_bytes())
                    && e.host
                        .as_ref()
                        .is_none_or(|wanted| host == wanted.as_bytes())
            })
            .map(|e| &e.target)
    }

    /// All targets, in the order of preference.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|e| &e.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_route_wins() {
        let table = RouteTable::new([
            (None, "/".to_owned(), 0),
            (None, "/api/".to_owned(), 1),
            (Some("A.example".to_owned()), "/".to_owned(), 2),
            (None, "/api/v1".to_owned(), 3),
        ]);
        assert_eq!(table.find(b"x", b"/"), Some(&0));
        assert_eq!(table.find(b"x", b"/api"), Some(&0));
        assert_eq!(table.find(b"x", b"/api/v2"), Some(&1));
        assert_eq!(table.find(b"x", b"/api/v1/y"), Some(&3));
        assert_eq!(table.find(b"a.example", b"/api/v1"), Some(&2));
        assert_eq!(table.find(b"[::1]", b"/"), Some(&0));
        assert_eq!(table.find(b"x", b"*"), None);
    }
}
