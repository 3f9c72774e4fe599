//! Access logs: nginx's combined format, and the proxy's own JSON lines. They become a trace.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    sync::LazyLock,
};

use flate2::read::MultiGzDecoder;
use regex::Regex;
use serde::Deserialize;
use weir_load::scenario::TraceLine;

use super::{
    Choice, Draft, ImportError,
    moment::{common_log, rfc3339},
    secrets::without_secrets,
};

/// A line of nginx's `combined` or `common` format, or one that begins like it.
static COMBINED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"^\S+ \S+ .*?\[([^\]]+)\] "([A-Z]+) (\S+)(?: HTTP/[0-9.]+)?" ([0-9]{3}) "#).ok()
});

/// The proxy's own lines; other fields do not matter here.
#[derive(Deserialize)]
struct JsonLine {
    time: String,
    method: String,
    target: String,
    status: u16,
}

/// What was found in an access log.
#[derive(Debug)]
pub struct AccessLog {
    /// A scenario that replays the trace.
    pub draft: Draft,
    /// The trace, in order of time.
    pub trace: Vec<TraceLine>,
}

impl AccessLog {
    /// Writes the trace as JSON lines.
    ///
    /// # Errors
    ///
    /// When the writer fails.
    pub fn write_trace(&self, mut out: impl Write) -> std::io::Result<()> {
        for line in &self.trace {
            serde_json::to_writer(&mut out, line)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }
}

/// One request of a log.
struct Seen {
    /// Seconds since 1970.
    at: f64,
    /// Whether the log tells fractions of a second.
    exact: bool,
    method: String,
    target: String,
    status: u16,
}

#[derive(Default)]
struct Skipped {
    unsafe_methods: usize,
    unreadable: usize,
    odd_targets: usize,
    secrets: usize,
    first_unreadable: Option<usize>,
}

/// Reads an access log, compressed with gzip or not, into a trace and a scenario that replays it
/// from a file called `trace`.
///
/// # Errors
///
/// When the file cannot be read, or no line of it can be taken over.
pub fn access_log(
    path: &Path,
    name: &str,
    trace: &str,
    choice: Choice,
) -> Result<AccessLog, ImportError> {
    let unreadable = |source| ImportError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let compressed = path.extension().is_some_and(|extension| extension == "gz");
    let input: Box<dyn Read> = if compressed {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut input = BufReader::new(input);
    let mut seen = Vec::new();
    let mut skipped = Skipped::default();
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        if input.read_until(b'\n', &mut bytes).map_err(unreadable)? == 0 {
            break;
        }
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        match parse(line) {
            Some(entry) => take(entry, choice, &mut skipped, &mut seen),
            None => {
                skipped.unreadable += 1;
                skipped.first_unreadable.get_or_insert(number);
            }
        }
    }
    if seen.is_empty() {
        return Err(nothing(path, &skipped));
    }
    let exact = seen.iter().all(|entry| entry.exact);
    let trace_lines = timed(seen);
    Ok(AccessLog {
        draft: draft(name, trace, &trace_lines, exact, &skipped),
        trace: trace_lines,
    })
}

fn nothing(path: &Path, skipped: &Skipped) -> ImportError {
    if skipped.unsafe_methods > 0 {
        return ImportError::Nothing {
            path: path.to_owned(),
            message: format!(
                "all {} requests change something; --all-methods takes them over (without bodies, which logs do not have)",
                skipped.unsafe_methods
            ),
        };
    }
    match skipped.first_unreadable {
        Some(line) => ImportError::malformed(
            path,
            line,
            "is neither a line of nginx's combined log nor of weir's JSON log",
        ),
        None => ImportError::Nothing {
            path: path.to_owned(),
            message: "it holds no requests".into(),
        },
    }
}

fn parse(line: &str) -> Option<Seen> {
    if line.starts_with('{') {
        let json: JsonLine = serde_json::from_str(line).ok()?;
        return Some(Seen {
            at: rfc3339(&json.time)?,
            exact: true,
            method: json.method,
            target: json.target,
            status: json.status,
        });
    }
    let fields = COMBINED.as_ref()?.captures(line)?;
    let field = |index| fields.get(index).map(|field| field.as_str());
    Some(Seen {
        at: common_log(field(1)?)?,
        exact: false,
        method: field(2)?.to_owned(),
        target: field(3)?.to_owned(),
        status: field(4)?.parse().ok()?,
    })
}

fn take(mut entry: Seen, choice: Choice, skipped: &mut Skipped, seen: &mut Vec<Seen>) {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    if KNOWN.contains(&entry.method.as_str()) && !choice.takes(&entry.method) {
        skipped.unsafe_methods += 1;
        return;
    }
    let odd = |c: char| c.is_whitespace() || c.is_control() || !c.is_ascii() || c == '#';
    if !KNOWN.contains(&entry.method.as_str())
        || !entry.target.starts_with('/')
        || entry.target.contains(odd)
    {
        skipped.odd_targets += 1;
        return;
    }
    if !choice.keep_secrets {
        let (target, hidden) = without_secrets(&entry.target);
        entry.target = target;
        skipped.secrets += hidden;
    }
    seen.push(entry);
}

/// The lines of the trace, in order of time. A log that tells whole seconds only would make
/// volleys: what came in the same second is spread evenly over it.
fn timed(mut seen: Vec<Seen>) -> Vec<TraceLine> {
    seen.sort_by(|a, b| a.at.total_cmp(&b.at));
    let first = seen.first().map_or(0.0, |entry| entry.at);
    let mut lines = Vec::with_capacity(seen.len());
    let mut from = 0;
    while let Some(begin) = seen.get(from).map(|entry| entry.at) {
        let same = seen
            .iter()
            .skip(from)
            .take_while(|entry| entry.at == begin)
            .count();
        for (index, entry) in seen.iter().skip(from).take(same).enumerate() {
            let within = if entry.exact {
                0.0
            } else {
                index as f64 / same as f64
            };
            let at = entry.at - first + within;
            lines.push(TraceLine {
                at: Some((at * 1e6).round() / 1e6),
                method: entry.method.clone(),
                path: entry.target.clone(),
                status: expected(entry.status),
                ..TraceLine::default()
            });
        }
        from += same.max(1);
    }
    lines
}

/// The status that a replayed request should have; `None` where it depends on what the log does
/// not tell (conditions, ranges), or where the answer was a failure that need not come again.
fn expected(status: u16) -> Option<u16> {
    match status {
        200 | 206 | 304 | 408 | 429 | 499.. => None,
        status @ 201..=498 => Some(status),
        _ => None,
    }
}

fn draft(name: &str, trace: &str, lines: &[TraceLine], exact: bool, skipped: &Skipped) -> Draft {
    let load = format!(
        "engine = \"wire\"\n\n[load]\nmodel = \"open\"\narrivals = \"replay\"\ntrace = {}\n",
        toml_edit::Value::from(trace)
    );
    let length = lines.last().and_then(|line| line.at).unwrap_or(0.0);
    let mut draft = Draft::new(
        name,
        format!(
            "{} requests of {length:.0} s, replayed from an access log",
            lines.len()
        ),
        &load,
    );
    draft.notes.push(
        "Imported from an access log. Where it is replayed is said with `--target` when you run it."
            .into(),
    );
    if !exact {
        draft.notes.push(
            "The log tells whole seconds: requests of the same second are spread evenly over it."
                .into(),
        );
    }
    draft.note(
        skipped.unsafe_methods,
        "requests that change something were left out; --all-methods takes them over, without bodies.",
    );
    draft.note(skipped.secrets, "secrets in queries were replaced.");
    draft.note(
        skipped.odd_targets,
        "requests whose method or target is not ordinary were left out.",
    );
    draft.note(
        skipped.unreadable,
        &format!(
            "lines were not understood and left out, the first is line {}.",
            skipped.first_unreadable.unwrap_or(0)
        ),
    );
    draft
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_understood() {
        let seen = parse(
            r#"10.0.0.1 - ann [10/Oct/2025:13:55:36 +0200] "GET /a?b=c HTTP/1.1" 304 0 "-" "curl/8 (\"x\")""#,
        )
        .unwrap();
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str(), seen.status),
            ("GET", "/a?b=c", 304)
        );
        let seen = parse(
            r#"{"time":"2025-10-10T11:55:36.250Z","id":"x","client":"::1","method":"GET","host":"h","target":"/a","protocol":"HTTP/1.1","status":200,"bytes":1,"duration_ms":0.1}"#,
        )
        .unwrap();
        assert_eq!((seen.at, seen.exact), (1_760_097_336.25, true));
        for bad in ["", "hello", "{}", r#"- - - [x] "GET / HTTP/1.1" 200 1"#] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn requests_of_one_second_are_spread_over_it() {
        let entry = |at, exact| Seen {
            at,
            exact,
            method: "GET".into(),
            target: "/".into(),
            status: 200,
        };
        let at = |seen| -> Vec<f64> { timed(seen).iter().map(|line| line.at.unwrap()).collect() };
        let whole = vec![entry(11.0, false), entry(10.0, false), entry(10.0, false)];
        assert_eq!(at(whole), [0.0, 0.5, 1.0]);
        let exact = vec![entry(10.25, true), entry(10.0, true), entry(10.0, true)];
        assert_eq!(at(exact), [0.0, 0.0, 0.25]);
    }

    #[test]
    fn failures_of_then_are_not_expected_now() {
        assert_eq!(expected(404), Some(404));
        assert_eq!(expected(301), Some(301));
        for status in [200, 304, 429, 499, 500, 503] {
            assert_eq!(expected(status), None, "{status}");
        }
    }
}
