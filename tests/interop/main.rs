//! The milter against real programs: Postfix, Sendmail, swaks, smtp-source and miltertest, and
//! against clients that keep no rule. What stands in `root` needs root, for networks of its own.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod abuse;
mod root;
mod site;
mod standard;
mod systemd;
