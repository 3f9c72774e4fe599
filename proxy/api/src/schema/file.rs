//! The configuration file: the live settings, and what is fixed while the proxy runs.

use std::time::Duration;

use super::{Applies, Field, Kind, Shape, Table, live, rules, text, transport, upstream};

const LIVE: [Field; 5] = {
    let fields = live::LIVE_FIELDS;
    [fields[0], fields[1], fields[2], fields[3], fields[4]]
};

/// The whole file.
pub static FILE: Table = Table {
    fields: &[
        Field::new("server", Shape::Table(&SERVER), "The process.").applies(Applies::Restart),
        Field::new("admin", Shape::Table(&ADMIN), "The admin API.").applies(Applies::Restart),
        Field::new(
            "resolver",
            Shape::Table(&RESOLVER),
            "How the names of servers are looked up.",
        )
        .nginx("resolver")
        .applies(Applies::Restart),
        Field::new(
            "listener",
            Shape::Tables(&transport::LISTENER),
            "Where clients connect; at least one.",
        )
        .required()
        .nginx("listen")
        .applies(Applies::Restart),
        Field::new(
            "access_log",
            Shape::Table(&ACCESS_LOG),
            "One line for each request.",
        )
        .nginx("access_log")
        .applies(Applies::Restart),
        LIVE[0],
        LIVE[1],
        LIVE[2],
        LIVE[3],
        LIVE[4],
        Field::new(
            "upstream",
            Shape::Named(&upstream::IN_FILE),
            "Groups of servers, by name.",
        )
        .nginx("upstream"),
        Field::new(
            "route",
            Shape::Tables(&ROUTE),
            "Which requests go to which upstream; at least one. By host (exact, then the longest wildcard, then any), then by path (exact, then expressions in the order of the file, then the longest prefix).",
        )
        .required()
        .nginx("location")
        .applies(Applies::Reload),
    ],
    rule: Some(rules::file),
};

static SERVER: Table = Table {
    fields: &[
        Field::one(
            "threads",
            Kind::Int(0, 1024),
            "Worker threads; 0 means one for each core.",
        )
        .or("0")
        .nginx("worker_processes")
        .applies(Applies::Restart),
        Field::one(
            "upgrade_socket",
            Kind::Text(text::FILE_PATH),
            "Where an old process hands its listening sockets to one started with `--upgrade`.",
        )
        .or("\"/run/weir/upgrade.sock\"")
        .applies(Applies::Restart),
        Field::one(
            "pid_file",
            Kind::Text(text::FILE_PATH),
            "Where the process writes its id.",
        )
        .nginx("pid")
        .applies(Applies::Restart),
    ],
    rule: None,
};

static ADMIN: Table = Table {
    fields: &[
        Field::one(
            "listen",
            Kind::Text(text::LISTEN),
            "Where the admin API listens; an address that other machines can reach needs `tokens`.",
        )
        .or("\"127.0.0.1:9900\"")
        .applies(Applies::Restart),
        Field::one(
            "socket",
            Kind::Text(text::FILE_PATH),
            "A Unix socket where the admin API listens as well; whoever may write to it (its owner, mode 0600) is trusted without a token.",
        )
        .applies(Applies::Restart),
        Field::one(
            "tokens",
            Kind::Text(text::FILE_PATH),
            "A file of tokens; once it is named, every request over TCP needs one. Read again on SIGHUP.",
        )
        .applies(Applies::Restart),
        Field::new(
            "tls",
            Shape::Table(&ADMIN_TLS),
            "TLS on `listen`; then nothing is answered there without it.",
        )
        .applies(Applies::Restart),
        Field::list(
            "hosts",
            Kind::Text(text::HOST),
            "Names by which the admin API is called, besides its address: others are refused (403), unless the request has a token.",
        )
        .or("[]")
        .applies(Applies::Restart),
        Field::one(
            "audit_log",
            Kind::Text(text::FILE_PATH),
            "A file for one JSON line about each change and each refusal.",
        )
        .applies(Applies::Restart),
        Field::one(
            "profile",
            Kind::Bool,
            "Whether CPU profiles of this process may be taken through the admin API.",
        )
        .or("false")
        .applies(Applies::Restart),
    ],
    rule: Some(rules::admin),
};

static ADMIN_TLS: Table = Table {
    fields: &[
        Field::one(
            "cert",
            Kind::Text(text::FILE_PATH),
            "Certificate chain, PEM.",
        )
        .required()
        .applies(Applies::Restart),
        Field::one("key", Kind::Text(text::FILE_PATH), "Private key, PEM.")
            .required()
            .applies(Applies::Restart),
    ],
    rule: None,
};

static RESOLVER: Table = Table {
    fields: &[
        Field::list(
            "servers",
            Kind::Text(text::DNS_SERVER),
            "DNS servers to ask after `/etc/hosts`, and no others; without any, those of `/etc/resolv.conf`, then whatever `/etc/nsswitch.conf` names.",
        )
        .or("[]")
        .nginx("resolver")
        .applies(Applies::Restart),
        Field::one(
            "max_ttl",
            Kind::Duration(Duration::from_secs(1), Duration::from_secs(3600)),
            "A name is looked up again when the TTL of its answer is over (after 1 s at the earliest), and after this time at the latest.",
        )
        .or("\"5s\"")
        .nginx("valid=")
        .applies(Applies::Restart),
        Field::one(
            "timeout",
            Kind::Duration(Duration::from_millis(100), Duration::from_secs(60)),
            "How long one look-up may take; also how long a change that names a new server waits.",
        )
        .or("\"5s\"")
        .nginx("resolver_timeout")
        .applies(Applies::Restart),
    ],
    rule: None,
};

static ACCESS_LOG: Table = Table {
    fields: &[
        Field::one("enabled", Kind::Bool, "Whether requests are logged.")
            .or("true")
            .applies(Applies::Restart),
        Field::one(
            "path",
            Kind::Text(text::FILE_PATH),
            "The file; \"-\" means standard output.",
        )
        .or("\"-\"")
        .nginx("access_log")
        .applies(Applies::Restart),
        Field::one(
            "format",
            Kind::OneOf(&["json", "text"]),
            "How a line is written.",
        )
        .or("\"json\"")
        .nginx("log_format")
        .applies(Applies::Restart),
        Field::one(
            "buffer",
            Kind::Bytes("0B", "16MiB"),
            "Lines are collected up to this size before they are written; 0 writes each at once.",
        )
        .or("\"64KiB\"")
        .nginx("buffer=")
        .applies(Applies::Restart),
    ],
    rule: None,
};

static ROUTE: Table = Table {
    fields: &[
        Field::one(
            "name",
            Kind::Text(text::NAME),
            "What the route is called in logs and metrics; without it, by its path with its host in front.",
        )
        .applies(Applies::Reload),
        Field::one(
            "host",
            Kind::Text(text::ROUTE_HOST),
            "Only requests for this host, in capitals or not, with any port and with or without a dot at its end; with \"*.\" in front, for the hosts below it, however many labels; without it, requests for any.",
        )
        .nginx("server_name")
        .applies(Applies::Reload),
        Field::new(
            "path",
            Shape::Either(Kind::Text(text::PREFIX), &ROUTE_PATH),
            "Only requests whose path, decoded once and without dot segments and double slashes, begins so, or is as the table says; the server gets what the client wrote.",
        )
        .or("\"/\"")
        .nginx("location")
        .applies(Applies::Reload),
        Field::list(
            "methods",
            Kind::Text(text::METHOD),
            "Only requests with one of these methods, HEAD with GET; without any, with all. Where routes fail for their methods only, the answer is 405 with `Allow`.",
        )
        .or("[]")
        .nginx("limit_except")
        .applies(Applies::Reload),
        Field::new(
            "headers",
            Shape::Texts(text::HEADER_NAME, text::HEADER_VALUE),
            "Only requests that have every one of these header fields with exactly this value.",
        )
        .or("{}")
        .applies(Applies::Reload),
        Field::one("upstream", Kind::Text(text::NAME), "The upstream's name.")
            .required()
            .nginx("proxy_pass")
            .applies(Applies::Reload),
        Field::list(
            "rate_limit",
            Kind::Text(text::NAME),
            "Names of the rate limits that a request must pass, all of them.",
        )
        .or("[]")
        .nginx("limit_req")
        .applies(Applies::Reload),
        Field::new(
            "request_headers",
            Shape::Table(&HEADERS),
            "Changes to the request before it goes to the server.",
        )
        .nginx("proxy_set_header")
        .applies(Applies::Reload),
        Field::new(
            "response_headers",
            Shape::Table(&HEADERS),
            "Changes to the response before it goes to the client.",
        )
        .nginx("add_header, proxy_hide_header")
        .applies(Applies::Reload),
    ],
    rule: None,
};

static ROUTE_PATH: Table = Table {
    fields: &[
        Field::one(
            "exact",
            Kind::Text(text::EXACT_PATH),
            "Only requests for this path.",
        )
        .nginx("location =")
        .applies(Applies::Reload),
        Field::one(
            "regex",
            Kind::Text(text::PATH_REGEX),
            "Only requests in whose path the expression finds something, wherever it does: `^` and `$` are the ends.",
        )
        .nginx("location ~")
        .applies(Applies::Reload),
    ],
    rule: Some(rules::route_path),
};

static HEADERS: Table = Table {
    fields: &[
        Field::new(
            "set",
            Shape::Texts(text::HEADER_NAME, text::HEADER_VALUE),
            "Headers to set, by name; an existing one is replaced.",
        )
        .or("{}")
        .applies(Applies::Reload),
        Field::list(
            "remove",
            Kind::Text(text::HEADER_NAME),
            "Headers to remove.",
        )
        .or("[]")
        .applies(Applies::Reload),
    ],
    rule: None,
};
