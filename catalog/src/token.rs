//! A token lets a mail client speak for one user: what the store keeps of it. The token itself is
//! shown once and kept nowhere; its hash tells it again.

use crate::clock::Time;

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// BLAKE3 of the token.
    pub hash: [u8; 32],
    /// Whom it speaks for.
    pub user: String,
    /// What the client calls itself.
    pub label: String,
    /// When it was made.
    pub made: Time,
}
