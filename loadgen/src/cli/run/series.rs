//! The scenarios that a name stands for, run one after the other.

use std::{path::Path, process::ExitCode};

use weir_lab::stdio;
use weir_load::{
    scenario::{FOLDER, Load, Overrides, Scenario, ScenarioError, Setting},
    stop::StopToken,
};

use crate::exit::{Exit, Usage};

/// One scenario, or several.
pub(super) struct Series {
    members: Vec<Member>,
}

struct Member {
    name: String,
    overrides: Overrides,
    scenario: Option<Scenario>,
}

impl Series {
    /// Loads what a name stands for. Everything is checked before anything is run; with
    /// `only_names`, overrides are left to whoever asked.
    pub(super) fn load(
        name: &str,
        settings: &[Setting],
        overrides: &Overrides,
        only_names: bool,
    ) -> Result<Self, ScenarioError> {
        let folder = Path::new(FOLDER);
        let names = Scenario::names_of(name, folder)?;
        let several = names.len() > 1;
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            let scenario = Scenario::load_with(&name, folder, settings)?;
            let overrides = if several {
                fitting(overrides, &scenario)
            } else {
                overrides.clone()
            };
            let scenario = if only_names {
                None
            } else {
                Some(overrides.apply(scenario)?)
            };
            members.push(Member {
                name,
                overrides,
                scenario,
            });
        }
        Ok(Self { members })
    }

    /// Whether there are several.
    pub(super) fn is_list(&self) -> bool {
        self.members.len() > 1
    }

    /// Their names, and the overrides that fit them.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &Overrides)> {
        self.members
            .iter()
            .map(|member| (member.name.as_str(), &member.overrides))
    }

    /// Runs all of them and says how each ended. The exit code is the gravest of theirs; one that
    /// could not be made does not keep the others from being run, unless the user stops or a
    /// mistake of the user is behind it.
    pub(super) fn run(
        self,
        stop: &StopToken,
        json: bool,
        run: impl Fn(Scenario) -> anyhow::Result<Exit>,
    ) -> anyhow::Result<ExitCode> {
        let several = self.is_list();
        let mut ends = Vec::new();
        for member in self.members {
            let Some(scenario) = member.scenario else {
                continue;
            };
            let end = match run(scenario) {
                Ok(exit) => exit,
                Err(error) if !several || stop.is_stopped() || error.is::<Usage>() => {
                    return Err(error);
                }
                Err(error) => {
                    stdio::note(format_args!("error: {}: {error:#}", member.name));
                    Exit::Error
                }
            };
            ends.push((member.name, end));
        }
        let gravest = ends
            .iter()
            .fold(Exit::Passed, |all, (_, exit)| all.or(*exit));
        if several && !json {
            stdio::line("")?;
            for (name, exit) in &ends {
                stdio::line(format_args!("{name:<12} {}", word(*exit)))?;
            }
        }
        Ok(gravest.into())
    }
}

/// The overrides that make sense for a scenario of a list: users for those that have users, rates
/// for those that have rates.
fn fitting(overrides: &Overrides, scenario: &Scenario) -> Overrides {
    let closed = matches!(scenario.load, Load::Closed(_));
    Overrides {
        users: overrides.users.filter(|_| closed),
        rate: overrides.rate.filter(|_| !closed),
        connections: overrides.connections.filter(|_| !closed),
        ..overrides.clone()
    }
}

fn word(exit: Exit) -> &'static str {
    match exit {
        Exit::Passed => "passed",
        Exit::Regression => "worse than the baseline",
        Exit::GateFailed => "failed",
        Exit::Invalid => "invalid",
        Exit::Error | Exit::Usage => "not run",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn series() -> Series {
        let member = |name: &str| Member {
            name: name.to_owned(),
            overrides: Overrides::default(),
            scenario: Some(Scenario::load(name).unwrap()),
        };
        Series {
            members: ["smoke", "rate", "burst"].map(member).into(),
        }
    }

    #[test]
    fn the_gravest_end_is_that_of_the_series_and_all_are_run() {
        let ran = std::cell::Cell::new(0);
        let code = series()
            .run(&StopToken::new(), true, |scenario| {
                ran.set(ran.get() + 1);
                match scenario.name.as_str() {
                    "smoke" => Ok(Exit::GateFailed),
                    "rate" => Err(anyhow::anyhow!("down")),
                    _ => Ok(Exit::Passed),
                }
            })
            .unwrap();
        assert_eq!(ran.get(), 3);
        assert_eq!(
            format!("{code:?}"),
            format!("{:?}", ExitCode::from(Exit::Error))
        );
    }

    #[test]
    fn a_mistake_of_the_user_ends_the_series() {
        let result = series().run(&StopToken::new(), true, |_| Err(Usage::new("no").into()));
        assert!(result.unwrap_err().is::<Usage>());
    }

    #[test]
    fn overrides_go_to_those_that_they_fit() {
        let overrides = Overrides {
            users: Some(5),
            rate: Some("50/s".parse().unwrap()),
            ..Overrides::default()
        };
        let series = Series::load("all", &[], &overrides, false).unwrap();
        assert!(series.is_list());
        for member in &series.members {
            let closed = matches!(member.scenario.as_ref().unwrap().load, Load::Closed(_));
            assert_eq!(member.overrides.users.is_some(), closed);
            assert_eq!(member.overrides.rate.is_some(), !closed);
        }
    }
}
