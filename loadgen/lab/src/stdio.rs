//! Writing to the standard streams. A reader that has gone away, as in `… | head`, is no error:
//! it has seen all it wanted to see.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
};

/// Writes a line to standard output.
///
/// # Errors
///
/// When it cannot be written for another reason than that nobody reads it any more.
pub fn line(text: impl fmt::Display) -> io::Result<()> {
    quietly(writeln!(io::stdout().lock(), "{text}"))
}

/// Writes text to standard output as it is.
///
/// # Errors
///
/// As for [`line()`].
pub fn text(text: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    quietly(write!(out, "{text}").and_then(|()| out.flush()))
}

/// Writes a line to standard output, for commands whose result is in a folder: what cannot be printed
/// is not lost, so it is not worth an error.
pub fn say(text: impl fmt::Display) {
    let _ = line(text);
}

/// Writes a line to standard error; if that is not possible, nobody is there to be told.
pub fn note(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn quietly(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_has_gone_away_is_no_error() {
        assert!(quietly(Err(ErrorKind::BrokenPipe.into())).is_ok());
        assert!(quietly(Err(ErrorKind::StorageFull.into())).is_err());
        assert!(quietly(Ok(())).is_ok());
    }
}
