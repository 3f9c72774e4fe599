//! A page made of tiles, charts and tables: what searches and sweeps are shown on.

use std::path::PathBuf;

use serde::Serialize;

use super::{PageError, chart::Plot, run::render_sheet};
use crate::results::RunFolder;
use weir_lab::provenance::Provenance;

/// A page.
#[derive(Debug, Serialize)]
pub struct Sheet {
    /// Title.
    pub title: String,
    /// What was done, in one or two sentences.
    pub description: String,
    /// Words at the top, each with its kind.
    pub badges: Vec<(String, Kind)>,
    /// Key figures, each with what it is.
    pub tiles: Vec<(String, String)>,
    /// Charts, in reading order.
    #[serde(skip)]
    pub plots: Vec<Plot>,
    /// Tables, in reading order.
    pub tables: Vec<SheetTable>,
    /// What a reader must know; one paragraph each.
    pub notes: Vec<String>,
    /// Where and with what.
    pub provenance: Provenance,
    /// The file beside it that holds the same as data.
    pub data_file: String,
}

/// Meaning of a word or a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Neither.
    Plain,
    /// As it should be.
    Good,
    /// To be read with care.
    Warn,
    /// Not as it should be.
    Bad,
}

/// A table.
#[derive(Debug, Serialize)]
pub struct SheetTable {
    /// Title.
    pub title: String,
    /// How to read it; may be empty.
    pub note: String,
    /// Names of the columns.
    pub header: Vec<String>,
    /// Cells of each row, with their kinds.
    pub rows: Vec<Vec<(String, Kind)>>,
}

/// Writes `report.html` into a folder.
///
/// # Errors
///
/// When a chart or the template cannot be rendered, or the file cannot be written.
pub fn write_sheet(folder: &RunFolder, sheet: &Sheet) -> Result<PathBuf, PageError> {
    Ok(folder.write("report.html", &render_sheet(sheet)?)?)
}
