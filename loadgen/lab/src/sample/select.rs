//! Which processes to sample: by id, by name, by command line, or by container.

use std::{fmt, path::Path, str::FromStr};

use procfs::process::{Process, all_processes};
use regex::Regex;

use super::container::ContainerError;

/// Why there is nothing to sample.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// The text is not a selection.
    #[error(
        "`{text}` selects nothing: {why}; write pid:123, name:weir, name:/PATTERN/ or container:api"
    )]
    Malformed {
        /// As given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// No process has this id.
    #[error("there is no process {0}, or it has ended already")]
    NoProcess(u32),
    /// No process has this name.
    #[error(
        "no process is named `{0}` (the name is that of the program's file or what `ps -o comm` shows; write /PATTERN/ to search whole command lines)"
    )]
    NoName(String),
    /// No command line matches.
    #[error("no process has a command line that matches /{0}/")]
    NoMatch(String),
    /// The container.
    #[error(transparent)]
    Container(#[from] ContainerError),
}

/// A choice of processes.
#[derive(Debug, Clone)]
pub enum Selector {
    /// The process with this id.
    Pid(u32),
    /// Every process with this name.
    Name(NamePattern),
    /// The container with this name or id.
    Container(String),
}

/// A name, or a pattern of command lines.
#[derive(Debug, Clone)]
pub enum NamePattern {
    /// The name of the program's file, or of the process.
    Exact(String),
    /// The command line, its words joined by spaces.
    CommandLine(Regex),
}

/// A process that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) pid: u32,
    pub(super) name: String,
}

impl FromStr for NamePattern {
    type Err = SelectError;

    /// Reads a name, or a regular expression between slashes.
    fn from_str(text: &str) -> Result<Self, SelectError> {
        let malformed = |why: String| SelectError::Malformed {
            text: text.to_owned(),
            why,
        };
        if text.is_empty() {
            return Err(malformed("the name is empty".into()));
        }
        match text
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix('/'))
        {
            Some("") => Err(malformed("the pattern is empty".into())),
            Some(pattern) => Regex::new(pattern)
                .map(Self::CommandLine)
                .map_err(|error| malformed(error.to_string())),
            None => Ok(Self::Exact(text.to_owned())),
        }
    }
}

impl FromStr for Selector {
    type Err = SelectError;

    fn from_str(text: &str) -> Result<Self, SelectError> {
        let malformed = |why: &str| SelectError::Malformed {
            text: text.to_owned(),
            why: why.to_owned(),
        };
        match text.split_once(':') {
            Some(("pid", id)) => match id.trim().parse() {
                Ok(id) if id > 0 => Ok(Self::Pid(id)),
                _ => Err(malformed("the process id is a number above 0")),
            },
            Some(("name", name)) => name.parse().map(Self::Name),
            Some(("container", "")) => Err(malformed("the container has no name")),
            Some(("container", name)) => Ok(Self::Container(name.to_owned())),
            _ => Err(malformed("it names no kind")),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::CommandLine(pattern) => write!(f, "/{pattern}/"),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => write!(f, "pid:{pid}"),
            Self::Name(pattern) => write!(f, "name:{pattern}"),
            Self::Container(name) => write!(f, "container:{name}"),
        }
    }
}

impl NamePattern {
    fn matches(&self, process: &Process) -> bool {
        match self {
            Self::Exact(name) => {
                let of_file =
                    |word: &String| Path::new(word).file_name()?.to_str().map(str::to_owned);
                process.stat().is_ok_and(|stat| stat.comm == *name)
                    || process.cmdline().is_ok_and(|words| {
                        words
                            .first()
                            .and_then(of_file)
                            .is_some_and(|file| file == *name)
                    })
            }
            Self::CommandLine(pattern) => process
                .cmdline()
                .is_ok_and(|words| !words.is_empty() && pattern.is_match(&words.join(" "))),
        }
    }

    /// Every process that matches, by id. This process and those that started it are left out:
    /// their command lines hold the pattern itself.
    pub(super) fn find(&self) -> Vec<Found> {
        let own = ancestors(std::process::id());
        let mut found: Vec<_> = every_process()
            .filter(|process| !own.contains(&process.pid) && is_alive(process))
            .filter(|process| self.matches(process))
            .filter_map(|process| found(&process))
            .collect();
        found.sort_by_key(|found| found.pid);
        found
    }

    pub(super) fn missing(&self) -> SelectError {
        match self {
            Self::Exact(name) => SelectError::NoName(name.clone()),
            Self::CommandLine(pattern) => SelectError::NoMatch(pattern.to_string()),
        }
    }
}

/// The process with this id.
pub(super) fn by_pid(pid: u32) -> Option<Found> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    is_alive(&process).then(|| found(&process)).flatten()
}

/// Children of these processes, their children, and so on.
pub(super) fn descendants(roots: &[u32]) -> Vec<Found> {
    let mut parents: Vec<(i32, i32, Process)> = every_process()
        .filter_map(|process| {
            let stat = process.stat().ok().filter(|stat| stat.state != 'Z')?;
            Some((process.pid, stat.ppid, process))
        })
        .collect();
    let mut known: Vec<i32> = roots
        .iter()
        .filter_map(|pid| i32::try_from(*pid).ok())
        .collect();
    let mut list = Vec::new();
    loop {
        let (next, rest): (Vec<_>, Vec<_>) = parents
            .into_iter()
            .partition(|(pid, parent, _)| known.contains(parent) && !known.contains(pid));
        if next.is_empty() {
            list.sort_by_key(|found: &Found| found.pid);
            return list;
        }
        known.extend(next.iter().map(|(pid, _, _)| *pid));
        list.extend(next.iter().filter_map(|(_, _, process)| found(process)));
        parents = rest;
    }
}

fn every_process() -> impl Iterator<Item = Process> {
    all_processes().into_iter().flatten().flatten()
}

fn is_alive(process: &Process) -> bool {
    process
        .stat()
        .is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

fn found(process: &Process) -> Option<Found> {
    Some(Found {
        pid: u32::try_from(process.pid).ok()?,
        name: process.stat().ok()?.comm,
    })
}

fn ancestors(pid: u32) -> Vec<i32> {
    let mut line = Vec::new();
    let mut next = i32::try_from(pid).unwrap_or(0);
    while next > 0 && !line.contains(&next) {
        line.push(next);
        next = Process::new(next)
            .and_then(|process| process.stat())
            .map_or(0, |stat| stat.ppid);
    }
    line
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn selections_are_read_and_written_the_same() {
        for text in [
            "pid:123",
            "name:weir",
            "name:/uvicorn .*:8000/",
            "container:api",
        ] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(selector.to_string(), text);
        }
    }

    #[test]
    fn what_selects_nothing_says_what_would_be_right() {
        for bad in [
            "",
            "weir",
            "pid:",
            "pid:0",
            "pid:x",
            "name:",
            "name:/(/",
            "name://",
            "container:",
        ] {
            let error = bad.parse::<Selector>().unwrap_err().to_string();
            assert!(error.contains("pid:123"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_pattern_never_finds_who_asks() {
        let everything: NamePattern = "/./".parse().unwrap();
        let own = std::process::id();
        assert!(everything.find().iter().all(|found| found.pid != own));
        assert_eq!(by_pid(own).unwrap().pid, own);
        assert_eq!(by_pid(u32::MAX / 4), None);
    }
}
