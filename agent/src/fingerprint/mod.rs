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

use novacula_catalog::{Digest, Engine, KEYS_MAX, Nilsimsa};

pub use nilsimsa::nilsimsa;
pub use stoplist::StopList;

use crate::canonical::Canonical;
use shingles::{Shingle, Smallest, shingles};

/// Digests of the engine `text` (DESIGN 3.2); what the other engines leave free comes on top.
const TEXT_DIGESTS: usize = 10;
/// Digests of the engine `head` (DESIGN 3.2).
const HEAD_DIGESTS: usize = 5;
/// Digests of the engine `tail`: as many as of `head`, since spam behind padding is as common as
/// spam before it (docs/measurements.md, "Robustness").
const TAIL_DIGESTS: usize = 5;
/// Digests of quotes that are left out of the text, of the engine `tail`.
const QUOTED_DIGESTS: usize = 5;
/// Keeps them apart from those of texts.
const QUOTED_SEED: u64 = 0x7175_6f74_6564;
/// Digests of the engine `attachment` (DESIGN 3.2, budget).
const ATTACHMENT_DIGESTS: usize = 3;
/// How much of the canonical text is its head, and its tail, in bytes (DESIGN 3.2): so much of a
/// long text, and a third of a shorter one.
const END_LEN: usize = 1000;
const ENDS_IN_TEXT: usize = 3;
/// Shortest text with ends of its own, in bytes: an end of it has some 50 words.
const ENDED_LEN_MIN: usize = 900;
/// Fewest distinct shingles, after the stop list, that `text`, `head` and `tail` rest on: twice
/// what a match needs (the curve is in docs/measurements.md, "Twins").
const SHINGLES_MIN: usize = 6;
/// Fewest characters of a text under the gate that are evidence together with where the mail
/// leads.
const SHORT_CHARS_MIN: usize = 12;

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
        let links = link::digests(&canonical.links, false, stop).len();
        let attached = attachments(canonical, false, stop).len();
        let gated = !canonical.passes_gate();
        let exact = if gated { short(canonical, stop) } else { Some(hashed(&[&canonical.text])) };
        let exact = exact.map(|value| Digest { engine: Engine::Exact, weak: false, value });
        let mut digests: Vec<Digest> = exact.into_iter().collect();
        if !gated {
            let quoted = quoted(&canonical.quoted, stop);
            let room = KEYS_MAX - digests.len() - links - attached - quoted.len();
            digests.extend(shingled(&canonical.text, stop, room));
            digests.extend(quoted);
        }
        let texted = digests.iter().any(|digest| digest.engine != Engine::Exact);
        digests.extend(link::digests(&canonical.links, texted, stop));
        digests.extend(attachments(canonical, texted, stop));
        Self { digests, nilsimsa: (!gated).then(|| nilsimsa(canonical.text.as_bytes())) }
    }

    /// The digests, in order of priority.
    #[must_use]
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// The first digest, by which the mail is named at home; 0 where there is none.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.digests.first().map_or(0, |digest| digest.value)
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

/// The digests of the three engines that take shingles: one shingle is one digest, of the first
/// engine that chooses it.
fn shingled(text: &str, stop: &StopList, room: usize) -> Vec<Digest> {
    let end_len = END_LEN.min(text.len() / ENDS_IN_TEXT);
    let mut whole = Smallest::new(KEYS_MAX);
    let mut head = Smallest::new(HEAD_DIGESTS);
    let mut tail = Smallest::new(TAIL_DIGESTS);
    shingles(text, |Shingle { hash, start, end }| {
        // The list is asked only about what would be chosen.
        let in_head = end <= end_len && head.takes(hash);
        let in_tail = start + end_len >= text.len() && tail.takes(hash);
        if !(whole.takes(hash) || in_head || in_tail) || stop.stops(hash) {
            return;
        }
        whole.add(hash);
        if in_head {
            head.add(hash);
        }
        if in_tail {
            tail.add(hash);
        }
    });
    let whole = whole.into_vec();
    if whole.len() < SHINGLES_MIN {
        return Vec::new();
    }
    let (first, rest) = whole.split_at(whole.len().min(TEXT_DIGESTS));
    let (head, tail) = (head.into_vec(), tail.into_vec());
    // In a short text the ends are no places of their own.
    let ended = text.len() >= ENDED_LEN_MIN;
    let of_end = |end| if ended { end } else { Engine::Text };
    let chosen = [
        (of_end(Engine::Head), &head[..]),
        (of_end(Engine::Tail), &tail[..]),
        (Engine::Text, first),
        (Engine::Text, rest),
    ];
    let mut digests: Vec<Digest> = Vec::with_capacity(room);
    for (engine, values) in chosen {
        for value in values {
            let taken = digests.iter().any(|digest| digest.value == *value);
            if !taken && digests.len() < room {
                digests.push(Digest { engine, weak: false, value: *value });
            }
        }
    }
    digests
}

/// The digests of quotes that the text is without. They equal those of other quotes and never those of
/// a text: who quotes a spam has not sent it.
fn quoted(text: &str, stop: &StopList) -> Vec<Digest> {
    let mut chosen = Smallest::new(QUOTED_DIGESTS.max(SHINGLES_MIN));
    shingles(text, |Shingle { hash, .. }| {
        if chosen.takes(hash) && !stop.stops(hash) {
            chosen.add(hash);
        }
    });
    let chosen = chosen.into_vec();
    let told = if chosen.len() < SHINGLES_MIN { &[] } else { &chosen[..QUOTED_DIGESTS] };
    let of =
        |hash: &u64| Digest { engine: Engine::Tail, weak: false, value: quoted_shingle(*hash) };
    told.iter().map(of).collect()
}

/// What stands for a shingle in a quote, by its hash.
#[must_use]
pub fn quoted_shingle(hash: u64) -> u64 {
    keyed(hash, QUOTED_SEED)
}

/// What is attached. A picture beside a text that tells proves nothing alone: a firm's logo stands
/// in all its mail.
fn attachments(canonical: &Canonical, texted: bool, stop: &StopList) -> Vec<Digest> {
    let hashes = canonical.attachments.iter().map(|attachment| attachment.hash);
    let mut chosen = Smallest::new(ATTACHMENT_DIGESTS);
    hashes.filter(|hash| !stop.stops(*hash)).for_each(|hash| chosen.add(hash));
    let pictured = |hash| canonical.attachments.iter().any(|of| of.hash == hash && of.picture);
    let digest =
        |value| Digest { engine: Engine::Attachment, weak: texted && pictured(value), value };
    chosen.into_vec().into_iter().map(digest).collect()
}

/// What a text under the entropy gate proves together with where the mail leads and where its
/// pictures lie, or else whom its answers go to: few words alone stand in unrelated mails, and are
/// never sent alone. Domains that wanted mail leads to do not count.
fn short(canonical: &Canonical, stop: &StopList) -> Option<u64> {
    let mut places = link::domains(&canonical.links, &canonical.pictures, stop);
    if places.is_empty() {
        places.extend(canonical.answers_to.as_deref());
    }
    if canonical.chars() < SHORT_CHARS_MIN || places.is_empty() {
        return None;
    }
    let places: Vec<&str> = places.into_iter().collect();
    Some(hashed(&[&["short", &canonical.text].join("\n"), &places.join("\n")]))
}

/// A digest's value under a site's own seed.
pub(crate) fn keyed(value: u64, seed: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(&value.to_le_bytes(), seed)
}

fn hashed(parts: &[&str]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    parts.iter().for_each(|part| {
        hasher.update(part.as_bytes());
    });
    let mut first = [0u8; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// Everything in a mail that a stop list may hold: the hashes of its shingles, of its links, of
/// the domains of its pictures, and of its attachments.
#[must_use]
pub fn stoppable(canonical: &Canonical) -> BTreeSet<u64> {
    let mut hashes: BTreeSet<u64> = link::hashes(&canonical.links).collect();
    hashes.extend(link::picture_hashes(&canonical.pictures));
    hashes.extend(canonical.attachments.iter().map(|attachment| attachment.hash));
    shingles(&canonical.text, |shingle| {
        hashes.insert(shingle.hash);
    });
    hashes
}
