//! What tests and measurements share: the one fixed split of a corpus, and a real agent to talk
//! to ([`harness`]), a real node without one ([`wire`]).
//!
//! Key decision: the split is by a hash of the campaign, so that copies of one mail never stand
//! on both sides. The *tuning* half serves the stop list and every threshold; figures quote the
//! *held-out* half.

pub mod aimed;
pub mod harness;
pub mod mutations;
pub mod privacy;
pub mod rig;
#[path = "../simulation/mod.rs"]
pub mod simulation;
pub mod synonyms;
pub mod wire;

use std::path::{Path, PathBuf};

use anyhow::Context;
use novacula_agent::StopList;
pub use novacula_agent::replay::{Row, read_index};

/// The two halves of the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// For the stop list and thresholds.
    Tuning,
    /// For figures.
    HeldOut,
}

/// The campaign's name; a mail without one is its own.
#[must_use]
pub fn campaign(row: &Row) -> &str {
    if row.campaign.is_empty() { &row.path } else { &row.campaign }
}

/// The half that a mail's campaign falls into.
#[must_use]
pub fn half(row: &Row) -> Half {
    let hash = novacula_catalog::Network::named(campaign(row)).0;
    // The lowest bit is always set; the next one decides.
    if hash & 2 == 0 { Half::Tuning } else { Half::HeldOut }
}

/// Where a mail's campaign stands among all, 0 to 99: for taking a share of them.
#[must_use]
pub fn percentile(row: &Row) -> u64 {
    (novacula_catalog::Network::named(&format!("percent {}", campaign(row))).0 >> 8) % 100
}

/// A mail's bytes.
///
/// # Errors
/// When the file can't be read.
pub fn read_mail(root: &Path, row: &Row) -> anyhow::Result<Vec<u8>> {
    let path = root.join(&row.path);
    std::fs::read(&path).with_context(|| format!("read {}", path.display()))
}

/// A stop list that `stoplist` wrote.
///
/// # Errors
/// When it can't be read or is none.
pub fn read_stop_list(path: &Path) -> anyhow::Result<StopList> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    StopList::decode(&bytes).with_context(|| format!("{} is no stop list", path.display()))
}

/// The development corpus, where `NOVACULA_DEV` says it is. Tests that need it are left out
/// where it is absent (the Makefile decides), so here its absence is an error.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn dev_corpus() -> PathBuf {
    let dir = std::env::var_os("NOVACULA_DEV").map(PathBuf::from);
    dir.filter(|dir| dir.join("index.tsv").exists())
        .expect("NOVACULA_DEV must name the folder of the development corpus")
}

/// True when every number is taken as written: more repetitions, more seeds.
#[must_use]
pub fn is_full() -> bool {
    std::env::var_os("NOVACULA_FULL").is_some()
}

/// A folder of the project's own golden data.
#[must_use]
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}
