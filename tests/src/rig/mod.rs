//! What tests need of the world of mail around the project: a network of their own, a real
//! Postfix and Sendmail, an LMTP server that keeps what is delivered, and the MTA's side of the
//! milter protocol.
//!
//! Key decision: every MTA runs in a network and process namespace that ends with its test, so
//! that nothing listens, runs or stays where a person could meet it.

mod lmtp;
mod mta;
mod net;
mod postfix;
mod sendmail;

pub use lmtp::{Delivered, Lmtp};
pub use mta::{Mta, Outcome};
pub use net::Net;
pub use postfix::Postfix;
pub use sendmail::Sendmail;

use std::time::{Duration, Instant};

/// Waits until it is so.
///
/// # Panics
/// When it is not so in time.
pub fn wait_until(what: &str, longest: Duration, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < longest, "not within {longest:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
