//! What commands print. A reader that is gone is no error, and nothing that others wrote reaches the terminal
//! as a control character.

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use weir_api::text::{printable, printable_json, printable_lines};

use crate::exit::EXIT_FAILED;

/// What became of something that was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Printed {
    /// It was written.
    Whole,
    /// Nobody reads any more, as after `| head`.
    ReaderGone,
    /// It could not be written; that has been said.
    Failed,
}

impl Printed {
    /// The exit code of a command that otherwise ends with `code`.
    pub(crate) fn code(self, code: u8) -> ExitCode {
        ExitCode::from(if self == Self::Failed {
            EXIT_FAILED
        } else {
            code
        })
    }
}

/// Prints whole lines of text.
pub(crate) fn print(text: &str) -> Printed {
    print_as_is(&printable_lines(text))
}

/// Prints one line, whatever its parts hold.
pub(crate) fn print_line(line: &str) -> Printed {
    print_as_is(&format!("{}\n", printable(line)))
}

/// Prints JSON.
pub(crate) fn print_json(text: &str) -> Printed {
    print_as_is(&printable_json(text))
}

/// Prints what has nothing of others in it, such as a script.
pub(crate) fn print_as_is(text: &str) -> Printed {
    match write(text) {
        Ok(()) => Printed::Whole,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Printed::ReaderGone,
        Err(error) => {
            complain(&format!("weir: {}", cannot_print(&error)));
            Printed::Failed
        }
    }
}

/// Prints what must be seen: that nobody reads is an error too.
///
/// # Errors
/// A sentence that says so.
pub(crate) fn print_for_certain(text: &str) -> Result<(), String> {
    write(&printable_lines(text)).map_err(|error| cannot_print(&error))
}

fn cannot_print(error: &io::Error) -> String {
    format!("cannot write to standard output: {error}")
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Says what is wrong, on standard error. Without a reader there is nobody to tell.
pub(crate) fn complain(text: &str) {
    let text = printable_lines(text);
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
}
