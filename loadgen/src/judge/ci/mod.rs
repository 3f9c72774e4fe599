//! Verdicts in the forms that continuous integration reads: JUnit XML, Markdown, annotations.

mod annotations;
mod junit;
mod markdown;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use weir_lab::stdio;
use weir_load::summary::{Summary, Validity, Verdict};

pub use self::{annotations::annotations, junit::junit, markdown::markdown};
use super::{Gate, Row, Status};

/// Where GitHub Actions says that a step's summary goes.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Forms in which a verdict can be written for continuous integration.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CiArgs {
    /// Write the verdict as JUnit XML, one test case a threshold.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the verdict as Markdown, for a comment or a job summary.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Append the Markdown to the file that $GITHUB_STEP_SUMMARY names.
    #[arg(long)]
    pub step_summary: bool,
    /// Print what failed as GitHub workflow commands (`::error …`), which become annotations.
    #[arg(long)]
    pub annotations: bool,
}

/// How one thing was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As it must be.
    Passed,
    /// Not as it must be.
    Failed,
    /// Worth a look; fails nothing.
    Warning,
    /// Could not be judged, and fails nothing.
    Skipped,
    /// The measurement itself cannot be believed.
    Invalid,
}

impl Outcome {
    /// The word in tables.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::Failed => "FAIL",
            Self::Warning => "warning",
            Self::Skipped => "not judged",
            Self::Invalid => "INVALID",
        }
    }
}

/// One thing that was judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What, e.g. `p95 latency`.
    pub name: String,
    /// Measured value with its unit.
    pub value: String,
    /// Required value with its unit.
    pub limit: String,
    /// How it was judged.
    pub outcome: Outcome,
    /// What a reader must know; empty when nothing.
    pub note: String,
}

/// Everything that was judged about one run, or one comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Heading, e.g. `ci on two`.
    pub title: String,
    /// Name of the run folder, or what was compared with what.
    pub id: String,
    /// The whole, in a word: `passed`, `failed`, `invalid`, `regression`.
    pub result: String,
    /// The parts.
    pub checks: Vec<Check>,
    /// Sentences beside the table.
    pub notes: Vec<String>,
    /// Length of the measured part in seconds.
    pub seconds: Option<f64>,
}

impl Judgement {
    /// The verdict of a gate.
    #[must_use]
    pub fn of_gate(title: String, id: String, rows: &[Row], summary: &Summary, gate: Gate) -> Self {
        let mut checks = vec![validity_check(&summary.validity)];
        checks.extend(rows.iter().map(row_check));
        Self {
            title,
            id,
            result: gate.text().to_owned(),
            checks,
            notes: vec![format!(
                "{} requests in {:.1} s; {:.1} successful requests/s, {} errors, {} answers 429",
                summary.requests,
                summary.duration_s,
                summary.throughput_rps,
                summary.errors,
                summary.limited
            )],
            seconds: Some(summary.duration_s),
        }
    }
}

impl Judgement {
    /// Notes that the user ended the run: whatever its rows say, it was not judged.
    pub fn stopped(&mut self, reason: &str) {
        self.result = "stopped".to_owned();
        self.checks.push(Check {
            name: "run to its end".to_owned(),
            value: "stopped".to_owned(),
            limit: "its planned length".to_owned(),
            outcome: Outcome::Failed,
            note: format!("stopped {reason}"),
        });
    }
}

fn row_check(row: &Row) -> Check {
    Check {
        name: row.metric.clone(),
        value: row.value.clone(),
        limit: row.threshold.clone(),
        outcome: match row.status {
            Status::Pass => Outcome::Passed,
            Status::Fail | Status::NotMeasured => Outcome::Failed,
            Status::NotReachable => Outcome::Skipped,
        },
        note: match (row.status, row.note.is_empty()) {
            (Status::NotMeasured, true) => "not measured".to_owned(),
            (Status::NotMeasured, false) => format!("not measured: {}", row.note),
            _ => row.note.clone(),
        },
    }
}

/// Whether the measurement itself may be believed, as a check.
#[must_use]
pub fn validity_check(validity: &Validity) -> Check {
    let (value, outcome) = match validity.verdict {
        Verdict::Valid => ("valid", Outcome::Passed),
        Verdict::Suspect => ("suspect", Outcome::Warning),
        Verdict::Invalid => ("invalid", Outcome::Invalid),
    };
    Check {
        name: "measurement".to_owned(),
        value: value.to_owned(),
        limit: "valid".to_owned(),
        outcome,
        note: validity.reasons.join("; "),
    }
}

impl CiArgs {
    /// Checks, before anything is started, what can be known then.
    ///
    /// # Errors
    ///
    /// A sentence for the user when `--step-summary` has nowhere to go.
    pub fn check(&self) -> Result<(), String> {
        if self.step_summary && step_summary_file().is_none() {
            return Err(format!(
                "--step-summary: ${STEP_SUMMARY} is not set; outside GitHub Actions use --markdown FILE"
            ));
        }
        Ok(())
    }

    /// Writes judgements in every form that was asked for. Annotations go to standard output, or
    /// to standard error when JSON is there.
    ///
    /// # Errors
    ///
    /// When a file cannot be written; the message names it.
    pub fn write(&self, judgements: &[Judgement], json_on_stdout: bool) -> io::Result<()> {
        if let Some(path) = &self.junit {
            let xml = junit(judgements).map_err(io::Error::other)?;
            save(path, &xml)?;
        }
        if self.markdown.is_some() || self.step_summary {
            let text = markdown(judgements);
            if let Some(path) = &self.markdown {
                save(path, &text)?;
            }
            if let Some(path) = step_summary_file().filter(|_| self.step_summary) {
                let mut file = OpenOptions::new().create(true).append(true).open(&path);
                file.as_mut()
                    .map_err(|error| named(&path, error))?
                    .write_all(text.as_bytes())?;
            }
        }
        if self.annotations {
            for line in annotations(judgements) {
                if json_on_stdout {
                    stdio::note(line);
                } else {
                    stdio::line(line)?;
                }
            }
        }
        Ok(())
    }
}

fn step_summary_file() -> Option<PathBuf> {
    std::env::var_os(STEP_SUMMARY)
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
}

fn save(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| named(path, &error))?;
    }
    fs::write(path, text).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot write {}: {error}", path.display()),
    )
}
