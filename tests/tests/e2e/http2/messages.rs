//! The rules of RFC 9113 section 8, and RFC 8441: what a request may be.

use weir_tests::frames::*;

use super::rules::{Expect::*, Rule, hold, rule};

const PROTOCOL: &[u32] = &[PROTOCOL_ERROR];

fn headers(flags: u8, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, 1, block)
}

/// A request with exactly these fields is malformed.
fn malformed(name: &'static str, fields: &[(&str, &str)]) -> Rule {
    rule(
        name,
        Stream(1, PROTOCOL),
        &[&headers(END_STREAM, &block(fields))],
    )
}

/// So is `GET /` with these fields behind it.
fn malformed_with(name: &'static str, more: &[(&str, &str)]) -> Rule {
    rule(
        name,
        Stream(1, PROTOCOL),
        &[&headers(END_STREAM, &get("/", more))],
    )
}

fn fine_with(name: &'static str, more: &[(&str, &str)]) -> Rule {
    rule(name, Answered(1), &[&headers(END_STREAM, &get("/", more))])
}

#[tokio::test]
async fn fields_are_as_section_8_2_says() {
    hold(vec![
        malformed_with("8.2 a name in upper case", &[("X-Up", "1")]),
        malformed_with("8.2.1 a name with a space", &[("x y", "1")]),
        malformed_with("8.2.1 a name with a colon", &[("x:y", "1")]),
        malformed_with("8.2.1 a name with a control character", &[("x\u{1}", "1")]),
        malformed_with("8.2.1 a name of nothing", &[("", "1")]),
        malformed_with("8.2.1 a value with NUL", &[("x", "a\0b")]),
        malformed_with("8.2.1 a value with LF", &[("x", "a\nb: c")]),
        malformed_with("8.2.1 a value with CR", &[("x", "a\rb")]),
        malformed_with("8.2.1 a value that begins with a space", &[("x", " a")]),
        malformed_with("8.2.1 a value that ends with a tab", &[("x", "a\t")]),
        malformed_with("8.2.2 Connection", &[("connection", "close")]),
        malformed_with("8.2.2 Keep-Alive", &[("keep-alive", "5")]),
        malformed_with("8.2.2 Proxy-Connection", &[("proxy-connection", "close")]),
        malformed_with(
            "8.2.2 Transfer-Encoding",
            &[("transfer-encoding", "chunked")],
        ),
        malformed_with("8.2.2 Upgrade", &[("upgrade", "websocket")]),
        malformed_with("8.2.2 TE with something else", &[("te", "gzip")]),
        fine_with("8.2.2 TE with trailers", &[("te", "trailers")]),
        fine_with(
            "8.2.3 crumbs of a cookie",
            &[("cookie", "a=1"), ("cookie", "b=2")],
        ),
    ])
    .await;
}

#[tokio::test]
async fn pseudo_header_fields_are_as_section_8_3_says() {
    let m = (":method", "GET");
    let s = (":scheme", "http");
    let a = (":authority", "test");
    let p = (":path", "/");
    hold(vec![
        malformed("8.3 an unknown one", &[m, s, a, p, (":other", "1")]),
        malformed("8.3 one of answers", &[m, s, a, p, (":status", "200")]),
        malformed("8.3 behind another field", &[m, s, a, ("x", "1"), p]),
        malformed("8.3.1 without :method", &[s, a, p]),
        malformed("8.3.1 without :scheme", &[m, a, p]),
        malformed("8.3.1 without :path", &[m, s, a]),
        malformed("8.3.1 an empty :path", &[m, s, a, (":path", "")]),
        malformed(
            "8.3.1 a :path that is none",
            &[m, s, a, (":path", "no-slash")],
        ),
        malformed("8.3.1 :method twice", &[m, m, s, a, p]),
        malformed("8.3.1 :scheme twice", &[m, s, s, a, p]),
        malformed("8.3.1 :authority twice", &[m, s, a, a, p]),
        malformed("8.3.1 :path twice", &[m, s, a, p, p]),
        malformed("8.3.1 neither :authority nor Host", &[m, s, p]),
        malformed("8.3.1 an empty :authority", &[m, s, (":authority", ""), p]),
        malformed(
            "8.3.1 userinfo in :authority",
            &[m, s, (":authority", "user@test"), p],
        ),
        malformed(
            "8.3.1 Host that is another one",
            &[m, s, a, p, ("host", "other")],
        ),
        rule(
            "8.3.1 Host alone",
            Answered(1),
            &[&headers(END_STREAM, &block(&[m, s, p, ("host", "test")]))],
        ),
        rule(
            "8.3.1 OPTIONS *",
            Answered(1),
            &[&headers(END_STREAM, &ask("OPTIONS", "*", &[]))],
        ),
        malformed(
            "8.5 CONNECT with :path and :scheme",
            &[(":method", "CONNECT"), s, a, p],
        ),
        malformed("8.5 CONNECT without :authority", &[(":method", "CONNECT")]),
        rule(
            "8.5 CONNECT is refused",
            Answered(1),
            &[&headers(END_STREAM, &block(&[(":method", "CONNECT"), a]))],
        ),
        malformed(
            "8441 :protocol without CONNECT",
            &[m, (":protocol", "websocket"), s, a, p],
        ),
        malformed(
            "8441 :protocol without :path",
            &[(":method", "CONNECT"), (":protocol", "websocket"), s, a],
        ),
        rule(
            "8441 another :protocol",
            Answered(1),
            &[&headers(
                END_STREAM,
                &block(&[
                    (":method", "CONNECT"),
                    (":protocol", "connect-udp"),
                    s,
                    a,
                    p,
                ]),
            )],
        ),
    ])
    .await;
}

#[tokio::test]
async fn bodies_are_as_section_8_1_says() {
    let post = |more: &[(&str, &str)]| headers(0, &ask("POST", "/", more));
    let data = |flags, text: &[u8]| frame(DATA, flags, 1, text);
    let trailers = |flags, fields: &[(&str, &str)]| headers(flags, &block(fields));
    let length = &[("content-length", "4")];
    hold(vec![
        rule(
            "8.1 a body with trailers",
            Answered(1),
            &[
                &post(&[]),
                &data(0, b"data"),
                &trailers(END_STREAM, &[("x-check", "1")]),
            ],
        ),
        rule(
            "8.1 trailers without the end of the stream",
            Stream(1, PROTOCOL),
            &[
                &post(&[]),
                &data(0, b"data"),
                &trailers(0, &[("x-check", "1")]),
            ],
        ),
        // The RFC calls it malformed; `h2` drops it, so that no server sees it.
        rule(
            "8.1 a pseudo-header field in trailers",
            Answered(1),
            &[
                &post(&[]),
                &data(0, b"data"),
                &trailers(END_STREAM, &[(":path", "/x")]),
            ],
        ),
        rule(
            "8.1.1 as long as it says",
            Answered(1),
            &[&post(length), &data(END_STREAM, b"data")],
        ),
        rule(
            "8.1.1 longer than it says",
            Stream(1, PROTOCOL),
            &[&post(length), &data(END_STREAM, b"data and more")],
        ),
        rule(
            "8.1.1 longer in two frames",
            Stream(1, PROTOCOL),
            &[&post(length), &data(0, b"dat"), &data(END_STREAM, b"ab")],
        ),
        rule(
            "8.1.1 shorter than it says",
            Stream(1, PROTOCOL),
            &[&post(length), &data(END_STREAM, b"d")],
        ),
        rule(
            "8.1.1 nothing where something was said",
            Stream(1, PROTOCOL),
            &[&headers(END_STREAM, &ask("POST", "/", length))],
        ),
        rule(
            "8.1.1 a length that is none",
            Stream(1, PROTOCOL),
            &[
                &post(&[("content-length", "four")]),
                &data(END_STREAM, b"data"),
            ],
        ),
        rule(
            "8.1.1 two lengths",
            Stream(1, PROTOCOL),
            &[
                &post(&[("content-length", "4"), ("content-length", "5")]),
                &data(END_STREAM, b"data"),
            ],
        ),
    ])
    .await;
}
