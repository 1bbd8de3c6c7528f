//! The types of the local API, as JSON. They are a promise to plugins: fields are added, never
//! changed or removed, within `/v1`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::network::{GroupState, NetworkState};

/// Names of the request headers that carry what a caller knows beside the mail.
pub mod header {
    /// `now`: this mail is being delivered; without it a check is a pure query. `pending`: it is
    /// being delivered, and a filter that still looks at it will say `now` when it is through: the
    /// copy in hand counts in the answer, but nothing is stated yet.
    pub const DELIVERY: &str = "novacula-delivery";
    /// The user on whose behalf an opinion is given; believed from configured users only.
    pub const REPORTER: &str = "novacula-reporter";
    /// `pass` or `fail`: whether the sender's domain was authenticated.
    pub const AUTHENTICATION: &str = "novacula-authentication";
    /// When the mail was received, in seconds since 1970, where the caller knows it better than
    /// the topmost Received field.
    pub const RECEIVED: &str = "novacula-received";
    /// `trap`: the opinion comes from an address that no wanted mail knows.
    pub const SOURCE: &str = "novacula-source";
    /// Address of the SMTP client that the mail came from.
    pub const CLIENT: &str = "novacula-client";
    /// The envelope's sender, without brackets; empty for a bounce.
    pub const SENDER: &str = "novacula-sender";
    /// How many recipients the envelope names.
    pub const RECIPIENTS: &str = "novacula-recipients";
    /// The host that received the mail, for the log.
    pub const LOCATION: &str = "novacula-location";
    /// `ham`, `grey` or `spam`: what another content filter of this site thought.
    pub const FILTER: &str = "novacula-filter";
    /// `mta`, `filter` or `mailbox`: where on its way through the site the mail is stated as
    /// delivered. What two of them state of one Message-Id are the same copies; without it,
    /// `mailbox`.
    pub const STAGE: &str = "novacula-stage";
    /// `all`: an administrator takes back everybody's opinion.
    pub const SCOPE: &str = "novacula-scope";
}

/// What is said of a mail in the end.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The odds pass the threshold, or this site's own people report it.
    Spam,
    /// Seen at many places, without a judgement.
    Bulk,
    /// Reports and revokes both weigh.
    Contested,
    /// Nothing is known that weighs.
    Unknown,
    /// This site lets it pass whatever others say.
    Allowed,
    /// Too little text to judge.
    NoEvidence,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 6] =
        [Self::Spam, Self::Bulk, Self::Contested, Self::Unknown, Self::Allowed, Self::NoEvidence];

    /// The verdict's word in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Spam => "spam",
            Self::Bulk => "bulk",
            Self::Contested => "contested",
            Self::Unknown => "unknown",
            Self::Allowed => "allowed",
            Self::NoEvidence => "no-evidence",
        }
    }
}

/// Whether the sender's domain was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// It was.
    Pass,
    /// It claims a domain that says it is not.
    Fail,
}

/// What another content filter of this site thought of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Leaning {
    /// Well below its threshold.
    Ham,
    /// From half of it on.
    Grey,
    /// At it or above.
    Spam,
}

impl Leaning {
    /// The word in the request header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ham => "ham",
            Self::Grey => "grey",
            Self::Spam => "spam",
        }
    }
}

/// What the agent would do beside the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Advice {
    /// Let it wait: the same mail turns up at more and more places, nobody has said anything of
    /// it yet, and its sender is a stranger here.
    Delay,
}

/// The answer to a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// What is said.
    pub verdict: Verdict,
    /// Odds of spam as 0 to 100, 50 at the threshold.
    pub confidence: u8,
    /// Distinct trusted sites within the window.
    pub spread: u32,
    /// Trusted sites whose people or traps report it.
    pub reports: u32,
    /// Trusted sites whose people say that it is not spam.
    pub revokes: u32,
    /// When it was first seen (RFC 3339, UTC, a quarter of an hour).
    pub first_seen: Option<String>,
    /// When it was last seen.
    pub last_seen: Option<String>,
    /// Why, in words.
    pub evidence: Vec<String>,
    /// The mail's name in the agent's log: its first digest, 16 hexadecimal digits.
    #[serde(default)]
    pub id: String,
    /// The window that spread counts in, in seconds.
    #[serde(default)]
    pub window_secs: u64,
    /// What else to do, if anything.
    #[serde(default)]
    pub advice: Option<Advice>,
    /// Where it was seen or spoken of, this site included, the earliest first; at most 16.
    #[serde(default)]
    pub places: Vec<Place>,
    /// Whether peers were asked, and answered.
    #[serde(default)]
    pub asked: Asked,
}

/// A site that saw a mail or spoke of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// Its public key.
    pub site: String,
    /// When it received the mail (RFC 3339, UTC, a quarter of an hour).
    pub at: String,
    /// `sighting`, or what its people say: `report`, `trap-report`, `revoke`.
    pub says: String,
    /// Its word weighs here, 0 to 1.
    pub trust: f64,
}

/// Whether peers were asked about a mail, and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// Nobody: no network is joined, or nothing of this mail may leave the site.
    #[default]
    No,
    /// Nobody: what is known at home, by earlier answers and announcements, suffices.
    Known,
    /// All that should know answered.
    Complete,
    /// Time was up before all had answered.
    Deadline,
    /// The network is on, and nobody could be asked.
    Alone,
}

/// Mail of this site's own people: to whom they write.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    /// The envelope's recipients, without brackets.
    pub recipients: Vec<String>,
    /// The mail's Message-ID; answers to it are wanted.
    pub message_id: Option<String>,
}

/// Where a milter listens, and when an MTA last connected there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MilterListener {
    /// The address as configured.
    pub address: String,
    /// Connections that were negotiated since the milter's start.
    pub connections: u64,
    /// When the last one was, in seconds since 1970.
    pub last_secs: Option<u64>,
}

/// How a milter is; counts since its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MilterState {
    /// The milter's host.
    pub name: String,
    /// Release.
    pub version: String,
    /// When it started, in seconds since 1970.
    pub started_secs: u64,
    /// Where it listens.
    pub listeners: Vec<MilterListener>,
    /// Mails by verdict, `own`, or why they were not checked (`agent-absent` and the like).
    pub mails: BTreeMap<String, u64>,
    /// Mails by what was done.
    pub actions: BTreeMap<String, u64>,
    /// Other things that happened, such as `mails-cut` or `connections-broken`.
    pub events: BTreeMap<String, u64>,
}

/// What a milter last told the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MilterWord {
    /// How it was.
    pub state: MilterState,
    /// How long ago, in seconds.
    pub secs_ago: u64,
}

/// What became of an opinion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OpinionOutcome {
    /// It is on the disk.
    Durable,
    /// Too little text to say anything about; nothing was stored.
    NoEvidence,
    /// There was nothing of this user to take back.
    NothingToWithdraw,
}

/// The answer to a report, revoke or withdrawal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OpinionReply {
    /// What became of it.
    pub outcome: OpinionOutcome,
    /// What the site as a whole now says of the mail: `report`, `trap-report`, `revoke` or
    /// `withdrawn`.
    pub site_says: String,
    /// It acts at this site only (mail older than 72 h, or no network joined).
    pub home_only: bool,
    /// The same in words.
    pub note: String,
}

/// What one person said of a mail and did not take back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OwnOpinion {
    /// `report`, `trap-report` or `revoke`.
    pub act: String,
    /// When he said it (RFC 3339, UTC).
    pub acted: String,
    /// When the mail was received, where that is known.
    pub received: Option<String>,
    /// The mail's name, as in the answer to a check.
    pub id: String,
    /// The mail is older than 72 h: to take it back acts at this site only.
    pub home_only: bool,
}

/// A code that makes a mail client a user's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pairing {
    /// Whose.
    pub user: String,
    /// The code; it begins with the user's name.
    pub code: String,
    /// How long it is good, in seconds.
    pub secs: u64,
}

/// What a mail client sends to be paired.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redeem {
    /// The code that `novacula pair` printed.
    pub code: String,
    /// What the client calls itself.
    #[serde(default)]
    pub label: String,
}

/// The token of a mail client; it is shown this once.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenReply {
    /// To be sent as `Authorization: Bearer ...`.
    pub token: String,
    /// Whom it speaks for.
    pub user: String,
}

/// A paired mail client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenInfo {
    /// By which it is removed.
    pub id: String,
    /// Whom it speaks for.
    pub user: String,
    /// What it calls itself.
    pub label: String,
    /// When it was paired (RFC 3339, UTC).
    pub made: String,
}

/// The digests of a mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Digests {
    /// Engine and value (16 hexadecimal digits), in order of priority.
    pub digests: Vec<(String, String)>,
    /// 64 hexadecimal digits; none under the entropy gate.
    pub nilsimsa: Option<String>,
    /// Canonical characters.
    pub characters: usize,
}

/// One term of a judgement's sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Term {
    /// Whose it is: a site's key, or `prior`.
    pub site: String,
    /// `prior`, `report`, `trap-report`, `revoke`, `exposed`, `filters` or `cap`.
    pub what: String,
    /// Copies that it rests on.
    pub copies: f64,
    /// Weight of the site, 0 to 1.
    pub trust: f64,
    /// What the weight rests on: `home`, `configured`, `vouched`, `introduced` or `newcomer`.
    pub ground: String,
    /// What it adds to the log odds, in nats.
    pub nats: f64,
}

/// Everything about one mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The answer that a check gets.
    pub check: Check,
    /// The text that counts.
    pub canonical: String,
    /// Where the mail leads, as the link engine reads it.
    pub links: Vec<String>,
    /// Its digests.
    pub fingerprint: Digests,
    /// The exact bytes that a sighting would put on the wire, in hexadecimal, unsigned; empty
    /// when nothing would be sent.
    pub would_send: String,
    /// Every key that it would ask for, in the order of a frame, each as its 8 bytes on the wire in
    /// hexadecimal: those of `would_send`, and for 72 h after the weekly change of salt as many of
    /// the former salt. Empty when nothing would be sent.
    #[serde(default)]
    pub would_ask: Vec<String>,
    /// The judgement, term by term.
    pub terms: Vec<Term>,
    /// Sum of the terms, in nats.
    pub odds_nats: f64,
    /// Sum from which it is spam, in nats.
    pub threshold_nats: f64,
    /// The private group's judgement, where there is a group.
    #[serde(default)]
    pub group: Option<GroupSum>,
    /// How often wanted mail is taken to be reported by mistake (a probability): the setting, or
    /// more where that was learnt.
    #[serde(default)]
    pub report_if_wanted: f64,
    /// Digests that are common in this site's own accepted mail; no match rests on them alone.
    #[serde(default)]
    pub common: Vec<String>,
}

/// What the word of the private group's members alone comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GroupSum {
    /// The judgement, term by term.
    pub terms: Vec<Term>,
    /// Sum of the terms, in nats.
    pub odds_nats: f64,
    /// Sum from which it is spam there, in nats.
    pub threshold_nats: f64,
}

/// The state of the agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Release.
    pub version: String,
    /// The site's public key.
    pub site: String,
    /// Seconds since it started.
    pub uptime_secs: u64,
    /// Data directory.
    pub data_dir: String,
    /// `off` until a network is joined.
    pub network: String,
    /// Statements held.
    pub statements: usize,
    /// Opinions among them.
    pub opinions: usize,
    /// Allowed senders.
    pub allowed: usize,
    /// Checks answered.
    pub checks: u64,
    /// What the disk last refused, if it does.
    pub store_failing: Option<String>,
    /// Sightings that never reached the disk.
    pub sightings_lost: u64,
    /// What milters told since the agent's start.
    #[serde(default)]
    pub milters: Vec<MilterWord>,
    /// How the network of peers looks from here, while it is on.
    #[serde(default)]
    pub peers: Option<NetworkState>,
    /// How the private group beside it is, where there is one.
    #[serde(default)]
    pub group: Option<GroupState>,
}

/// The allowed senders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AllowList {
    /// Addresses, `@domain`s and list identifiers, lower case.
    pub allowed: Vec<String>,
}

/// What every error answers with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorReply {
    /// What is wrong and what mends it.
    pub error: String,
}
