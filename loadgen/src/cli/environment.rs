//! Flags that come from the environment: `WEIR_BENCH_USERS=20` stands for `--users=20`.
//!
//! A flag on the command line wins over its variable, and over those of flags that exclude it.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
};

use clap::{Arg, ArgAction, Command};

/// Subcommands whose flags can come from the environment: those that put load on something.
const SUBCOMMANDS: [&str; 3] = ["run", "search", "sweep"];
/// What all variables begin with.
const PREFIX: &str = "WEIR_BENCH_";
/// Likeness (Jaro and Winkler's, 0 to 1) from which one name is taken for a slip of another.
const LIKE_ENOUGH: f64 = 0.75;
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
    let Some(subcommand) = subcommand_of(command, &words) else {
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

/// Warnings about variables that look like flags of this command line's subcommand and are none.
pub fn misspelt(
    command: &Command,
    words: &[OsString],
    variables: impl Iterator<Item = String>,
) -> Vec<String> {
    if subcommand_of(command, words).is_none() {
        return Vec::new();
    }
    // One environment may serve several subcommands: flags of the others are no mistakes.
    let known: BTreeSet<String> = SUBCOMMANDS
        .iter()
        .filter_map(|name| command.find_subcommand(name))
        .flat_map(Command::get_arguments)
        .filter_map(Arg::get_long)
        .filter(|long| !TYPED.contains(long))
        .map(variable_of)
        .collect();
    variables
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .map(|name| match nearest(&name, &known) {
            Some(nearest) => {
                format!("`{name}` is no flag and is ignored: did you mean `{nearest}`?")
            }
            None => format!("`{name}` is no flag and is ignored"),
        })
        .collect()
}

/// The known variable that is most like this one, if any is much like it.
fn nearest<'a>(name: &str, known: &'a BTreeSet<String>) -> Option<&'a String> {
    let own = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    known
        .iter()
        .map(|known| (strsim::jaro_winkler(&own(name), &own(known)), known))
        .filter(|(likeness, _)| *likeness > LIKE_ENOUGH)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

fn subcommand_of<'a>(command: &'a Command, words: &[OsString]) -> Option<&'a Command> {
    let name = words
        .iter()
        .skip(1)
        .find(|word| !word.to_string_lossy().starts_with('-'));
    name.and_then(|name| name.to_str())
        .filter(|name| SUBCOMMANDS.contains(name))
        .and_then(|name| command.find_subcommand(name))
}

/// `time-scale` → `WEIR_BENCH_TIME_SCALE`.
fn variable_of(long: &str) -> String {
    format!("{PREFIX}{}", long.to_ascii_uppercase().replace('-', "_"))
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
    fn a_slip_is_told_with_what_was_meant() {
        let warnings = |subcommand: &str, names: &[&str]| {
            let words = ["weir-bench", subcommand].map(OsString::from);
            let names = names.iter().map(|name| (*name).to_owned());
            misspelt(&Cli::command(), &words, names)
        };
        let one = |name: &str| warnings("run", &[name]).pop().unwrap_or_default();
        assert!(one("WEIR_BENCH_USER").ends_with("did you mean `WEIR_BENCH_USERS`?"));
        assert!(one("WEIR_BENCH_TIMESCALE").ends_with("did you mean `WEIR_BENCH_TIME_SCALE`?"));
        assert!(one("WEIR_BENCH_QQQQ").ends_with("is ignored"));
        // A flag of `search` alone, something else's variable, and other subcommands.
        assert!(warnings("run", &["WEIR_BENCH_SLO", "WEIR_USER", "WEIR_BENCH_USERS"]).is_empty());
        assert!(warnings("lint", &["WEIR_BENCH_USER"]).is_empty());
    }

    #[test]
    fn other_subcommands_and_empty_values_are_left_alone() {
        let (words, taken) = completed(&["weir-bench", "lint", "--scenario", "ci"], &VARIABLES);
        assert_eq!((words.len(), taken.len()), (4, 0));
        let variables = [("WEIR_BENCH_USERS", ""), ("WEIR_BENCH_JSON", "no")];
        assert!(completed(&["weir-bench", "run"], &variables).1.is_empty());
    }
}
