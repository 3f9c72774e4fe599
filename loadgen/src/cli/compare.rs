//! `weir-bench compare`, and `--baseline` of other commands.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use weir_lab::stdio;

use crate::{
    cli::folders::{as_usage, read_runs},
    compare::{
        Comparison, Grade, compare,
        kept::KeptRun,
        rules::CompareRules,
        table::{self, print},
    },
    exit::{Exit, Usage},
    judge::ci::{Check, CiArgs, Judgement, Outcome},
    results::baseline::{FOLDER, Store},
};

/// What to compare with.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Against {
    /// Name of a baseline, or run folders, to compare with.
    #[arg(long, num_args = 1.., value_name = "NAME|RUN")]
    pub baseline: Vec<String>,
    /// Folder of the baselines.
    #[arg(long, value_name = "FOLDER", default_value = FOLDER)]
    pub baselines: PathBuf,
    /// What counts as a regression [default: config/compare.toml if there, else the documented
    /// rules].
    #[arg(long, value_name = "FILE")]
    pub compare_rules: Option<PathBuf>,
}

/// Arguments of `weir-bench compare`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run folders to judge.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// What to compare with.
    #[command(flatten)]
    against: Against,
    /// Print the comparison as JSON.
    #[arg(long)]
    json: bool,
    /// Forms for continuous integration.
    #[command(flatten)]
    ci: CiArgs,
}

/// What to compare with, read and checked.
#[derive(Debug, Clone)]
pub struct Reference {
    name: String,
    runs: Vec<KeptRun>,
    rules: CompareRules,
}

/// Runs `weir-bench compare`.
///
/// # Errors
///
/// When a folder, a name or a file is not valid (usage), or something cannot be read or written.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    args.ci.check().map_err(Usage::new)?;
    let runs = read_runs(&args.runs)?;
    let Some(comparison) = args.against.compare(&runs)? else {
        return Err(
            Usage::new("say what to compare with: --baseline NAME, or --baseline RUN…").into(),
        );
    };
    if args.json {
        stdio::line(serde_json::to_string_pretty(&comparison)?)?;
    } else {
        print(&comparison)?;
    }
    args.ci.write(&[comparison.judgement()], args.json)?;
    Ok(comparison.result.exit().into())
}

impl Against {
    /// Reads the baseline and the rules; none when nothing is to be compared with.
    ///
    /// # Errors
    ///
    /// When the baseline or the rules are not valid (usage), or cannot be read.
    pub fn reference(&self) -> anyhow::Result<Option<Reference>> {
        let Some(first) = self.baseline.first() else {
            return Ok(None);
        };
        let rules = CompareRules::load(self.compare_rules.as_deref()).map_err(Usage::new)?;
        let is_run = |name: &String| Path::new(name).join("run.json").is_file();
        let runs = if self.baseline.iter().any(is_run) {
            let paths: Vec<PathBuf> = self.baseline.iter().map(PathBuf::from).collect();
            read_runs(&paths)?
        } else if self.baseline.len() > 1 {
            return Err(Usage::new(format!(
                "--baseline takes one name, or run folders: `{first}` is not a run folder"
            ))
            .into());
        } else {
            let store = Store::new(&self.baselines);
            store.load(first).map_err(as_usage)?.runs
        };
        Ok(Some(Reference {
            name: self.baseline.join(" and "),
            runs,
            rules,
        }))
    }

    /// Compares runs with the baseline; none when nothing is to be compared with.
    ///
    /// # Errors
    ///
    /// As for [`Self::reference`].
    pub fn compare(&self, runs: &[KeptRun]) -> anyhow::Result<Option<Comparison>> {
        let reference = self.reference()?;
        Ok(reference.map(|reference| reference.compare(runs)))
    }
}

impl Reference {
    /// Compares runs with it.
    #[must_use]
    pub fn compare(&self, runs: &[KeptRun]) -> Comparison {
        compare(&self.name, &self.runs, runs, &self.rules)
    }
}

impl Comparison {
    /// The comparison as continuous integration shows it.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        let mut checks: Vec<Check> = self
            .changes
            .iter()
            .filter(|change| table::shown(change))
            .map(|change| Check {
                name: change.figure.clone(),
                value: match change.change {
                    Some(relative) => format!("{} ({})", change.after, table::signed(relative)),
                    None => change.after.clone(),
                },
                limit: format!("near {}", change.before),
                outcome: match change.grade {
                    Grade::Regression => Outcome::Failed,
                    Grade::Warning | Grade::Flagged => Outcome::Warning,
                    Grade::Within | Grade::Better | Grade::Noise => Outcome::Passed,
                },
                note: match (change.grade, change.note.is_empty()) {
                    (Grade::Within | Grade::Better, _) => String::new(),
                    (grade, true) => grade.text().to_owned(),
                    (_, false) => change.note.clone(),
                },
            })
            .collect();
        if self.result == crate::compare::Outcome::Invalid {
            checks.push(Check {
                name: "measurements".to_owned(),
                value: "invalid".to_owned(),
                limit: "valid".to_owned(),
                outcome: Outcome::Invalid,
                note: "a run cannot be believed, so nothing can be compared".to_owned(),
            });
        }
        let mut notes: Vec<String> = self
            .differences
            .iter()
            .map(|text| format!("warning: {text}"))
            .collect();
        notes.extend(self.notes.iter().cloned());
        Judgement {
            title: format!("compared with {}", self.against),
            id: self.runs.join(" and "),
            result: self.result.text().to_owned(),
            checks,
            notes,
            seconds: None,
        }
    }

    /// Exit code of the comparison alone.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.result.exit()
    }
}
