//! The settings that may change while the proxy runs.

use std::time::Duration;

use super::{Field, Kind, Shape, Table, rules, text, upstream};

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The live settings, as in the file and in `/v1/settings`.
pub static LIVE: Table = Table {
    fields: LIVE_FIELDS,
    rule: None,
};

pub(super) const LIVE_FIELDS: &[Field] = &[
    Field::new(
        "connections",
        Shape::Table(&CONNECTIONS),
        "Connection limits of the whole process.",
    ),
    Field::new(
        "timeouts",
        Shape::Table(&TIMEOUTS),
        "Time limits of client and upstream connections.",
    ),
    Field::new(
        "client",
        Shape::Table(&CLIENT),
        "What a client may send, and what it is told.",
    ),
    Field::new(
        "compression",
        Shape::Table(&COMPRESSION),
        "Response compression.",
    )
    .nginx("gzip"),
    Field::new(
        "rate_limit",
        Shape::Named(&RATE_LIMIT),
        "Request rate limits, by name.",
    )
    .nginx("limit_req_zone, limit_req"),
    Field::new(
        "upstream",
        Shape::Named(&upstream::UPSTREAM),
        "Groups of servers, by name.",
    )
    .nginx("upstream"),
];

static CONNECTIONS: Table = Table {
    fields: &[Field::one(
        "max",
        Kind::Int(16, 1_000_000),
        "Most connections open at once, client and upstream together, in the whole process.",
    )
    .or("1024")
    .nginx("worker_connections")],
    rule: None,
};

static TIMEOUTS: Table = Table {
    fields: &[
        Field::one(
            "connect",
            Kind::Duration(MILLISECOND, Duration::from_secs(600)),
            "Establishing a connection to a server.",
        )
        .or("\"30s\"")
        .nginx("proxy_connect_timeout"),
        Field::one(
            "read",
            Kind::Duration(MILLISECOND, DAY),
            "Between two reads from a server; until the head of an answer, in all. A tunnel (WebSocket) may be idle for as long.",
        )
        .or("\"60s\"")
        .nginx("proxy_read_timeout"),
        Field::one(
            "send",
            Kind::Duration(MILLISECOND, DAY),
            "Between two writes, to a server or to a client.",
        )
        .or("\"60s\"")
        .nginx("proxy_send_timeout"),
        Field::one(
            "client_header",
            Kind::Duration(MILLISECOND, HOUR),
            "Receiving a whole request header, counted from its first byte.",
        )
        .or("\"60s\"")
        .nginx("client_header_timeout"),
        Field::one(
            "client_body",
            Kind::Duration(MILLISECOND, DAY),
            "Between two reads of a request body. Does not apply to tunnels (WebSocket).",
        )
        .or("\"60s\"")
        .nginx("client_body_timeout"),
        Field::one(
            "keepalive",
            Kind::Duration(MILLISECOND, DAY),
            "How long a client connection may stay idle between requests.",
        )
        .or("\"75s\"")
        .nginx("keepalive_timeout"),
        Field::one(
            "drain",
            Kind::Duration(Duration::ZERO, HOUR),
            "How long a shutdown waits for requests in flight.",
        )
        .or("\"30s\"")
        .nginx("worker_shutdown_timeout"),
    ],
    rule: None,
};

static CLIENT: Table = Table {
    fields: &[
        Field::one(
            "max_body",
            Kind::Bytes("1B", "1TiB"),
            "Largest request body; a larger one is answered with 413.",
        )
        .or("\"1MiB\"")
        .nginx("client_max_body_size"),
        Field::one(
            "max_header",
            Kind::Bytes("1KiB", "1MiB"),
            "Largest request header; a larger one is answered with 431.",
        )
        .or("\"32KiB\"")
        .nginx("large_client_header_buffers"),
        Field::one(
            "max_streams",
            Kind::Int(1, 10_000),
            "Most requests at once on an HTTP/2 connection; further ones are refused with REFUSED_STREAM.",
        )
        .or("128")
        .nginx("http2_max_concurrent_streams"),
        Field::list(
            "trusted_proxies",
            Kind::Text(text::CIDR),
            "Proxies in front of this one whose `X-Forwarded-For` is believed.",
        )
        .or("[]")
        .nginx("set_real_ip_from"),
        Field::one(
            "server_timing",
            Kind::Bool,
            "Whether answers say in a `Server-Timing` header how long each stage took: choosing a server, connecting, waiting for its first byte.",
        )
        .or("false"),
    ],
    rule: None,
};

static COMPRESSION: Table = Table {
    fields: &[
        Field::one(
            "enabled",
            Kind::Bool,
            "Whether responses are compressed at all.",
        )
        .or("false")
        .nginx("gzip"),
        Field::one("level", Kind::Int(1, 9), "1 is fastest, 9 is smallest.")
            .or("6")
            .nginx("gzip_comp_level"),
        Field::one(
            "min_length",
            Kind::Bytes("0B", "1GiB"),
            "Bodies known to be smaller are left alone.",
        )
        .or("\"256B\"")
        .nginx("gzip_min_length"),
        Field::list(
            "types",
            Kind::Text(text::MEDIA_TYPE),
            "Media types that are compressed.",
        )
        .or("[\"application/json\",\"text/*\"]")
        .nginx("gzip_types"),
    ],
    rule: None,
};

static RATE_LIMIT: Table = Table {
    fields: &[
        Field::one("enabled", Kind::Bool, "Off lets every request pass.").or("true"),
        Field::one(
            "dry_run",
            Kind::Bool,
            "Decides and counts, but lets every request pass.",
        )
        .or("false")
        .nginx("limit_req_dry_run"),
        Field::one(
            "key",
            Kind::Text(text::LIMIT_KEY),
            "What is counted; each different value has its own bucket.",
        )
        .or("\"client_ip\"")
        .nginx("the key of limit_req_zone"),
        Field::one("rate", Kind::Rate, "Sustained rate of one key.")
            .required()
            .nginx("rate="),
        Field::one(
            "burst",
            Kind::Int(0, 1_000_000),
            "Requests above the rate that are still let in.",
        )
        .or("0")
        .nginx("burst="),
        Field::one(
            "nodelay",
            Kind::Bool,
            "Requests within the burst pass at once instead of waiting their turn; excludes `delay`.",
        )
        .or("false")
        .nginx("nodelay"),
        Field::one(
            "delay",
            Kind::Int(0, 1_000_000),
            "As many requests of the burst pass at once, the others wait; excludes `nodelay`.",
        )
        .nginx("delay="),
        Field::one(
            "status",
            Kind::Int(400, 599),
            "Status of a rejection (nginx's own default is 503).",
        )
        .or("429")
        .nginx("limit_req_status"),
        Field::one(
            "max_keys",
            Kind::Int(1, 100_000_000),
            "Most keys held at once; the least recently used goes first.",
        )
        .or("160000")
        .nginx("the size of limit_req_zone"),
    ],
    rule: Some(rules::rate_limit),
};
