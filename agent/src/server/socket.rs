//! The Unix socket: the socket of a dead agent is replaced, a living one respected.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};
use tracing::{info, warn};

/// Why the socket can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another agent answers there.
    #[error(
        "listen on {0}: another agent is listening there; stop it, or name another socket with --socket"
    )]
    InUse(PathBuf),
    /// Something that is no socket is there.
    #[error(
        "listen on {0}: something that is no socket is in its place; remove it, or name another socket with --socket"
    )]
    NoSocket(PathBuf),
    /// The system refused.
    #[error("listen on {path}: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Binds the socket with mode 0660. The socket of a dead agent is replaced, a living one
/// respected.
///
/// # Errors
/// [`SocketError`].
pub async fn bind(path: &Path, group: &str) -> Result<UnixListener, SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(SocketError::NoSocket(path.to_owned()));
        }
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                info!(socket = %path.display(), "replacing the socket of a dead agent");
                std::fs::remove_file(path).map_err(failed)?;
            }
            Ok(_) => return Err(SocketError::InUse(path.to_owned())),
            Err(error) => return Err(failed(error)),
        }
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    if let Some(group) = uzers::get_group_by_name(group)
        && let Err(error) = std::os::unix::fs::chown(path, None, Some(group.gid()))
    {
        warn!(%error, "the socket stays with this user's own group");
    }
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o660)).map_err(failed)?;
    Ok(listener)
}
