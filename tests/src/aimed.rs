//! The aimed hash-buster: an attacker who knows the choice hash and the stop list (both are public)
//! grinds words until their shingles are smaller than any that his text has, and sprinkles them
//! over each copy, so that what is chosen is his and no two copies choose alike.
//!
//! Main item: [`Ground`]. Grinding is done once, for all copies: a shingle smaller than all of a
//! text of n words turns up in about n tries, and the smallest of 100,000 are smaller than those
//! of any text.

use std::sync::LazyLock;

use novacula_agent::{Canonical, Message, StopList, stoppable};

use crate::mutations::Draws;

/// Triples of words that are tried.
const TRIES: usize = 100_000;

/// How many of them are kept: enough that two copies seldom draw the same.
const KEPT: usize = 2000;

static GROUND: LazyLock<Vec<String>> = LazyLock::new(ground);

/// Triples of words with the smallest hashes.
#[derive(Debug)]
pub struct Ground;

impl Ground {
    /// One of them, as a line that stands alone in a text.
    pub fn triple(draws: &mut Draws) -> &'static str {
        &GROUND[draws.below(GROUND.len())]
    }
}

fn ground() -> Vec<String> {
    let mut draws = Draws::new(1);
    let stop = StopList::shipped();
    let mut tried: Vec<(u64, String)> = Vec::with_capacity(TRIES);
    while tried.len() < TRIES {
        let words = [draws.word(), draws.word(), draws.word()].join(" ");
        let mail = format!("Subject: x\n\n{words}\n");
        // The words alone: the subject, which short mail takes in, would add shingles.
        let mut canonical = Canonical::of(&Message::parse(mail.as_bytes()));
        canonical.text.clone_from(&words);
        tried.extend(
            stoppable(&canonical)
                .into_iter()
                .filter(|hash| !stop.stops(*hash))
                .map(|hash| (hash, words.clone())),
        );
    }
    tried.sort_unstable();
    tried.truncate(KEPT);
    tried.into_iter().map(|(_, words)| words).collect()
}
