//! Which requests a route takes.

use serde::Deserialize;

use super::Route;

/// Which paths a route takes (nginx: `location`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum RoutePath {
    /// Those that begin so.
    Prefix(String),
    /// This one alone (nginx: `location =`).
    Exact {
        /// The path.
        exact: String,
    },
    /// Those in which the expression finds something (nginx: `location ~`).
    Regex {
        /// The expression; it compiles with [`path_regex`].
        regex: String,
    },
}

impl Default for RoutePath {
    fn default() -> Self {
        Self::Prefix("/".to_owned())
    }
}

impl std::fmt::Display for RoutePath {
    /// A prefix as it is, the others as in nginx: `= /x`, `~ ^/v[0-9]+/`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Prefix(prefix) => f.write_str(prefix),
            Self::Exact { exact } => write!(f, "= {exact}"),
            Self::Regex { regex } => write!(f, "~ {regex}"),
        }
    }
}

impl Route {
    /// What the route is called in logs and metrics: its name, else its path with its host in front.
    #[must_use]
    pub fn label(&self) -> String {
        match (&self.name, &self.host) {
            (Some(name), _) => name.clone(),
            (None, None) => self.path.to_string(),
            (None, Some(host)) => match &self.path {
                RoutePath::Prefix(prefix) => format!("{host}{prefix}"),
                path => format!("{host} {path}"),
            },
        }
    }
}

/// Compiles an expression for paths. It works on bytes, as nginx's do: `.` is any byte but a line feed, and `\w`, `\d`,
/// `\s` are those of ASCII.
///
/// # Errors
/// What is wrong with it: its syntax, something the `regex` crate has not (look-around, back-references), or its size.
pub fn path_regex(text: &str) -> Result<regex::bytes::Regex, regex::Error> {
    regex::bytes::RegexBuilder::new(text).unicode(false).build()
}
