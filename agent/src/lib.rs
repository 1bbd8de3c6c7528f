//! The agent: it knows mail, fingerprints and the catalog; it never sees SMTP.
//!
//! The path of a mail: bytes -> [`Message`] -> [`Canonical`] -> [`Fingerprint`] -> catalog ->
//! `Judgement` -> `Verdict`.

mod agent;
mod allowlist;
mod canonical;
mod config;
mod correspondents;
mod familiar;
mod fingerprint;
pub mod hosts;
mod line;
mod maillog;
mod message;
mod metrics;
mod milters;
mod pairing;
mod quota;
pub mod replay;
pub mod server;
mod verdict;

pub use agent::{Agent, AgentError, Caller, Deed, JoinError, Look, digests};
pub use allowlist::{Allowlist, PatternError, authentication_of};
pub use canonical::{Canonical, GATE_CHARS, Link};
pub use config::{Config, ConfigError, GroupConfig, LogFormat, SYSTEM_SOCKET};
pub use familiar::Familiar;
pub use fingerprint::{Fingerprint, StopList, nilsimsa, quoted_shingle, stoppable};
pub use message::{
    ATTACHED_MAX, MAIL_LEN_MAX, Mailbox, Message, TextPart, attached_mails, quiet_parser_panics,
};
pub use verdict::{Circumstances, answer, decide};
