//! What a failed attempt means: whether it counts against the server, and whether there is another.
//!
//! Pure: the engine says what happened, this says what follows. After nginx's `proxy_next_upstream`
//! (`error timeout`, not `non_idempotent`), with two differences: time-outs while waiting for an answer
//! are not tried elsewhere, and a failure during an upload never counts against the server, since
//! any client can bring that about.

use std::time::Duration;

use weir_api::settings::Retry;

/// What went wrong with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptFailure {
    /// No connection: refused, unreachable.
    Unreachable,
    /// No connection within `timeouts.connect`.
    ConnectTimeout,
    /// No connection, because this machine has no port left towards the server's address.
    NoPort,
    /// The server closed or reset the connection.
    Broken,
    /// The server was silent for `timeouts.read`, or took nothing for `timeouts.send`.
    Timeout,
    /// The answer cannot be used.
    BadAnswer,
    /// The server gave up this request alone (HTTP/2: RST_STREAM).
    Reset,
    /// The server says that it did nothing with the request (HTTP/2: REFUSED_STREAM).
    Refused,
    /// The same, because it is about to close the connection (HTTP/2: GOAWAY).
    Leaving,
    /// The client's own deadline has passed (gRPC: `grpc-timeout`).
    Deadline,
}

/// A failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedAttempt {
    /// What went wrong.
    pub failure: AttemptFailure,
    /// It went over a kept connection, which the server may have closed in the meantime.
    pub kept: bool,
    /// The whole request had been sent, its body included.
    pub sent: bool,
    /// Some of the request body had been taken from the client, so that it cannot be sent again.
    pub body_taken: bool,
    /// Some of an answer had come.
    pub answered: bool,
}

/// The request, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempted {
    /// RFC 9110 section 9.2.2.
    pub idempotent: bool,
    /// Connections tried so far.
    pub tries: u32,
    /// Time since the request began.
    pub elapsed: Duration,
}

/// What follows from a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// It counts towards `max_fails`.
    pub blame: bool,
    /// What to do.
    pub next: Next,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again over a new connection; the same server may be chosen. This is no further try.
    Again,
    /// Try another server; the status, should there be none.
    Another(u16),
    /// Answer with this status.
    Answer(u16),
}

/// Decides what follows from a failed attempt.
#[must_use]
pub fn decide(policy: &Retry, request: &Attempted, attempt: &FailedAttempt) -> Verdict {
    use AttemptFailure as F;

    let status = match attempt.failure {
        F::ConnectTimeout | F::Timeout | F::Deadline => 504,
        F::Unreachable
        | F::NoPort
        | F::Broken
        | F::BadAnswer
        | F::Reset
        | F::Refused
        | F::Leaving => 502,
    };
    let unprocessed = matches!(attempt.failure, F::Refused | F::Leaving);
    let unsent = matches!(
        attempt.failure,
        F::Unreachable | F::NoPort | F::ConnectTimeout
    ) || (unprocessed && !attempt.body_taken);
    let untouched =
        matches!(attempt.failure, F::Broken | F::Reset) && !attempt.answered && !attempt.body_taken;
    // The server may close a kept connection at any time: no failure of the server.
    let stale = attempt.kept && attempt.failure == F::Broken && !attempt.answered;
    let blame = match attempt.failure {
        F::Unreachable | F::ConnectTimeout => true,
        F::NoPort | F::Leaving | F::Deadline => false,
        F::Broken | F::Timeout | F::BadAnswer | F::Reset | F::Refused => attempt.sent && !stale,
    };
    // The next connection is not about to be closed, unless there is something wrong with the server.
    let moving = attempt.failure == F::Leaving && attempt.kept && !attempt.body_taken;

    let in_time = policy.timeout.is_zero() || request.elapsed < policy.timeout;
    let left = request.tries < policy.tries && in_time;
    let next = if moving || (stale && untouched && request.idempotent) {
        Next::Again
    } else if left && (unsent || (untouched && request.idempotent)) {
        Next::Another(status)
    } else {
        Next::Answer(status)
    };
    Verdict { blame, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Retry {
        Retry {
            tries: 2,
            timeout: Duration::from_secs(1),
        }
    }

    const GET: Attempted = Attempted {
        idempotent: true,
        tries: 1,
        elapsed: Duration::ZERO,
    };
    const POST: Attempted = Attempted {
        idempotent: false,
        ..GET
    };

    fn failed(failure: AttemptFailure) -> FailedAttempt {
        FailedAttempt {
            failure,
            kept: false,
            sent: true,
            body_taken: false,
            answered: false,
        }
    }

    #[test]
    fn what_was_never_sent_may_go_anywhere() {
        for request in [GET, POST] {
            let verdict = decide(&policy(), &request, &failed(AttemptFailure::Unreachable));
            assert_eq!((verdict.blame, verdict.next), (true, Next::Another(502)));
        }
        let late = Attempted {
            elapsed: Duration::from_secs(2),
            ..GET
        };
        let tried = Attempted { tries: 2, ..GET };
        for request in [late, tried] {
            let verdict = decide(&policy(), &request, &failed(AttemptFailure::ConnectTimeout));
            assert_eq!(verdict.next, Next::Answer(504));
        }
    }

    #[test]
    fn our_own_lack_of_ports_is_no_failure_of_the_server() {
        let verdict = decide(&policy(), &GET, &failed(AttemptFailure::NoPort));
        assert_eq!((verdict.blame, verdict.next), (false, Next::Another(502)));
    }

    #[test]
    fn a_broken_connection_is_tried_again_only_for_idempotent_requests() {
        let broken = failed(AttemptFailure::Broken);
        assert_eq!(decide(&policy(), &GET, &broken).next, Next::Another(502));
        assert_eq!(decide(&policy(), &POST, &broken).next, Next::Answer(502));
        for spoilt in [
            FailedAttempt {
                answered: true,
                ..broken
            },
            FailedAttempt {
                body_taken: true,
                ..broken
            },
        ] {
            assert_eq!(decide(&policy(), &GET, &spoilt).next, Next::Answer(502));
        }
    }

    #[test]
    fn a_kept_connection_that_was_closed_counts_for_nothing() {
        let stale = FailedAttempt {
            kept: true,
            ..failed(AttemptFailure::Broken)
        };
        let verdict = decide(&policy(), &GET, &stale);
        assert_eq!((verdict.blame, verdict.next), (false, Next::Again));
        let verdict = decide(&policy(), &POST, &stale);
        assert_eq!((verdict.blame, verdict.next), (false, Next::Answer(502)));
    }

    #[test]
    fn what_the_server_did_nothing_with_may_go_anywhere() {
        let refused = failed(AttemptFailure::Refused);
        for request in [GET, POST] {
            let verdict = decide(&policy(), &request, &refused);
            assert_eq!((verdict.blame, verdict.next), (true, Next::Another(502)));
        }
        let taken = FailedAttempt {
            body_taken: true,
            ..refused
        };
        assert_eq!(decide(&policy(), &POST, &taken).next, Next::Answer(502));
    }

    #[test]
    fn a_server_that_says_goodbye_has_not_failed() {
        let fresh = failed(AttemptFailure::Leaving);
        let verdict = decide(&policy(), &POST, &fresh);
        assert_eq!((verdict.blame, verdict.next), (false, Next::Another(502)));
        let kept = FailedAttempt {
            kept: true,
            ..fresh
        };
        let tried = Attempted { tries: 2, ..POST };
        let verdict = decide(&policy(), &tried, &kept);
        assert_eq!((verdict.blame, verdict.next), (false, Next::Again));
    }

    #[test]
    fn a_reset_stream_is_no_stale_connection() {
        let reset = FailedAttempt {
            kept: true,
            ..failed(AttemptFailure::Reset)
        };
        let verdict = decide(&policy(), &GET, &reset);
        assert_eq!((verdict.blame, verdict.next), (true, Next::Another(502)));
        assert_eq!(decide(&policy(), &POST, &reset).next, Next::Answer(502));
    }

    #[test]
    fn no_client_takes_a_server_out_with_its_deadline() {
        let verdict = decide(&policy(), &GET, &failed(AttemptFailure::Deadline));
        assert_eq!((verdict.blame, verdict.next), (false, Next::Answer(504)));
    }

    #[test]
    fn no_upload_takes_a_server_out() {
        for failure in [
            AttemptFailure::Broken,
            AttemptFailure::Timeout,
            AttemptFailure::BadAnswer,
        ] {
            let during = FailedAttempt {
                sent: false,
                body_taken: true,
                ..failed(failure)
            };
            assert!(!decide(&policy(), &GET, &during).blame, "{failure:?}");
            assert!(
                decide(&policy(), &GET, &failed(failure)).blame,
                "{failure:?}"
            );
        }
    }
}
