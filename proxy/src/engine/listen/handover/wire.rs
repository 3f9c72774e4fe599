//! Messages and descriptors over a Unix socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, recvmsg, sendmsg, shutdown,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::{ANSWER, HandOverError, Message};

/// Bytes before a message that tell its length.
const PREFIX: usize = 4;
/// Longest message, in bytes.
const LONGEST: usize = 1 << 20;
/// Most descriptors at once; the kernel takes up to 253.
const AT_ONCE: usize = 64;

/// How long a process that dies may take from the close of its files to its end.
const DYING: Duration = Duration::from_secs(1);
/// Pause between two looks whether it has ended.
const DYING_STEP: Duration = Duration::from_millis(2);

/// A connection between two processes of one user.
#[derive(Debug)]
pub(super) struct Wire {
    stream: UnixStream,
    /// A message that has arrived in part.
    partial: Vec<u8>,
    /// The process at the other end, as a descriptor that becomes readable when it has ended; nothing if the kernel
    /// does not give one.
    other: Option<OwnedFd>,
}

impl Wire {
    /// Takes a connection if the process at its other end belongs to `user`.
    pub(super) fn new(stream: UnixStream, user: u32) -> Result<Self, HandOverError> {
        let theirs = stream.peer_cred()?;
        if theirs.uid() != user {
            return Err(HandOverError::Foreign {
                theirs: theirs.uid(),
                ours: user,
            });
        }
        Ok(Self {
            stream,
            partial: Vec::new(),
            other: theirs.pid().and_then(descriptor),
        })
    }

    /// Whether the process at the other end has died, whose end of the connection is closed. The kernel closes the files
    /// of a process a moment before it counts as ended.
    pub(super) async fn other_has_died(&self) -> bool {
        let Some(other) = &self.other else {
            return false;
        };
        let deadline = Instant::now() + DYING;
        while !has_ended(other) {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(DYING_STEP).await;
        }
        true
    }

    /// Sends a message if that can be done at once.
    pub(super) fn say(&self, message: &Message) {
        // The other side may have gone, or reads nothing.
        let _ = encode(message).map(|bytes| self.stream.try_write(&bytes));
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), HandOverError> {
        let bytes = encode(message)?;
        within(async {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                self.stream.writable().await?;
                match self.stream.try_write(rest) {
                    Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                        return Err(HandOverError::Ended);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        })
        .await
    }

    /// The next message, however long it takes. May be called again after it was dropped: nothing is lost.
    pub(super) async fn receive(&mut self) -> Result<Message, HandOverError> {
        loop {
            let missing = missing(&self.partial)?;
            if missing == 0 {
                let body = self.partial.split_off(PREFIX);
                self.partial.clear();
                return serde_json::from_slice(&body)
                    .map_err(|error| HandOverError::Garbled(error.to_string()));
            }
            self.stream.readable().await?;
            // Not one byte more: descriptors may follow.
            let mut piece = vec![0; missing.min(4096)];
            match self.stream.try_read(&mut piece) {
                Ok(0) => return Err(HandOverError::Ended),
                Ok(n) => self.partial.extend(piece.into_iter().take(n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(HandOverError::Ended);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next message, if it comes within [`ANSWER`].
    pub(super) async fn answer(&mut self) -> Result<Message, HandOverError> {
        within(self.receive()).await
    }

    /// What has arrived by now, in a way that the other side cannot send any more: it is either here, or the other
    /// side learns that it did not arrive.
    pub(super) async fn last_word(&mut self) -> Result<Message, HandOverError> {
        shutdown(&self.stream, Shutdown::Read).map_err(io::Error::from)?;
        match self.answer().await {
            Err(HandOverError::Ended) => Err(HandOverError::Silent),
            other => other,
        }
    }

    pub(super) async fn send_fds(&self, fds: &[BorrowedFd<'_>]) -> Result<(), HandOverError> {
        within(async {
            for some in fds.chunks(AT_ONCE) {
                self.stream
                    .async_io(Interest::WRITABLE, || send_some(self.stream.as_fd(), some))
                    .await?;
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn receive_fds(&self, count: usize) -> Result<Vec<OwnedFd>, HandOverError> {
        within(async {
            let mut fds = Vec::new();
            while fds.len() < count {
                let some = self
                    .stream
                    .async_io(Interest::READABLE, || receive_some(self.stream.as_fd()))
                    .await?;
                if some.is_empty() {
                    return Err(HandOverError::Garbled("sockets are missing".to_owned()));
                }
                fds.extend(some);
            }
            Ok(fds)
        })
        .await
    }
}

fn encode(message: &Message) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(body);
    Ok(bytes)
}

fn descriptor(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

fn has_ended(process: &OwnedFd) -> bool {
    let mut ended = [PollFd::new(process, PollFlags::IN)];
    poll(&mut ended, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// How many bytes a message lacks.
fn missing(partial: &[u8]) -> Result<usize, HandOverError> {
    let Some(prefix) = partial.first_chunk::<PREFIX>() else {
        return Ok(PREFIX - partial.len());
    };
    let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(HandOverError::Garbled(format!(
            "a message of {length} bytes; is the other weir of an older version?"
        )));
    }
    Ok((PREFIX + length).saturating_sub(partial.len()))
}

async fn within<T>(
    word: impl Future<Output = Result<T, HandOverError>>,
) -> Result<T, HandOverError> {
    timeout(ANSWER, word)
        .await
        .unwrap_or(Err(HandOverError::Silent))
}

/// Sends a byte that carries these descriptors.
fn send_some(socket: BorrowedFd<'_>, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many sockets at once"));
    }
    sendmsg(
        socket,
        &[IoSlice::new(&[0])],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Receives one byte, and the descriptors that it carries.
fn receive_some(socket: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut received = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            received.extend(fds);
        }
    }
    Ok(received)
}
