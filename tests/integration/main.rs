//! The integration tests, one binary. `corpus::` needs the development corpus, `root::` needs
//! root (mounts of its own); where either is absent the Makefile leaves them out and the closing
//! line counts them as skipped.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod api;
mod cli;
mod corpus;
mod daemon;
mod golden;
mod layering;
mod mutations;
mod opinions;
mod root;
mod trust;
