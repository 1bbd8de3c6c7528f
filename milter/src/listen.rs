//! Listeners: Unix sockets and TCP ports, bound here or handed over by the service manager, which
//! keeps them open over a restart so that no MTA ever finds the door shut.

use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use novacula_client::socket::{Access, SocketError, bind as bind_socket};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::config::{Address, Listener};

/// A connection, of whichever sort.
pub type Stream = Box<dyn Duplex>;

/// Reads and writes.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The Unix socket can't be used.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The port can't be used.
    #[error("listen on {address}: {source}")]
    Port {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Sockets were handed over, but not as many as configured.
    #[error(
        "listen on {0}: the service manager handed over other sockets than the configuration names; give it one for each [[listener]], in the same order"
    )]
    HandedOver(String),
}

#[derive(Debug)]
enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// A listener that is bound.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    name: String,
    /// A Unix socket that we made: removed at the end, and made anew when it is gone.
    own: Option<(PathBuf, Listener)>,
}

impl Bound {
    /// The address as configured, with the port that the system chose.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next connection.
    ///
    /// # Errors
    /// What the system said.
    pub async fn accept(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
            Socket::Tcp(listener) => {
                let stream = listener.accept().await?.0;
                // Else each answer waits for the next packet's acknowledgement.
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

impl Bound {
    /// Makes the Unix socket anew when somebody has removed it; Some when he has.
    pub fn renew(&mut self) -> Option<Result<(), ListenError>> {
        let (path, listener) = self.own.as_ref()?;
        let gone = std::fs::symlink_metadata(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        gone.then(|| {
            let new = bind_unix(path, listener)?;
            self.socket = new;
            Ok(())
        })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.own {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Takes over what the service manager hands over, or binds all listeners.
///
/// # Errors
/// [`ListenError`], naming what to mend.
pub async fn bind(listeners: &[Listener]) -> Result<Vec<Bound>, ListenError> {
    let mut handed_over = ListenFd::from_env();
    let mut bound = Vec::new();
    for (index, listener) in listeners.iter().enumerate() {
        bound.push(match handed_over.len() {
            0 => bind_one(listener).await?,
            _ => take_over(&mut handed_over, index, listener)
                .ok_or_else(|| ListenError::HandedOver(listener.address.to_string()))?,
        });
    }
    Ok(bound)
}

fn take_over(handed_over: &mut ListenFd, index: usize, listener: &Listener) -> Option<Bound> {
    let socket = match &listener.address {
        Address::Unix(_) => {
            let socket: StdUnixListener = handed_over.take_unix_listener(index).ok()??;
            socket.set_nonblocking(true).ok()?;
            Socket::Unix(UnixListener::from_std(socket).ok()?)
        }
        Address::Inet(_) => {
            let socket: StdTcpListener = handed_over.take_tcp_listener(index).ok()??;
            socket.set_nonblocking(true).ok()?;
            Socket::Tcp(TcpListener::from_std(socket).ok()?)
        }
    };
    Some(Bound { socket, name: listener.address.to_string(), own: None })
}

async fn bind_one(listener: &Listener) -> Result<Bound, ListenError> {
    match &listener.address {
        Address::Unix(path) => {
            let socket = bind_unix(path, listener)?;
            let own = Some((path.clone(), listener.clone()));
            Ok(Bound { socket, name: listener.address.to_string(), own })
        }
        Address::Inet(address) => {
            let failed =
                |source| ListenError::Port { address: listener.address.to_string(), source };
            let socket = TcpListener::bind(address).await.map_err(failed)?;
            let address = Address::Inet(socket.local_addr().map_err(failed)?);
            Ok(Bound { socket: Socket::Tcp(socket), name: address.to_string(), own: None })
        }
    }
}

fn bind_unix(path: &Path, listener: &Listener) -> Result<Socket, ListenError> {
    // The mode was checked with the configuration.
    let mode = listener.mode().unwrap_or(0o660);
    let access = Access { mode, owner: &listener.owner, group: &listener.group };
    let (socket, refused) = bind_socket(path, &access)?;
    if let Some(reason) = refused {
        let socket = path.display();
        tracing::warn!(%socket, reason, "the socket keeps its owner and group");
    }
    Ok(Socket::Unix(socket))
}
