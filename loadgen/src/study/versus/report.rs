//! The comparison, as a table for people and as JSON for tools.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use weir_lab::{
    host::machine::{Cores, Machine},
    proxies::compared::Features,
};

use super::{idle::IdleCost, measure::Turn, order::Spread, upstreams::Source};

/// Everything that was measured, and under which conditions.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// Which core ran what.
    pub cores: Cores,
    /// Name and version of every contender; ratios are to `baseline`.
    pub contenders: Vec<(String, String)>,
    /// Contender that the others are compared with.
    pub baseline: String,
    /// What the proxies did besides passing requests on.
    pub features: Features,
    /// What answered behind them.
    pub upstream: Source,
    /// Rounds at each number of connections.
    pub rounds: usize,
    /// Seconds of each turn.
    pub seconds: u64,
    /// Every turn.
    pub turns: Vec<Turn>,
    /// Memory of idle connections.
    pub idle: Vec<IdleCost>,
}

/// A column of the table.
struct Column {
    heading: &'static str,
    figure: fn(&Turn) -> f64,
    digits: usize,
    /// Whether the smallest and the largest value stand below the median.
    range: bool,
    /// Whether the ratio to the baseline stands below.
    ratio: bool,
}

const COLUMNS: [Column; 6] = [
    Column {
        heading: "requests/s",
        figure: |t| t.rate,
        digits: 0,
        range: true,
        ratio: true,
    },
    Column {
        heading: "p50 ms",
        figure: |t| t.p50_ms,
        digits: 2,
        range: false,
        ratio: true,
    },
    Column {
        heading: "p99 ms",
        figure: |t| t.p99_ms,
        digits: 2,
        range: true,
        ratio: true,
    },
    Column {
        heading: "CPU µs/req",
        figure: Turn::cpu_us,
        digits: 1,
        range: true,
        ratio: true,
    },
    Column {
        heading: "busy",
        figure: |t| t.busy_cores,
        digits: 2,
        range: false,
        ratio: false,
    },
    Column {
        heading: "RSS MB",
        figure: |t| t.rss_mb,
        digits: 0,
        range: false,
        ratio: true,
    },
];

impl Report {
    /// The figure of one contender at one number of connections.
    pub fn spread(
        &self,
        name: &str,
        connections: usize,
        figure: impl Fn(&Turn) -> f64,
    ) -> Option<Spread> {
        Spread::of(
            self.turns
                .iter()
                .filter(|t| t.name == name && t.connections == connections)
                .map(figure),
        )
    }

    /// The whole comparison, at most 100 columns wide.
    pub fn text(&self) -> String {
        let mut text = self.conditions();
        let mut levels: Vec<usize> = self.turns.iter().map(|t| t.connections).collect();
        levels.sort_unstable();
        levels.dedup();
        for connections in levels {
            text += &format!(
                "\n{connections} client connections\n{}\n",
                self.load_table(connections)
            );
        }
        if self.features.access_log {
            text += &format!("\naccess log, bytes a line:{}\n", self.log_lengths());
        }
        for (name, _) in &self.contenders {
            let least = self
                .turns
                .iter()
                .filter(|t| &t.name == name)
                .map(|t| t.log_lines)
                .fold(f64::INFINITY, f64::min);
            if self.features.access_log && least < 0.999 {
                text += &format!(
                    "note: {name} lost lines of its access log: {:.1} % in its worst turn\n",
                    (1.0 - least) * 100.0
                );
            }
        }
        if !self.idle.is_empty() {
            text += &format!("\n{}\n", self.idle_table());
        }
        text
    }

    fn log_lengths(&self) -> String {
        self.contenders
            .iter()
            .filter_map(|(name, _)| {
                let lengths = self
                    .turns
                    .iter()
                    .filter(|t| &t.name == name)
                    .map(|t| t.log_line_bytes);
                Some(format!(" {name} {:.0}", Spread::of(lengths)?.median))
            })
            .collect::<Vec<_>>()
            .join(",")
    }

    fn conditions(&self) -> String {
        let on = |on: bool| if on { "on" } else { "off" };
        let core = |core: Option<usize>| core.map_or_else(|| "any".to_owned(), |c| c.to_string());
        let versions = self
            .contenders
            .iter()
            .map(|(name, version)| format!("  {name:<10} {version}"))
            .collect::<Vec<_>>()
            .join("\n");
        let upstream = match self.upstream {
            Source::Null => "weir-bench replica --null",
            Source::Nginx => "nginx with `return 200`",
        };
        let busy = if self.machine.is_busy() {
            format!(
                "note: the load average was {:.2} at the start; other work disturbs these figures\n",
                self.machine.load_1min
            )
        } else {
            String::new()
        };
        format!(
            "{cpu}, {cores} cores, Linux {kernel}\n{versions}\n\
             access log {log}, rate limit {limit}, metrics on, one proxy thread each\n\
             upstreams: 2 × {upstream}; load: wrk, 1 thread\n\
             cores: proxy {proxy}, load {load}, upstreams {upstreams}\n\
             {rounds} rounds of {seconds} s a contender, taking turns; medians, (min–max), and × {baseline}\n{busy}",
            cpu = self.machine.cpu,
            cores = self.machine.cores,
            kernel = self.machine.kernel,
            log = on(self.features.access_log),
            limit = on(self.features.rate_limit),
            proxy = core(self.cores.proxy),
            load = core(self.cores.load),
            upstreams = core(self.cores.upstreams),
            rounds = self.rounds,
            seconds = self.seconds,
            baseline = self.baseline,
        )
    }

    fn load_table(&self, connections: usize) -> Table {
        let mut table = table();
        table.set_header(
            ["proxy"]
                .into_iter()
                .chain(COLUMNS.iter().map(|c| c.heading))
                .chain(["user + system"]),
        );
        for (name, _) in &self.contenders {
            let mut row = vec![name.clone()];
            for column in &COLUMNS {
                row.push(self.cell(name, connections, column));
            }
            let part = |figure: fn(&Turn) -> f64| {
                self.spread(name, connections, figure)
                    .map_or_else(|| "–".to_owned(), |s| format!("{:.1}", s.median))
            };
            row.push(format!(
                "{} + {}",
                part(|t| t.user_us),
                part(|t| t.system_us)
            ));
            table.add_row(row);
        }
        right_aligned(table)
    }

    /// Median, range and ratio to the baseline, one below the other.
    fn cell(&self, name: &str, connections: usize, column: &Column) -> String {
        let Some(spread) = self.spread(name, connections, column.figure) else {
            return "–".to_owned();
        };
        // Three significant digits are more than the spread supports.
        let digits = if spread.max >= 100.0 {
            0
        } else {
            column.digits
        };
        let mut lines = vec![number(spread.median, digits)];
        if column.range {
            lines.push(format!(
                "({}–{})",
                number(spread.min, digits),
                number(spread.max, digits)
            ));
        }
        let base = self.spread(&self.baseline, connections, column.figure);
        if let Some(base) = base.filter(|base| column.ratio && base.median > 0.0) {
            if !column.range {
                lines.push(String::new());
            }
            lines.push(format!("× {:.2}", spread.median / base.median));
        }
        lines.join("\n")
    }

    fn idle_table(&self) -> Table {
        let mut table = table();
        table.set_header([
            "proxy",
            "idle connections",
            "KB each, after a request",
            "KB each, silent so far",
        ]);
        let base = self.idle.iter().find(|i| i.name == self.baseline);
        for cost in &self.idle {
            let cell = |figure: fn(&IdleCost) -> f64| {
                let ratio = base
                    .map(figure)
                    .filter(|base| *base > 0.0)
                    .map_or_else(String::new, |base| {
                        format!("  × {:.1}", figure(cost) / base)
                    });
                format!("{:.2}{ratio}", figure(cost))
            };
            table.add_row([
                cost.name.clone(),
                cost.connections.to_string(),
                cell(|c| c.after_request_kb),
                cell(|c| c.silent_kb),
            ]);
        }
        right_aligned(table)
    }
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table
}

fn right_aligned(mut table: Table) -> Table {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A number with its thousands set apart.
pub fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(w, r)| (w, r));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |w| ("-", w));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() {
        format!("{sign}{grouped}")
    } else {
        format!("{sign}{grouped}.{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_group_their_thousands() {
        assert_eq!(number(1_234_567.0, 0), "1,234,567");
        assert_eq!(number(-1234.56, 1), "-1,234.6");
        assert_eq!(number(999.0, 0), "999");
        assert_eq!(number(0.126, 2), "0.13");
    }

    #[test]
    fn tables_fit_a_terminal() {
        let turn = |name: &str, connections| Turn {
            name: name.to_owned(),
            connections,
            round: 0,
            requests: 1_000_000,
            rate: 123_456.0,
            p50_ms: 123.45,
            p99_ms: 1234.56,
            user_us: 12.3,
            system_us: 23.4,
            upstream_us: 9.0,
            busy_cores: 0.99,
            rss_mb: 123.4,
            log_lines: 0.98,
            log_line_bytes: 300.0,
        };
        let report = Report {
            machine: Machine {
                cpu: "CPU".into(),
                cores: 2,
                kernel: "6".into(),
                load_1min: 0.0,
            },
            cores: Cores::share(2),
            contenders: vec![("weir".into(), "1".into()), ("nginx".into(), "2".into())],
            baseline: "nginx".into(),
            features: Features {
                access_log: true,
                rate_limit: true,
                max_connections: 1000,
            },
            upstream: Source::Null,
            rounds: 1,
            seconds: 1,
            turns: vec![turn("weir", 64), turn("nginx", 64)],
            idle: vec![],
        };
        let text = report.text();
        for line in text.lines() {
            assert!(
                line.chars().count() <= 100,
                "{} columns: {line}",
                line.chars().count()
            );
        }
        assert!(text.contains("× 1.00"));
    }
}
