//! The milter's log: one function for each thing that happens, so that what an administrator
//! greps for stands in one place. Neither addresses nor subjects are logged; a mail is named by
//! the MTA's queue id and by its name in the agent's log.

use std::path::Path;

use tracing::{error, info, warn};

use crate::envelope::Transaction;
use crate::listen::ListenError;
use crate::policy::{Answer, Decision};

/// What became of a mail.
pub(crate) fn judged(transaction: &Transaction, answer: &Answer, decision: &Decision, ms: u128) {
    let queue_id = transaction.queue_id.escape_default();
    let action = decision.action.name();
    let wait_secs = decision.wait.map_or(0, |wait| wait.as_secs());
    match answer {
        Ok(check) => info!(
            %queue_id,
            mail = check.id,
            verdict = check.verdict.name(),
            confidence = check.confidence,
            spread = check.spread,
            action,
            wait_secs,
            cut = transaction.mail.is_cut(),
            forged = transaction.forged,
            ms,
            "judged"
        ),
        Err(why) => info!(%queue_id, unchecked = why.name(), action, ms, "passed unchecked"),
    }
}

/// The agent ceased, or began again, to answer.
pub(crate) fn agent_state(answers: bool, socket: &Path, reason: &str) {
    let socket = socket.display();
    match answers {
        true => info!(%socket, "the agent answers again"),
        false => warn!(%socket, reason, "the agent does not answer: mail passes unchecked"),
    }
}

/// The agent refused one mail.
pub(crate) fn agent_refused(reason: &dyn std::fmt::Display) {
    warn!(%reason, "the agent refused a mail: it passes unchecked");
}

/// A mail to a trap was reported, or could not be.
pub(crate) fn trapped(queue_id: &str, outcome: &Result<(), String>) {
    let queue_id = queue_id.escape_default();
    match outcome {
        Ok(()) => info!(%queue_id, "a trap's mail was reported"),
        Err(reason) => error!(%queue_id, reason, "a trap's mail was not reported"),
    }
}

/// The agent did not hear of mail of our own.
pub(crate) fn own_not_told(queue_id: &str, reason: &str) {
    warn!(queue_id = %queue_id.escape_default(), reason, "correspondents not noted");
}

/// An MTA broke the protocol, or its connection broke.
pub(crate) fn broken(listener: &str, reason: &dyn std::fmt::Display) {
    warn!(listener, reason = %reason.to_string().escape_debug(), "connection closed");
}

/// Somebody removed a socket; it was made anew, or could not be.
pub(crate) fn socket_gone(listener: &str, failure: Option<ListenError>) {
    match failure {
        None => warn!(listener, "the socket was gone: made anew"),
        Some(reason) => error!(listener, %reason, "the socket is gone: mail passes unchecked"),
    }
}

/// Connections are refused, because there are too many, or no longer.
pub(crate) fn crowded(listener: &str, refused: bool, sessions_max: usize) {
    match refused {
        true => warn!(listener, sessions_max, "too many connections: mail passes unchecked"),
        false => info!(listener, "connections are taken again"),
    }
}
