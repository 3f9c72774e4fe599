#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

fn client(source: &str, destination: &str) -> Origin {
    Origin::Client {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn whole(input: &[u8]) -> Header {
    parse(input).unwrap().unwrap()
}

#[test]
fn lines_are_read_to_the_letter() {
    let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET / HTTP/1.1\r\n";
    let header = whole(line);
    assert_eq!(header.origin, client("192.0.2.1:56324", "192.0.2.2:443"));
    assert_eq!(&line[header.length..], b"GET / HTTP/1.1\r\n");
    let six = whole(b"PROXY TCP6 2001:db8::1 ::1 1 0\r\n");
    assert_eq!(six.origin, client("[2001:db8::1]:1", "[::1]:0"));
    for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN whatever 1 2 3\r\n"] {
        assert_eq!(whole(unknown.as_bytes()).origin, Origin::Unknown);
    }
    for bad in [
        "PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 1\r\n",
        "PROXY TCP4 192.0.2.1  192.0.2.2 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 056 443\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +56 443\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n",
        "PROXY TCP4 192.0.2.256 192.0.2.2 1 443\r\n",
        "PROXY TCP4 ::1 ::1 1 443\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 443\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 443\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 443\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 443\n\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWN\n",
    ] {
        assert_eq!(parse(bad.as_bytes()), Err(BadHeader::Line), "{bad:?}");
    }
}

#[test]
fn a_line_has_107_bytes_at_most() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(longest.len(), 107);
    assert_eq!(whole(longest.as_bytes()).length, 107);
    let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    assert_eq!(parse(longer.as_bytes()), Err(BadHeader::Line));
    assert_eq!(parse(&longer.as_bytes()[..106]), Ok(None));
    assert_eq!(parse(&longer.as_bytes()[..107]), Err(BadHeader::Line));
}

#[test]
fn other_protocols_are_noticed_at_once() {
    for other in [
        &b"G"[..],
        b"GET / HTTP/1.1",
        b"\x16\x03\x01",
        b"\r\n\r\nX",
        b"PROXX",
        b"\r\nG",
    ] {
        assert_eq!(parse(other), Err(BadHeader::Missing), "{other:?}");
    }
    assert_eq!(parse(b""), Ok(None));
    assert_eq!(parse(b"P"), Ok(None));
    assert_eq!(parse(b"\r\n\r\n"), Ok(None));
}

fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut out = v2::SIGNATURE.to_vec();
    out.extend([command, family]);
    out.extend((body.len() as u16).to_be_bytes());
    out.extend(body);
    out
}

const IPV4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 0xbb];

#[test]
fn binary_headers() {
    let plain = binary(0x21, 0x11, &IPV4);
    assert_eq!(
        whole(&plain).origin,
        client("192.0.2.1:56324", "192.0.2.2:443")
    );
    let mut body = IPV4.to_vec();
    body.extend([0x04, 0, 2, 9, 9, 0xea, 0, 0]);
    let extended = binary(0x21, 0x11, &body);
    assert_eq!(whole(&extended).origin, whole(&plain).origin);
    assert_eq!(whole(&extended).length, extended.len());
    // LOCAL, whatever family and addresses say.
    assert_eq!(whole(&binary(0x20, 0x00, &[])).origin, Origin::Local);
    assert_eq!(whole(&binary(0x20, 0xff, &[1, 2, 3])).origin, Origin::Local);
    // Unspecified and Unix.
    assert_eq!(whole(&binary(0x21, 0x00, &[7; 5])).origin, Origin::Unknown);
    assert_eq!(
        whole(&binary(0x21, 0x31, &[0; 216])).origin,
        Origin::Unknown
    );
}

#[test]
fn binary_headers_that_are_not_good() {
    let bad = |input: &[u8]| parse(input).unwrap_err();
    assert_eq!(bad(&binary(0x11, 0x11, &IPV4)), BadHeader::Version);
    assert_eq!(bad(&binary(0x22, 0x11, &IPV4)), BadHeader::Version);
    // Addresses that do not fit, datagrams, unknown families.
    assert_eq!(bad(&binary(0x21, 0x11, &IPV4[..11])), BadHeader::Binary);
    assert_eq!(bad(&binary(0x21, 0x21, &[0; 35])), BadHeader::Binary);
    assert_eq!(bad(&binary(0x21, 0x31, &[0; 215])), BadHeader::Binary);
    assert_eq!(bad(&binary(0x21, 0x12, &IPV4)), BadHeader::Binary);
    assert_eq!(bad(&binary(0x21, 0x41, &IPV4)), BadHeader::Binary);
    // An extension that goes beyond the header, and half of one.
    for extension in [&[4, 0, 3, 1, 1][..], &[4, 0], &[4]] {
        let body = [&IPV4[..], extension].concat();
        assert_eq!(bad(&binary(0x21, 0x11, &body)), BadHeader::Binary);
    }
    // Too long is said before the rest has come.
    let mut long = v2::SIGNATURE.to_vec();
    long.extend([0x21, 0x11, 0x0f, 0xf1]);
    assert_eq!(bad(&long), BadHeader::TooLong);
}

fn origins() -> impl Strategy<Value = Origin> {
    let address = || (any::<std::net::IpAddr>(), any::<u16>()).prop_map(SocketAddr::from);
    prop_oneof![
        Just(Origin::Unknown),
        Just(Origin::Local),
        (address(), address()).prop_map(|(source, destination)| Origin::Client {
            source,
            destination
        }),
    ]
}

proptest! {
    /// What is written is read back, however it comes in, and what follows is left alone.
    #[test]
    fn written_headers_are_read_back(
        origin in origins(),
        binary in any::<bool>(),
        after in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let version = if binary { Version::V2 } else { Version::V1 };
        let mut bytes = Vec::new();
        write(version, origin, &mut bytes);
        let length = bytes.len();
        for n in 0..length {
            prop_assert_eq!(parse(&bytes[..n]), Ok(None));
        }
        bytes.extend(after);
        let header = parse(&bytes).unwrap().unwrap();
        prop_assert_eq!(header.length, length);
        match (origin, header.origin) {
            (Origin::Client { source, destination }, Origin::Client { source: s, destination: d }) => {
                let mixed = source.is_ipv4() != destination.is_ipv4();
                prop_assert_eq!(s.port(), source.port());
                prop_assert_eq!(s.ip().to_canonical(), source.ip().to_canonical());
                prop_assert_eq!(d.ip().to_canonical(), destination.ip().to_canonical());
                prop_assert_eq!(s.is_ipv4(), source.is_ipv4() && !mixed);
            }
            (Origin::Local, Origin::Unknown) => prop_assert!(!binary),
            (origin, read) => prop_assert_eq!(origin, read),
        }
    }

    /// Any bytes are refused, waited for or read within bounds; more bytes never turn a refusal or a header
    /// into something else.
    #[test]
    fn any_bytes_are_survived(
        signed in 0..3usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        more in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let start = [&b""[..], v1::SIGNATURE, v2::SIGNATURE][signed];
        let mut input = [start, &bytes].concat();
        let first = parse(&input);
        if let Ok(Some(header)) = first {
            prop_assert!(header.length <= input.len());
        }
        input.extend(more);
        if first != Ok(None) {
            prop_assert_eq!(parse(&input), first);
        }
    }
}
