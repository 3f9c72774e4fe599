//! A connected stream below HTTP: TCP or a Unix socket, in the clear or with TLS. Both sides of the proxy use
//! it, wherever a plain TCP connection is not all there is.

mod ahead;
mod io;
mod raw;

pub(super) use self::ahead::Ahead;
pub(super) use self::io::Io;
pub(super) use self::raw::Raw;
