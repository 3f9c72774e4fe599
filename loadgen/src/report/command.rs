//! `weir-bench report`: make reports again from what lies in run folders.

use std::{path::PathBuf, process::ExitCode};

use clap::Args as ClapArgs;

use super::{FolderError, RunFolder, comparison::rewrite_comparison, write_page};
use crate::{exit::Usage, judge, stdio};

/// Arguments of `weir-bench report`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Run folders, such as results/latest.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
}

/// Writes `report.html` of each folder again and prints its verdict.
///
/// # Errors
///
/// When a folder is not a run folder (usage), or a file cannot be read or written.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    for path in &args.runs {
        if path.join("comparison.json").is_file() {
            stdio::line(rewrite_comparison(path)?.display())?;
            continue;
        }
        let folder = RunFolder::open(path).map_err(|error| match error {
            FolderError::NotARun { .. } => anyhow::Error::from(Usage::new(error)),
            other => other.into(),
        })?;
        let page = write_page(&folder)?;
        let (record, _) = folder.load()?;
        stdio::line(judge::rows_table(&record.verdict))?;
        stdio::line(format_args!("gate {}: {}", record.gate, page.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
