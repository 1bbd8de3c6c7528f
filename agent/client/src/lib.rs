//! The door to the agent for the milter, the command line and the tests: the types of the local
//! API and a client for its Unix socket. It knows neither catalog nor fingerprints, so that a
//! program that only asks stays small.
//!
//! Main item: [`Client`].

mod api;
mod client;

pub use api::{
    AllowList, Authentication, Check, Digests, ErrorReply, Explanation, OpinionOutcome,
    OpinionReply, Status, Term, Verdict, header,
};
pub use client::{Client, ClientError, Envelope};
