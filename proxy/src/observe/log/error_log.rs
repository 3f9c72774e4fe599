//! The program's own log, on standard error.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tracing::field::{Field, Visit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FormatFields, MakeWriter};
use weir_api::text::{printable, printable_lines};

use super::queue::{Limits, LogWriter};
use super::sink::Sink;

/// Its name in metrics.
pub(super) const NAME: &str = "error";

/// Few and short lines: enough for minutes of trouble.
const LIMITS: Limits = Limits {
    wake_at: 1,
    most: 256 << 10,
};

/// What is logged without `WEIR_LOG`.
const USUAL: &str = "info,pingora_core=error,pingora=error";

/// The program's own log: everything of `tracing`, and panics. One for a process.
#[derive(Debug, Clone)]
pub struct ErrorLog(Arc<LogWriter>);

impl ErrorLog {
    /// Starts the writer, and sends to it what the whole process has to say from now on. The environment
    /// variable `WEIR_LOG` chooses how much that is.
    ///
    /// # Errors
    /// When the writer's thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let log = Self(Arc::new(LogWriter::start(NAME, Sink::stderr()?, LIMITS)?));
        let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new(USUAL));
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(log.clone())
            .fmt_fields(Fields)
            .with_ansi(io::stderr().is_terminal());
        // A second subscriber is refused, and the first stays: only a test could try.
        let _ = subscriber.try_init();
        let panics = log.clone();
        // The usual hook writes to standard error itself, and would wait for its reader.
        std::panic::set_hook(Box::new(move |panic| panics.say(&describe(panic))));
        Ok(log)
    }

    /// Writes lines as they are, whatever `WEIR_LOG` says.
    pub fn say(&self, lines: &str) {
        let lines = printable_lines(lines);
        self.0.append(|out, ()| {
            out.extend_from_slice(lines.trim_end().as_bytes());
            out.push(b'\n');
        });
    }

    /// Counts lost lines.
    #[must_use]
    pub fn losses(&self) -> Arc<AtomicU64> {
        self.0.losses()
    }

    /// Writes what is left, within a second. The last thing that a process does with its log.
    pub fn close(&self) {
        // There is nobody left to tell.
        let _ = self.0.close();
    }
}

fn describe(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let payload = panic.payload();
    let literal = payload.downcast_ref::<&str>().copied();
    let message = literal
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let place = panic.location().map(ToString::to_string);
    let place = place.as_deref().unwrap_or("an unknown place");
    let mut text = format!("weir: thread {thread} panicked at {place}: {message}\n");
    // Captured only if RUST_BACKTRACE asks for it.
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        text += &trace.to_string();
    }
    text
}

// === impl MakeWriter ===

/// One event on its way to the log.
#[derive(Debug)]
pub struct Event<'a>(&'a LogWriter);

impl<'a> MakeWriter<'a> for ErrorLog {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event(&self.0)
    }
}

impl io::Write for Event<'_> {
    /// The subscriber writes an event whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.append(|out, ()| out.extend_from_slice(event));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Fields ===

/// The fields of an event: `message name=value …`. Values may come from outside, so nothing in them reaches
/// the log as a control character. Only the message may have several lines.
struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line {
            writer,
            first: true,
            done: Ok(()),
        };
        fields.record(&mut line);
        line.done
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    first: bool,
    done: fmt::Result,
}

impl Line<'_> {
    fn write(&mut self, field: &Field, value: &str) -> fmt::Result {
        if !std::mem::replace(&mut self.first, false) {
            self.writer.write_char(' ')?;
        }
        match field.name() {
            "message" => self.writer.write_str(&printable_lines(value)),
            name if self.writer.has_ansi_escapes() => {
                write!(self.writer, "\x1b[3m{name}\x1b[0m={}", printable(value))
            }
            name => write!(self.writer, "{name}={}", printable(value)),
        }
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Quoted, as text that may have spaces.
        if field.name() == "message" {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Records of the `log` crate bring fields that name their origin.
        if self.done.is_ok() && !field.name().starts_with("log.") {
            self.done = self.write(field, &format!("{value:?}"));
        }
    }
}
