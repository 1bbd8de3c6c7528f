//! The agent: it knows mail, fingerprints and the catalog; it never sees SMTP.
//!
//! The path of a mail: bytes -> [`Message`] -> [`Canonical`] -> [`Fingerprint`] -> catalog ->
//! `Judgement` -> `Verdict`.

mod allowlist;
mod canonical;
mod fingerprint;
mod message;
pub mod replay;
mod verdict;

pub use allowlist::{Allowlist, PatternError, authentication_of};
pub use canonical::{Canonical, GATE_CHARS, Link};
pub use fingerprint::{Fingerprint, StopList, nilsimsa, stoppable};
pub use message::{MAIL_LEN_MAX, Mailbox, Message, TextPart};
pub use verdict::{Circumstances, answer, decide};
