//! What milters told of themselves: with `milter_default_action=accept` an MTA hides a broken
//! milter, so the agent shows when each was last heard of, and when an MTA last connected to it.

use std::collections::BTreeMap;
use std::time::Instant;

use novacula_client::{MilterState, MilterWord};

/// Most milters that are remembered; at the bound the one that was silent longest goes.
const MILTERS_MAX: usize = 64;

/// The last word of each milter, by its host's name.
#[derive(Debug, Default)]
pub(crate) struct Milters {
    words: BTreeMap<String, (MilterState, Instant)>,
}

impl Milters {
    /// A milter told how it is.
    pub(crate) fn note(&mut self, state: MilterState, now: Instant) {
        self.words.insert(state.name.clone(), (state, now));
        if self.words.len() > MILTERS_MAX {
            let silent = self.words.iter().min_by_key(|(_, (_, at))| *at);
            if let Some(name) = silent.map(|(name, _)| name.clone()) {
                self.words.remove(&name);
            }
        }
    }

    /// What each last told, and how long ago.
    pub(crate) fn words(&self, now: Instant) -> Vec<MilterWord> {
        let word = |(state, at): &(MilterState, Instant)| MilterWord {
            state: state.clone(),
            secs_ago: now.saturating_duration_since(*at).as_secs(),
        };
        self.words.values().map(word).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_last_word_of_each_and_no_more_than_fit() {
        let (mut milters, start) = (Milters::default(), Instant::now());
        for number in 0..=MILTERS_MAX as u64 {
            let state = MilterState { name: number.to_string(), ..MilterState::default() };
            milters.note(state, start + Duration::from_secs(number));
        }
        let words = milters.words(start + Duration::from_secs(100));
        assert_eq!(words.len(), MILTERS_MAX);
        assert!(words.iter().all(|word| word.state.name != "0"));
        let last = words.iter().find(|word| word.state.name == "64").unwrap();
        assert_eq!(last.secs_ago, 36);
    }
}
