//! One agent at a time in a data directory.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::AgentError;

/// Makes the directory where there is none, and holds its lock as long as the file is open.
///
/// # Errors
/// [`AgentError`]: it can't be made, or another agent runs there.
pub(super) fn lock_dir(path: &Path) -> Result<std::fs::File, AgentError> {
    let failed = |source| AgentError::Directory { path: path.to_owned(), source };
    // It holds who reported what: nobody else's business.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join("lock"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(AgentError::InUse(path.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}
