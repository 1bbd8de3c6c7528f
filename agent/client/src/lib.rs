//! The door to the agent for the milter, the command line and the tests: the types of the local
//! API and a client for its Unix socket. It knows neither catalog nor fingerprints, so that a
//! program that only asks stays small.
//!
//! Main item: [`Client`]. [`socket`] is the other end: how agent and milter bind theirs.

mod api;
mod client;
pub mod socket;

pub use api::{
    Advice, AllowList, Authentication, Check, Digests, ErrorReply, Explanation, Leaning,
    MilterListener, MilterState, MilterWord, OpinionOutcome, OpinionReply, Sent, Status, Term,
    Verdict, header,
};
pub use client::{Client, ClientError, Envelope};
