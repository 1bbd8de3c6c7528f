//! Binding a Unix socket, for the agent and the milter: the socket of a dead process is replaced,
//! a living one respected.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Why the socket can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process answers there.
    #[error("listen on {0}: another process is listening there; stop it, or name another socket")]
    InUse(PathBuf),
    /// Something that is no socket is there.
    #[error(
        "listen on {0}: something that is no socket is in its place; remove it, or name another socket"
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

/// Who may use a socket.
#[derive(Clone, Debug)]
pub struct Access<'a> {
    /// Permission bits.
    pub mode: u32,
    /// User that it belongs to; empty: the process's own.
    pub owner: &'a str,
    /// Group that it belongs to; empty: as the system gives it.
    pub group: &'a str,
}

/// Binds the socket and gives it to who may use it, as far as that is possible: the second value
/// says what was not, for the log.
///
/// # Errors
/// [`SocketError`].
pub fn bind(
    path: &Path,
    access: &Access<'_>,
) -> Result<(UnixListener, Option<String>), SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(SocketError::NoSocket(path.to_owned()));
        }
        match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Ok(_) => return Err(SocketError::InUse(path.to_owned())),
            Err(error) => return Err(failed(error)),
        }
    }
    // Under its name it appears when only those may use it who should.
    let hidden = path.with_file_name(format!(".{}", std::process::id()));
    let _ = std::fs::remove_file(&hidden);
    let listener = UnixListener::bind(&hidden).map_err(failed)?;
    let given = give(&hidden, access).err();
    let shown = std::fs::set_permissions(&hidden, PermissionsExt::from_mode(access.mode))
        .and_then(|()| std::fs::rename(&hidden, path));
    if let Err(source) = shown {
        let _ = std::fs::remove_file(&hidden);
        return Err(failed(source));
    }
    Ok((listener, given))
}

fn give(path: &Path, access: &Access<'_>) -> Result<(), String> {
    let named = |name: &str, id: Option<u32>| match (name.is_empty(), id) {
        (true, _) => Ok(None),
        (false, Some(id)) => Ok(Some(id)),
        (false, None) => Err(format!("{name}: there is no such user or group")),
    };
    let owner = named(access.owner, uzers::get_user_by_name(access.owner).map(|user| user.uid()))?;
    let group = named(access.group, uzers::get_group_by_name(access.group).map(|own| own.gid()))?;
    std::os::unix::fs::chown(path, owner, group).map_err(|error| error.to_string())
}
