//! The rules of RFC 9113 sections 3 to 6: frames, streams, flow control.

use weir_tests::frames::*;

use super::rules::{Expect::*, Rule, hold, rule};

const PROTOCOL: &[u32] = &[PROTOCOL_ERROR];
const SIZE: &[u32] = &[FRAME_SIZE_ERROR];
const FLOW: &[u32] = &[FLOW_CONTROL_ERROR];
/// RFC 9113 section 5.1: which of both depends on how much is remembered of a stream.
const CLOSED: &[u32] = &[STREAM_CLOSED, PROTOCOL_ERROR];

const WHOLE: u8 = END_HEADERS | END_STREAM;

fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &ask("POST", "/", &[]))
}

#[tokio::test]
async fn connections_begin_as_section_3_says() {
    let settings = frame(SETTINGS, 0, 0, &[]);
    hold(vec![
        rule(
            "3.4 a preface that is none",
            Closed,
            &[b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"],
        ),
        rule(
            "3.4 first frame is no SETTINGS",
            Closed,
            &[PREFACE, &request(1), &settings],
        ),
        rule(
            "3.4 first frame is the ACK of SETTINGS",
            Closed,
            &[PREFACE, &frame(SETTINGS, ACK, 0, &[]), &request(1)],
        ),
    ])
    .await;
}

#[tokio::test]
async fn frames_are_framed_as_section_4_says() {
    let reserved = |mut bytes: Vec<u8>| {
        bytes[5] |= 0x80;
        bytes
    };
    let headers = |flags| frame(HEADERS, flags, 1, &get("/", &[]));
    hold(vec![
        rule(
            "4.1 unknown type",
            Fine,
            &[&frame(0x99, 0xff, 7, b"whatever")],
        ),
        rule(
            "4.1 undefined flags",
            Answered(1),
            &[&headers(WHOLE | 0xc2)],
        ),
        rule(
            "4.1 undefined flags of PING",
            Fine,
            &[&frame(PING, 0xfe, 0, &[0; 8])],
        ),
        rule("4.1 reserved bit", Answered(1), &[&reserved(request(1))]),
        rule(
            "4.2 HEADERS above the largest size",
            Connection(SIZE),
            &[&frame(HEADERS, WHOLE, 1, &vec![0; 16_385])],
        ),
        rule(
            "4.2 DATA above the largest size",
            Stream(1, SIZE),
            &[&post(1), &frame(DATA, 0, 1, &vec![0; 16_385])],
        ),
        rule(
            "4.2 unknown type above the largest size",
            Connection(SIZE),
            &[&frame(0x99, 0, 0, &vec![0; 20_000])],
        ),
        rule(
            "4.3 PRIORITY inside a field block",
            Connection(PROTOCOL),
            &[&headers(END_STREAM), &frame(PRIORITY, 0, 1, &[0; 5])],
        ),
        rule(
            "4.3 HEADERS of another stream inside a field block",
            Connection(PROTOCOL),
            &[&headers(END_STREAM), &request(3)],
        ),
        rule(
            "5.5 unknown type inside a field block",
            Connection(PROTOCOL),
            &[&headers(END_STREAM), &frame(0x99, 0, 1, &[])],
        ),
    ])
    .await;
}

#[tokio::test]
async fn streams_have_the_states_of_section_5() {
    let data = |stream| frame(DATA, 0, stream, b"data");
    hold(vec![
        rule(
            "5.1 DATA on an idle stream",
            Connection(PROTOCOL),
            &[&data(1)],
        ),
        rule(
            "5.1 RST_STREAM on an idle stream",
            Connection(PROTOCOL),
            &[&reset(1, 8)],
        ),
        rule(
            "5.1 WINDOW_UPDATE on an idle stream",
            Connection(PROTOCOL),
            &[&window_update(1, 1)],
        ),
        rule(
            "5.1 CONTINUATION on an idle stream",
            Connection(PROTOCOL),
            &[&frame(CONTINUATION, END_HEADERS, 1, &[])],
        ),
        rule(
            "5.1 DATA after END_STREAM",
            Stream(1, CLOSED),
            &[&request(1), &data(1)],
        ),
        rule(
            "5.1 HEADERS after END_STREAM",
            Stream(1, CLOSED),
            &[&request(1), &request(1)],
        ),
        rule(
            "5.1 CONTINUATION after END_STREAM",
            Connection(CLOSED),
            &[&request(1), &frame(CONTINUATION, END_HEADERS, 1, &[])],
        ),
        rule(
            "5.1 DATA after RST_STREAM",
            Stream(1, CLOSED),
            &[&post(1), &reset(1, 8), &data(1)],
        ),
        rule(
            "5.1 HEADERS after RST_STREAM",
            Stream(1, CLOSED),
            &[&post(1), &reset(1, 8), &request(1)],
        ),
        rule(
            "5.1 WINDOW_UPDATE after END_STREAM",
            Answered(1),
            &[&request(1), &window_update(1, 1)],
        ),
        rule(
            "5.1 RST_STREAM after RST_STREAM",
            Fine,
            &[&post(1), &reset(1, 8), &reset(1, 8)],
        ),
        rule(
            "5.1 PRIORITY on an idle stream",
            Fine,
            &[&frame(PRIORITY, 0, 9, &[0, 0, 0, 0, 1])],
        ),
        rule("5.1.1 an even stream", Connection(PROTOCOL), &[&request(2)]),
        rule(
            "5.1.1 a stream below the last",
            Connection(CLOSED),
            &[&request(5), &request(3)],
        ),
        rule(
            "5.1.1 HEADERS on stream 0",
            Connection(PROTOCOL),
            &[&request(0)],
        ),
    ])
    .await;
}

#[tokio::test]
async fn data_and_headers_are_as_sections_6_1_and_6_2_say() {
    let padded = |pad: u8, block: &[u8]| [&[pad], block, &vec![0; usize::from(pad)]].concat();
    let dependent = [&[0, 0, 0, 0, 7][..], &get("/", &[])].concat();
    hold(vec![
        rule(
            "6.1 DATA on stream 0",
            Connection(PROTOCOL),
            &[&frame(DATA, 0, 0, b"data")],
        ),
        rule(
            "6.1 padding as long as the frame",
            Connection(PROTOCOL),
            &[&post(1), &frame(DATA, PADDED, 1, &[4, 0, 0, 0])],
        ),
        rule(
            "6.1 no room for the length of the padding",
            Connection(SIZE),
            &[&post(1), &frame(DATA, PADDED, 1, &[])],
        ),
        rule(
            "6.1 padded DATA",
            Answered(1),
            &[
                &post(1),
                &frame(DATA, PADDED | END_STREAM, 1, &padded(3, b"data")),
            ],
        ),
        rule(
            "6.2 padded HEADERS",
            Answered(1),
            &[&frame(
                HEADERS,
                WHOLE | PADDED,
                1,
                &padded(9, &get("/", &[])),
            )],
        ),
        rule(
            "6.2 HEADERS with a priority",
            Answered(1),
            &[&frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &dependent)],
        ),
        rule(
            "6.2 padding longer than HEADERS",
            Connection(PROTOCOL),
            &[&frame(HEADERS, WHOLE | PADDED, 1, &[200, 0x82])],
        ),
        rule(
            "6.2 HEADERS too short for their priority",
            Connection(SIZE),
            &[&frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[0; 4])],
        ),
    ])
    .await;
}

#[tokio::test]
async fn priority_and_rst_stream_are_as_sections_6_3_and_6_4_say() {
    hold(vec![
        rule(
            "6.3 PRIORITY on stream 0",
            Connection(PROTOCOL),
            &[&frame(PRIORITY, 0, 0, &[0; 5])],
        ),
        rule(
            "6.3 PRIORITY of another size",
            Stream(1, SIZE),
            &[&post(1), &frame(PRIORITY, 0, 1, &[0; 4])],
        ),
        rule(
            "6.4 RST_STREAM on stream 0",
            Connection(PROTOCOL),
            &[&reset(0, 8)],
        ),
        rule(
            "6.4 RST_STREAM of another size",
            Connection(SIZE),
            &[&post(1), &frame(RST_STREAM, 0, 1, &[0; 3])],
        ),
    ])
    .await;
}

#[tokio::test]
async fn settings_are_as_section_6_5_says() {
    let set = |id, value| frame(SETTINGS, 0, 0, &setting(id, value));
    hold(vec![
        rule(
            "6.5 ACK with a payload",
            Connection(SIZE),
            &[&frame(SETTINGS, ACK, 0, &[0; 6])],
        ),
        rule(
            "6.5 on a stream",
            Connection(PROTOCOL),
            &[&frame(SETTINGS, 0, 1, &[])],
        ),
        rule(
            "6.5 of another size",
            Connection(SIZE),
            &[&frame(SETTINGS, 0, 0, &[0; 7])],
        ),
        rule(
            "6.5.2 ENABLE_PUSH of 2",
            Connection(PROTOCOL),
            &[&set(2, 2)],
        ),
        rule(
            "6.5.2 too large a window",
            Connection(FLOW),
            &[&set(4, 1 << 31)],
        ),
        rule(
            "6.5.2 too small a frame",
            Connection(PROTOCOL),
            &[&set(5, 16_383)],
        ),
        rule(
            "6.5.2 too large a frame",
            Connection(PROTOCOL),
            &[&set(5, 1 << 24)],
        ),
        rule("6.5.2 an unknown setting", Fine, &[&set(0x99, 7)]),
        rule(
            "6.5.3 the last of two values counts",
            Answered(1),
            &[
                &frame(SETTINGS, 0, 0, &[setting(4, 0), setting(4, 100)].concat()),
                &request(1),
            ],
        ),
        rule(
            "6.5.2 a table of no size",
            Answered(1),
            &[&set(1, 0), &request(1)],
        ),
    ])
    .await;
}

#[tokio::test]
async fn the_other_frames_are_as_sections_6_6_to_6_8_say() {
    let promise = [&2u32.to_be_bytes()[..], &get("/", &[])].concat();
    hold(vec![
        rule(
            "8.4 PUSH_PROMISE from a client",
            Connection(PROTOCOL),
            &[&post(1), &frame(PUSH_PROMISE, END_HEADERS, 1, &promise)],
        ),
        rule(
            "6.7 PING on a stream",
            Connection(PROTOCOL),
            &[&frame(PING, 0, 1, &[0; 8])],
        ),
        rule(
            "6.7 PING of another size",
            Connection(SIZE),
            &[&frame(PING, 0, 0, &[0; 7])],
        ),
        rule(
            "6.7 an ACK that nobody asked for",
            Fine,
            &[&frame(PING, ACK, 0, b"unasked!")],
        ),
        rule(
            "6.8 GOAWAY on a stream",
            Connection(PROTOCOL),
            &[&frame(GOAWAY, 0, 1, &[0; 8])],
        ),
        rule(
            "6.8 GOAWAY of another size",
            Connection(SIZE),
            &[&frame(GOAWAY, 0, 0, &[0; 7])],
        ),
    ])
    .await;
}

#[tokio::test]
async fn windows_are_as_section_6_9_says() {
    let most = (1 << 31) - 1;
    hold(vec![
        rule(
            "6.9 an increment of 0 on the connection",
            Connection(PROTOCOL),
            &[&window_update(0, 0)],
        ),
        rule(
            "6.9 an increment of 0 on a stream",
            Stream(1, PROTOCOL),
            &[&post(1), &window_update(1, 0)],
        ),
        rule(
            "6.9 WINDOW_UPDATE of another size",
            Connection(SIZE),
            &[&frame(WINDOW_UPDATE, 0, 0, &[0; 3])],
        ),
        rule(
            "6.9.1 the window of the connection overflows",
            Connection(FLOW),
            &[&window_update(0, most)],
        ),
        rule(
            "6.9.1 the window of a stream overflows",
            Stream(1, FLOW),
            &[&post(1), &window_update(1, most)],
        ),
        rule(
            "6.9.2 SETTINGS make the window of a stream overflow",
            Connection(FLOW),
            &[
                &post(1),
                &window_update(1, 100_000),
                &frame(SETTINGS, 0, 0, &setting(4, most)),
            ],
        ),
    ])
    .await;
}

#[tokio::test]
async fn continuations_are_as_section_6_10_says() {
    let whole = get("/", &[("x", "y")]);
    let (first, rest) = whole.split_at(7);
    let (second, third) = rest.split_at(3);
    let headers = frame(HEADERS, END_STREAM, 1, first);
    let more = |flags, part: &[u8]| frame(CONTINUATION, flags, 1, part);
    let rules: Vec<Rule> = vec![
        rule(
            "6.10 a field block in three frames",
            Answered(1),
            &[&headers, &more(0, second), &more(END_HEADERS, third)],
        ),
        rule(
            "6.10 an empty CONTINUATION at the end",
            Answered(1),
            &[&headers, &more(0, rest), &more(END_HEADERS, &[])],
        ),
        rule(
            "6.10 CONTINUATION after the end",
            Connection(PROTOCOL),
            &[&headers, &more(END_HEADERS, rest), &more(END_HEADERS, &[])],
        ),
        rule(
            "6.10 CONTINUATION on stream 0",
            Connection(PROTOCOL),
            &[&headers, &frame(CONTINUATION, END_HEADERS, 0, rest)],
        ),
        rule(
            "6.10 CONTINUATION of another stream",
            Connection(PROTOCOL),
            &[&headers, &frame(CONTINUATION, END_HEADERS, 3, rest)],
        ),
        rule(
            "6.10 DATA before the end",
            Connection(PROTOCOL),
            &[&frame(HEADERS, 0, 1, first), &frame(DATA, 0, 1, b"data")],
        ),
    ];
    hold(rules).await;
}
