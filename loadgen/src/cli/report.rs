//! `weir-bench report`: make reports again from what lies in run folders, lay runs over each other,
//! and hand their key figures to machines.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use weir_lab::stdio;

use crate::{
    exit::Usage,
    judge,
    page::{
        comparison::rewrite_comparison,
        export,
        overlay::{Run, overlay},
        render_page,
        sheet::render_sheet,
        write_page,
    },
    results::{FolderError, RunFolder},
    text::plain_table,
};

/// Name of the page over several runs when none is given.
const OVERLAY: &str = "compare.html";
/// Standard output instead of a file.
const STDOUT: &str = "-";

/// Arguments of `weir-bench report`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Run folders, such as results/latest. One: its report is made again. Several: one page lays
    /// them over each other; the first is what the others are held against.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Where the page goes [default: report.html in the folder of a single run, compare.html here
    /// for several].
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Make the report of each of several runs again instead of one page over all.
    #[arg(long, conflicts_with_all = ["output", "csv", "json"])]
    pub each: bool,
    /// Key figures as CSV, one line a run, to standard output or to a file; no page is made.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = STDOUT,
        conflicts_with = "output"
    )]
    pub csv: Option<PathBuf>,
    /// Key figures as JSON, one object a run, to standard output or to a file; no page is made.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = STDOUT,
        conflicts_with_all = ["output", "csv"]
    )]
    pub json: Option<PathBuf>,
}

/// Writes the page or the figures, and says where they are.
///
/// # Errors
///
/// When a folder is not a run folder (usage), or a file cannot be read or written.
pub fn execute(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(place) = &args.csv {
        put(place, &export::csv(&load(&args.runs)?)?)?;
    } else if let Some(place) = &args.json {
        put(place, &export::json(&load(&args.runs)?)?)?;
    } else if let ([path], Some(output)) = (args.runs.as_slice(), &args.output) {
        let (record, summary) = open(path)?.load()?;
        put(output, &render_page(&record, &summary)?)?;
        stdio::line(output.display())?;
    } else if args.runs.len() == 1 || args.each {
        for path in &args.runs {
            again(path)?;
        }
    } else {
        let page = args.output.unwrap_or_else(|| OVERLAY.into());
        let data = page.with_extension("json");
        let runs = load(&args.runs)?;
        let data_name = data.file_name().unwrap_or_default().to_string_lossy();
        let sheet = overlay(&runs, &data_name);
        put(&page, &render_sheet(&sheet)?)?;
        put(&data, &export::json(&runs)?)?;
        for table in sheet.tables.iter().take(1) {
            let header: Vec<_> = table.header.iter().map(String::as_str).collect();
            let mut text = plain_table(&header);
            for row in &table.rows {
                text.add_row(row.iter().map(|(cell, _)| cell));
            }
            stdio::line(text)?;
        }
        stdio::line(page.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the report of one folder again and prints its verdict.
fn again(path: &Path) -> anyhow::Result<()> {
    if path.join("comparison.json").is_file() {
        stdio::line(rewrite_comparison(path)?.display())?;
        return Ok(());
    }
    let folder = open(path)?;
    let page = write_page(&folder)?;
    let (record, _) = folder.load()?;
    stdio::line(judge::rows_table(&record.verdict))?;
    stdio::line(format_args!("gate {}: {}", record.gate, page.display()))?;
    Ok(())
}

fn open(path: &Path) -> anyhow::Result<RunFolder> {
    RunFolder::open(path).map_err(|error| match error {
        FolderError::NotARun { .. } => Usage::new(error).into(),
        other => other.into(),
    })
}

fn load(paths: &[PathBuf]) -> anyhow::Result<Vec<Run>> {
    paths.iter().map(|path| Ok(open(path)?.load()?)).collect()
}

fn put(place: &Path, text: &str) -> anyhow::Result<()> {
    if place == Path::new(STDOUT) {
        return Ok(stdio::text(text)?);
    }
    fs::write(place, text).with_context(|| format!("cannot write {}", place.display()))
}
