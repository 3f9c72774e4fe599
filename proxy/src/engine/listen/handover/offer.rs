//! The running process's side.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::wire::Wire;
use super::{ANSWER, FIND, HandOverError, Message, Name, PROBATION, PROTOCOL};

/// Pause between two looks for a successor.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The process that serves now.
#[derive(Debug)]
pub struct Successor(Wire);

/// A process that may become the successor. It is told when nothing comes of it, also when this process is told to
/// stop: it would otherwise take this one for dead, and serve.
#[derive(Debug)]
struct Candidate(Option<Wire>);

/// What becomes of a successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It has ended in good order.
    Left,
    /// It has died.
    Died,
}

/// Hands sockets to the successor that waits at `path`, which may take [`FIND`] to appear. Returns when it serves.
/// This process may be told to stop meanwhile: dropped, it has handed nothing over.
///
/// # Errors
/// [`HandOverError`]; then this process has to go on serving.
pub async fn hand_over(
    path: &Path,
    sockets: &[(Name, OwnedFd)],
) -> Result<Successor, HandOverError> {
    let user = rustix::process::geteuid().as_raw();
    let mut candidate = Candidate(Some(Wire::new(find(path).await?, user)?));
    let Some(wire) = &mut candidate.0 else {
        return Err(HandOverError::Ended);
    };
    let names = sockets.iter().map(|(name, _)| name.clone());
    wire.send(&Message::Offer {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sockets: names.collect(),
    })
    .await?;
    let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, fd)| fd.as_fd()).collect();
    wire.send_fds(&fds).await?;
    expect(wire.answer().await?, &Message::Ready)?;
    // Nothing is due within this time. What comes is bad news.
    if let Ok(early) = timeout(PROBATION, wire.receive()).await {
        return Err(match early? {
            Message::Failed(why) => HandOverError::Failed(why),
            other => HandOverError::Garbled(format!("{other:?}")),
        });
    }
    wire.send(&Message::Serve).await?;
    let word = match timeout(ANSWER, wire.receive()).await {
        Ok(word) => word?,
        Err(_) => wire.last_word().await?,
    };
    expect(word, &Message::Serving)?;
    candidate
        .0
        .take()
        .map(Successor)
        .ok_or(HandOverError::Ended)
}

async fn find(path: &Path) -> Result<UnixStream, HandOverError> {
    let deadline = Instant::now() + FIND;
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return Ok(stream),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    if Instant::now() >= deadline {
                        return Err(HandOverError::NoSuccessor {
                            path: path.to_owned(),
                        });
                    }
                }
                _ => return Err(error.into()),
            },
        }
        sleep(LOOK_EVERY).await;
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if let Some(wire) = &self.0 {
            wire.say(&Message::Withdrawn);
        }
    }
}

fn expect(message: Message, due: &Message) -> Result<(), HandOverError> {
    match message {
        Message::Failed(why) => Err(HandOverError::Failed(why)),
        message if message == *due => Ok(()),
        other => Err(HandOverError::Garbled(format!("{other:?}"))),
    }
}

impl Successor {
    /// Waits until it ends.
    pub async fn ended(&mut self) -> After {
        match self.0.receive().await {
            Ok(Message::Leaving) => After::Left,
            _ => After::Died,
        }
    }
}
