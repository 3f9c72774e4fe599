//! Reading `GET /v1/events`.

use std::time::Duration;

use super::{AdminClient, ClientError, chain};
use crate::events::Event;

/// The proxy writes at least a comment every ten seconds; after this long without any it is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest event that is read.
const LONGEST: usize = 4 << 20;

/// Events as they come.
#[derive(Debug)]
pub struct Events {
    client: AdminClient,
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl AdminClient {
    /// Subscribes to what happens from now on; the first event is [`Event::Hello`].
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn events(&self) -> Result<Events, ClientError> {
        // The client for calls ends each after ten seconds; this one only when nothing comes at all.
        let http = super::node::builder(&self.node, &self.credentials)?
            .connect_timeout(super::PATIENCE)
            .read_timeout(SILENCE)
            .build()
            .map_err(|error| self.unreachable(&error))?;
        let url = self.url(&["v1", "events"])?;
        let response = http
            .get(url)
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            return Err(self.failure(response).await);
        }
        Ok(Events {
            client: self.clone(),
            response,
            buffer: Vec::new(),
        })
    }
}

impl Events {
    /// The next event; none when the proxy has ended the stream.
    ///
    /// # Errors
    /// When the connection is lost, or what comes is no event.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(data) = take(&mut self.buffer) {
                let event = serde_json::from_str(&data);
                return event.map(Some).map_err(|e| self.client.strange(&e));
            }
            if self.buffer.len() > LONGEST {
                return Err(self.client.strange(&"an event is longer than 4 MiB"));
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.buffer.extend_from_slice(&bytes),
                Ok(None) => return Ok(None),
                Err(error) => {
                    return Err(ClientError::Unreachable {
                        address: self.client.node.to_string(),
                        reason: chain(&error),
                    });
                }
            }
        }
    }
}

/// Takes the data of the first whole event from the buffer; comments and events without data are
/// skipped (WHATWG HTML, 9.2.6; the proxy ends lines with LF only).
fn take(buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
        let block: Vec<u8> = buffer.drain(..end + 2).collect();
        let text = String::from_utf8_lossy(&block);
        let data: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.strip_prefix(' ').unwrap_or(data))
            .collect();
        if !data.is_empty() {
            return Some(data.join("\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_out_of_the_stream() {
        let mut buffer =
            b":hello\n\nevent: a\ndata: {\"x\":\ndata:1}\n\n: beat\n\ndata: 2\n".to_vec();
        assert_eq!(take(&mut buffer).as_deref(), Some("{\"x\":\n1}"));
        assert_eq!(take(&mut buffer), None);
        buffer.push(b'\n');
        assert_eq!(take(&mut buffer).as_deref(), Some("2"));
        assert!(buffer.is_empty());
    }
}
