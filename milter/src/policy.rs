//! What becomes of a mail: a table from verdict to action for each listener, and the delay of an
//! outbreak that nobody has judged yet. Pure: `now` is an argument.
//!
//! Key decision: the default only writes a header field. Whoever begins sees for a while what
//! would have happened before he lets it happen.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use novacula_client::{Advice, Check, Verdict};
use serde::Deserialize;

use crate::envelope::{HEADER_NAME, Transaction};
use crate::protocol::{Actions, Options, Reply};

/// Mails that are remembered as delayed; at the bound no further one is delayed.
const DELAYED_MAX: usize = 10_000;

/// How long it is remembered that a mail has waited: by then senders have given up or come again
/// (Postfix and Sendmail try for 5 days, first after minutes).
const DELAYED_KEPT: Duration = Duration::from_secs(24 * 3600);

/// What is done with a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It passes, without a header field of ours.
    Accept,
    /// It passes with the verdict in a header field.
    Header,
    /// Likewise, and the MTA holds it.
    Quarantine,
    /// It is refused, with the reason.
    Reject,
    /// It is refused for now.
    Tempfail,
    /// It is taken and thrown away.
    Discard,
}

impl Action {
    /// Its word in log, configuration and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Header => "header",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
            Self::Tempfail => "tempfail",
            Self::Discard => "discard",
        }
    }
}

/// What a listener does with which verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Spam of at least this confidence.
    pub spam: Action,
    /// Seen at many places, not judged.
    pub bulk: Action,
    /// Judged both ways.
    pub contested: Action,
    /// Confidence, 0 to 100, from which the action for spam is taken; under it a header is added.
    pub spam_confidence_min: u8,
    /// How long an outbreak that nobody has judged waits; none: never.
    pub delay: Option<Duration>,
    /// What a refused sender reads; `{id}` becomes the mail's name in the agent's log.
    pub reject_text: String,
}

impl Policy {
    /// What becomes of a mail by its verdict. What nobody says anything against passes.
    #[must_use]
    pub fn action(&self, verdict: Verdict, confidence: u8) -> Action {
        match verdict {
            Verdict::Spam if confidence >= self.spam_confidence_min => self.spam,
            Verdict::Bulk => self.bulk,
            Verdict::Contested => self.contested,
            Verdict::Spam | Verdict::Unknown | Verdict::Allowed | Verdict::NoEvidence => {
                Action::Header
            }
        }
    }

    /// True when some verdict leads to quarantine.
    #[must_use]
    pub fn quarantines(&self) -> bool {
        [self.spam, self.bulk, self.contested].contains(&Action::Quarantine)
    }
}

/// Why a mail has no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unchecked {
    /// No agent answers at its socket.
    Absent,
    /// The agent did not answer in time.
    Late,
    /// The agent refused the mail, or broke off.
    Refused,
}

impl Unchecked {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Absent, Self::Late, Self::Refused];

    /// Its word in header, log and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "agent-absent",
            Self::Late => "agent-late",
            Self::Refused => "agent-refused",
        }
    }
}

/// What the agent said of a mail, if it said anything.
pub type Answer = Result<Check, Unchecked>;

/// The value of our header field.
#[must_use]
pub fn header_value(answer: &Answer) -> String {
    match answer {
        Ok(check) => format!(
            "{}; confidence={}; places={}; reports={}; window={}h; id={}",
            check.verdict.name(),
            check.confidence,
            check.spread,
            check.reports,
            check.window_secs / 3600,
            check.id
        ),
        Err(why) => format!("{}; unchecked={}", Verdict::Unknown.name(), why.name()),
    }
}

/// What is decided for one mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of it.
    pub action: Action,
    /// It waits: this long from now.
    pub wait: Option<Duration>,
}

/// Decides. Without a verdict a mail passes.
#[must_use]
pub fn decide(
    policy: &Policy,
    answer: &Answer,
    transaction: &Transaction,
    delays: &mut Delays,
    now: Instant,
) -> Decision {
    let Ok(check) = answer else { return Decision { action: Action::Header, wait: None } };
    let action = policy.action(check.verdict, check.confidence);
    let passes = matches!(action, Action::Accept | Action::Header);
    let wait = match policy.delay {
        Some(delay) if passes && check.advice == Some(Advice::Delay) => {
            delays.wait(transaction, delay, now)
        }
        _ => None,
    };
    let action = if wait.is_some() { Action::Tempfail } else { action };
    Decision { action, wait }
}

/// The answers to the end of a mail.
#[must_use]
pub fn replies(
    options: Options,
    policy: &Policy,
    transaction: &Transaction,
    answer: &Answer,
    decision: &Decision,
) -> Vec<Reply> {
    let id = answer.as_ref().map_or("", |check| check.id.as_str());
    match (decision.action, decision.wait) {
        (Action::Reject, _) => {
            let text = policy.reject_text.replace("{id}", id);
            return vec![Reply::Refuse(format!("550 5.7.1 {text}"))];
        }
        (Action::Tempfail, Some(wait)) => {
            let minutes = wait.as_secs().div_ceil(60);
            let text = format!(
                "451 4.7.1 Try again in {minutes} minutes; this protects from an outbreak that nobody has judged yet ({id})"
            );
            return vec![Reply::Refuse(text)];
        }
        (Action::Tempfail, None) => return vec![Reply::Tempfail],
        (Action::Discard, _) => return vec![Reply::Discard],
        (Action::Accept | Action::Header | Action::Quarantine, _) => {}
    }
    let allowed = options.actions;
    let mut replies = Vec::new();
    if allowed.has(Actions::CHANGE_HEADERS) {
        // From the last to the first: each deletion moves those behind it.
        let forged = (1..=transaction.forged).rev();
        replies.extend(forged.map(|index| Reply::DeleteHeader(HEADER_NAME, index)));
    }
    if allowed.has(Actions::ADD_HEADERS) && decision.action != Action::Accept {
        replies.push(Reply::AddHeader(HEADER_NAME, header_value(answer)));
    }
    if decision.action == Action::Quarantine && allowed.has(Actions::QUARANTINE) {
        replies.push(Reply::Quarantine(format!("novacula: {}", header_value(answer))));
    }
    replies.push(Reply::Continue);
    replies
}

/// Which mails wait, and since when: by the sender's network, sender and first recipient, as
/// greylisting does, because a mail that comes again has the same ones.
#[derive(Debug, Default)]
pub struct Delays {
    since: HashMap<u64, Instant>,
    hasher: RandomState,
}

impl Delays {
    /// How long this mail has still to wait; None when it has waited, or when nothing more can be
    /// remembered.
    fn wait(
        &mut self,
        transaction: &Transaction,
        delay: Duration,
        now: Instant,
    ) -> Option<Duration> {
        let network = transaction.client.map(network_of);
        let who = (network, &transaction.sender, transaction.recipients.first());
        let key = self.hasher.hash_one(who);
        if self.since.len() >= DELAYED_MAX {
            self.since.retain(|_, since| now.saturating_duration_since(*since) < DELAYED_KEPT);
        }
        let full = self.since.len() >= DELAYED_MAX;
        let waited = match self.since.entry(key) {
            Entry::Occupied(since) => now.saturating_duration_since(*since.get()),
            Entry::Vacant(_) if full => return None,
            Entry::Vacant(place) => {
                place.insert(now);
                Duration::ZERO
            }
        };
        delay.checked_sub(waited).filter(|left| !left.is_zero())
    }
}

/// The /24 or /64 that a client is in: large senders try again from a neighbour.
fn network_of(client: IpAddr) -> u128 {
    match client {
        IpAddr::V4(address) => u128::from(address.to_bits() >> 8),
        IpAddr::V6(address) => address.to_bits() >> 64,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::envelope::{Connection, Rules};

    fn policy() -> Policy {
        Policy {
            spam: Action::Reject,
            bulk: Action::Quarantine,
            contested: Action::Tempfail,
            spam_confidence_min: 80,
            delay: Some(Duration::from_secs(600)),
            reject_text: "Refused; ask postmaster about {id}".into(),
        }
    }

    fn check(verdict: Verdict, confidence: u8, advice: Option<Advice>) -> Answer {
        Ok(Check {
            verdict,
            confidence,
            spread: 3,
            reports: 1,
            revokes: 0,
            first_seen: None,
            last_seen: None,
            evidence: vec![],
            id: "0123".into(),
            window_secs: 86_400,
            advice,
            places: vec![],
            asked: novacula_client::Asked::No,
        })
    }

    fn transaction(client: &str, sender: &str, forged: u32) -> Transaction {
        let room = Arc::new(Semaphore::new(0));
        let connection = Connection { client: Some(client.parse().unwrap()) };
        let mut transaction =
            Transaction::begin(&Rules::default(), &connection, sender.as_bytes(), false, &room);
        transaction.forged = forged;
        transaction
    }

    const ALL: Options =
        Options { version: 6, actions: Actions(0x1ff), steps: crate::protocol::Steps(0) };

    #[track_caller]
    fn becomes(answer: &Answer, expected: &[Reply]) {
        let mail = transaction("192.0.2.1", "<a@b.example>", 2);
        let mut delays = Delays::default();
        let decision = decide(&policy(), answer, &mail, &mut delays, Instant::now());
        assert_eq!(replies(ALL, &policy(), &mail, answer, &decision), expected);
    }

    fn passes(value: &str) -> Vec<Reply> {
        vec![
            Reply::DeleteHeader(HEADER_NAME, 2),
            Reply::DeleteHeader(HEADER_NAME, 1),
            Reply::AddHeader(HEADER_NAME, value.into()),
            Reply::Continue,
        ]
    }

    #[test]
    fn the_table() {
        let rest = "places=3; reports=1; window=24h; id=0123";
        let refused = "550 5.7.1 Refused; ask postmaster about 0123";
        becomes(&check(Verdict::Spam, 80, None), &[Reply::Refuse(refused.into())]);
        becomes(&check(Verdict::Spam, 79, None), &passes(&format!("spam; confidence=79; {rest}")));
        becomes(&check(Verdict::Contested, 50, None), &[Reply::Tempfail]);
        becomes(
            &check(Verdict::Unknown, 5, None),
            &passes(&format!("unknown; confidence=5; {rest}")),
        );
        becomes(
            &check(Verdict::Allowed, 0, None),
            &passes(&format!("allowed; confidence=0; {rest}")),
        );
        let mut held = passes(&format!("bulk; confidence=9; {rest}"));
        held.insert(3, Reply::Quarantine(format!("novacula: bulk; confidence=9; {rest}")));
        becomes(&check(Verdict::Bulk, 9, None), &held);
        becomes(&Err(Unchecked::Late), &passes("unknown; unchecked=agent-late"));
    }

    #[test]
    fn only_what_the_mta_allows() {
        let mail = transaction("192.0.2.1", "<a@b.example>", 2);
        let answer = check(Verdict::Bulk, 9, None);
        let decision = Decision { action: Action::Quarantine, wait: None };
        let none = Options { actions: Actions(0), ..ALL };
        assert_eq!(replies(none, &policy(), &mail, &answer, &decision), [Reply::Continue]);
    }

    #[test]
    fn an_outbreak_waits_once() {
        let (mut delays, start) = (Delays::default(), Instant::now());
        let mut policy = policy();
        policy.bulk = Action::Header;
        let answer = check(Verdict::Bulk, 9, Some(Advice::Delay));
        let mut at = |client: &str, sender: &str, secs: u64, policy: &Policy| {
            let mail = transaction(client, sender, 0);
            let now = start + Duration::from_secs(secs);
            decide(policy, &answer, &mail, &mut delays, now).wait.map(|wait| wait.as_secs())
        };
        assert_eq!(at("192.0.2.1", "<a@b.example>", 0, &policy), Some(600));
        assert_eq!(at("192.0.2.77", "<a@b.example>", 200, &policy), Some(400), "a neighbour");
        assert_eq!(at("198.51.100.1", "<a@b.example>", 200, &policy), Some(600));
        assert_eq!(at("192.0.2.1", "<c@b.example>", 300, &policy), Some(600));
        assert_eq!(at("192.0.2.1", "<a@b.example>", 600, &policy), None);
        assert_eq!(at("192.0.2.1", "<a@b.example>", 700, &policy), None);
        policy.delay = None;
        assert_eq!(at("203.0.113.1", "<a@b.example>", 0, &policy), None);
    }

    #[test]
    fn delays_are_bounded_and_mail_passes_beyond() {
        let (mut delays, start) = (Delays::default(), Instant::now());
        let delay = Duration::from_secs(600);
        for number in 0..DELAYED_MAX {
            let mail = transaction("192.0.2.1", &format!("<{number}@b.example>"), 0);
            assert!(delays.wait(&mail, delay, start).is_some());
        }
        let mail = transaction("192.0.2.1", "<one@too.many>", 0);
        assert_eq!(delays.wait(&mail, delay, start), None);
        assert!(delays.wait(&mail, delay, start + DELAYED_KEPT).is_some(), "old ones go");
    }
}
