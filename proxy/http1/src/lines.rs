//! Lines of a head that arrives in pieces.

use std::ops::Range;

/// Walks through the complete lines of a buffer that grows at its end. No byte is looked at twice.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Where the present line begins.
    at: usize,
    /// Up to where its end has been looked for.
    scanned: usize,
}

/// One line of a head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it lies, without its end.
    pub(crate) range: Range<usize>,
    /// It ends in CRLF and not in LF alone.
    pub(crate) crlf: bool,
}

// === impl Lines ===

impl Lines {
    /// The next line, if it is complete.
    pub(crate) fn next(&mut self, buf: &[u8]) -> Option<Line> {
        let Some(found) = memchr::memchr(b'\n', buf.get(self.scanned..)?) else {
            self.scanned = buf.len();
            return None;
        };
        let lf = self.scanned + found;
        let start = self.at;
        let crlf = lf > start && buf.get(lf - 1) == Some(&b'\r');
        self.at = lf + 1;
        self.scanned = lf + 1;
        Some(Line {
            range: start..lf - usize::from(crlf),
            crlf,
        })
    }

    /// What has come of the line that is not complete yet, as far as it was not there at an earlier
    /// call of [`Lines::next`].
    pub(crate) fn fresh<'a>(&self, buf: &'a [u8], looked_at: usize) -> &'a [u8] {
        buf.get(looked_at.max(self.at)..).unwrap_or_default()
    }

    /// Where the present line begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Up to where ends of lines have been looked for.
    pub(crate) fn scanned(&self) -> usize {
        self.scanned
    }
}
