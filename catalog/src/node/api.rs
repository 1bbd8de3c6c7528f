//! What goes into a node and what comes out of it. A driver turns what the network, the clock and
//! the agent bring into [`Event`]s, and carries out [`Action`]s; it decides nothing. All bytes
//! that leave a node pass through [`Action::Send`], [`Action::Respond`] and [`Action::Gossip`],
//! so that what is recorded there is all that others learn.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Time;
use crate::entry::{Shelf, Witness};
use crate::identity::SiteId;
use crate::matching::Probe;
use crate::node::host::NodeId;
use crate::node::invite::{Acceptance, Invite, InviteId, InviteSecret, Unanswered};

/// The present, told twice: the wall clock for epochs, which may jump, and milliseconds of a
/// clock that never goes back, for waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub wall: Time,
    /// Milliseconds since any fixed moment; never goes back.
    pub ms: u64,
}

/// Names a request that this node sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names a request that somebody sent to this node; the driver's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Names a question of the agent; the agent's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// Names something that the agent asked of one host; the driver's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Names an announcement received; the driver's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GossipId(pub u64);

/// The two subjects of gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Membership records.
    Members,
    /// Outbreaks with their statements.
    Hot,
}

/// What a frame is for: bytes are counted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// First exchange with a peer.
    Hello,
    /// Recording and asking.
    Observe,
    /// Statements fetched on a hit.
    Fetch,
    /// Statements offered again, or handed off, and their fetching.
    Repair,
    /// Membership.
    Members,
    /// Outbreaks.
    Hot,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 6] =
        [Self::Hello, Self::Observe, Self::Fetch, Self::Repair, Self::Members, Self::Hot];

    /// The purpose's word in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Observe => "observe",
            Self::Fetch => "fetch",
            Self::Repair => "repair",
            Self::Members => "members",
            Self::Hot => "hot",
        }
    }
}

/// Why a request got no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No connection could be made.
    Unreachable,
    /// No response came within the request's time.
    Timeout,
    /// The connection broke.
    Closed,
    /// The peer does not speak our protocol.
    Unsupported,
    /// It never left: too many were under way to the peer. No fault of the peer's.
    Unsent,
}

/// What happens to a node.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has passed. Due at [`crate::node::Node::wake_ms`] at the latest, and never less often
    /// than every second.
    Tick,
    /// A connection to a peer exists whose host key the driver has proved. Once per peer: further
    /// connections to it are the driver's business.
    Connected {
        /// The peer.
        peer: NodeId,
        /// The peer's address as seen here; none through a relay.
        observed: Option<IpAddr>,
        /// True when this side dialled: then it says Hello.
        dialled: bool,
    },
    /// The last connection to the peer is gone.
    Disconnected {
        /// The peer.
        peer: NodeId,
    },
    /// The peer's program ended and was started anew, and all connections with the one before are
    /// gone. After [`Event::Disconnected`].
    Restarted {
        /// The peer.
        peer: NodeId,
    },
    /// A dial asked for by [`Action::Dial`] failed.
    DialFailed {
        /// The address.
        address: String,
    },
    /// A peer's request. Answered by [`Action::Respond`] with the same `call`, in the same turn.
    Request {
        /// The peer.
        peer: NodeId,
        /// The driver's number for it.
        call: CallId,
        /// The frame, at most [`crate::node::wire::REQUEST_LEN_MAX`] bytes.
        frame: Vec<u8>,
    },
    /// A response to one of this node's requests.
    Response {
        /// Which.
        request: RequestId,
        /// The frame, at most [`crate::node::wire::RESPONSE_LEN_MAX`] bytes.
        frame: Vec<u8>,
    },
    /// A request that will get no response.
    Failed {
        /// Which.
        request: RequestId,
        /// Why.
        why: Failure,
    },
    /// An announcement. Judged by [`Action::GossipVerdict`] in the same turn, before it is passed
    /// on.
    Gossip {
        /// Who passed it on.
        from: NodeId,
        /// The driver's number for it.
        id: GossipId,
        /// On which topic it came.
        topic: Topic,
        /// The frame, at most [`crate::node::wire::GOSSIP_LEN_MAX`] bytes.
        frame: Vec<u8>,
    },
    /// The addresses at which this node can be reached, as far as the driver knows.
    Addresses {
        /// All of them, best first.
        addresses: Vec<String>,
    },
    /// The agent made a statement and asks nothing (opinions; sightings of mail that is known
    /// well enough).
    Publish {
        /// Its signed bytes. An opinion must already be in the store, with an outbox row.
        signed: Vec<u8>,
    },
    /// The agent asks for all that is known of a mail, and states its sighting in the same
    /// requests.
    Query {
        /// The agent's number for it.
        query: QueryId,
        /// The mail.
        probe: Box<Probe>,
        /// The signed sighting, if one is to be stated.
        sighting: Option<Vec<u8>>,
        /// Matches at hand already: they are not sent again.
        known: Vec<Arc<Witness>>,
        /// After how many milliseconds the answer must be there, complete or not.
        deadline_ms: u64,
    },
    /// The agent says whom its site vouches for.
    Vouch {
        /// A [`crate::VouchList`], signed.
        signed: Vec<u8>,
    },
    /// The agent says which sites count for it, and which are newcomers: what they state is kept
    /// when others fill a key.
    Trusted {
        /// All of them.
        sites: Vec<(SiteId, Shelf)>,
    },
    /// The agent says which invitations the site gave: all of them.
    Invites {
        /// With who accepted which.
        invites: Vec<Invite>,
    },
    /// The agent accepts an invitation at a host that it is connected with. Ends in
    /// [`Action::Accepted`].
    Accept {
        /// The driver's number for it.
        ask: AskId,
        /// The host that invited.
        to: NodeId,
        /// What the invitation holds.
        secret: InviteSecret,
        /// The site that invited.
        inviter: SiteId,
    },
    /// The site's configuration changed which peers are refused.
    Refuse {
        /// Peers that are not spoken to.
        peers: Vec<NodeId>,
    },
    /// The node is to leave: it hands off what it holds. [`Action::Left`] tells when it is done.
    Leave,
}

/// How complete an answer is, the most complete first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Completeness {
    /// Every responsible peer, or one that stands in for it, has answered.
    Complete,
    /// Time was up before all had.
    Deadline,
    /// Nobody could be asked.
    Alone,
}

/// Why a node gives statements to the agent unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// They came after a query's deadline.
    Late,
    /// They were announced as part of an outbreak.
    Hot,
}

/// What the driver says of an announcement to the gossip layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GossipVerdict {
    /// True and new: pass it on.
    Accept,
    /// Not new, or not to be judged: don't pass it on.
    Ignore,
    /// False: don't pass it on, and think less of who sent it.
    Reject,
}

/// What is to be kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The opinion with this number is held by enough replicas: its outbox row may go.
    Settled {
        /// The statement's number.
        seq: u64,
    },
    /// A membership record for the address book.
    Member {
        /// The host.
        node: NodeId,
        /// The record.
        record: Vec<u8>,
    },
    /// A site's list of whom it vouches for, verified.
    Vouches {
        /// The site.
        site: SiteId,
        /// The list, signed.
        signed: Vec<u8>,
    },
    /// The site's list may go.
    Unvouched {
        /// The site.
        site: SiteId,
    },
    /// A site showed the secret of an invitation. The agent vouches for it, if it still may, and
    /// says all invitations again.
    Accepted {
        /// Which.
        invite: InviteId,
        /// Who.
        site: SiteId,
    },
    /// A site gave one number to two statements.
    Equivocator {
        /// The site.
        site: SiteId,
        /// One of them, signed.
        first: Vec<u8>,
        /// The other, signed.
        second: Vec<u8>,
    },
    /// The host's record may go.
    Forget {
        /// The host.
        node: NodeId,
    },
}

/// What a node wants done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a request; dial first where there is no connection. Ends in [`Event::Response`] or
    /// [`Event::Failed`], in every case.
    Send {
        /// To whom.
        to: NodeId,
        /// Where it is reached.
        addresses: Arc<[String]>,
        /// The node's number for it.
        request: RequestId,
        /// The frame.
        frame: Vec<u8>,
        /// For counting.
        purpose: Purpose,
        /// After how many milliseconds to give it up.
        timeout_ms: u64,
    },
    /// Answer a request.
    Respond {
        /// Which.
        call: CallId,
        /// The frame.
        frame: Vec<u8>,
    },
    /// Announce.
    Gossip {
        /// On which topic.
        topic: Topic,
        /// The frame.
        frame: Vec<u8>,
    },
    /// Tell the gossip layer what to do with an announcement.
    GossipVerdict {
        /// Which.
        id: GossipId,
        /// What of it.
        verdict: GossipVerdict,
    },
    /// Connect to an address of which only the address is known, or of which a connection is
    /// wanted. Ends in [`Event::Connected`] or [`Event::DialFailed`].
    Dial {
        /// The address, in the driver's form.
        address: String,
    },
    /// Close all connections to a peer and take none from it for a while.
    Ban {
        /// The peer.
        peer: NodeId,
        /// For how long, in seconds; 0 only closes.
        secs: u64,
    },
    /// Keep over a restart.
    Keep(Keep),
    /// What is known of a mail. Every witness was verified; whether it matches, the asker's rule
    /// of match has said and `compare` says again.
    Answered {
        /// The agent's number.
        query: QueryId,
        /// Who saw it, and who spoke.
        witnesses: Vec<Witness>,
        /// Whether all answered.
        completeness: Completeness,
        /// Milliseconds since the question.
        took_ms: u64,
    },
    /// What a host said of an invitation.
    Accepted {
        /// The driver's number.
        ask: AskId,
        /// What became of it, or why that is not known.
        outcome: Result<Acceptance, Unanswered>,
    },
    /// Statements for the agent's catalog, unasked.
    Learned {
        /// The statements, verified.
        witnesses: Vec<Witness>,
        /// Why.
        why: Why,
    },
    /// All is handed off: the driver may stop.
    Left,
}
