//! A listening socket and the address that it has.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use weir_api::config::ListenAddress;

/// A listening socket.
#[derive(Debug)]
pub struct ListenSocket {
    address: ListenAddress,
    socket: OwnedFd,
}

impl ListenSocket {
    /// Opens `address`; port 0 asks for any free port. A Unix socket that a process which died has left is
    /// replaced; any other file, and a socket that somebody listens on, is not touched.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(address: &ListenAddress) -> io::Result<Self> {
        match address {
            ListenAddress::Inet(address) => {
                let socket = TcpListener::bind(address)?;
                Ok(Self {
                    address: ListenAddress::Inet(socket.local_addr()?),
                    socket: socket.into(),
                })
            }
            ListenAddress::Unix(path) => Ok(Self {
                address: address.clone(),
                socket: open_unix(path)?.into(),
            }),
        }
    }

    /// A socket of another process that listens on `address`.
    pub fn inherit(address: ListenAddress, socket: OwnedFd) -> Self {
        Self { address, socket }
    }

    /// Where it listens; the port is the real one.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Another handle on the same socket.
    ///
    /// # Errors
    /// Want of descriptors.
    pub fn share(&self) -> io::Result<Self> {
        Ok(Self {
            address: self.address.clone(),
            socket: self.socket.try_clone()?,
        })
    }

    /// The socket alone.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.socket
    }

    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&self.socket, true)?;
        Ok(())
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn open_unix(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::other("there is a file that is no socket"));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(_) | Err(_) => {}
    }
    // Made under another name and moved over: nobody finds it half done.
    let mut temp = path.as_os_str().to_owned();
    temp.push(format!(".{}", std::process::id()));
    let temp = Path::new(&temp);
    let _ = fs::remove_file(temp);
    let listener = UnixListener::bind(temp)?;
    // As with a port, whoever reaches it may connect: the rights of its folder decide.
    let placed = fs::set_permissions(temp, fs::Permissions::from_mode(0o666))
        .and_then(|()| fs::rename(temp, path));
    if let Err(error) = placed {
        let _ = fs::remove_file(temp);
        return Err(error);
    }
    Ok(listener)
}

/// The file of a Unix socket. It is removed when this is dropped, unless another process has put its own there.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: std::path::PathBuf,
    inode: u64,
}

impl SocketFile {
    /// The file of a listener that is a Unix socket.
    pub(super) fn of(address: &ListenAddress) -> Option<Self> {
        let ListenAddress::Unix(path) = address else {
            return None;
        };
        let inode = fs::symlink_metadata(path).ok()?.ino();
        Some(Self {
            path: path.clone(),
            inode,
        })
    }

    /// It is another process's now.
    pub(super) fn leave(mut self) {
        // No file has this number.
        self.inode = 0;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| found.ino() == self.inode) {
            // It may have been removed meanwhile.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_was_left_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("front.sock");
        let address = ListenAddress::Unix(path.clone());
        let first = ListenSocket::open(&address).unwrap();
        UnixStream::connect(&path).unwrap();
        let taken = ListenSocket::open(&address).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let file = SocketFile::of(&address);
        let second = ListenSocket::open(&address).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(file);
        assert!(path.exists(), "another one by now");
        drop((SocketFile::of(&address), second));
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert!(ListenSocket::open(&address).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
