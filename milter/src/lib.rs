//! The milter: puts the agent's verdict into Postfix and Sendmail. Three layers that know nothing
//! of each other's work: [`protocol`] turns bytes into commands and replies, [`session`] collects
//! a mail and keeps the protocol's order, [`policy`] decides what becomes of it. [`server`] drives
//! them over real sockets, and [`agent`] asks, with a deadline.
//!
//! Main item: [`server::run`]. Key decision: whatever fails, the MTA gets its answer and the mail
//! passes, marked as unchecked.

pub mod agent;
pub mod config;
pub mod counts;
pub mod envelope;
pub mod facts;
pub mod listen;
mod maillog;
pub mod policy;
pub mod protocol;
pub mod server;
pub mod session;
pub mod setup;
