//! The head of an answer, as the client gets it.

use http::{HeaderValue, Version, header};
use pingora::http::ResponseHeader;

use super::super::forward::X_REQUEST_ID;
use super::{Exchange, Failure};
use crate::compress::{Gzip, accepts_gzip, is_compressible};
use weir_http1::{Framing, ResponseHead};

/// Tells a client where the time went (W3C Server Timing).
const SERVER_TIMING: &str = "server-timing";

impl Exchange<'_> {
    /// Decides on compression and changes the head accordingly.
    pub(super) fn compress(&self, answer: &mut ResponseHeader, framing: Framing) -> Option<Gzip> {
        let length = match framing {
            Framing::None => return None,
            Framing::Length(n) => Some(n),
            Framing::Chunked | Framing::UntilClose => None,
        };
        let settings = self.plan.compression;
        if !settings.enabled {
            return None;
        }
        let request = self.client.request();
        if !is_compressible(
            settings,
            &request.method,
            answer.status,
            &answer.headers,
            length,
        ) {
            return None;
        }
        // Caches must know that the answer depends on what the client accepts, compressed or not.
        let _ = answer.append_header(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if !self.client.is_modern() || !accepts_gzip(&request.headers) {
            return None;
        }
        answer.remove_header(&header::CONTENT_LENGTH);
        answer.remove_header(&header::ACCEPT_RANGES);
        let _ = answer.insert_header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        if let Some(weak) = answer.headers.get(header::ETAG).and_then(weaken) {
            let _ = answer.insert_header(header::ETAG, weak);
        }
        Some(Gzip::new(settings.level))
    }

    /// States the framing towards the client.
    pub(super) fn frame(
        &mut self,
        answer: &mut ResponseHeader,
        framing: Framing,
        compressed: bool,
    ) -> Result<(), Failure> {
        let sized = matches!(framing, Framing::None | Framing::Length(_)) && !compressed;
        if sized {
            if answer.status == http::StatusCode::NO_CONTENT {
                answer.remove_header(&header::CONTENT_LENGTH);
            }
            return Ok(());
        }
        if self.client.is_modern() {
            answer
                .insert_header(
                    header::TRANSFER_ENCODING,
                    HeaderValue::from_static("chunked"),
                )
                .map_err(|e| Failure::BadAnswer(e.to_string()))?;
        } else {
            self.client.close_after();
        }
        Ok(())
    }

    /// Adds what the configuration and this proxy have to say.
    pub(super) fn decorate(&self, answer: &mut ResponseHeader) -> Result<(), Failure> {
        let bad = |e: Box<pingora::Error>| Failure::BadAnswer(e.to_string());
        let id =
            HeaderValue::from_str(self.plan.id).map_err(|e| Failure::BadAnswer(e.to_string()))?;
        answer.insert_header(&X_REQUEST_ID, id).map_err(bad)?;
        if let Some(stages) = self.progress.stages().filter(|_| self.plan.server_timing)
            && let Ok(value) = HeaderValue::from_str(&stages.server_timing().to_string())
        {
            // Added to what the server itself may have said.
            answer.append_header(SERVER_TIMING, value).map_err(bad)?;
        }
        for name in &self.plan.response_headers.remove {
            answer.remove_header(name);
        }
        for (name, value) in &self.plan.response_headers.set {
            answer.insert_header(name, value.clone()).map_err(bad)?;
        }
        Ok(())
    }
}

/// The server's head as pingora's type, without framing of its own.
pub(super) fn plain_head(head: &ResponseHead) -> Result<Box<ResponseHeader>, Failure> {
    let bad = |e: Box<pingora::Error>| Failure::BadAnswer(e.to_string());
    let mut answer =
        ResponseHeader::build_no_case(head.status, Some(head.fields.len() + 4)).map_err(bad)?;
    answer.set_version(Version::HTTP_11);
    if let Some(reason) = &head.reason {
        answer.set_reason_phrase(Some(reason)).map_err(bad)?;
    }
    for (name, value) in &head.fields {
        answer.append_header(name, value.clone()).map_err(bad)?;
    }
    Ok(Box::new(answer))
}

/// A compressed body is not byte for byte the one that a strong tag names (nginx does the same).
fn weaken(tag: &HeaderValue) -> Option<HeaderValue> {
    let tag = tag.as_bytes();
    if tag.starts_with(b"W/") {
        return None;
    }
    HeaderValue::from_bytes(&[b"W/", tag].concat()).ok()
}
