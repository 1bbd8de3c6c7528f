//! What tests and measurements share: reading an index of labelled mails, and the one fixed
//! split of them.
//!
//! Key decision: the split is by a hash of the campaign, so that copies of one mail never stand
//! on both sides. The *tuning* half serves the stop list and every threshold; figures quote the
//! *held-out* half.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// One row of an index.
#[derive(Clone, Debug)]
pub struct Row {
    /// The mail, relative to the index's root.
    pub path: String,
    /// `spam`, `ham` or `bounce`.
    pub label: String,
    /// Site that received it.
    pub site: String,
    /// Seconds since 1970.
    pub time: u64,
    /// Where the mail comes from.
    pub corpus: String,
    /// Near-duplicate cluster; its own path where the index has none.
    pub campaign: String,
}

/// The two halves of the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// For the stop list and thresholds.
    Tuning,
    /// For figures.
    HeldOut,
}

impl Row {
    /// The half that this mail's campaign falls into.
    #[must_use]
    pub fn half(&self) -> Half {
        let hash = novacula_catalog::Network::named(&self.campaign).0;
        // The lowest bit is always set; the next one decides.
        if hash & 2 == 0 { Half::Tuning } else { Half::HeldOut }
    }

    /// The mail's bytes.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn read(&self, root: &Path) -> anyhow::Result<Vec<u8>> {
        let path = root.join(&self.path);
        std::fs::read(&path).with_context(|| format!("read {}", path.display()))
    }
}

/// Reads an index with a header line naming its columns.
///
/// # Errors
/// When the file can't be read or lacks a column.
pub fn read_index(path: &Path) -> anyhow::Result<Vec<Row>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let columns: HashMap<&str, usize> =
        header.split('\t').enumerate().map(|(at, name)| (name, at)).collect();
    for name in ["path", "label", "time", "site"] {
        if !columns.contains_key(name) {
            bail!("{}: no column {name}", path.display());
        }
    }
    let mut rows = Vec::new();
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |name: &str| {
            let value =
                columns.get(name).and_then(|at| cells.get(*at)).copied().unwrap_or_default();
            if value == "-" { "" } else { value }.to_owned()
        };
        let campaign = Some(cell("campaign")).filter(|name| !name.is_empty());
        rows.push(Row {
            campaign: campaign.unwrap_or_else(|| cell("path")),
            path: cell("path"),
            label: cell("label"),
            site: cell("site"),
            time: cell("time").parse().context("time is not a number")?,
            corpus: cell("corpus"),
        });
    }
    Ok(rows)
}

/// The development corpus, where `NOVACULA_DEV` says it is.
#[must_use]
pub fn dev_corpus() -> Option<PathBuf> {
    std::env::var_os("NOVACULA_DEV").map(PathBuf::from).filter(|dir| dir.join("index.tsv").exists())
}
