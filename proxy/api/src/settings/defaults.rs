//! What a setting is when nobody sets it: nginx's default where nginx has the setting.

use std::time::Duration;

use super::{
    ClientLimits, Compression, Connections, HealthCheck, LimitKey, Retry, Statuses, Timeouts,
};
use crate::units::ByteSize;

impl Default for Connections {
    fn default() -> Self {
        Self { max: 1024 }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            read: Duration::from_secs(60),
            send: Duration::from_secs(60),
            client_header: Duration::from_secs(60),
            client_body: Duration::from_secs(60),
            keepalive: Duration::from_secs(75),
            drain: Duration::from_secs(30),
        }
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            max_body: ByteSize::mib(1),
            max_header: ByteSize::kib(32),
            max_streams: 128,
            trusted_proxies: Vec::new(),
            server_timing: false,
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            enabled: false,
            level: 6,
            min_length: ByteSize::bytes(256),
            types: vec!["application/json".to_owned(), "text/*".to_owned()],
        }
    }
}

impl Default for Retry {
    /// Three servers at most (nginx tries all), and as in nginx no limit of time.
    fn default() -> Self {
        Self {
            tries: 3,
            timeout: Duration::ZERO,
        }
    }
}

impl Default for HealthCheck {
    /// Off. The interval is nginx Plus's, the counts and the statuses are HAProxy's.
    fn default() -> Self {
        Self {
            path: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
            status: Statuses::default(),
            host: None,
            port: None,
        }
    }
}

pub(super) const fn yes() -> bool {
    true
}

pub(super) const fn one() -> u32 {
    1
}

pub(super) fn limit_key() -> Vec<LimitKey> {
    vec![LimitKey::ClientIp]
}

/// 429, Too Many Requests (RFC 6585); nginx's own default is 503.
pub(super) const fn limit_status() -> u16 {
    429
}

/// About what `zone=…:10m` of nginx holds: 16,000 states of 64 bytes a megabyte.
pub(super) const fn max_keys() -> u32 {
    160_000
}

pub(super) const fn upstream_keepalive() -> u32 {
    32
}

pub(super) const fn keepalive_timeout() -> Duration {
    Duration::from_secs(60)
}

pub(super) const fn fail_timeout() -> Duration {
    Duration::from_secs(10)
}
