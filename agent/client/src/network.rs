//! The part of the local API that is about the network of peers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the network of peers looks from here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NetworkState {
    /// This host's public key.
    pub node: String,
    /// Addresses at which it says it can be reached.
    pub addresses: Vec<String>,
    /// Hosts known, this one included.
    pub members: usize,
    /// Of which answer.
    pub up: usize,
    /// Of which hold keys for others.
    pub placed: usize,
    /// Distinct networks among these.
    pub networks: usize,
    /// Peers with a connection.
    pub connected: usize,
    /// Peers that confirmed this host's address.
    pub observers: usize,
    /// This host holds keys for others.
    pub serving: bool,
    /// Statements of others held for them.
    pub statements: usize,
    /// Opinions that no replica has acknowledged yet.
    pub outbox: usize,
    /// Statements held as parts of announced outbreaks.
    pub hot: usize,
    /// Other sites whose word counts here by itself; none where all members' does.
    pub counting: Option<usize>,
    /// Sites that this one vouches for; a list has room for 64.
    #[serde(default)]
    pub vouched: usize,
    /// Peers say that this host's clock is wrong.
    pub clock_disputed: bool,
    /// Other hosts that give the same numbers in the name of this site.
    #[serde(default)]
    pub twins: usize,
    /// What peers found when they dialled back: `public`, `private` or `unknown`.
    pub nat: String,
    /// Every counter of the network side.
    pub counters: BTreeMap<String, u64>,
}

/// How the private group beside the network is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GroupState {
    /// `on`, or why it is not.
    pub network: String,
    /// How it looks from here, while it is on.
    pub peers: Option<NetworkState>,
}

/// One host of the networks of peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Its public key.
    pub node: String,
    /// The site that it speaks for.
    pub site: String,
    /// It was met in the private group beside the network.
    #[serde(default)]
    pub group: bool,
    /// It is this host.
    pub own: bool,
    /// Where it is reached.
    pub addresses: Vec<String>,
    /// Where its connection comes from.
    pub observed: Option<String>,
    /// A connection exists.
    pub connected: bool,
    /// It answers.
    pub up: bool,
    /// It holds keys for others.
    pub placed: bool,
    /// When its program started (RFC 3339).
    pub since: String,
    /// When it last spoke of itself (RFC 3339).
    pub heard: String,
    /// Mean time from request to answer, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Weight of its site here, 0 to 1.
    pub trust: f64,
    /// Records of its site that are held here.
    pub records_here: u64,
}

/// The hosts of the networks of peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Peers {
    /// At most 1,000 of each network, this host's nearest first; then those of the private group,
    /// where hosts of both stand a second time.
    pub peers: Vec<Peer>,
}

/// What a site's word weighs here, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SiteTrust {
    /// The site's public key.
    pub site: String,
    /// What its word weighs, 0 to 1.
    pub weight: f64,
    /// What that rests on: `home`, `configured`, `vouched`, `introduced`, `newcomer`, `stranger`
    /// or `equivocator`.
    pub ground: String,
    /// Standing by vouches, 0 to 1.
    pub standing: f64,
    /// What it earned or lost here by being right or wrong.
    pub credit: f64,
    /// The site of this one's own vouches through which most of its standing comes.
    pub branch: String,
    /// Vouches between this site and it; none where no vouch leads to it.
    pub depth: Option<u32>,
    /// Who vouches for it.
    pub introducers: Vec<Introducer>,
    /// Reports heard of it, fading by half in 72 h.
    pub reports: f64,
    /// Revokes heard of it, fading as above.
    pub revokes: f64,
    /// Its revokes are rare enough to hold against reports.
    pub revokes_count: bool,
}

/// Who vouches for a site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Introducer {
    /// The site that vouches.
    pub site: String,
    /// What that gives of a full standing; 0 where its vouch counts for nothing here.
    pub gives: f64,
}

/// What sites weigh here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrustReply {
    /// How many sites count by themselves, this one not counted.
    pub counting: usize,
    /// The heaviest first, at most 1,000.
    pub sites: Vec<SiteTrust>,
}

/// A line of a trust list: what one site thinks of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrustLine {
    /// The site's public key.
    pub site: String,
    /// An administrator vouched for it.
    pub vouched: bool,
    /// What its word weighed there, 0 to 1; for people to read.
    pub weight: Option<f64>,
    /// What it earned or lost there by being right or wrong, -1 to 0.3.
    pub credit: f64,
}

/// What was new in a trust list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrustTaken {
    /// Sites that are vouched for since.
    pub vouched: usize,
    /// Sites whose credit was raised.
    pub credits: usize,
}

/// What became of joining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Joined {
    /// The host that answered.
    pub node: String,
    /// Hosts known now, this one included.
    pub members: usize,
    /// The site whose word counts from now on, because it invited.
    pub vouched: Option<String>,
    /// That site vouches for this one in turn, because the invitation was for one site.
    #[serde(default)]
    pub accepted: bool,
    /// Why it does not.
    #[serde(default)]
    pub refused: Option<String>,
}

/// An invitation for one site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteAsk {
    /// For whom, in the administrator's words: one line of 80 characters at most.
    #[serde(default)]
    pub note: String,
    /// For how many days, 1 to 30; 7 if not said.
    #[serde(default)]
    pub days: Option<u64>,
    /// Into the private group beside the network.
    #[serde(default)]
    pub group: bool,
}

/// An invitation as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteReply {
    /// What is to be typed at the other site: `novacula identity accept CODE`. It is shown once.
    pub code: String,
    /// By which it is named here.
    pub id: String,
    /// Until when it may be accepted (RFC 3339).
    pub until: String,
}

/// An invitation that this site gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteState {
    /// By which it is named.
    pub id: String,
    /// For whom, in the administrator's words.
    pub note: String,
    /// Until when it may be accepted (RFC 3339).
    pub until: String,
    /// It may still be accepted.
    pub open: bool,
    /// The site that accepted it.
    pub accepted_by: Option<String>,
}

/// Who this host is, and how others join through it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IdentityReply {
    /// The site's public key.
    pub site: String,
    /// This host's public key; none while the network is off.
    pub node: Option<String>,
    /// A code for `novacula join` at another site; none while the network is off.
    pub invite: Option<String>,
    /// The same for `novacula join --group`, at a site that knows the group's key or is on its list.
    #[serde(default)]
    pub group_invite: Option<String>,
    /// Sites whose word counts because an administrator said so.
    pub vouched: Vec<String>,
    /// Invitations that this site gave.
    #[serde(default)]
    pub invites: Vec<InviteState>,
}
