//! The part of the live settings about groups of servers.

use std::time::Duration;

use super::{Field, Kind, Shape, Table, rules, text, transport};

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// One group of servers: what may change while the proxy runs.
pub(super) static UPSTREAM: Table = Table {
    fields: FIELDS,
    rule: Some(rules::upstream),
};

/// One group of servers as the file has it.
pub(super) static IN_FILE: Table = Table {
    fields: &[
        FIELDS[0],
        FIELDS[1],
        FIELDS[2],
        FIELDS[3],
        FIELDS[4],
        FIELDS[5],
        FIELDS[6],
        transport::UPSTREAM[0],
        transport::UPSTREAM[1],
    ],
    rule: Some(rules::upstream_in_file),
};

const FIELDS: &[Field] = &[
        Field::one(
            "balance",
            Kind::OneOf(&["least_conn", "round_robin"]),
            "How a server is chosen.",
        )
        .or("\"least_conn\"")
        .nginx("least_conn"),
        Field::one(
            "protocol",
            Kind::OneOf(&["http1", "http2"]),
            "The version of HTTP that the servers speak; `http2` for gRPC. In the clear they must speak it without being asked (h2c with prior knowledge).",
        )
        .or("\"http1\"")
        .nginx("grpc_pass"),
        Field::one(
            "keepalive",
            Kind::Int(0, 65_535),
            "Most idle connections kept to all servers of this upstream.",
        )
        .or("32")
        .nginx("keepalive"),
        Field::one(
            "keepalive_timeout",
            Kind::Duration(MILLISECOND, HOUR),
            "How long a kept connection may stay idle.",
        )
        .or("\"60s\"")
        .nginx("keepalive_timeout"),
        Field::new(
            "retry",
            Shape::Table(&RETRY),
            "Trying another server after a failure.",
        )
        .nginx("proxy_next_upstream"),
        Field::new(
            "health_check",
            Shape::Table(&HEALTH_CHECK),
            "Asking every server at intervals whether it is well, and sending no requests to one that is not. Only with a `path`.",
        )
        .removable()
        .nginx("health_check"),
        Field::new(
            "servers",
            Shape::Tables(&SERVER),
            "The servers, at least one that is not a backup.",
        )
        .required()
        .nginx("server"),
];

static RETRY: Table = Table {
    fields: &[
        Field::one(
            "tries",
            Kind::Int(1, 100),
            "Most servers tried for one request, the first included; 1 means no retry.",
        )
        .or("3")
        .nginx("proxy_next_upstream_tries"),
        Field::one(
            "timeout",
            Kind::Duration(Duration::ZERO, HOUR),
            "No new try once this much time has passed; \"0s\" means no limit.",
        )
        .or("\"0s\"")
        .nginx("proxy_next_upstream_timeout"),
    ],
    rule: None,
};

static HEALTH_CHECK: Table = Table {
    fields: &[
        Field::one(
            "path",
            Kind::Text(text::TARGET),
            "What is asked for with GET; without it there are no checks.",
        )
        .nginx("uri="),
        Field::one(
            "interval",
            Kind::Duration(Duration::from_millis(100), HOUR),
            "From the start of one check to the start of the next, a tenth more or less by chance.",
        )
        .or("\"5s\"")
        .nginx("interval="),
        Field::one(
            "timeout",
            Kind::Duration(Duration::from_millis(10), MINUTE),
            "Most time for a check, from connecting to the end of the answer's head.",
        )
        .or("\"1s\""),
        Field::one(
            "rise",
            Kind::Int(1, 1000),
            "Checks passed in a row that bring a server back.",
        )
        .or("2")
        .nginx("passes="),
        Field::one(
            "fall",
            Kind::Int(1, 1000),
            "Checks failed in a row that take a server out; one is enough for a server that has not passed any yet.",
        )
        .or("3")
        .nginx("fails="),
        Field::one(
            "status",
            Kind::Text(text::STATUSES),
            "Statuses that pass a check.",
        )
        .or("\"200-399\"")
        .nginx("match"),
        Field::one(
            "host",
            Kind::Text(text::AUTHORITY),
            "`Host` of the check; without it, the server's address as it is written.",
        ),
        Field::one(
            "port",
            Kind::Int(1, 65_535),
            "Port that is asked; without it, the server's own.",
        )
        .nginx("port="),
    ],
    rule: None,
};

static SERVER: Table = Table {
    fields: &[
        Field::one(
            "address",
            Kind::Text(text::SERVER),
            "Where the server listens; a name that resolves to several addresses is several servers.",
        )
        .required()
        .nginx("server"),
        Field::one(
            "weight",
            Kind::Int(1, 65_535),
            "Share of the load relative to the other servers.",
        )
        .or("1")
        .nginx("weight="),
        Field::one(
            "max_fails",
            Kind::Int(0, 1_000_000),
            "Failures within `fail_timeout` that take the server out; 0 means never.",
        )
        .or("1")
        .nginx("max_fails="),
        Field::one(
            "fail_timeout",
            Kind::Duration(MILLISECOND, MINUTE.saturating_mul(60)),
            "The window in which failures count, and the time a failed server rests.",
        )
        .or("\"10s\"")
        .nginx("fail_timeout="),
        Field::one(
            "max_conns",
            Kind::Int(0, 1_000_000),
            "Most requests in flight to the server; 0 means no limit.",
        )
        .or("0")
        .nginx("max_conns="),
        Field::one("backup", Kind::Bool, "Used only when no other server is available.")
            .or("false")
            .nginx("backup"),
        Field::one("down", Kind::Bool, "Taken out of rotation.")
            .or("false")
            .nginx("down"),
    ],
    rule: None,
};
