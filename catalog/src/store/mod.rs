//! What a node holds: [`Catalog`] in memory answers, [`Disk`] (SQLite) keeps it over a restart.
//! This directory is the only door to SQL.

mod disk;
mod learned;
mod memory;
mod network;
mod open;
mod writer;

pub use disk::{Disk, Loaded, Save, StoreError};
pub use learned::{LoadedLearned, SaveLearned};
pub use memory::{Catalog, KEEP_OWN_OPINION_SECS, KEEP_SECS, STATEMENTS_MAX_DEFAULT};
pub use network::{LoadedNetwork, LoadedSide, SaveNetwork, SaveSide, Side};
pub use writer::Health;
