//! The same odd paths and hosts to the proxy and to the real nginx: the same location is chosen.

use weir_tests::{Conn, Nginx, Origin, Reply, Weir};

/// The prefixes of the locations.
const LOCATIONS: [&str; 12] = [
    "/", "/a", "/a/", "/a/b", "/a/b/c/", "/admin", "/Admin", "/.hidden", "/50%", "/semi;x", "/ü",
    "/x+y",
];

/// Ways to write a path, beginning with the slash.
fn paths() -> Vec<String> {
    let bases = [
        "/admin", "/a", "/a/", "/a/b", "/a/b/c/d", "/Admin", "/.hidden", "/other",
    ];
    let mut paths: Vec<String> = Vec::new();
    for base in bases {
        let encoded: String = base[1..].bytes().map(|b| format!("%{b:02x}")).collect();
        let upper = encoded.to_uppercase();
        for path in [
            base.to_owned(),
            format!("/{base}"),
            format!("//{base}//"),
            format!("/.{base}"),
            format!("/x/..{base}"),
            format!("/x/%2e%2E{base}"),
            format!("/x/..%2f{}", &base[1..]),
            format!("/x/y/.././..{base}"),
            format!("/%2F{}", &base[1..]),
            format!("/{encoded}"),
            format!("/{upper}?q=/../../.."),
            format!("{base}/."),
            format!("{base}/.."),
            format!("{base}/../.."),
            format!("{base}/x/.."),
            format!("{base}%00"),
            format!("{base}%"),
            format!("{base}%3f/../x"),
            format!("{base}%23"),
            format!("{base};x"),
            format!("/..{base}"),
        ] {
            paths.push(path);
        }
    }
    for path in [
        "/a/b/..;/c",
        "/a%2",
        "/a%2x",
        "/a%%41",
        "/%2541",
        "/%61%64min",
        "/adm%69n/..",
        "/a%252fb",
        "/50%25",
        "/50%25x",
        "/%35%30%25",
        "/semi%3bx",
        "/semi;x/..",
        "/%C3%BC",
        "/%c3%bc/x",
        "/x%2By",
        "/x+y",
        "/x%20y",
        "/...",
        "/a/...",
        "/a/..b",
        "/a/.b",
        "/a/%2e",
        "/a/%2e/",
        "/a/%2e%2e/",
        "/a/.%2e/admin",
        "/a/%2e./admin",
        "/a\\..\\admin",
        "/a/\\../admin",
        "/%5cadmin",
        "/?",
        "/?a=%",
        "/a?%00",
        "/a/?/../admin",
        "/./",
        "/.",
        "/..",
        "/../",
        "/a/b/../../..",
        "/%2e%2e",
        "/%",
        "/%0",
        "/%00",
        "/%0a",
        "/%0d%0aadmin",
        "/%7f",
        "/%ff",
        "/%80admin",
        "//",
        "///",
        "/////a",
        "/a///b",
        "/a/%2f/b",
        "/%2f%2f%2fa",
        "/a/b//../c",
        "/a/b/%2f../c",
        "/x/%2e%2e/%61%64%6d%69%6e",
        "/ADMIN",
        "/admin.",
        "/admin%2e",
        "/admin%2e/",
        "/~admin",
        "/\"",
        "/<a>",
        "/a|b",
        "/a^b",
        "/{a}",
        "/a`b",
        "/a'b",
        "/a%3Fb",
        "/a%3f",
        "/.%23",
        "/a/.%23/b",
        "/a/..%3f",
    ] {
        paths.push(path.to_owned());
    }
    paths
}

/// The location that was chosen, or the status.
async fn chosen(conn: &mut Option<Conn>, to: std::net::SocketAddr, head: &str) -> String {
    let mut client = match conn.take() {
        Some(client) => client,
        None => Conn::open(to).await,
    };
    client.send(head).await;
    let answer = client.answer().await;
    let text = match answer.status {
        200 => answer.text(),
        status => status.to_string(),
    };
    if answer.status == 200 && answer.header("Connection") != Some("close") {
        *conn = Some(client);
    }
    text
}

#[tokio::test]
async fn odd_paths_take_the_same_location() {
    let origin =
        Origin::start(|request| Reply::text(request.header("X-Location").unwrap_or("none"))).await;
    let (mut locations, mut routes) = (String::new(), Vec::new());
    for location in LOCATIONS {
        locations += &format!("location \"{location}\" {{ return 200 \"{location}\"; }}\n");
        routes.push(format!(
            "{{ path = '{location}', upstream = 'api', request_headers.set = {{ X-Location = '{location}' }} }}"
        ));
    }
    let nginx = Nginx::start("", &locations).await;
    let weir = Weir::before(&[&origin])
        .with(&format!("route = [{}]", routes.join(", ")))
        .start()
        .await;
    let paths = paths();
    assert!(paths.len() > 200, "{}", paths.len());
    let (mut to_nginx, mut to_weir, mut wrong) = (None, None, Vec::new());
    for path in &paths {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let before = origin.count();
        let by_nginx = chosen(&mut to_nginx, nginx.addr(), &head).await;
        let by_weir = chosen(&mut to_weir, weir.addr(), &head).await;
        if by_nginx != by_weir {
            wrong.push(format!("{path}: nginx {by_nginx}, weir {by_weir}"));
        }
        if origin.count() > before {
            assert_eq!(
                &origin.last().target,
                path,
                "what the client wrote is sent on"
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        paths.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn spellings_of_a_host_take_the_same_server() {
    let origin =
        Origin::start(|request| Reply::text(request.header("X-Server").unwrap_or("none"))).await;
    // `$host` is what nginx compares with `server_name`.
    let nginx = Nginx::start(
        "map $host $chosen { hostnames; default other; a.example a; [::1] six; }",
        "return 200 $chosen;",
    )
    .await;
    let weir = Weir::before(&[&origin])
        .with(
            "route = [
               { upstream = 'api', request_headers.set = { X-Server = 'other' } },
               { host = 'A.example.', upstream = 'api', request_headers.set = { X-Server = 'a' } },
               { host = '[::1]', upstream = 'api', request_headers.set = { X-Server = 'six' } },
             ]",
        )
        .start()
        .await;
    let (mut to_nginx, mut to_weir, mut wrong) = (None, None, Vec::new());
    let mut heads = vec![
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n".to_owned(),
    ];
    let hosts = [
        "a.example",
        "A.eXample",
        "a.example.",
        "A.EXAMPLE.:8080",
        "a.example:80",
        "a.example:",
        "b.example",
        "a.example.b",
        "x.a.example",
        "[::1]",
        "[::1]:80",
        "127.0.0.1",
        "aexample",
        "a.example%2e",
    ];
    for host in hosts {
        heads.push(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        heads.push(format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n"));
    }
    // In an absolute target nginx knows nothing but letters, digits, hyphens and dots.
    for host in [
        "a.example",
        "A.eXample",
        "a.example.",
        "A.EXAMPLE.:8080",
        "b.example",
        "x.a.example",
        "[::1]:80",
    ] {
        for (version, rest) in [
            ("1.1", "Host: a.example\r\n"),
            ("1.1", "Host: b.example\r\n"),
            ("1.1", "Host:\r\n"),
            ("1.0", "Host: a.example\r\n"),
            ("1.0", ""),
        ] {
            heads.push(format!("GET http://{host}/ HTTP/{version}\r\n{rest}\r\n"));
            heads.push(format!("GET http://{host} HTTP/{version}\r\n{rest}\r\n"));
        }
    }
    for head in &heads {
        let by_nginx = chosen(&mut to_nginx, nginx.addr(), head).await;
        let by_weir = chosen(&mut to_weir, weir.addr(), head).await;
        // An empty `Host` says nothing against an absolute target (RFC 9112, 3.2.2); nginx refuses any.
        if head.contains("Host:\r\n") {
            assert_eq!(by_nginx, "400", "{head:?}");
            assert_ne!(by_weir, "400", "{head:?}");
        } else if by_nginx != by_weir {
            wrong.push(format!("{head:?}: nginx {by_nginx}, weir {by_weir}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        heads.len(),
        wrong.join("\n")
    );
}

/// Locations of each server in turn: exact ones, expressions in their order, prefixes.
const SERVERS: [(&str, &[(&str, &str)]); 4] = [
    (
        "",
        &[
            ("", "/"),
            ("=", "/"),
            ("~", "^/v[0-9]+/"),
            ("~", "\\.png$"),
            ("", "/v1/"),
            ("", "/img"),
            ("=", "/img/a.png"),
        ],
    ),
    (
        "a.example",
        &[
            ("", "/"),
            ("", "/a"),
            ("", "/a/b/"),
            ("=", "/a/b/c"),
            ("~", "b/c"),
            ("~", "^/a/b/c$"),
            ("~", "x$"),
        ],
    ),
    (
        "*.example",
        &[
            ("", "/"),
            ("~", "[0-9]{2}"),
            ("", "/v1"),
            ("=", "/v12"),
            ("", "/v1/a"),
            ("~", "(?i)^/IMG"),
        ],
    ),
    (
        "*.b.example",
        &[
            ("", "/"),
            ("", "/b"),
            ("~", "a.b"),
            ("~", "^/(a|b)/"),
            ("", "/b/a/"),
        ],
    ),
];

/// Five hundred requests, the same ones each time.
fn requests() -> Vec<(String, String)> {
    let hosts = [
        "other",
        "a.example",
        "A.EXAMPLE:80",
        "b.example",
        "x.b.example",
        "x.y.b.example",
        "y.example",
        "example",
        "ab.example.",
        "x.a.example",
    ];
    let parts = [
        "a", "b", "c", "v1", "v12", "v", "img", "IMG", "a.png", "x", "..", ".", "", "%61",
        "%2e%2e", "a%2fb", "7", "77",
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: usize| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    (0..500)
        .map(|_| {
            let mut path = String::new();
            for _ in 0..=next(4) {
                path += "/";
                path += parts[next(parts.len())];
            }
            if next(4) == 0 {
                path += "/";
            }
            (hosts[next(hosts.len())].to_owned(), path)
        })
        .collect()
}

#[tokio::test]
async fn five_hundred_requests_take_the_same_location() {
    let origin =
        Origin::start(|request| Reply::text(request.header("X-Location").unwrap_or("none"))).await;
    let (mut servers, mut routes) = (String::new(), Vec::new());
    for (host, of_host) in SERVERS {
        let mut locations = String::new();
        for (kind, path) in of_host {
            let name = format!("host {host} {kind} {path}");
            let escaped = path.replace('\\', "\\\\");
            locations += &format!(
                "location {kind} \"{escaped}\" {{ return 200 \"{}\"; }}\n",
                name.replace(['$', '\\'], "_")
            );
            let host = match host.is_empty() {
                true => String::new(),
                false => format!("host = '{host}', "),
            };
            let path = match *kind {
                "=" => format!("{{ exact = '{path}' }}"),
                "~" => format!("{{ regex = '{path}' }}"),
                _ => format!("'{path}'"),
            };
            routes.push(format!(
                "{{ {host}path = {path}, upstream = 'api', request_headers.set = {{ X-Location = '{}' }} }}",
                name.replace(['$', '\\'], "_")
            ));
        }
        let listen = match host.is_empty() {
            true => "listen ADDRESS default_server;".to_owned(),
            false => format!("listen ADDRESS; server_name {host};"),
        };
        servers += &format!("server {{ {listen} {locations} }}\n");
    }
    let nginx = Nginx::start(&servers, "server_name unused.invalid;").await;
    let weir = Weir::before(&[&origin])
        .with(&format!("route = [{}]", routes.join(", ")))
        .start()
        .await;
    let (mut to_nginx, mut to_weir, mut wrong) = (None, None, Vec::new());
    let mut seen = std::collections::BTreeSet::new();
    for (host, path) in requests() {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let by_nginx = chosen(&mut to_nginx, nginx.addr(), &head).await;
        let by_weir = chosen(&mut to_weir, weir.addr(), &head).await;
        if by_nginx != by_weir {
            wrong.push(format!("{host} {path}: nginx {by_nginx}, weir {by_weir}"));
        }
        seen.insert(by_nginx);
    }
    assert!(
        wrong.is_empty(),
        "{} of 500:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // Most locations of every server are reached.
    assert!(seen.len() > 15, "{seen:?}");
}
