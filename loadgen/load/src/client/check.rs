//! Looking at answers: is it as the scenario expects, and what is to be kept of it?
//!
//! This happens after the clock of the request has stopped.

use std::{borrow::Cow, io::Read as _, time::Duration};

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, StatusCode};

use super::Endpoint;
use crate::{
    record::FailureKind,
    scenario::{From, UserState},
};

/// Most bytes of a body that are kept for checks and extraction; the rest is only counted.
pub(crate) const MAX_KEPT: usize = 1 << 20;

/// The last answer, as far as its endpoint keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) status: u16,
    pub(crate) headers: Headers<'a>,
    /// At most [`MAX_KEPT`] bytes; empty if nobody wants to see them.
    pub(crate) body: &'a [u8],
    /// Size of the whole body, as it came over the wire.
    pub(crate) size: u64,
}

/// Keeps what an endpoint wants to see of an answer.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    size: u64,
}

impl Kept {
    /// Prepares for the next answer.
    pub(crate) fn clear(&mut self) {
        self.body.clear();
        self.size = 0;
    }

    /// Takes the head of an answer.
    pub(crate) fn head(&mut self, endpoint: &Endpoint, status: StatusCode, headers: &HeaderMap) {
        self.status = status.as_u16();
        if endpoint.keeps_headers {
            self.headers.clone_from(headers);
        }
    }

    /// Takes a piece of the body.
    pub(crate) fn add(&mut self, endpoint: &Endpoint, data: &[u8]) {
        self.size += data.len() as u64;
        if endpoint.keeps_body {
            let room = MAX_KEPT.saturating_sub(self.body.len()).min(data.len());
            self.body
                .extend_from_slice(data.get(..room).unwrap_or_default());
        }
    }

    /// Size of the body so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The answer.
    pub(crate) fn received(&self) -> Received<'_> {
        Received {
            status: self.status,
            headers: Headers::Map(&self.headers),
            body: &self.body,
            size: self.size,
        }
    }
}

/// Headers of an answer; empty if nobody wants to see them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Headers<'a> {
    /// As `http` holds them.
    Map(&'a HeaderMap),
    /// The lines of an HTTP/1.1 head, status line included.
    Lines(&'a [u8]),
}

impl<'a> Headers<'a> {
    /// First value of a header; `name` is in lower case.
    pub(crate) fn first(self, name: &str) -> Option<&'a [u8]> {
        match self {
            Self::Map(map) => map.get(name).map(http::HeaderValue::as_bytes),
            Self::Lines(head) => head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
                let colon = line.iter().position(|byte| *byte == b':')?;
                let (own, value) = line.split_at_checked(colon)?;
                own.eq_ignore_ascii_case(name.as_bytes())
                    .then(|| value.get(1..).unwrap_or_default().trim_ascii())
            }),
        }
    }
}

impl<'a> Received<'a> {
    fn is_cut_off(&self) -> bool {
        self.body.len() as u64 != self.size
    }

    /// The body without its content coding.
    pub(crate) fn decoded(&self) -> Result<Cow<'a, [u8]>, FailureKind> {
        let coding = self.headers.first("content-encoding").unwrap_or_default();
        let coding = coding.to_ascii_lowercase();
        if matches!(coding.as_slice(), b"" | b"identity") || self.size == 0 {
            return Ok(Cow::Borrowed(self.body));
        }
        if self.is_cut_off() {
            return Err(FailureKind::BodyTooLarge);
        }
        let mut decoded = Vec::new();
        let most = MAX_KEPT as u64 + 1;
        match coding.as_slice() {
            b"gzip" | b"x-gzip" => MultiGzDecoder::new(self.body)
                .take(most)
                .read_to_end(&mut decoded),
            b"deflate" => ZlibDecoder::new(self.body)
                .take(most)
                .read_to_end(&mut decoded),
            _ => return Err(FailureKind::UnknownCoding),
        }
        .map_err(|_| FailureKind::UnknownCoding)?;
        if decoded.len() > MAX_KEPT {
            return Err(FailureKind::BodyTooLarge);
        }
        Ok(Cow::Owned(decoded))
    }
}

impl Endpoint {
    /// Says what is wrong with an answer, if anything, and keeps what the user needs of it.
    pub(crate) fn judge(
        &self,
        received: &Received<'_>,
        service_time: Duration,
        user: &mut UserState,
    ) -> Option<FailureKind> {
        if !self.expect.status.contains(received.status) {
            return Some(FailureKind::Status(received.status));
        }
        if self.is_plain {
            return None;
        }
        self.look_closer(received, service_time, user).err()
    }

    fn look_closer(
        &self,
        received: &Received<'_>,
        service_time: Duration,
        user: &mut UserState,
    ) -> Result<(), FailureKind> {
        let expect = &self.expect;
        let header = |check: &crate::scenario::HeaderCheck| {
            check.value.holds(received.headers.first(&check.name))
        };
        if !expect.headers.iter().all(header) {
            return Err(FailureKind::WrongHeader);
        }
        if !expect.size.admits(received.size) {
            return Err(FailureKind::WrongSize);
        }
        let body = if self.keeps_body {
            received.decoded()?
        } else {
            Cow::Borrowed(&[][..])
        };
        // What is not found in a part of the body may be in the rest of it.
        let absent = if received.is_cut_off() {
            FailureKind::BodyTooLarge
        } else {
            FailureKind::WrongBody
        };
        if let Some(text) = &expect.body_contains
            && memchr::memmem::find(&body, text.as_bytes()).is_none()
        {
            return Err(absent);
        }
        if let Some(pattern) = &expect.body_matches
            && !pattern.is_match(&body)
        {
            return Err(absent);
        }
        let json = self.json(received, &body)?;
        if let Some(json) = &json
            && !expect.json.iter().all(|check| check.holds(json))
        {
            return Err(FailureKind::WrongJson);
        }
        self.keep(received, &body, json.as_ref(), user)?;
        if expect.max_time.is_some_and(|most| service_time > most) {
            return Err(FailureKind::Slow);
        }
        Ok(())
    }

    /// The body as JSON, if somebody asks for it.
    fn json(
        &self,
        received: &Received<'_>,
        body: &[u8],
    ) -> Result<Option<serde_json::Value>, FailureKind> {
        let from_json =
            |extract: &crate::scenario::Extract| matches!(extract.from, From::JsonPath(_));
        let checked = !self.expect.json.is_empty();
        if !checked && !self.extract.iter().any(from_json) {
            return Ok(None);
        }
        if received.is_cut_off() {
            return Err(FailureKind::BodyTooLarge);
        }
        serde_json::from_slice(body).map(Some).map_err(|_| {
            if checked {
                FailureKind::WrongJson
            } else {
                FailureKind::ExtractFailed
            }
        })
    }

    fn keep(
        &self,
        received: &Received<'_>,
        body: &[u8],
        json: Option<&serde_json::Value>,
        user: &mut UserState,
    ) -> Result<(), FailureKind> {
        for extract in &self.extract {
            let value = match &extract.from {
                From::JsonPath(path) => json.and_then(|json| extract.of_json(path, json)),
                From::Header(name) => received
                    .headers
                    .first(name)
                    .and_then(|value| extract.of_text(value)),
                From::Body => match extract.of_text(body) {
                    None if received.is_cut_off() => return Err(FailureKind::BodyTooLarge),
                    value => value,
                },
            };
            let value = value.ok_or(FailureKind::ExtractFailed)?;
            user.set(extract.variable, value);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::{
        client::Plan,
        scenario::{Scenario, UserState},
        target::Target,
    };

    const HEAD: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLocation:  /a/7 \r\n\r\n";

    fn endpoint(lines: &str) -> Endpoint {
        let source = format!(
            "name = \"t\"\nduration = \"1s\"\nload = {{ model = \"closed\", users = 1 }}\n\
             [[requests]]\nname = \"r\"\npath = \"/\"\n{lines}"
        );
        let scenario = Scenario::parse(&source, "t").unwrap();
        let target = Target::new(&["http://127.0.0.1:1"], &[]).unwrap();
        Plan::new(&scenario, &target).endpoints.remove(0)
    }

    fn received<'a>(head: &'a [u8], body: &'a [u8]) -> Received<'a> {
        Received {
            status: 200,
            headers: Headers::Lines(head),
            body,
            size: body.len() as u64,
        }
    }

    fn judge(lines: &str, received: &Received<'_>) -> (Option<FailureKind>, Option<String>) {
        let mut user = UserState::new(1, 1, &[]);
        let failure = endpoint(lines).judge(received, Duration::from_millis(5), &mut user);
        (failure, user.variable(0).map(str::to_owned))
    }

    #[test]
    fn headers_are_the_same_from_lines_and_from_a_map() {
        let mut map = HeaderMap::new();
        map.insert("location", "/a/7".parse().unwrap());
        for headers in [Headers::Lines(HEAD), Headers::Map(&map)] {
            assert_eq!(headers.first("location"), Some(&b"/a/7"[..]));
            assert_eq!(headers.first("etag"), None);
        }
    }

    #[test]
    fn each_check_fails_with_its_own_kind() {
        let good = received(HEAD, br#"{"id": 7, "items": []}"#);
        for (expect, failure) in [
            ("status = \"3xx\"", Some(FailureKind::Status(200))),
            ("status = [200, 201]", None),
            ("headers = { content-type = \"json\" }", None),
            ("headers = { etag = \"\" }", Some(FailureKind::WrongHeader)),
            ("headers = { etag = { exists = false } }", None),
            ("size = { min = 10, max = 100 }", None),
            ("size = { max = 3 }", Some(FailureKind::WrongSize)),
            ("body_contains = \"items\"", None),
            ("body_contains = \"error\"", Some(FailureKind::WrongBody)),
            ("body_matches = '\"id\": \\d+'", None),
            ("body_matches = '^\\['", Some(FailureKind::WrongBody)),
            ("json = [{ path = \"$.id\", equals = 7 }]", None),
            (
                "json = [{ path = \"$.items[0]\" }]",
                Some(FailureKind::WrongJson),
            ),
            ("max_time = \"5ms\"", None),
            ("max_time = \"4ms\"", Some(FailureKind::Slow)),
        ] {
            let lines = format!("expect = {{ {expect} }}");
            assert_eq!(judge(&lines, &good).0, failure, "{expect}");
        }
    }

    #[test]
    fn values_are_kept_or_missed() {
        let answer = received(HEAD, br#"{"id": 7}"#);
        for (from, value) in [
            ("json_path = \"$.id\"", Some("7")),
            ("header = \"Location\"", Some("/a/7")),
            ("header = \"Location\", regex = \"/a/(.*)\"", Some("7")),
            ("regex = '\"id\": (\\d)'", Some("7")),
            ("json_path = \"$.nope\"", None),
            ("header = \"ETag\"", None),
        ] {
            let lines = format!("extract = [{{ name = \"v\", {from} }}]");
            let (failure, kept) = judge(&lines, &answer);
            assert_eq!(kept.as_deref(), value, "{from}");
            let expected = value.is_none().then_some(FailureKind::ExtractFailed);
            assert_eq!(failure, expected, "{from}");
        }
        let lines = "extract = [{ name = \"v\", json_path = \"$.id\" }]";
        assert_eq!(
            judge(lines, &received(HEAD, b"not json")).0,
            Some(FailureKind::ExtractFailed)
        );
    }

    #[test]
    fn a_slow_answer_is_still_looked_at() {
        let lines =
            "extract = [{ name = \"v\", json_path = \"$.id\" }]\nexpect = { max_time = \"1ms\" }";
        let (failure, kept) = judge(lines, &received(HEAD, br#"{"id": 7}"#));
        assert_eq!(
            (failure, kept.as_deref()),
            (Some(FailureKind::Slow), Some("7"))
        );
    }

    #[test]
    fn what_was_cut_off_is_not_called_wrong() {
        let mut answer = received(HEAD, b"hello");
        answer.size = 1 << 30;
        let check = |expect: &str| judge(&format!("expect = {{ {expect} }}"), &answer).0;
        assert_eq!(check("body_contains = \"hell\""), None);
        assert_eq!(
            check("body_contains = \"world\""),
            Some(FailureKind::BodyTooLarge)
        );
        assert_eq!(
            check("json = [{ path = \"$\" }]"),
            Some(FailureKind::BodyTooLarge)
        );
    }

    #[test]
    fn compressed_bodies_are_read_and_unknown_codings_named() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(br#"{"id": 7}"#).unwrap();
        let body = encoder.finish().unwrap();
        let lines = "expect = { json = [{ path = \"$.id\", equals = 7 }] }";
        let head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n";
        assert_eq!(judge(lines, &received(head, &body)).0, None);
        for (head, body) in [
            (
                &b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\n\r\n"[..],
                &body[..],
            ),
            (head, b"not gzip"),
        ] {
            let failure = judge(lines, &received(head, body)).0;
            assert_eq!(failure, Some(FailureKind::UnknownCoding));
        }
    }
}
