//! The rules of RFC 7541, HPACK.

use weir_tests::frames::*;

use super::rules::{Expect::*, hold, rule};

/// RFC 9113 section 4.3.
const BAD: &[u32] = &[COMPRESSION_ERROR];

fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, block)
}

/// `GET /` with everything in the static table but the authority, and `more`.
fn indexed(more: &[u8]) -> Vec<u8> {
    [&[0x82, 0x86, 0x84, 0x01, 4][..], b"test", more].concat()
}

#[tokio::test]
async fn field_blocks_are_decoded_as_rfc_7541_says() {
    // `x: y`, which becomes entry 62.
    let added: &[u8] = &[0x40, 1, b'x', 1, b'y'];
    hold(vec![
        rule(
            "6.1 fields of the static table",
            Answered(1),
            &[&headers(1, &indexed(&[]))],
        ),
        rule(
            "2.3.2 a field that an earlier request added",
            Answered(3),
            &[&headers(1, &indexed(added)), &headers(3, &indexed(&[0xbe]))],
        ),
        rule(
            "6.2.3 a field that is never indexed",
            Answered(1),
            &[&headers(1, &indexed(&[0x10, 1, b'x', 1, b'y']))],
        ),
        // "www.example.com" of appendix C.4.1.
        rule(
            "5.2 a Huffman string",
            Answered(1),
            &[&headers(
                1,
                &[
                    0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0,
                    0xab, 0x90, 0xf4, 0xff,
                ],
            )],
        ),
        rule(
            "4.2 a smaller table, first",
            Answered(1),
            &[&headers(1, &[&[0x20][..], &indexed(added)].concat())],
        ),
        rule(
            "4.2 a smaller table and the old size again",
            Answered(1),
            &[&headers(
                1,
                &[&[0x20, 0x3f, 0xe1, 0x1f][..], &indexed(added)].concat(),
            )],
        ),
        rule(
            "5.1 a long integer",
            Answered(1),
            &[&headers(
                1,
                &indexed(&[&[0x00, 1, b'x'][..], &long(1000)].concat()),
            )],
        ),
    ])
    .await;
}

/// A string of so many bytes, whose length takes more than one byte.
fn long(length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    string(&mut out, &vec![b'v'; length]);
    out
}

#[tokio::test]
async fn what_cannot_be_decoded_ends_the_connection() {
    let bad = |more: &[u8]| headers(1, &indexed(more));
    hold(vec![
        rule("2.3.3 index 0", Connection(BAD), &[&bad(&[0x80])]),
        rule(
            "2.3.3 an index beyond both tables",
            Connection(BAD),
            &[&bad(&[0xff, 0x7f])],
        ),
        rule(
            "2.3.3 a name beyond both tables",
            Connection(BAD),
            &[&bad(&[0x7e, 1, b'v'])],
        ),
        rule(
            "4.2 a larger table than allowed",
            Connection(BAD),
            &[&headers(
                1,
                &[&[0x3f, 0xe2, 0x1f][..], &indexed(&[])].concat(),
            )],
        ),
        rule(
            "4.2 a table size behind a field",
            Connection(BAD),
            &[&bad(&[0x20])],
        ),
        rule(
            "4.3, 4.4 an entry that a smaller table has dropped",
            Connection(BAD),
            &[
                &headers(1, &indexed(&[0x40, 1, b'x', 1, b'y'])),
                &headers(3, &[&[0x20][..], &indexed(&[0xbe])].concat()),
            ],
        ),
        rule(
            "5.1 an integer without end",
            Connection(BAD),
            &[&bad(&[
                0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f,
            ])],
        ),
        rule(
            "5.2 a string longer than its block",
            Connection(BAD),
            &[&bad(&[0, 1, b'x', 9, b'y'])],
        ),
        rule(
            "5.2 Huffman padding of zeros",
            Connection(BAD),
            &[&bad(&[0, 1, b'x', 0x81, 0x18])],
        ),
        rule(
            "5.2 Huffman padding of a whole byte",
            Connection(BAD),
            &[&bad(&[0, 1, b'x', 0x82, 0x1f, 0xff])],
        ),
        rule(
            "5.2 the end of string inside a string",
            Connection(BAD),
            &[&bad(&[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff])],
        ),
        rule(
            "a block that ends inside a field",
            Connection(BAD),
            &[&bad(&[0x40, 3, b'x'])],
        ),
    ])
    .await;
}
