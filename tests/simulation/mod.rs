//! Thousands of nodes of the peer catalog in one process, from one seed. The nodes are the real
//! ones ([`novacula_catalog::node::Node`]); what is played is everything around them: network,
//! clocks, disks, crashes ([`World`]), mail ([`mail`]) and what must hold ([`check`]).
//!
//! Key decision: nothing but the seed decides. Every draw comes from one generator in a fixed
//! order, so a failure is replayed by its seed; each run prints it first.

pub mod agent;
pub mod check;
pub mod costs;
pub mod deceit;
pub mod eclipse;
pub mod flood;
pub mod hostile;
mod links;
pub mod mail;
mod queue;
pub mod scenario;
pub mod site;
pub mod society;
pub mod work;
pub mod world;

use novacula_catalog::node::Event;
use novacula_catalog::{Shelf, SiteId};

pub use mail::{Campaign, Mail};
pub use world::{Faults, Options, World};

/// An agent says that these sites count for it.
pub fn trusted(sites: impl IntoIterator<Item = SiteId>) -> Event {
    let sites = sites.into_iter().map(|site| (site, Shelf::Counting)).collect();
    Event::Trusted { sites }
}
