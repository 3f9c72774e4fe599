//! What heads are taken, and that it does not matter in which pieces they come.
#![allow(clippy::unwrap_used)]

use http::Method;
use proptest::prelude::*;

use super::*;

fn parse(text: &[u8]) -> Result<Option<RequestHead>, HeadError> {
    let mut parser = RequestParser::new();
    Ok(match parser.advance(text)? {
        Some(len) => parser.finish(text[..len].to_vec()),
        None => None,
    })
}

fn head(text: &str) -> Result<RequestHead, HeadError> {
    parse(text.as_bytes()).map(Option::unwrap)
}

fn error(text: &str) -> Option<HeadError> {
    head(text).err()
}

#[test]
fn an_ordinary_request_passes() {
    let text = "POST /a?b=c HTTP/1.1\r\nHost: x:80\r\nContent-Length: 12\r\nX-A:  b \r\n\r\n";
    let head = head(text).unwrap();
    assert_eq!(head.method, Method::POST);
    assert_eq!(head.target(), b"/a?b=c");
    assert_eq!(head.authority(), b"x:80");
    assert_eq!(head.body, RequestBody::Length(12));
    assert_eq!(head.fields.find(b"x-a"), Some(&b"b"[..]));
    assert!(head.keep_alive && head.is_modern());
    let old = parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().unwrap();
    assert!(!old.is_modern() && !old.keep_alive);
    assert_eq!(old.authority(), b"");
    assert!(parse(b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").is_ok());
    assert!(parse(b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n").is_ok());
}

#[test]
fn ambiguous_framing_is_refused() {
    let cases = [
        (
            "Content-Length: 1\r\nContent-Length: 1",
            HeadError::ContentLength,
        ),
        ("Content-Length: +1", HeadError::ContentLength),
        ("Content-Length: 1, 1", HeadError::ContentLength),
        ("Content-Length:", HeadError::ContentLength),
        (
            "Content-Length: 99999999999999999999",
            HeadError::ContentLength,
        ),
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            HeadError::ContentLength,
        ),
        (
            "Transfer-Encoding: gzip, chunked",
            HeadError::TransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            HeadError::TransferEncoding,
        ),
        ("Transfer-Encoding: \x0bchunked", HeadError::Field),
        ("Transfer-Encoding : chunked", HeadError::Field),
        ("X: a\r\n b", HeadError::Field),
        ("X: a\nY: b", HeadError::BareNewline),
        ("X: a\rY: b", HeadError::Field),
        ("X: a\0b", HeadError::Field),
        (": b", HeadError::Field),
        ("X", HeadError::Field),
        ("Host: y", HeadError::Host),
    ];
    for (fields, expected) in cases {
        let text = format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
        assert_eq!(error(&text), Some(expected), "{fields:?}");
    }
}

#[test]
fn request_lines_are_exact() {
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "G@T / HTTP/1.1",
        "GET / http/1.1",
        "GET /\0 HTTP/1.1",
        "GET /",
    ] {
        let text = format!("{line}\r\nHost: x\r\n\r\n");
        assert_eq!(error(&text), Some(HeadError::RequestLine), "{line:?}");
    }
    assert_eq!(
        error("GET / HTTP/2.0\r\nHost: x\r\n\r\n"),
        Some(HeadError::Version)
    );
    assert_eq!(error("GET / HTTP/1.1\r\n\r\n"), Some(HeadError::Host));
    for host in ["a b", "a/b", "a@b", "a:b", "[::1", "[x]", "a:123456"] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(error(&text), Some(HeadError::Host), "{host:?}");
    }
}

#[test]
fn targets_have_one_of_four_forms() {
    let line = |line: &str| head(&format!("{line}\r\nHost: x\r\n\r\n")).map(|_| ());
    for good in [
        "GET /a|b^c{d}?`x HTTP/1.1",
        "GET /<b>\"`é?\"<>é HTTP/1.1",
        "GET http://x/y HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "CONNECT x:1 HTTP/1.1",
    ] {
        assert_eq!(line(good), Ok(()), "{good}");
    }
    for bad in [
        "GET x HTTP/1.1",
        "GET * HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://u:p@x/ HTTP/1.1",
        "GET ftp://x/ HTTP/1.1",
        "GET /#f HTTP/1.1",
        "CONNECT /x HTTP/1.1",
    ] {
        assert_eq!(line(bad), Err(HeadError::RequestLine), "{bad}");
    }
}

#[test]
fn the_authority_of_the_target_comes_before_host() {
    let parts = |target: &str| {
        let head = head(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
        let text = |part: &[u8]| String::from_utf8(part.to_vec()).unwrap();
        (
            text(head.target()),
            text(head.authority()),
            text(head.origin_form()),
        )
    };
    let owned = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(parts("/x?y"), owned("/x?y", "a", "/x?y"));
    assert_eq!(
        parts("HTTP://B:80/x?y"),
        owned("HTTP://B:80/x?y", "B:80", "/x?y")
    );
    assert_eq!(parts("http://b"), owned("http://b", "b", "/"));
    assert_eq!(parts("http://b?q"), owned("http://b?q", "b", "/?q"));
    let options = head("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(options.origin_form(), b"*");
    let head = RequestHead::new(
        Version::Http2,
        Method::GET,
        b"/p?q",
        Some(b"c"),
        Fields::new(),
        RequestBody::None,
    );
    assert_eq!((head.target(), head.authority()), (&b"/p?q"[..], &b"c"[..]));
}

#[test]
fn every_connection_field_counts() {
    let keeps = |fields: &str| {
        head(&format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n"))
            .unwrap()
            .keep_alive
    };
    assert!(keeps("Connection: keep-alive"));
    assert!(!keeps("Connection: keep-alive\r\nConnection: x, Close"));
    let old = head("GET / HTTP/1.0\r\nConnection: Keep-Alive, TE\r\n\r\n").unwrap();
    assert!(old.keep_alive);
}

#[test]
fn only_an_upgrade_that_connection_names_counts_and_never_to_http() {
    let offered = |fields: &str| {
        let head = head(&format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n")).unwrap();
        head.upgrades()
            .map(|p| String::from_utf8(p.to_vec()).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        offered("Connection: keep-alive, Upgrade\r\nUpgrade: websocket"),
        ["websocket"]
    );
    assert_eq!(
        offered("Connection: upgrade\r\nUpgrade: websocket, H2C"),
        ["websocket"]
    );
    for fields in [
        "Upgrade: websocket",
        "Connection: close\r\nUpgrade: websocket",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c",
        "Connection: Upgrade\r\nUpgrade: HTTP/2.0",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3",
    ] {
        assert!(offered(fields).is_empty(), "{fields}");
    }
}

#[test]
fn what_cannot_become_a_request_is_refused_at_once() {
    let cases: [&[u8]; 9] = [
        b"\x16\x03\x01\x00\xc8\x01\x00",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET /\r\n",
        b"GET / HTTP/1.1\nHost: a\n",
        b"\0\0\0",
        b"PRI * HTTP/2.0\r\n",
        b"GET / HTTX/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost a\r\n",
        b"AVERYLONGMETHODTHATISNOTREGISTEREDANYWHERE",
    ];
    for start in cases {
        assert!(
            parse(start).is_err(),
            "{:?}",
            start.escape_ascii().to_string()
        );
    }
    for start in [
        "G",
        "GET",
        "GET /",
        "GET / HTTP/1.1\r",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r",
    ] {
        assert!(parse(start.as_bytes()).unwrap().is_none(), "{start:?}");
    }
}

fn answer(text: &str, method: &Method) -> Result<Option<(ResponseHead, usize)>, BadAnswer> {
    let asked = Asked {
        method,
        upgrade: false,
    };
    ResponseParser::new().advance(text.as_bytes(), asked)
}

#[test]
fn framing_of_answers_follows_the_rfc() {
    let framing = |text: &str| answer(text, &Method::GET).unwrap().unwrap().0.framing;
    assert_eq!(
        framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        Framing::Length(5)
    );
    assert_eq!(
        framing("HTTP/1.1 200 OK\nTransfer-Encoding: Chunked\n\n"),
        Framing::Chunked
    );
    assert_eq!(framing("HTTP/1.1 200\r\n\r\n"), Framing::UntilClose);
    assert_eq!(framing("HTTP/1.1 204 No Content\r\n\r\n"), Framing::None);
    assert_eq!(framing("HTTP/1.1 100 Continue\r\n\r\n"), Framing::None);
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(
        answer(text, &Method::HEAD).unwrap().unwrap().0.framing,
        Framing::None
    );
    assert!(
        answer("HTTP/1.1 200 OK\r\nContent-", &Method::GET)
            .unwrap()
            .is_none()
    );
}

#[test]
fn hop_by_hop_fields_stay_behind() {
    let text = "HTTP/1.1 200 OK\r\nConnection: X-Hop, close, Upgrade\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2\r\nX-End: 2\r\nContent-Length: 0\r\n\r\n";
    let (mut head, len) = answer(text, &Method::GET).unwrap().unwrap();
    assert_eq!(len, text.len());
    head.strip_hop_by_hop();
    let mut out = Vec::new();
    head.fields.write(&mut out);
    assert_eq!(out, b"X-End: 2\r\nContent-Length: 0\r\n");
    assert!(head.close);
    let text = "HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let (mut head, _) = answer(text, &Method::GET).unwrap().unwrap();
    head.strip_hop_by_hop();
    assert_eq!(head.fields.get(Name::Upgrade), Some(&b"websocket"[..]));
}

#[test]
fn ambiguous_answers_are_refused() {
    for fields in [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1, 1",
        "Content-Length: -1",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "X Y: z",
        "X : z",
        "X: a\r\n folded",
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
        assert!(answer(&text, &Method::GET).is_err(), "{fields}");
    }
    for text in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 20x OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "nonsense",
    ] {
        assert!(answer(text, &Method::GET).is_err(), "{text}");
    }
}

#[test]
fn a_thousand_fields_pass() {
    let fields: String = (0..1000).map(|i| format!("X-{i}: {i}\r\n")).collect();
    let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    let (head, _) = answer(&text, &Method::GET).unwrap().unwrap();
    assert_eq!(head.fields.len(), 1000);
}

/// Text that is often a head, and often nearly one.
fn head_text() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("GET / HTTP/1.1\r\n".to_owned()),
        Just("POST http://b/x?y HTTP/1.1\r\n".to_owned()),
        Just("Host: a\r\n".to_owned()),
        Just("Content-Length: 3\r\n".to_owned()),
        Just("Transfer-Encoding: chunked\r\n".to_owned()),
        Just("Connection: close, x-a\r\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("X-A : b\r\n".to_owned()),
        Just("lf only\n".to_owned()),
        "[A-Za-z-]{1,8}:[ \t]{0,2}[ -~]{0,12}[ \t]{0,2}\r\n",
    ];
    let start = prop_oneof![
        4 => Just("GET /p HTTP/1.1\r\nHost: a\r\n".to_owned()),
        1 => Just(String::new())
    ];
    (
        start,
        prop::collection::vec(line, 0..6),
        prop::bool::weighted(0.8),
    )
        .prop_map(|(start, lines, end)| {
            let mut text = start + &lines.concat();
            if end {
                text.push_str("\r\n");
            }
            text.into_bytes()
        })
}

/// What a parser makes of `text` that comes in pieces.
fn in_pieces(text: &[u8], cuts: &[usize]) -> Result<Option<String>, HeadError> {
    let mut parser = RequestParser::new();
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.push(text.len());
    cuts.sort_unstable();
    for cut in cuts {
        if let Some(len) = parser.advance(&text[..cut])? {
            let head = parser.finish(text[..len].to_vec()).unwrap();
            return Ok(Some(format!("{head:?}")));
        }
    }
    Ok(None)
}

proptest! {
    #[test]
    fn requests_are_the_same_in_any_pieces(text in head_text(), cuts in prop::collection::vec(0usize..400, 0..6)) {
        let whole = in_pieces(&text, &[]);
        let split = in_pieces(&text, &cuts);
        // An error may show earlier in pieces, but it shows.
        prop_assert_eq!(whole.is_ok(), split.is_ok());
        if let (Ok(whole), Ok(split)) = (whole, split) {
            prop_assert_eq!(whole, split);
        }
    }

    #[test]
    fn answers_are_the_same_in_any_pieces(text in head_text(), cuts in prop::collection::vec(0usize..400, 0..6)) {
        let text = [b"HTTP/1.1 200 OK\r\n", &text[..]].concat();
        let asked = Asked { method: &Method::GET, upgrade: false };
        let whole = ResponseParser::new().advance(&text, asked);
        let mut parser = ResponseParser::new();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
        cuts.push(text.len());
        cuts.sort_unstable();
        let mut split = Ok(None);
        for cut in cuts {
            split = parser.advance(&text[..cut], asked);
            if !matches!(split, Ok(None)) {
                break;
            }
        }
        prop_assert_eq!(format!("{whole:?}"), format!("{split:?}"));
    }

    #[test]
    fn what_is_written_parses_to_the_same_fields(text in head_text()) {
        if let Ok(Some(head)) = parse(&text) {
            let mut out = b"GET / HTTP/1.1\r\n".to_vec();
            head.fields.write(&mut out);
            out.extend_from_slice(b"\r\n");
            let again = parse(&out).unwrap();
            let pairs = |head: &RequestHead| -> Vec<(Vec<u8>, Vec<u8>)> {
                head.fields.iter().map(|f| (f.name.to_vec(), f.value.to_vec())).collect()
            };
            // HTTP/1.0 heads may lack the Host that 1.1 wants; this writes 1.1 only.
            if let Some(again) = again {
                prop_assert_eq!(pairs(&head), pairs(&again));
                prop_assert_eq!(head.body, again.body);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&data);
        let _ = ResponseParser::new().advance(&data, Asked { method: &Method::GET, upgrade: true });
    }
}
