//! Answers of the proxy's own.

use http::{HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;

use super::client::Client;
use super::forward::X_REQUEST_ID;

/// Sends a short answer of the proxy's own.
///
/// A client that cannot be reached any more is no error here: there is nobody to tell.
pub(super) async fn respond(
    client: &mut Client,
    status: u16,
    id: &str,
    retry_after: Option<u64>,
) -> u64 {
    let Some((head, body)) = build(status, id, retry_after) else {
        return 0;
    };
    let with_body = !client.is_head();
    if client.write_head(head).await.is_err() {
        return 0;
    }
    let mut sent = 0;
    if with_body && client.write_body(body.as_bytes()).await.is_ok() {
        sent = body.len() as u64;
    }
    let _ = client.end_body().await;
    sent
}

fn build(status: u16, id: &str, retry_after: Option<u64>) -> Option<(Box<ResponseHeader>, String)> {
    let status = StatusCode::from_u16(status).ok()?;
    let body = format!(
        "{} {}\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Error")
    );
    let mut head = ResponseHeader::build_no_case(status, Some(8)).ok()?;
    head.insert_header(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    )
    .ok()?;
    head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))
        .ok()?;
    if let Some(seconds) = retry_after {
        head.insert_header(header::RETRY_AFTER, HeaderValue::from(seconds))
            .ok()?;
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        head.insert_header(&X_REQUEST_ID, id).ok()?;
    }
    Some((Box::new(head), body))
}

/// The same as raw bytes, for a head that never became a request. The connection closes after it.
pub(super) fn raw(status: u16) -> Vec<u8> {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or("Error");
    let body = format!("{status} {reason}\n");
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
