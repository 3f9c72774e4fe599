//! Field names that a proxy looks for, as small numbers.

/// A well-known field name, or [`Name::Other`].
///
/// Heads note it once while they are parsed, so that a look-up compares numbers and not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is the field of that name")]
pub enum Name {
    Other,
    Accept,
    AcceptEncoding,
    AcceptRanges,
    Allow,
    Authorization,
    CacheControl,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentRange,
    ContentType,
    Cookie,
    Date,
    Etag,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    KeepAlive,
    Location,
    ProxyAuthorization,
    ProxyConnection,
    Referer,
    RetryAfter,
    Server,
    ServerTiming,
    SetCookie,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    Vary,
    XClientCertFingerprint,
    XClientCertSubject,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRealIp,
    XRequestId,
}

// === impl Name ===

impl Name {
    /// The well-known name that `name` is, in whatever case it is written.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let candidates: &[(&[u8], Self)] = match name.len() {
            2 => &[(b"te", Self::Te)],
            4 => &[
                (b"host", Self::Host),
                (b"date", Self::Date),
                (b"etag", Self::Etag),
                (b"vary", Self::Vary),
            ],
            5 => &[(b"allow", Self::Allow)],
            6 => &[
                (b"accept", Self::Accept),
                (b"cookie", Self::Cookie),
                (b"server", Self::Server),
                (b"expect", Self::Expect),
            ],
            7 => &[
                (b"referer", Self::Referer),
                (b"upgrade", Self::Upgrade),
                (b"trailer", Self::Trailer),
            ],
            8 => &[(b"location", Self::Location)],
            9 => &[
                (b"forwarded", Self::Forwarded),
                (b"x-real-ip", Self::XRealIp),
            ],
            10 => &[
                (b"connection", Self::Connection),
                (b"user-agent", Self::UserAgent),
                (b"set-cookie", Self::SetCookie),
                (b"keep-alive", Self::KeepAlive),
            ],
            11 => &[(b"retry-after", Self::RetryAfter)],
            12 => &[
                (b"content-type", Self::ContentType),
                (b"x-request-id", Self::XRequestId),
            ],
            13 => &[
                (b"cache-control", Self::CacheControl),
                (b"authorization", Self::Authorization),
                (b"accept-ranges", Self::AcceptRanges),
                (b"content-range", Self::ContentRange),
                (b"server-timing", Self::ServerTiming),
            ],
            14 => &[
                (b"content-length", Self::ContentLength),
                (b"http2-settings", Self::Http2Settings),
            ],
            15 => &[
                (b"accept-encoding", Self::AcceptEncoding),
                (b"x-forwarded-for", Self::XForwardedFor),
            ],
            16 => &[
                (b"content-encoding", Self::ContentEncoding),
                (b"x-forwarded-host", Self::XForwardedHost),
                (b"proxy-connection", Self::ProxyConnection),
            ],
            17 => &[
                (b"transfer-encoding", Self::TransferEncoding),
                (b"x-forwarded-proto", Self::XForwardedProto),
            ],
            19 => &[(b"proxy-authorization", Self::ProxyAuthorization)],
            21 => &[(b"x-client-cert-subject", Self::XClientCertSubject)],
            25 => &[(b"x-client-cert-fingerprint", Self::XClientCertFingerprint)],
            _ => &[],
        };
        candidates
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known))
            .map_or(Self::Other, |(_, found)| *found)
    }

    /// The bit of this name in a set of names.
    pub(crate) const fn bit(self) -> u64 {
        1 << self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(Name::of(b"hOsT"), Name::Host);
        assert_eq!(Name::of(b"Proxy-Authorization"), Name::ProxyAuthorization);
        assert_eq!(Name::of(b"X-Forwarded-Proto"), Name::XForwardedProto);
        assert_eq!(Name::of(b"hosts"), Name::Other);
        assert_eq!(Name::of(b""), Name::Other);
    }
}
