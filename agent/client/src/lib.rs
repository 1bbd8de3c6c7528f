//! The door to the agent for the milter, the command line and the tests: the types of the local
//! API and a client for its Unix socket. It knows neither catalog nor fingerprints, so that a
//! program that only asks stays small.
//!
//! Main item: [`Client`]. [`socket`] is the other end: how agent and milter bind theirs.

mod api;
mod client;
mod network;
pub mod socket;

pub use api::{
    Advice, AllowList, Asked, Authentication, Check, Digests, ErrorReply, Explanation, GroupSum,
    Leaning, MilterListener, MilterState, MilterWord, OpinionOutcome, OpinionReply, OwnOpinion,
    Pairing, Place, Redeem, Sent, Status, Term, TokenInfo, TokenReply, Verdict, header,
};
pub use client::{Client, ClientError, Envelope};
pub use network::{
    GroupState, IdentityReply, Introducer, InviteAsk, InviteReply, InviteState, Joined,
    NetworkState, Peer, Peers, SiteTrust, TrustLine, TrustReply, TrustTaken,
};
