//! `report.html` of a run.

use minijinja::{Value, context, value::Serde};
use weir_load::summary::Summary;

use super::{
    PageError,
    chart::token_css,
    headline::{configuration, headline, tiles},
    plots::plots,
    template::{charts, environment},
};
use crate::results::{RunFolder, RunRecord};

/// Makes the report of a run from its two JSON files.
///
/// # Errors
///
/// When a chart or the template cannot be rendered.
pub fn render_page(record: &RunRecord, summary: &Summary) -> Result<String, PageError> {
    let charts = charts(&plots(summary, &record.thresholds))?;
    let title = match &record.topology {
        Some(topology) => format!("{} · {}", summary.scenario, topology.name),
        None => summary.scenario.clone(),
    };
    let scenario = serde_json::to_string_pretty(&record.scenario).unwrap_or_default();
    let settings = record
        .proxy_settings
        .as_ref()
        .and_then(|value| serde_json::to_string_pretty(value).ok());
    let context = context! {
        title,
        record => Value::from(Serde(record)),
        summary => Value::from(Serde(summary)),
        charts => Value::from(Serde(&charts)),
        headline => Value::from(Serde(&headline(record, summary))),
        tiles => Value::from(Serde(&tiles(record, summary))),
        configuration => Value::from(Serde(&configuration(record, summary))),
        scenario,
        settings,
        tokens => token_css(),
    };
    Ok(environment()?
        .get_template("report.html")?
        .render(context)?)
}

/// Writes `report.html` into a run folder.
///
/// # Errors
///
/// When the folder is incomplete or the page cannot be rendered or written.
pub fn write_page(folder: &RunFolder) -> Result<std::path::PathBuf, PageError> {
    let (record, summary) = folder.load()?;
    Ok(folder.write("report.html", &render_page(&record, &summary)?)?)
}
