//! One plain request, to see that a proxy does its job before it is measured.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// No answer here is longer.
const LARGEST: usize = 64 * 1024;

/// The request that every probe sends.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench.local\r\n\r\n";

/// An answer, as far as a comparison needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its body.
    pub body: Vec<u8>,
}

/// Sends a request over a new connection and wants a complete 200.
///
/// # Errors
///
/// When the connection fails, the answer is not complete in time, or its status is not 200.
pub async fn get(address: SocketAddr) -> anyhow::Result<Answer> {
    timeout(DEADLINE, async {
        let mut stream = TcpStream::connect(address).await?;
        request(&mut stream).await
    })
    .await
    .context("no answer in time")?
}

/// Sends a request over a connection that stays open and reads exactly one answer.
///
/// Answers must declare their length; chunked ones are refused, as no contender has reason to send them.
///
/// # Errors
///
/// When the connection fails or the answer is not a 200 with a length.
pub async fn request(stream: &mut TcpStream) -> anyhow::Result<Answer> {
    stream.write_all(REQUEST).await?;
    let mut buffer = Vec::with_capacity(1024);
    loop {
        let read = stream.read_buf(&mut buffer).await?;
        ensure!(read > 0, "connection closed before the answer was complete");
        ensure!(
            buffer.len() <= LARGEST,
            "the answer is longer than expected"
        );
        if let Some(answer) = parse(&buffer)? {
            return Ok(answer);
        }
    }
}

/// The answer, if it is complete.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<Answer>> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, body) = bytes.split_at(end + 4);
    let head = String::from_utf8_lossy(head);
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("answered `{status}` instead of 200");
    }
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .context("the answer has no Content-Length")?
        .1
        .trim()
        .parse()
        .context("the answer's Content-Length is not a number")?;
    Ok(body.get(..length).map(|body| Answer {
        body: body.to_vec(),
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]).unwrap(), None);
        }
        assert_eq!(parse(whole).unwrap().unwrap().body, b"abc");
    }

    #[test]
    fn another_status_or_no_length_is_an_error() {
        assert!(parse(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
