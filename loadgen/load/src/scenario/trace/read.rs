//! Reading a trace file line by line.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
};

use super::{
    Trace, TraceError, TraceLine,
    group::{pattern, tag},
    line::{Clock, Timestamp},
    store::{Builder, Kind, Request},
};
use crate::scenario::content::text;

/// Headers that every client writes itself: recorded ones are left out.
const LEFT_OUT: [&str; 4] = ["host", "content-length", "connection", "transfer-encoding"];
/// Columns of the CSV form, beside `header:NAME`.
const COLUMNS: [&str; 7] = [
    "at",
    "timestamp",
    "method",
    "path",
    "body",
    "name",
    "status",
];

/// What is wrong in a line, and in which field.
type Mistake = (&'static str, String);

impl Trace {
    /// Reads a trace: CSV if the file name ends in `.csv`, otherwise one JSON object a line.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or with file, line and field of the first mistake.
    pub fn read(path: &Path) -> Result<Arc<Self>, TraceError> {
        let file = File::open(path).map_err(|source| TraceError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let csv = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        Self::read_from(file, path, csv)
    }

    /// Reads a trace from anywhere; `path` names it in errors.
    ///
    /// # Errors
    ///
    /// As [`Trace::read`].
    pub(super) fn read_from(
        input: impl Read,
        path: &Path,
        csv: bool,
    ) -> Result<Arc<Self>, TraceError> {
        let mut reading = Reading {
            path,
            builder: Builder::default(),
            clock: None,
        };
        if csv {
            reading.csv(input)?;
        } else {
            reading.json(BufReader::with_capacity(1 << 16, input))?;
        }
        reading
            .builder
            .build(reading.clock == Some(Clock::Instant))
            .map_err(|message| TraceError::Whole {
                path: path.to_owned(),
                message,
            })
    }
}

struct Reading<'a> {
    path: &'a Path,
    builder: Builder,
    clock: Option<Clock>,
}

impl Reading<'_> {
    fn wrong(&self, line: u64, column: usize, (field, message): Mistake) -> TraceError {
        TraceError::Line {
            path: self.path.to_owned(),
            line,
            column,
            field,
            message,
        }
    }

    fn unreadable(&self, source: std::io::Error) -> TraceError {
        TraceError::Unreadable {
            path: self.path.to_owned(),
            source,
        }
    }

    fn json(&mut self, mut input: impl BufRead) -> Result<(), TraceError> {
        let mut text = String::new();
        for number in 1.. {
            text.clear();
            let read = input.read_line(&mut text);
            if read.map_err(|error| self.unreadable(error))? == 0 {
                break;
            }
            let written = text.trim();
            if written.is_empty() {
                continue;
            }
            let line: TraceLine = serde_json::from_str(written).map_err(|error| {
                // The position is stated in front of the message already.
                let message = error.to_string();
                let message = message.split(" at line ").next().unwrap_or_default();
                self.wrong(number, error.column().max(1), ("", message.to_owned()))
            })?;
            self.take(line)
                .map_err(|mistake| self.wrong(number, column_of(written, mistake.0), mistake))?;
        }
        Ok(())
    }

    fn csv(&mut self, input: impl Read) -> Result<(), TraceError> {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::Headers)
            .from_reader(input);
        let header = reader
            .headers()
            .cloned()
            .map_err(|error| self.csv_error(error))?;
        for (at, column) in header.iter().enumerate() {
            if !COLUMNS.contains(&column) && !column.starts_with("header:") {
                let message = format!(
                    "column `{column}` is not known; there are {} and header:NAME",
                    COLUMNS.join(", ")
                );
                return Err(self.wrong(1, at + 1, ("", message)));
            }
        }
        let mut record = csv::StringRecord::new();
        while reader
            .read_record(&mut record)
            .map_err(|error| self.csv_error(error))?
        {
            let number = record.position().map_or(0, csv::Position::line);
            let cells: BTreeMap<_, _> = header
                .iter()
                .zip(record.iter())
                .filter(|(_, cell)| !cell.is_empty())
                .collect();
            let line = from_cells(&cells).map_err(|mistake| self.wrong(number, 1, mistake))?;
            self.take(line)
                .map_err(|mistake| self.wrong(number, 1, mistake))?;
        }
        Ok(())
    }

    fn csv_error(&self, error: csv::Error) -> TraceError {
        let line = error.position().map_or(1, csv::Position::line);
        match error.into_kind() {
            csv::ErrorKind::Io(source) => self.unreadable(source),
            csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => self.wrong(
                line,
                1,
                (
                    "",
                    format!("has {len} cells, the first line has {expected_len}"),
                ),
            ),
            _ => self.wrong(line, 1, ("", "is not CSV in UTF-8".into())),
        }
    }

    fn take(&mut self, line: TraceLine) -> Result<(), Mistake> {
        let (clock, at) = line.time()?;
        if *self.clock.get_or_insert(clock) != clock {
            let (field, other) = match clock {
                Clock::Offset => ("at", "timestamp"),
                Clock::Instant => ("timestamp", "at"),
            };
            let message = format!("earlier lines have `{other}`; use the same on every line");
            return Err((field, message));
        }
        let method = text::method(&line.method).map_err(|why| ("method", why))?;
        check_path(&line.path)?;
        let headers = headers(line.headers)?;
        if let Some(status) = line.status.filter(|status| !(100..600).contains(status)) {
            return Err((
                "status",
                format!("{status} is not an HTTP status: 100 to 599"),
            ));
        }
        let pattern = pattern(&line.path);
        let name = match &line.name {
            Some(name) if name.is_empty() => {
                return Err(("name", "must not be empty; leave it out instead".into()));
            }
            Some(name) => tag(name),
            None => tag(&format!("{method} {pattern}")),
        };
        let kind = Kind {
            name,
            method,
            pattern,
            headers,
            status: line.status,
            has_body: line.body.is_some(),
        };
        let request = Request {
            at,
            path: line.path,
            body: line.body,
            kind,
        };
        self.builder.push(request).map_err(|why| ("", why))
    }
}

fn from_cells(cells: &BTreeMap<&str, &str>) -> Result<TraceLine, Mistake> {
    let cell = |name: &str| cells.get(name).map(|cell| (*cell).to_owned());
    let at = cells
        .get("at")
        .map(|text| {
            text.trim()
                .parse()
                .map_err(|_| ("at", format!("`{text}` is not a number of seconds")))
        })
        .transpose()?;
    let status = cells
        .get("status")
        .map(|text| {
            text.trim()
                .parse()
                .map_err(|_| ("status", format!("`{text}` is not an HTTP status")))
        })
        .transpose()?;
    Ok(TraceLine {
        at,
        timestamp: cells
            .get("timestamp")
            .map(|text| Timestamp::parse(text.trim())),
        method: cell("method").unwrap_or_else(|| "GET".into()),
        path: cell("path").ok_or_else(|| ("path", "is missing".to_owned()))?,
        headers: cells
            .iter()
            .filter_map(|(name, value)| {
                let name = name.strip_prefix("header:")?;
                Some((name.to_owned(), (*value).to_owned()))
            })
            .collect(),
        body: cell("body"),
        name: cell("name"),
        status,
    })
}

fn check_path(path: &str) -> Result<(), Mistake> {
    if !path.starts_with('/') {
        let message = format!("`{path}` must begin with `/`; host and port come from the target");
        return Err(("path", message));
    }
    if path
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || !c.is_ascii() || c == '#')
    {
        let message = format!(
            "`{path}` holds a space, a control character, `#` or a letter outside ASCII; percent-encode it"
        );
        return Err(("path", message));
    }
    Ok(())
}

fn headers(mut raw: BTreeMap<String, String>) -> Result<Vec<(String, String)>, Mistake> {
    raw.retain(|name, _| !LEFT_OUT.contains(&name.to_ascii_lowercase().as_str()));
    text::literal_headers(&raw).map_err(|(name, why)| ("headers", format!("`{name}` {why}")))
}

/// Where a field of a JSON line is written; the beginning of the line if it is not.
fn column_of(line: &str, field: &str) -> usize {
    let key = format!("\"{field}\"");
    line.find(&key)
        .and_then(|at| line.get(..at))
        .map_or(1, |before| before.chars().count() + 1)
}
