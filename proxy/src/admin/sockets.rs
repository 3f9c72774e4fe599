//! Where the admin API listens: an address, with TLS or without, and a Unix socket.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use weir_api::config::AdminTls;

/// What TLS on the admin listener takes.
pub type TlsConfig = Arc<ServerConfig>;

/// A place to listen cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The Unix socket.
    #[error("admin.socket: cannot listen on {path}: {cause}", path = .path.display())]
    Unix {
        /// Its path.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The certificate or the key.
    #[error("admin.tls: {path}: {what}", path = .path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// Where the admin API listens.
#[derive(Debug)]
pub struct Sockets {
    pub(super) tcp: std::net::TcpListener,
    pub(super) tls: Option<TlsConfig>,
    pub(super) unix: Option<UnixSocket>,
}

impl Sockets {
    /// A bound TCP listener, in the clear.
    #[must_use]
    pub fn tcp(tcp: std::net::TcpListener) -> Self {
        Self {
            tcp,
            tls: None,
            unix: None,
        }
    }

    /// TLS on the TCP listener.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<TlsConfig>) -> Self {
        self.tls = tls;
        self
    }

    /// A Unix socket as well.
    #[must_use]
    pub fn with_unix(mut self, unix: Option<UnixSocket>) -> Self {
        self.unix = unix;
        self
    }

    /// The address of the TCP listener.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// A Unix socket; its file goes when it is dropped, unless a successor has put another there or has the socket.
#[derive(Debug)]
pub struct UnixSocket {
    pub(super) listener: Option<std::os::unix::net::UnixListener>,
    path: PathBuf,
    /// Where it has been made, until it is moved to `path`.
    made_at: Option<PathBuf>,
    /// Of the file that is removed in the end.
    inode: Option<u64>,
}

impl UnixSocket {
    /// Listens on a path, which only the owner may use (mode 0600). A socket that is left from a process
    /// that died is replaced; any other file is not touched.
    ///
    /// # Errors
    /// When the path cannot be used.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let mut socket = Self::prepare(path)?;
        socket.place()?;
        Ok(socket)
    }

    /// Makes the socket beside its path: whoever listens there is not disturbed yet. [`UnixSocket::place`] follows.
    ///
    /// # Errors
    /// When the folder cannot be used, or something other than a socket is in the way.
    pub fn prepare(path: &Path) -> Result<Self, SocketError> {
        let wrong = |cause| SocketError::Unix {
            path: path.to_owned(),
            cause,
        };
        if fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
            return Err(wrong(io::Error::other("there is a file that is no socket")));
        }
        // Made under another name and moved over: nobody finds it with wider rights or not there.
        let temp = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&temp);
        let listener = std::os::unix::net::UnixListener::bind(&temp).map_err(wrong)?;
        let socket = Self {
            listener: Some(listener),
            path: path.to_owned(),
            made_at: Some(temp.clone()),
            inode: None,
        };
        let listener = socket.listener.as_ref();
        fs::set_permissions(&temp, fs::Permissions::from_mode(0o600))
            .and_then(|()| listener.map_or(Ok(()), |it| it.set_nonblocking(true)))
            .map_err(wrong)?;
        Ok(socket)
    }

    /// Moves the socket to its path.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn place(&mut self) -> Result<(), SocketError> {
        if let Some(temp) = &self.made_at {
            fs::rename(temp, &self.path).map_err(|cause| SocketError::Unix {
                path: self.path.clone(),
                cause,
            })?;
            self.made_at = None;
            self.inode = inode(&self.path);
        }
        Ok(())
    }

    /// A socket of another process, whose file it is until [`UnixSocket::keep_file`].
    #[must_use]
    pub fn inherit(path: &Path, listener: std::os::unix::net::UnixListener) -> Self {
        Self {
            listener: Some(listener),
            path: path.to_owned(),
            made_at: None,
            inode: None,
        }
    }

    /// A further handle on the same socket. It leaves the file alone.
    ///
    /// # Errors
    /// Want of descriptors.
    pub fn share(&self) -> io::Result<Self> {
        let listener = self.listener.as_ref();
        Ok(Self {
            listener: listener
                .map(std::os::unix::net::UnixListener::try_clone)
                .transpose()?,
            path: self.path.clone(),
            made_at: None,
            inode: None,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The socket itself; it leaves the file alone.
    #[must_use]
    pub fn into_listener(mut self) -> Option<std::os::unix::net::UnixListener> {
        self.listener.take()
    }

    /// Takes care of the file from now on: its other owner has gone, or has handed it over.
    pub fn keep_file(&mut self) {
        self.inode = inode(&self.path);
    }

    /// Leaves the file to another process, which listens on the same socket.
    pub fn leave_file(&mut self) {
        self.inode = None;
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if let Some(temp) = &self.made_at {
            let _ = fs::remove_file(temp);
        }
        if self.inode.is_some() && inode(&self.path) == self.inode {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    fs::symlink_metadata(path).ok().map(|found| found.ino())
}

/// Reads certificate and key.
///
/// # Errors
/// Files that cannot be read or hold nothing of the kind, and a key that is not the certificate's.
pub fn load_tls(files: &AdminTls) -> Result<TlsConfig, SocketError> {
    let wrong = |path: &Path, what: String| SocketError::Tls {
        path: path.to_owned(),
        what,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(&files.cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(&files.cert, "holds no certificate in PEM".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| wrong(&files.key, error.to_string()))?;
    weir_api::tls::provide();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong(&files.key, error.to_string()))?;
    Ok(Arc::new(config))
}
