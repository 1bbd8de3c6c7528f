//! The door from a node of the peer catalog to the network: libp2p, and nothing else.
//!
//! Main item: [`start`]. It makes one task that owns the swarm and a [`novacula_catalog::node::Node`],
//! turns what the network, the clock and the agent bring into events, and carries out what the
//! node wants. It decides nothing of the catalog; what it decides is how many connections there
//! are, and how long frames may be before they are read.
//!
//! Key decision: the agent talks to the task through one bounded queue ([`Handle`]) and hears
//! from it through another ([`Told`]). A full queue is an answer ("nobody could be asked"), never
//! a wait: a stalled network can't stall mail.

mod address;
mod behaviour;
mod codec;
mod counts;
mod crowd;
mod driver;
mod handle;
mod outgoing;
mod process;
mod record;
mod start;
mod swarm;

pub use address::{AddressError, forms, node_of, pinned};
pub use counts::DriverCounts;
pub use handle::{Answer, Handle, Told, View};
pub use start::{Clock, NetError, Settings, start};
