//! Kinds of failure, and what usually causes them.

use crate::record::BTreeMap;
use std::{borrow::Cow, io};

/// Why a request did not end as the scenario expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureKind {
    /// No complete answer within the total timeout.
    Timeout,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// Nobody listens.
    ConnectionRefused,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the answer was complete.
    ClosedEarly,
    /// A status that the scenario does not expect.
    Status(u16),
    /// A header is not as expected.
    WrongHeader,
    /// The body is smaller or larger than expected.
    WrongSize,
    /// The expected text is missing from the body.
    WrongBody,
    /// The body is not the expected JSON.
    WrongJson,
    /// A good answer that took longer than expected.
    Slow,
    /// A value that later requests need is not in the answer.
    ExtractFailed,
    /// Not sent: the user lacks a value that the request needs.
    ValueMissing,
    /// The body is too large to be checked.
    BodyTooLarge,
    /// The body is compressed in a way that is not understood, or broken.
    UnknownCoding,
    /// The answer is not valid HTTP.
    BadResponse,
    /// The certificate is not accepted.
    Certificate,
    /// The TLS handshake failed, or the session broke.
    TlsFailed,
    /// HTTP/2: the target said it would go away before it took the request (RFC 9113, 6.8).
    GoAway,
    /// HTTP/2: the target ended the stream of the request (RFC 9113, 6.4).
    StreamReset,
    /// HTTP/2: the target refused the stream; nothing of it was processed (RFC 9113, 8.7).
    StreamRefused,
    /// The login did not yield a token.
    LoginFailed,
    /// No local port is left.
    PortsExhausted,
    /// No file descriptor is left.
    DescriptorsExhausted,
    /// Still on its way when the run was over and the wait for stragglers too.
    Unfinished,
    /// Something else.
    Other,
}

/// Linux error numbers that `io::ErrorKind` does not tell apart.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

impl FailureKind {
    /// Every kind but [`Self::Status`], which is many; whoever adds one adds it here, so that
    /// thresholds can name it.
    pub const NAMED: [Self; 25] = [
        Self::Timeout,
        Self::ConnectTimeout,
        Self::ConnectionRefused,
        Self::Reset,
        Self::ClosedEarly,
        Self::WrongHeader,
        Self::WrongSize,
        Self::WrongBody,
        Self::WrongJson,
        Self::Slow,
        Self::ExtractFailed,
        Self::ValueMissing,
        Self::BodyTooLarge,
        Self::UnknownCoding,
        Self::BadResponse,
        Self::Certificate,
        Self::TlsFailed,
        Self::GoAway,
        Self::StreamReset,
        Self::StreamRefused,
        Self::LoginFailed,
        Self::PortsExhausted,
        Self::DescriptorsExhausted,
        Self::Unfinished,
        Self::Other,
    ];

    /// The status that rate limits answer with; counted apart from errors.
    pub const LIMITED: Self = Self::Status(429);

    /// Whether it is counted apart from errors.
    pub fn is_limited(self) -> bool {
        self == Self::LIMITED
    }

    /// Classifies an error of an established connection.
    pub fn of_io(error: &io::Error) -> Self {
        if let Some(inner) = error.get_ref() {
            match inner.downcast_ref::<rustls::Error>() {
                Some(rustls::Error::InvalidCertificate(_)) => return Self::Certificate,
                Some(_) => return Self::TlsFailed,
                None => {}
            }
            // Some clients wrap what the system or TLS said once more.
            if let Some(inner) = inner.downcast_ref::<io::Error>() {
                return Self::of_io(inner);
            }
        }
        match error.kind() {
            io::ErrorKind::ConnectionReset => Self::Reset,
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotConnected
            | io::ErrorKind::ConnectionAborted => Self::ClosedEarly,
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::ConnectionRefused => Self::ConnectionRefused,
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Self::PortsExhausted,
            _ if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => {
                Self::DescriptorsExhausted
            }
            _ => Self::Other,
        }
    }

    /// Classifies an error of an HTTP/2 connection or stream.
    pub fn of_h2(error: &h2::Error) -> Self {
        if let Some(io) = error.get_io() {
            return Self::of_io(io);
        }
        match error.reason() {
            _ if !error.is_remote() => Self::BadResponse,
            Some(h2::Reason::REFUSED_STREAM) if error.is_reset() => Self::StreamRefused,
            _ if error.is_reset() => Self::StreamReset,
            _ if error.is_go_away() => Self::GoAway,
            _ => Self::Other,
        }
    }

    /// Classifies an error of a connection attempt.
    pub fn of_connect(error: &io::Error) -> Self {
        match Self::of_io(error) {
            Self::Timeout => Self::ConnectTimeout,
            kind => kind,
        }
    }

    /// Name in results.
    pub fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Timeout => "timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::ConnectionRefused => "connection_refused",
            Self::Reset => "reset",
            Self::ClosedEarly => "closed_early",
            Self::Status(status) => return Cow::Owned(format!("status_{status}")),
            Self::WrongHeader => "wrong_header",
            Self::WrongSize => "wrong_size",
            Self::WrongBody => "wrong_body",
            Self::WrongJson => "wrong_json",
            Self::Slow => "slow",
            Self::ExtractFailed => "extract_failed",
            Self::ValueMissing => "value_missing",
            Self::BodyTooLarge => "body_too_large",
            Self::UnknownCoding => "unknown_coding",
            Self::BadResponse => "bad_response",
            Self::Certificate => "tls_certificate",
            Self::TlsFailed => "tls_failed",
            Self::GoAway => "h2_goaway",
            Self::StreamReset => "h2_stream_reset",
            Self::StreamRefused => "h2_stream_refused",
            Self::LoginFailed => "login_failed",
            Self::PortsExhausted => "ports_exhausted",
            Self::DescriptorsExhausted => "descriptors_exhausted",
            Self::Unfinished => "unfinished",
            Self::Other => "other",
        })
    }

    /// What usually causes it.
    pub fn likely_cause(self) -> &'static str {
        match self {
            Self::Timeout => "the target is overloaded or stuck, or the timeout is too short",
            Self::ConnectTimeout => "the target's accept queue is full, or packets are dropped",
            Self::ConnectionRefused => "nothing listens there: not started, crashed, or stopped",
            Self::Reset => {
                "the target or a proxy aborted the connection: process killed, or a limit reached"
            }
            Self::ClosedEarly => {
                "the target closed the connection before the answer was complete: restart, \
                 connection limit, or its keepalive timeout hit just as the connection was reused"
            }
            Self::Status(429) => "a rate limit; counted apart, not an error",
            Self::Status(401 | 403) => "the token is missing, expired or not accepted",
            Self::Status(404) => "the path does not exist, or no route leads to it",
            Self::Status(413 | 414 | 431) => "a size limit of the proxy or the API",
            Self::Status(400..=499) => "the request is not what the API expects",
            Self::Status(500) => "an error in the API, or a proxy out of connections",
            Self::Status(502) => "the proxy could not use its upstream: down, reset, or bad answer",
            Self::Status(503) => {
                "the target sheds load: queue full, no upstream alive, or a rate limit that answers 503"
            }
            Self::Status(504) => "the proxy gave up waiting for its upstream",
            Self::Status(_) => "a status the scenario does not expect",
            Self::WrongHeader => {
                "a header is missing or different: another endpoint or a proxy answered"
            }
            Self::WrongSize => {
                "the body is smaller or larger than expected: cut short, an error page, or other data"
            }
            Self::WrongJson => {
                "the body is not JSON, or lacks the expected values: error object, or other data"
            }
            Self::Slow => {
                "a good answer that took longer than `max_time`: the target is overloaded"
            }
            Self::ExtractFailed => {
                "the answer lacks a value to `extract`: error object, other format, or a wrong path"
            }
            Self::ValueMissing => {
                "not sent: no answer has given this user the variable that the request needs; put \
                 the requests into a flow, or set a first value in `[variables]`"
            }
            Self::BodyTooLarge => {
                "the body is larger than the 1 MiB that checks and extraction can look at"
            }
            Self::UnknownCoding => {
                "the body is compressed by something other than gzip or deflate, or broken; change \
                 the `Accept-Encoding` of the request"
            }
            Self::WrongBody => "the answer lacks the expected text: error page, or wrong endpoint",
            Self::BadResponse => "the answer is not valid HTTP of the version asked for",
            Self::Certificate => {
                "the certificate is expired, of another name, or signed by nobody known: see `[tls]`"
            }
            Self::TlsFailed => {
                "no common TLS version or protocol, a client certificate that is wanted, or no TLS there at all"
            }
            Self::GoAway => {
                "the target ends connections in an orderly way: restart, or a limit of requests"
            }
            Self::StreamReset => "the target or a proxy gave the request up",
            Self::StreamRefused => {
                "too many streams on the connection, or the target is shutting down"
            }
            Self::LoginFailed => "the login was refused, or its answer has no token",
            Self::PortsExhausted => {
                "local ports ran out: more source addresses or fewer new connections"
            }
            Self::DescriptorsExhausted => "the open-file limit of the generator; see `ulimit -n`",
            Self::Unfinished => "the answer was still on its way when the run ended",
            Self::Other => "see the log of the target",
        }
    }
}

/// Failures by kind, most frequent first.
pub(crate) fn by_frequency(failures: &BTreeMap<FailureKind, u64>) -> Vec<(FailureKind, u64)> {
    let mut list: Vec<_> = failures
        .iter()
        .map(|(kind, count)| (*kind, *count))
        .collect();
    list.sort_by(|(_, a), (_, b)| b.cmp(a));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_become_kinds() {
        let kind = |kind: io::ErrorKind| FailureKind::of_io(&io::Error::from(kind));
        assert_eq!(kind(io::ErrorKind::ConnectionReset), FailureKind::Reset);
        assert_eq!(kind(io::ErrorKind::BrokenPipe), FailureKind::ClosedEarly);
        assert_eq!(
            FailureKind::of_io(&io::Error::from_raw_os_error(EMFILE)),
            FailureKind::DescriptorsExhausted
        );
        assert_eq!(
            FailureKind::of_connect(&io::Error::from(io::ErrorKind::TimedOut)),
            FailureKind::ConnectTimeout
        );
    }

    /// What follows a kind, in the order of the enum. The match has no arm for "anything else": a
    /// new kind does not compile until it stands here, and then it must be in `NAMED`.
    fn after(kind: FailureKind) -> Option<FailureKind> {
        use FailureKind as Kind;
        Some(match kind {
            Kind::Timeout => Kind::ConnectTimeout,
            Kind::ConnectTimeout => Kind::ConnectionRefused,
            Kind::ConnectionRefused => Kind::Reset,
            Kind::Reset => Kind::ClosedEarly,
            Kind::ClosedEarly => Kind::Status(0),
            Kind::Status(_) => Kind::WrongHeader,
            Kind::WrongHeader => Kind::WrongSize,
            Kind::WrongSize => Kind::WrongBody,
            Kind::WrongBody => Kind::WrongJson,
            Kind::WrongJson => Kind::Slow,
            Kind::Slow => Kind::ExtractFailed,
            Kind::ExtractFailed => Kind::ValueMissing,
            Kind::ValueMissing => Kind::BodyTooLarge,
            Kind::BodyTooLarge => Kind::UnknownCoding,
            Kind::UnknownCoding => Kind::BadResponse,
            Kind::BadResponse => Kind::Certificate,
            Kind::Certificate => Kind::TlsFailed,
            Kind::TlsFailed => Kind::GoAway,
            Kind::GoAway => Kind::StreamReset,
            Kind::StreamReset => Kind::StreamRefused,
            Kind::StreamRefused => Kind::LoginFailed,
            Kind::LoginFailed => Kind::PortsExhausted,
            Kind::PortsExhausted => Kind::DescriptorsExhausted,
            Kind::DescriptorsExhausted => Kind::Unfinished,
            Kind::Unfinished => Kind::Other,
            Kind::Other => return None,
        })
    }

    #[test]
    fn every_kind_but_statuses_can_be_named() {
        let all = std::iter::successors(Some(FailureKind::Timeout), |kind| after(*kind));
        let named: Vec<_> = all
            .filter(|kind| !matches!(kind, FailureKind::Status(_)))
            .collect();
        assert_eq!(named, FailureKind::NAMED);
        let mut names: Vec<_> = named.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), named.len(), "two kinds have one name");
    }

    #[test]
    fn only_429_is_counted_apart() {
        assert!(FailureKind::Status(429).is_limited());
        assert!(!FailureKind::Status(503).is_limited());
        assert_eq!(FailureKind::Status(502).name(), "status_502");
    }
}
