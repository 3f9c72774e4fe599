//! Response compression (nginx: `gzip`): whether an answer is compressed, and the compressing.

use std::io::Write as _;

use flate2::{Compression as Level, write::GzEncoder};
use http::Method;
use weir_api::settings::Compression;
use weir_http1::{Fields, Name};

/// Whether the client takes gzip, by RFC 9110 section 12.5.3: quality 0 refuses, `*` stands for
/// every coding that is not named.
#[must_use]
pub fn accepts_gzip(fields: &Fields) -> bool {
    let mut wildcard = false;
    for value in fields.all(Name::AcceptEncoding) {
        for item in value.split(|&b| b == b',') {
            let mut parts = item.split(|&b| b == b';').map(<[u8]>::trim_ascii);
            let coding = parts.next().unwrap_or_default();
            let accepted = !parts.any(is_zero_quality);
            if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
                return accepted;
            }
            if coding == b"*" {
                wildcard = accepted;
            }
        }
    }
    wildcard
}

/// `q=0`, `q=0.0`, `q=0.000`.
fn is_zero_quality(parameter: &[u8]) -> bool {
    let Some((name, value)) = parameter.iter().position(|&b| b == b'=').map(|at| {
        (
            &parameter[..at],
            parameter.get(at + 1..).unwrap_or_default(),
        )
    }) else {
        return false;
    };
    name.trim_ascii().eq_ignore_ascii_case(b"q")
        && std::str::from_utf8(value.trim_ascii())
            .ok()
            .and_then(|text| text.parse::<f32>().ok())
            .is_some_and(|q| q <= 0.0)
}

/// Whether an answer with these fields would be compressed for a client that takes gzip.
///
/// `length` is the declared length of the body, if there is one.
#[must_use]
pub fn is_compressible(
    settings: &Compression,
    method: &Method,
    status: u16,
    fields: &Fields,
    length: Option<u64>,
) -> bool {
    settings.enabled
        && *method != Method::HEAD
        && !matches!(status, 100..=199 | 204 | 206 | 304)
        && !fields.has(Name::ContentEncoding)
        && !fields.has(Name::ContentRange)
        && !forbids_transform(fields)
        && length.is_none_or(|n| n > 0 && n >= settings.min_length.as_u64())
        && fields
            .get(Name::ContentType)
            .is_some_and(|value| type_matches(&settings.types, value))
}

/// `Cache-Control: no-transform` (RFC 9111 section 5.2.2.6).
fn forbids_transform(fields: &Fields) -> bool {
    fields.has_token(Name::CacheControl, b"no-transform")
}

/// Whether a `Content-Type` is one of `types`. An event stream must be named in full: compressing
/// holds its events back, so `text/*` does not mean it.
fn type_matches(types: &[String], content_type: &[u8]) -> bool {
    let essence = content_type
        .split(|&b| b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    types.iter().any(|pattern| {
        let pattern = pattern.as_bytes();
        match pattern.strip_suffix(b"*") {
            Some(prefix) => {
                essence.len() >= prefix.len()
                    && essence[..prefix.len()].eq_ignore_ascii_case(prefix)
                    && !essence.eq_ignore_ascii_case(b"text/event-stream")
            }
            None => essence.eq_ignore_ascii_case(pattern),
        }
    })
}

/// Compresses one body.
#[derive(Debug)]
pub struct Gzip {
    encoder: GzEncoder<Vec<u8>>,
}

impl Gzip {
    /// A compressor at `level`, 1 to 9.
    #[must_use]
    pub fn new(level: u32) -> Self {
        Self {
            encoder: GzEncoder::new(Vec::new(), Level::new(level.min(9))),
        }
    }

    /// Compresses `data`; what is ready so far may be empty.
    pub fn push(&mut self, data: &[u8]) -> Vec<u8> {
        // The sink is memory: writing cannot fail.
        let _ = self.encoder.write_all(data);
        std::mem::take(self.encoder.get_mut())
    }

    /// What was pushed so far, so that it can be read at once.
    pub fn flush(&mut self) -> Vec<u8> {
        // The sink is memory: writing cannot fail.
        let _ = self.encoder.flush();
        std::mem::take(self.encoder.get_mut())
    }

    /// The rest of the compressed body.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.encoder.finish().unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    fn accepts(value: &'static str) -> bool {
        let mut fields = Fields::new();
        fields.push(b"Accept-Encoding", value.as_bytes());
        accepts_gzip(&fields)
    }

    #[test]
    fn quality_decides() {
        assert!(accepts("gzip"));
        assert!(accepts("br, GZIP;q=0.1"));
        assert!(accepts("*"));
        assert!(!accepts("gzip;q=0"));
        assert!(!accepts("gzip; q=0.00, *"));
        assert!(!accepts("*;q=0"));
        assert!(!accepts("br, deflate"));
        assert!(!accepts("gzipped"));
        assert!(!accepts_gzip(&Fields::new()));
    }

    #[test]
    fn types_and_lengths_decide() {
        let settings = Compression {
            enabled: true,
            level: 6,
            min_length: "256".parse().unwrap(),
            types: vec!["application/json".into(), "text/*".into()],
        };
        let ok = |kind: &'static str, length: Option<u64>| {
            let mut fields = Fields::new();
            fields.push(b"Content-Type", kind.as_bytes());
            is_compressible(&settings, &Method::GET, 200, &fields, length)
        };
        assert!(ok("application/json; charset=utf-8", Some(256)));
        assert!(ok("Text/HTML", None));
        assert!(!ok("application/json", Some(255)));
        assert!(!ok("application/jsonp", Some(300)));
        assert!(!ok("text/event-stream", None));
        assert!(!ok("image/png", Some(300)));
    }

    proptest! {
        #[test]
        fn any_body_comes_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..6), level in 1u32..=9) {
            let mut gzip = Gzip::new(level);
            let mut wire = Vec::new();
            for part in &parts {
                wire.extend(gzip.push(part));
                wire.extend(gzip.flush());
            }
            wire.extend(gzip.finish());
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&wire[..]).read_to_end(&mut back).unwrap();
            prop_assert_eq!(back, parts.concat());
        }
    }
}
