//! Where people meet Novacula, against the real programs: SpamAssassin, Dovecot, mail clients and
//! the MTA's pipe. `root::` needs root, for network namespaces of its own; where that is absent
//! the Makefile leaves it out and the closing line counts it as skipped.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod recipes;
mod rig;
mod root;
mod tcp;
mod watch;
