//! Checking what others signed. One door, so that a simulation of ten thousand nodes in one
//! process can remember what it has checked already; the program itself checks every time.

use std::sync::Arc;

use crate::clock::Time;
use crate::node::codec::WireError;
use crate::node::member::MemberRecord;
use crate::statement::{Statement, StatementError};
use crate::trust::{VouchError, VouchList};

/// Checks signatures.
pub trait Verifier: Send + Sync {
    /// A statement from signed bytes of anybody.
    ///
    /// # Errors
    /// [`StatementError`].
    fn statement(&self, signed: &[u8]) -> Result<Statement, StatementError>;

    /// A membership record from bytes of anybody; all who signed in it did.
    ///
    /// # Errors
    /// [`WireError`].
    fn member(&self, record: &[u8], now: Time) -> Result<Arc<MemberRecord>, WireError>;

    /// A list of vouches from signed bytes of anybody.
    ///
    /// # Errors
    /// [`VouchError`].
    fn vouches(&self, signed: &[u8]) -> Result<VouchList, VouchError> {
        VouchList::decode_verified(signed)
    }
}

/// Checks every time.
pub struct Ed25519;

impl Verifier for Ed25519 {
    fn statement(&self, signed: &[u8]) -> Result<Statement, StatementError> {
        Statement::decode_verified(signed)
    }

    fn member(&self, record: &[u8], now: Time) -> Result<Arc<MemberRecord>, WireError> {
        let record = MemberRecord::decode(record)?;
        if record.holds(now) { Ok(Arc::new(record)) } else { Err(WireError::Malformed) }
    }
}
