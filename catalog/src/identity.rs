//! Who a site is: an Ed25519 key pair made at first start and kept in a file of mode 0600.
//! The public half is the [`SiteId`]; everything a site says is signed with the other.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// A site's public key: 32 bytes, printed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub [u8; 32]);

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiteId({}..)", &self.to_string()[..8])
    }
}

impl std::str::FromStr for SiteId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        decode_hex(text.trim()).map(Self).ok_or(IdentityError::Malformed)
    }
}

impl SiteId {
    /// True when `signature` is this site's over `bytes`. Keys of small order and signatures
    /// outside the canonical range are refused.
    #[must_use]
    pub fn verifies(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(bytes, &Signature::from_bytes(signature)).is_ok())
    }
}

/// A site's key pair.
pub struct Identity {
    key: SigningKey,
}

/// What can be wrong with an identity file.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file could not be read or made.
    #[error("use the identity file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read the private key.
    #[error("use the identity file {0}: other users may read it; run `chmod 600 {0}`")]
    Exposed(PathBuf),
    /// Not a key of 64 hexadecimal digits.
    #[error("read a key: it must be 64 hexadecimal digits")]
    Malformed,
    /// The system gave no random bytes.
    #[error("draw random bytes for a new identity")]
    Random,
}

/// First line of the file, so that people know what they have before them.
const HEADER: &str = "novacula site identity, private: keep it, and keep it secret";

impl Identity {
    /// An identity from its 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(seed) }
    }

    /// The public half.
    #[must_use]
    pub fn site(&self) -> SiteId {
        SiteId(self.key.verifying_key().to_bytes())
    }

    /// A secret for one purpose, from which the identity can't be had.
    #[must_use]
    pub fn secret_for(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.key.to_bytes())
    }

    /// The seed itself, for the network's encryption, which proves the same key.
    #[must_use]
    pub fn secret_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Signs `bytes`.
    #[must_use]
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.key.sign(bytes).to_bytes()
    }

    /// Reads the identity at `path`, or makes one there when the file does not exist. A file
    /// that is there but damaged is an error: a silent new identity would lose the site's
    /// standing with its peers.
    ///
    /// # Errors
    /// [`IdentityError`], each with what to mend.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        match Self::load(path) {
            Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Self::create(path)
            }
            other => other,
        }
    }

    fn load(path: &Path) -> Result<Self, IdentityError> {
        let failed = |source| IdentityError::File { path: path.to_owned(), source };
        let mut file = fs::File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(IdentityError::Exposed(path.to_owned()));
        }
        let mut text = String::new();
        (&mut file).take(4096).read_to_string(&mut text).map_err(failed)?;
        let seed = text.lines().nth(1).and_then(|line| decode_hex(line.trim()));
        let damaged = || {
            failed(io::Error::other(
                "line 2 is not 64 hexadecimal digits; restore the file from a copy, or move it away to start as a new site",
            ))
        };
        seed.map(|seed| Self::from_seed(&seed)).ok_or_else(damaged)
    }

    fn create(path: &Path) -> Result<Self, IdentityError> {
        let failed = |source| IdentityError::File { path: path.to_owned(), source };
        let mut seed = [0u8; 32];
        getrandom::fill(&mut seed).map_err(|_| IdentityError::Random)?;
        let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        // Written whole under another name first: a crash leaves no half identity.
        let fresh = path.with_extension("new");
        let _ = fs::remove_file(&fresh);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .map_err(failed)?;
        file.write_all(format!("{HEADER}\n{hex}\n").as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&fresh, path).map_err(failed)?;
        if let Some(dir) = path.parent() {
            fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        }
        Ok(Self::from_seed(&seed))
    }
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0u8; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_private_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        let made = Identity::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Identity::load_or_create(&path).unwrap().site(), made.site());
        assert_eq!(made.site().to_string().parse::<SiteId>().unwrap(), made.site());
    }

    #[test]
    fn a_readable_or_damaged_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        Identity::load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Identity::load_or_create(&path), Err(IdentityError::Exposed(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "nonsense").unwrap();
        assert!(Identity::load_or_create(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "nonsense");
    }

    #[test]
    fn only_the_right_key_over_the_right_bytes_verifies() {
        let (one, two) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let signature = one.sign(b"seen");
        assert!(one.site().verifies(b"seen", &signature));
        assert!(!one.site().verifies(b"seem", &signature));
        assert!(!two.site().verifies(b"seen", &signature));
        assert!(!one.site().verifies(b"seen", &[0; 64]));
        assert!(!SiteId([0; 32]).verifies(b"seen", &[0; 64]), "a key of small order");
    }
}
