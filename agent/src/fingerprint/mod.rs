//! The fingerprint of a mail: the digests of all engines over its canonical text (DESIGN 3.2).
//! Pure and unsalted: every site of a fingerprint version makes the same one of the same mail.
//!
//! Main item: [`Fingerprint::of`]. The figures behind each engine stand in
//! docs/measurements.md.

mod link;
mod nilsimsa;
mod shingles;
mod stoplist;

use std::collections::BTreeSet;

use novacula_catalog::{Digest, Engine, Nilsimsa};

pub use nilsimsa::nilsimsa;
pub use stoplist::StopList;

use crate::canonical::{Canonical, GATE_CHARS};
use shingles::{Shingle, shingles, smallest};

/// Digests of the engine `text` (DESIGN 3.2).
const TEXT_DIGESTS: usize = 10;
/// Digests of the engine `head` (DESIGN 3.2).
const HEAD_DIGESTS: usize = 5;
/// Digests of the engine `tail` (DESIGN 3.2, budget).
const TAIL_DIGESTS: usize = 3;
/// How much of the canonical text is its head, and its tail, in bytes (DESIGN 3.2).
const END_LEN: usize = 1000;
/// Fewest distinct shingles, after the stop list, that `text`, `head` and `tail` rest on.
const SHINGLES_MIN: usize = 12;

/// All digests of one mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    digests: Vec<Digest>,
    nilsimsa: Option<Nilsimsa>,
}

impl Fingerprint {
    /// The fingerprint of a canonical text, with the shipped stop list.
    #[must_use]
    pub fn of(canonical: &Canonical) -> Self {
        Self::with(canonical, StopList::shipped())
    }

    /// The fingerprint under another stop list (for measurements).
    #[must_use]
    pub fn with(canonical: &Canonical, stop: &StopList) -> Self {
        let links = link::digests(&canonical.links, stop);
        if canonical.chars() < GATE_CHARS {
            return Self { digests: links, nilsimsa: None };
        }
        let hash = blake3::hash(canonical.text.as_bytes());
        let mut exact = [0u8; 8];
        exact.copy_from_slice(&hash.as_bytes()[..8]);
        let mut digests =
            vec![Digest { engine: Engine::Exact, weak: false, value: u64::from_le_bytes(exact) }];
        digests.extend(Self::shingled(&canonical.text, stop));
        digests.extend(links);
        Self { digests, nilsimsa: Some(nilsimsa(canonical.text.as_bytes())) }
    }

    fn shingled(text: &str, stop: &StopList) -> Vec<Digest> {
        let kept: Vec<Shingle> =
            shingles(text).into_iter().filter(|shingle| !stop.stops(shingle.hash)).collect();
        let distinct: BTreeSet<u64> = kept.iter().map(|shingle| shingle.hash).collect();
        if distinct.len() < SHINGLES_MIN {
            return Vec::new();
        }
        let in_head = |shingle: &&Shingle| shingle.end <= END_LEN;
        let in_tail = |shingle: &&Shingle| shingle.start + END_LEN >= text.len();
        let hash = |shingle: &Shingle| shingle.hash;
        let chosen = [
            (Engine::Text, smallest(distinct.iter().copied(), TEXT_DIGESTS)),
            (Engine::Head, smallest(kept.iter().filter(in_head).map(hash), HEAD_DIGESTS)),
            (Engine::Tail, smallest(kept.iter().filter(in_tail).map(hash), TAIL_DIGESTS)),
        ];
        let digest = |engine, value| Digest { engine, weak: false, value };
        chosen
            .into_iter()
            .flat_map(|(engine, values)| values.into_iter().map(move |value| digest(engine, value)))
            .collect()
    }

    /// The digests, in order of priority.
    #[must_use]
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// The digest that verifies; None under the entropy gate.
    #[must_use]
    pub fn nilsimsa(&self) -> Option<Nilsimsa> {
        self.nilsimsa
    }

    /// False when there is too little to judge: the entropy gate. Nothing is sent then.
    #[must_use]
    pub fn is_evidence(&self) -> bool {
        self.digests.iter().any(|digest| !digest.weak)
    }
}

/// Everything in a mail that a stop list may hold: the hashes of its shingles and links.
#[must_use]
pub fn stoppable(canonical: &Canonical) -> BTreeSet<u64> {
    let of_shingles = shingles(&canonical.text).into_iter().map(|shingle| shingle.hash);
    of_shingles.chain(link::hashes(&canonical.links)).collect()
}
