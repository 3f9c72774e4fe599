//! Why an answer does not come, or not to its end.

use std::io;

use h2::Reason;
use weir_http1::BadAnswer;

use super::super::wire::ReadError;

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum AnswerError {
    #[error("closed the connection")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Bad(#[from] BadAnswer),
    #[error("response head too large")]
    TooLarge,
    /// The body broke its framing, or the connection its protocol.
    #[error("{0}")]
    Malformed(String),
    /// The server says that it has done nothing with the request, so that it may be sent again
    /// whatever its method (RFC 9113 section 8.7). `leaving`: because it is about to close the
    /// connection, which is no failure.
    #[error("{}", match leaving {
        true => "upstream closed the connection before it took the request up",
        false => "upstream refused the stream",
    })]
    Unprocessed { leaving: bool },
    /// The server gave up this one request.
    #[error("upstream reset the stream: {0}")]
    Reset(Reason),
    /// The request cannot be said in HTTP/2.
    #[error("no request for HTTP/2")]
    Unspeakable,
}

impl From<ReadError> for AnswerError {
    fn from(e: ReadError) -> Self {
        match e {
            ReadError::Closed => Self::Closed,
            ReadError::Io(e) => Self::Io(e),
            ReadError::Malformed(e) => Self::Malformed(format!("bad response body: {e}")),
        }
    }
}

impl From<h2::Error> for AnswerError {
    fn from(e: h2::Error) -> Self {
        let reason = e.reason().unwrap_or(Reason::INTERNAL_ERROR);
        if e.is_remote() && e.is_go_away() {
            // Told only to streams that the server says it has not looked at, and to new ones.
            let leaving = reason == Reason::NO_ERROR;
            return Self::Unprocessed { leaving };
        }
        if e.is_remote() && reason == Reason::REFUSED_STREAM {
            return Self::Unprocessed { leaving: false };
        }
        if e.is_remote() {
            return Self::Reset(reason);
        }
        if !e.is_io() {
            return Self::Malformed(format!("upstream broke HTTP/2: {e}"));
        }
        match e.get_io().map(io::Error::kind) {
            Some(kind @ io::ErrorKind::TimedOut) => Self::Io(kind.into()),
            _ => Self::Closed,
        }
    }
}
