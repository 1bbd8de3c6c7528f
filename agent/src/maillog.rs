//! The mail log: one function for each thing that happens to a mail, so that what an
//! administrator greps for stands in one place. No text, address or subject of a mail is
//! ever logged; a mail is named by its first digest.

use novacula_catalog::SiteId;
use novacula_catalog::node::{InviteId, NodeId};
use novacula_catalog::store::Side;
use novacula_client::{Check, OpinionReply};
use tracing::{debug, error, info, warn};

use crate::agent::Caller;

/// A check was answered.
pub(crate) fn checked(answer: &Check, caller: &Caller) {
    info!(
        mail = answer.id,
        verdict = answer.verdict.name(),
        confidence = answer.confidence,
        spread = answer.spread,
        reports = answer.reports,
        delivery = caller.delivery,
        location = %caller.location.escape_debug(),
        "checked"
    );
}

/// Somebody gave an opinion.
pub(crate) fn opined(mail: &str, act: &str, reporter: &str, reply: &OpinionReply) {
    info!(
        mail,
        act,
        reporter = %reporter.escape_debug(),
        outcome = ?reply.outcome,
        site_says = reply.site_says,
        home_only = reply.home_only,
        "opinion"
    );
}

/// An opinion could not be stored.
pub(crate) fn opinion_lost(mail: &str, act: &str, reason: &dyn std::fmt::Display) {
    error!(mail, act, %reason, "opinion not stored; the caller was told");
}

/// The allowlist changed.
pub(crate) fn allowed(pattern: &str, by: &str, removed: bool) {
    info!(pattern = %pattern.escape_debug(), by = %by.escape_debug(), removed, "allowlist");
}

/// The network side runs.
pub(crate) fn network_started(side: Side, node: &NodeId) {
    info!(network = side.name(), %node, "network on");
}

/// The network side does not run: mail is judged by what is known at home.
pub(crate) fn network_failed(side: Side, reason: &str) {
    error!(network = side.name(), "the network stays off: failed to {reason}");
}

/// A site is proved to have given one number to two statements.
pub(crate) fn equivocator(site: &SiteId) {
    info!(%site, "gave one number to two statements: it counts nowhere any more");
}

/// A site's word counts from now on, or no longer.
pub(crate) fn invited(id: &InviteId, by: &str) {
    info!(%id, by = %by.escape_debug(), "invited a site");
}

pub(crate) fn vouched(site: &SiteId, by: &str, removed: bool) {
    info!(%site, by = %by.escape_debug(), removed, "vouched");
}

/// A mail client was paired with a user, or is his no longer.
pub(crate) fn paired(user: &str, removed: bool) {
    info!(user = %user.escape_debug(), removed, "mail client");
}

/// A request was refused.
pub(crate) fn refused(path: &str, status: u16, reason: &str) {
    debug!(path = %path.escape_debug(), status, reason = %reason.escape_debug(), "refused");
}

/// The disk began, or ceased, to refuse writes.
pub(crate) fn store_state(failing: Option<&str>) {
    match failing {
        Some(reason) => warn!(
            reason,
            "database refuses writes: checks are answered from memory, opinions are refused"
        ),
        None => info!("database takes writes again"),
    }
}

/// A damaged database was set aside.
pub(crate) fn set_aside(path: &std::path::Path) {
    warn!(path = %path.display(), "the database was damaged: set aside, a new one begun");
}
