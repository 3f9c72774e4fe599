//! Flags that come from the environment: `WEIR_BENCH_USERS=20` stands for `--users=20`.
//!
//! A flag on the command line wins over its variable, and over those of flags that exclude it.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, Command};

/// Subcommands whose flags can come from the environment: those that put load on something.
const SUBCOMMANDS: [&str; 3] = ["run", "search", "sweep"];
/// Flags that only make sense where they are typed.
const TYPED: [&str; 3] = ["help", "version", "explain"];

/// A flag that the environment has supplied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The flag, such as `--users`.
    pub flag: String,
    /// The variable, such as `WEIR_BENCH_USERS`.
    pub variable: String,
    /// Its value.
    pub value: String,
}

/// Adds to a command line what the environment supplies; tells what that was.
pub fn complete(
    command: &Command,
    words: Vec<OsString>,
    lookup: impl Fn(&str) -> Option<String>,
) -> (Vec<OsString>, Vec<Taken>) {
    let name = words
        .iter()
        .skip(1)
        .find(|word| !word.to_string_lossy().starts_with('-'));
    let subcommand = name
        .and_then(|name| name.to_str())
        .filter(|name| SUBCOMMANDS.contains(name))
        .and_then(|name| command.find_subcommand(name));
    let Some(subcommand) = subcommand else {
        return (words, Vec::new());
    };
    let mut taken = Vec::new();
    let mut added = Vec::new();
    for arg in subcommand.get_arguments() {
        let Some(long) = arg.get_long().filter(|long| !TYPED.contains(long)) else {
            continue;
        };
        let variable = variable_of(long);
        let Some(value) = lookup(&variable).filter(|value| !value.is_empty()) else {
            continue;
        };
        // Either of the two may say that they exclude each other.
        let exclude = |one: &Arg, other: &Arg| {
            let excluded = subcommand.get_arg_conflicts_with(one);
            excluded.iter().any(|arg| arg.get_id() == other.get_id())
        };
        let excluded = subcommand
            .get_arguments()
            .any(|other| is_given(other, &words) && (exclude(arg, other) || exclude(other, arg)));
        if excluded || is_given(arg, &words) {
            continue;
        }
        let flags = flags(arg, long, &value);
        if !flags.is_empty() {
            added.extend(flags);
            taken.push(Taken {
                flag: format!("--{long}"),
                variable,
                value,
            });
        }
    }
    let words = words.into_iter().chain(added).collect();
    (words, taken)
}

/// `time-scale` → `WEIR_BENCH_TIME_SCALE`.
fn variable_of(long: &str) -> String {
    format!("WEIR_BENCH_{}", long.to_ascii_uppercase().replace('-', "_"))
}

fn is_given(arg: &Arg, words: &[OsString]) -> bool {
    let long = arg.get_long().map(|long| format!("--{long}"));
    let short = arg.get_short().map(|short| format!("-{short}"));
    words.iter().map(OsString::as_os_str).any(|word: &OsStr| {
        let word = word.to_string_lossy();
        let by_long = long.as_ref().is_some_and(|long| {
            word.strip_prefix(long.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        });
        by_long
            || short
                .as_ref()
                .is_some_and(|short| word.starts_with(short.as_str()))
    })
}

fn flags(arg: &Arg, long: &str, value: &str) -> Vec<OsString> {
    match arg.get_action() {
        ArgAction::SetTrue => match value.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => vec![format!("--{long}").into()],
            "0" | "false" | "no" | "off" => Vec::new(),
            // The parser says what is wrong with it.
            _ => vec![format!("--{long}={value}").into()],
        },
        ArgAction::Append => value
            .split_whitespace()
            .map(|one| format!("--{long}={one}").into())
            .collect(),
        _ => vec![format!("--{long}={value}").into()],
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn completed(words: &[&str], variables: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let words = words.iter().map(OsString::from).collect();
        let lookup = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let (words, taken) = complete(&Cli::command(), words, lookup);
        (
            words
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            taken.into_iter().map(|taken| taken.flag).collect(),
        )
    }

    const VARIABLES: [(&str, &str); 4] = [
        ("WEIR_BENCH_USERS", "20"),
        ("WEIR_BENCH_TIME_SCALE", "0.1"),
        ("WEIR_BENCH_TARGET", "http://127.0.0.1:1 http://127.0.0.1:2"),
        ("WEIR_BENCH_JSON", "true"),
    ];

    #[test]
    fn variables_stand_for_flags() {
        let (words, taken) = completed(&["weir-bench", "run", "-s", "smoke"], &VARIABLES);
        for flag in [
            "--users=20",
            "--time-scale=0.1",
            "--target=http://127.0.0.1:2",
            "--json",
        ] {
            assert!(words.iter().any(|word| word == flag), "{flag} {words:?}");
        }
        assert_eq!(taken.len(), 4, "{taken:?}");
    }

    #[test]
    fn flags_win_over_variables_and_over_those_that_they_exclude() {
        let (words, taken) = completed(
            &["weir-bench", "run", "--users=5", "--topology", "one"],
            &VARIABLES,
        );
        assert!(!words.iter().any(|word| word == "--users=20"));
        assert!(!words.iter().any(|word| word.starts_with("--target")));
        assert_eq!(taken.len(), 2, "{taken:?}");
    }

    #[test]
    fn other_subcommands_and_empty_values_are_left_alone() {
        let (words, taken) = completed(&["weir-bench", "lint", "--scenario", "ci"], &VARIABLES);
        assert_eq!((words.len(), taken.len()), (4, 0));
        let variables = [("WEIR_BENCH_USERS", ""), ("WEIR_BENCH_JSON", "no")];
        assert!(completed(&["weir-bench", "run"], &variables).1.is_empty());
    }
}
