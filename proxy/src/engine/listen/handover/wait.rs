//! The successor's side.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tokio::time::timeout;
use tracing::{info, warn};
use weir_api::config::ListenAddress;

use super::lock::Lock;
use super::wire::Wire;
use super::{ANSWER, HandOverError, Message, Name, PROBATION, PROTOCOL, WAIT};

/// A successor that waits at a path. The socket's file goes with it.
#[derive(Debug)]
pub struct Waiting {
    listener: tokio::net::UnixListener,
    file: SocketFile,
    lock: Lock,
}

/// Sockets that the running process has sent, and the process itself.
#[derive(Debug)]
pub struct Offered {
    wire: Wire,
    /// What came.
    pub sockets: Inherited,
    _lock: Lock,
}

/// Sockets of the running process.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(Name, OwnedFd)>);

/// The process whose place this one has taken.
#[derive(Debug)]
pub struct Predecessor(Wire);

/// The file of a socket, removed when dropped, unless it is another's by then.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Waiting {
    /// Waits at `path`, which only this user may use (mode 0600). A socket that is left from a process that died is
    /// replaced; any other file is not touched.
    ///
    /// # Errors
    /// [`HandOverError::Taken`] if another process waits there, [`HandOverError::Socket`] if the path cannot be
    /// used.
    pub fn at(path: &Path) -> Result<Self, HandOverError> {
        let wrong = |cause| HandOverError::Socket {
            path: path.to_owned(),
            cause,
        };
        let Some(lock) = Lock::take(path).map_err(wrong)? else {
            return Err(HandOverError::Taken {
                path: path.to_owned(),
            });
        };
        if fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
            return Err(wrong(std::io::Error::other(
                "there is a file that is no socket",
            )));
        }
        // Made under another name and moved over: nobody finds it with wider rights.
        let temp = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&temp);
        let listener = UnixListener::bind(&temp).map_err(wrong)?;
        let placed = listener
            .set_nonblocking(true)
            .and_then(|()| fs::set_permissions(&temp, fs::Permissions::from_mode(0o600)))
            .and_then(|()| fs::rename(&temp, path))
            .and_then(|()| tokio::net::UnixListener::from_std(listener));
        let listener = match placed {
            Ok(listener) => listener,
            Err(cause) => {
                let _ = fs::remove_file(&temp);
                return Err(wrong(cause));
            }
        };
        let inode = fs::symlink_metadata(path).map_or(0, |found| found.ino());
        let file = SocketFile {
            path: path.to_owned(),
            inode,
        };
        Ok(Self {
            listener,
            file,
            lock,
        })
    }

    /// Waits until the running process sends its sockets. Whoever else connects is sent away.
    ///
    /// # Errors
    /// [`HandOverError::NoPredecessor`] if nobody does within [`WAIT`]; [`HandOverError::Protocol`].
    pub async fn offered(self) -> Result<Offered, HandOverError> {
        let user = rustix::process::geteuid().as_raw();
        let (wire, sockets) = match timeout(WAIT, first_offer(&self.listener, user)).await {
            Ok(offer) => offer?,
            Err(_) => {
                return Err(HandOverError::NoPredecessor {
                    path: self.file.path.clone(),
                });
            }
        };
        Ok(Offered {
            wire,
            sockets,
            _lock: self.lock,
        })
    }
}

async fn first_offer(
    listener: &tokio::net::UnixListener,
    user: u32,
) -> Result<(Wire, Inherited), HandOverError> {
    loop {
        let (stream, _) = listener.accept().await?;
        let offered = match Wire::new(stream, user) {
            Ok(wire) => offer(wire).await,
            Err(error) => Err(error),
        };
        match offered {
            Err(HandOverError::Protocol { version, theirs }) => {
                return Err(HandOverError::Protocol { version, theirs });
            }
            Ok(offered) => return Ok(offered),
            Err(error) => warn!(%error, "a connection at server.upgrade_socket was refused"),
        }
    }
}

async fn offer(mut wire: Wire) -> Result<(Wire, Inherited), HandOverError> {
    let (protocol, version, names) = match wire.answer().await? {
        Message::Offer {
            protocol,
            version,
            sockets,
        } => (protocol, version, sockets),
        other => return Err(HandOverError::Garbled(format!("{other:?}"))),
    };
    if protocol != PROTOCOL {
        let wrong = HandOverError::Protocol {
            version,
            theirs: protocol,
        };
        // It may have gone; what counts is said here.
        let _ = wire.send(&Message::Failed(wrong.to_string())).await;
        return Err(wrong);
    }
    let fds = wire.receive_fds(names.len()).await?;
    info!(%version, sockets = names.len(), "the running weir offers its sockets");
    let sockets = Inherited(names.into_iter().zip(fds).collect());
    Ok((wire, sockets))
}

impl Offered {
    /// Says that this process cannot serve; the running one goes on.
    pub async fn decline(self, why: &str) {
        // It may have gone; then it does not matter to it.
        let _ = self.wire.send(&Message::Failed(why.to_owned())).await;
    }

    /// Says that this process is ready, and waits for its turn. As soon as this returns it has to accept
    /// connections: nobody else does. It returns, too, when the running process dies meanwhile.
    ///
    /// # Errors
    /// When the running process stops, or goes on by itself.
    pub async fn ready(mut self) -> Result<Predecessor, HandOverError> {
        match self.turn().await {
            Ok(()) => {}
            Err(HandOverError::Ended) if self.wire.other_has_died().await => {
                warn!("the running weir has died; this process serves in its place");
            }
            Err(error) => return Err(error),
        }
        Ok(Predecessor(self.wire))
    }

    async fn turn(&mut self) -> Result<(), HandOverError> {
        self.wire.send(&Message::Ready).await?;
        let told = match timeout(PROBATION + ANSWER, self.wire.receive()).await {
            Ok(told) => told,
            Err(_) => self.wire.last_word().await,
        };
        match told? {
            Message::Serve => self.wire.send(&Message::Serving).await,
            Message::Withdrawn => Err(HandOverError::Withdrawn),
            other => Err(HandOverError::Garbled(format!("{other:?}"))),
        }
    }
}

impl Predecessor {
    /// Tells that this process ends in good order, so that its predecessor, should it still drain, does not take
    /// the clients back.
    pub async fn leave(self) {
        // It has ended, usually long ago.
        let _ = self.0.send(&Message::Leaving).await;
    }
}

impl Inherited {
    /// A listener, by its address.
    pub fn listener(&mut self, address: &ListenAddress) -> Option<OwnedFd> {
        self.take(&Name::from(address))
    }

    /// The listener of the admin API, by its address.
    pub fn admin(&mut self, address: SocketAddr) -> Option<TcpListener> {
        self.take(&Name::Admin(address)).map(TcpListener::from)
    }

    /// The Unix socket of the admin API, by its path.
    pub fn admin_socket(&mut self, path: &Path) -> Option<UnixListener> {
        self.take(&Name::AdminSocket(path.to_owned()))
            .map(UnixListener::from)
    }

    /// What nobody has asked for.
    pub fn rest(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().map(|(name, _)| name)
    }

    fn take(&mut self, wanted: &Name) -> Option<OwnedFd> {
        let at = self.0.iter().position(|(name, _)| name == wanted)?;
        Some(self.0.swap_remove(at).1)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours {
            // It may have been removed meanwhile.
            let _ = fs::remove_file(&self.path);
        }
    }
}
