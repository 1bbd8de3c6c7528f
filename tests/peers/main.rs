//! The network of peers: real agents that talk over libp2p. Those named `root::` run each in a
//! network namespace of its own, with addresses of its own, behind links of 20 ms.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod boundary;
mod burst;
mod flood;
mod groups;
mod internet;
mod invites;
mod lan;
mod sites;
mod versions;

mod root {
    //! What needs root.

    use super::{groups, internet, lan, sites};

    mod broken;
    mod campaign;
    mod ethernet;
    mod hostile;
    mod hosts;
    mod killed;
    mod partition;
    mod restarted;
    mod slow;
    mod trust;
}
