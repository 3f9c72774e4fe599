//! A page made of tiles, charts and tables: what searches and sweeps are shown on.

use std::path::PathBuf;

use minijinja::{Value, context, value::Serde};
use serde::Serialize;
use weir_lab::provenance::Provenance;

use super::{
    PageError,
    chart::{Plot, token_css},
    template::{charts, environment},
};
use crate::results::RunFolder;

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

/// Makes a page of tiles, charts and tables.
///
/// # Errors
///
/// When a chart or the template cannot be rendered.
pub(crate) fn render_sheet(sheet: &Sheet) -> Result<String, PageError> {
    let charts = charts(&sheet.plots)?;
    let context = context! {
        title => sheet.title.clone(),
        sheet => Value::from(Serde(sheet)),
        charts => Value::from(Serde(&charts)),
        tokens => token_css(),
    };
    Ok(environment()?.get_template("sheet.html")?.render(context)?)
}
