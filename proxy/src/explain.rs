//! `weir settings`: the definitions of the settings, for reading.

use std::process::ExitCode;

use clap::Args;
use comfy_table::{ContentArrangement, Table as Grid, presets};
use weir_api::schema::{FILE, Purpose, json_schema, reference};

use crate::exit::EXIT_USAGE;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    /// Only settings whose path contains this: timeouts, keepalive, upstream.NAME.
    filter: Option<String>,
    /// The JSON Schema of the configuration file instead.
    #[arg(long, conflicts_with = "filter")]
    json_schema: bool,
}

pub(crate) fn run(args: &SettingsArgs) -> ExitCode {
    let text = if args.json_schema {
        let schema = json_schema(&FILE, Purpose::Whole);
        serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
    } else {
        let filter = args.filter.as_deref().unwrap_or_default();
        let rows: Vec<_> = reference::rows(&FILE)
            .into_iter()
            .filter(|row| row.path.contains(filter) || row.nginx.contains(filter))
            .collect();
        if rows.is_empty() {
            output::complain(&format!(
                "weir settings: no setting's path or nginx name contains {filter:?}; `weir settings` lists all"
            ));
            return ExitCode::from(EXIT_USAGE);
        }
        table(&rows)
    };
    output::print(&text).code(0)
}

fn table(rows: &[reference::Row]) -> String {
    let mut grid = Grid::new();
    grid.load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "setting", "allowed", "default", "applies", "nginx", "meaning",
        ]);
    for row in rows {
        grid.add_row([
            row.path.as_str(),
            &row.allowed,
            &row.default,
            row.applies,
            &row.nginx,
            row.help,
        ]);
    }
    format!("{grid}\n")
}
