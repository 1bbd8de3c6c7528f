//! Shingles: every run of three words (five characters where a script puts no spaces between
//! words) as a 64-bit hash, with the place where it stands. The engines `text`, `head` and `tail`
//! choose the smallest hashes among them (Broder 1997: the share of common minima estimates the
//! share of common shingles).
//!
//! The hash is unsalted, so that every site of a fingerprint version chooses alike.

use xxhash_rust::xxh3::xxh3_64;

/// Weight of a run that makes a shingle: three words of 5, or five characters of 3.
const WEIGHT_MIN: u32 = 15;
const WEIGHT_OF_WORD: u32 = 5;
const WEIGHT_OF_CHARACTER: u32 = 3;

/// One shingle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shingle {
    pub(super) hash: u64,
    /// Byte offsets within the canonical text.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Words that a run can have: five of the least weight.
const RUN_MAX: usize = 5;

#[derive(Clone, Copy, Default)]
struct Word {
    hash: u64,
    weight: u32,
    start: usize,
    end: usize,
}

/// Tells `emit` of every shingle of a canonical text, in order of place.
pub(super) fn shingles(text: &str, mut emit: impl FnMut(Shingle)) {
    // The last words, the newest at the end.
    let mut words = [Word::default(); RUN_MAX];
    let mut start = 0;
    for end in memchr::memchr_iter(b' ', text.as_bytes()).chain([text.len()]) {
        let word = &text[start..end];
        if !word.is_empty() {
            words.rotate_left(1);
            words[RUN_MAX - 1] =
                Word { hash: xxh3_64(word.as_bytes()), weight: weight(word), start, end };
            ending_here(&words, &mut emit);
        }
        start = end + 1;
    }
}

/// The runs that are complete with the newest word and were not before it.
fn ending_here(words: &[Word; RUN_MAX], emit: &mut impl FnMut(Shingle)) {
    let newest = words[RUN_MAX - 1];
    let mut total = 0;
    for (at, first) in words.iter().enumerate().rev() {
        if first.weight == 0 {
            break;
        }
        total += first.weight;
        if total < WEIGHT_MIN {
            continue;
        }
        if total - newest.weight >= WEIGHT_MIN {
            break;
        }
        let hash = words[at..].iter().fold(0u64, |hash, word| {
            (hash.rotate_left(23) ^ word.hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        emit(Shingle { hash: mixed(hash), start: first.start, end: newest.end });
    }
}

fn weight(word: &str) -> u32 {
    let mut chars = word.chars();
    let single = chars.next().is_some_and(|c| !c.is_ascii()) && chars.next().is_none();
    if single { WEIGHT_OF_CHARACTER } else { WEIGHT_OF_WORD }
}

/// The last step of MurmurHash3: every input bit moves every output bit.
fn mixed(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The smallest distinct hashes of many, ascending.
pub(super) struct Smallest {
    least: Vec<u64>,
    count: usize,
}

impl Smallest {
    pub(super) fn new(count: usize) -> Self {
        Self { least: Vec::with_capacity(count + 1), count }
    }

    /// True when this hash would be among them; also when it already is.
    pub(super) fn takes(&self, hash: u64) -> bool {
        self.least.len() < self.count || self.least.last().is_some_and(|last| hash < *last)
    }

    pub(super) fn add(&mut self, hash: u64) {
        if !self.takes(hash) {
            return;
        }
        if let Err(at) = self.least.binary_search(&hash) {
            self.least.insert(at, hash);
            self.least.truncate(self.count);
        }
    }

    pub(super) fn into_vec(self) -> Vec<u64> {
        self.least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_words_or_five_characters() {
        let text = "one two three four";
        let of = |text: &str| {
            let mut out = Vec::new();
            shingles(text, |found| out.push(text[found.start..found.end].to_owned()));
            out
        };
        assert_eq!(of(text), ["one two three", "two three four"]);
        assert_eq!(of("买 卖 发 票 好 吗"), ["买 卖 发 票 好", "卖 发 票 好 吗"]);
        assert_eq!(of("one two"), Vec::<String>::new());
    }

    #[test]
    fn order_of_words_matters() {
        let of = |text: &str| {
            let mut hash = 0;
            shingles(text, |found| hash = found.hash);
            hash
        };
        assert_ne!(of("a b c"), of("c b a"));
    }

    #[test]
    fn the_smallest_are_found() {
        let smallest = |hashes: &[u64], count| {
            let mut smallest = Smallest::new(count);
            hashes.iter().for_each(|hash| smallest.add(*hash));
            smallest.into_vec()
        };
        assert_eq!(smallest(&[5, 3, 9, 3, 1, 7], 3), [1, 3, 5]);
        assert_eq!(smallest(&[2, 2], 3), [2]);
    }
}
