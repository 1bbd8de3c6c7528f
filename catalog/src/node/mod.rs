//! A node of the peer catalog, as a pure state machine: [`Node::handle`] takes one [`Event`] and
//! gives [`Action`]s. It opens no socket, reads no clock and draws no randomness of its own, so
//! ten thousand of them run in one process from a seed (tests/simulation), and the libp2p driver
//! stays thin. The data path, the bytes and the bounds: docs/peers.md.
//!
//! Key decision: under a key a replica keeps only a *record* (who, when, what; no other keys, no
//! signature); the signed statement lies whole at its *home*, the place of its least key, and is
//! fetched once when the asker's own rule of match has already said that it will match. A miss
//! costs one round trip, a hit one or two, and every verdict rests on signatures.

mod anchors;
mod api;
mod codec;
mod config;
mod counters;
mod fetch;
mod group;
mod host;
mod hot;
mod invite;
mod meet;
mod member;
mod membership;
mod outbox;
mod patience;
mod placement;
mod query;
mod quota;
mod repair;
mod replica;
mod serve;
mod state;
mod turns;
mod verify;
mod view;
mod vouches;
mod watch;
pub mod wire;

pub use api::{
    Action, AskId, CallId, Completeness, Event, Failure, GossipId, GossipVerdict, Keep, Now,
    Purpose, QueryId, RequestId, Topic, Why,
};
pub use codec::WireError;
pub use config::{Config, NEAREST, REGIONS, REPLICAS, Start};
pub use counters::Counters;
pub use group::{Group, GroupId};
pub use host::{CERTIFICATE_SECS, HostCertificate, NodeId, Observation, PrefixBits};
pub use invite::{
    Acceptance, INVITES_OPEN_MAX, Invite, InviteId, InviteSecret, SECRET_LEN, Unanswered,
};
pub use member::{ADDRESS_LEN_MAX, ADDRESSES_MAX, MemberRecord, OBSERVATIONS_MAX, RECORD_LEN_MAX};
pub use placement::distances;
pub use state::Node;
pub use turns::{NETWORK_WAITING_MAX, PEER_WAITING_MAX, Turns, WAITING_MAX};
pub use verify::{Ed25519, Verifier};
pub use view::{PeerView, Status};
