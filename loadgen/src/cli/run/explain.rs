//! `weir-bench run --explain`: what would be run, and who said so.

use std::path::Path;

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;
use weir_load::{
    scenario::{Explained, FOLDER, Load, Overrides, Scenario, ScenarioError, Setting},
    schedule::{ArrivalPacer, Pacer as _},
    units::format_duration,
};

use crate::cli::environment::Taken;

/// Arrivals that are counted one by one; of more, the expected number is told.
const MOST_COUNTED: f64 = 5e6;

/// What would be run.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    scenario: String,
    values: Vec<Explained>,
    schedule: Outlook,
}

/// What the schedule comes to.
#[derive(Debug, Serialize)]
struct Outlook {
    /// Warm-up and measured part, seconds.
    total_s: f64,
    /// Requests of the measured part: exact for arrivals, the most that users can send; none if
    /// only the target bounds it.
    requests: Option<f64>,
    /// Whether the number is exact, given the seed.
    exact: bool,
    /// Highest rate that is offered, requests per second; none if only the target bounds it.
    peak_rps: Option<f64>,
    /// Most requests in flight.
    in_flight: u32,
}

impl Explanation {
    pub(super) fn of(
        name: &str,
        settings: &[Setting],
        overrides: &Overrides,
        environment: &[Taken],
    ) -> Result<Self, ScenarioError> {
        let variable_of = |flag: &str| {
            let taken = environment.iter().find(|taken| flag.contains(&taken.flag));
            taken.map(|taken| taken.variable.clone())
        };
        let (scenario, values) =
            Scenario::explain(name, Path::new(FOLDER), settings, overrides, variable_of)?;
        Ok(Self {
            schedule: Outlook::of(&scenario),
            scenario: scenario.name,
            values,
        })
    }

    /// A table for terminals.
    pub(super) fn text(&self) -> String {
        let mut table = Table::new();
        table
            .load_preset(NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(["value", "in effect", "from", "instead of"]);
        for row in &self.values {
            table.add_row([
                row.field.clone(),
                shortened(&row.value),
                row.origin.to_string(),
                row.instead_of.as_deref().map(shortened).unwrap_or_default(),
            ]);
        }
        format!(
            "{}\n{}\n\n{}",
            self.scenario,
            table.trim_fmt(),
            self.schedule.text()
        )
    }
}

/// Bodies can be long.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    line.chars().take(LONGEST - 1).chain(['…']).collect()
}

impl Outlook {
    fn of(scenario: &Scenario) -> Self {
        let length = scenario.duration.as_secs_f64();
        // A flow counts as all its steps.
        let steps = scenario.requests_per_start();
        let (requests, exact, peak_rps) = match &scenario.load {
            Load::Closed(closed) => {
                let cycle = scenario.mean_cycle().unwrap_or_default().as_secs_f64();
                let cycle = cycle / steps;
                let offered = |users: f64| (cycle > 0.0).then(|| users / cycle);
                let most = offered(closed.mean_users()).map(|rate| rate * length);
                (most, false, offered(f64::from(closed.users)))
            }
            Load::Open(open) if open.expected() <= MOST_COUNTED => {
                let mut pacer = ArrivalPacer::new(open, scenario.warmup, scenario.seed)
                    .limited_to(scenario.requests_total);
                let all = std::iter::from_fn(|| pacer.next_event());
                let measured = all.filter(|at| *at >= scenario.warmup).count();
                (
                    Some(measured as f64 * steps),
                    scenario.flows.is_empty(),
                    Some(open.peak_rate() * steps),
                )
            }
            Load::Open(open) => (
                Some(open.expected() * steps),
                false,
                Some(open.peak_rate() * steps),
            ),
        };
        let requests = match (requests, scenario.requests_total.map(|total| total as f64)) {
            (Some(requests), Some(total)) => Some(requests.min(total)),
            (requests, total) => requests.or(total),
        };
        Self {
            total_s: length + scenario.warmup.as_secs_f64(),
            requests,
            exact,
            peak_rps,
            in_flight: scenario.lanes(),
        }
    }

    fn text(&self) -> String {
        let total = std::time::Duration::try_from_secs_f64(self.total_s).unwrap_or_default();
        let requests = match (self.requests, self.exact) {
            (Some(requests), true) => {
                format!("exactly {requests:.0} arrivals in the measured part")
            }
            (Some(requests), false) => {
                format!("at most {requests:.0} requests in the measured part")
            }
            (None, _) => "as many requests as the target answers".to_owned(),
        };
        let peak = self
            .peak_rps
            .map(|peak| format!(", up to {peak:.1} requests/s"))
            .unwrap_or_default();
        format!(
            "{} in all, warm-up included: {requests}{peak}, at most {} in flight",
            format_duration(total),
            self.in_flight
        )
    }
}
