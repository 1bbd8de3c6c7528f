//! What can go wrong, each with what mends it.

use std::path::PathBuf;
use std::sync::Arc;

use novacula_catalog::store::StoreError;

use crate::allowlist::PatternError;
use crate::hosts::HostError;

/// Why the agent can't do it.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Who this is can't be told.
    #[error(transparent)]
    Identity(#[from] HostError),
    /// The database is unusable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A write was refused.
    #[error("{0}")]
    Write(Arc<StoreError>),
    /// The data directory can't be made or locked.
    #[error("use the data directory {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another agent runs on the same data.
    #[error(
        "use the data directory {0}: another agent is using it; stop that one, or name another directory with --data-dir"
    )]
    InUse(PathBuf),
    /// Not a pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Not a trust list.
    #[error("take the trust list: line {0}: {1}; nothing of it was taken")]
    TrustList(usize, String),
    /// Only administrators may.
    #[error(
        "{0}: only an administrator of the site may; administrators are named in the configuration"
    )]
    NotAdministrator(&'static str),
    /// The user has given as many opinions as he may.
    #[error(
        "store it: {0} opinions in an hour are enough for one user; go on in the next hour, or ask an administrator to raise opinions_per_hour_max"
    )]
    TooManyOpinions(u32),
    /// The pairing code is unknown.
    #[error(
        "accept this code: it is wrong, used or too old; ask for a new one with `novacula pair`"
    )]
    Code,
    /// The user has too many mail clients.
    #[error(
        "accept this code: the user has {0} mail clients; remove one with `novacula pair --remove ID`"
    )]
    TooManyTokens(usize),
    /// There is no such mail client.
    #[error("remove it: you have no mail client of this name; `novacula pair --list` shows them")]
    NoToken,
    /// The list of vouches is full.
    #[error(
        "vouch for more sites: a site's list has room for 64, and this one's holds {0} and {1} open invitations; take one back with `novacula vouch SITE --remove` or `novacula identity invite --remove ID`"
    )]
    TooManyVouches(usize, usize),
    /// Too many invitations are open.
    #[error(
        "invite another site: {0} invitations are open already; take one back with `novacula identity invite --remove ID`, which --list shows"
    )]
    TooManyInvites(usize),
    /// There is no such invitation.
    #[error(
        "take the invitation back: none that is open has this ID; `novacula identity invite --list` shows them, and an accepted one goes with `novacula vouch SITE --remove`"
    )]
    NoInvite,
    /// The site's key is not here.
    #[error(
        "invite a site: this host has not the site's key; invite on the machine that has it, where an agent must run"
    )]
    NoSiteKey,
    /// Nobody can be told where to come to.
    #[error(
        "invite a site: an invitation needs an address; set network = true in the configuration and restart the agent"
    )]
    NoAddress,
    /// Too long a note, or one that is no line.
    #[error("read the note: it must be one line of {0} characters at most")]
    Note(usize),
    /// Not so many days.
    #[error("read the days: an invitation is good for 1 to {0} days")]
    InviteDays(u64),
    /// There is no private group.
    #[error(
        "use the private group: none is configured; name its key or its sites in [group] of the configuration, and restart the agent"
    )]
    NoGroup,
    /// The configuration's networks are wrong.
    #[error("read the configuration: {0}")]
    Config(String),
    /// The system has no random bytes.
    #[error("draw random bytes: {0}")]
    Random(String),
}
