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

struct Word {
    hash: u64,
    weight: u32,
    start: usize,
    end: usize,
}

/// All shingles of a canonical text, in order of place.
pub(super) fn shingles(text: &str) -> Vec<Shingle> {
    let words: Vec<Word> = text
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| {
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            Word {
                hash: xxh3_64(word.as_bytes()),
                weight: weight(word),
                start,
                end: start + word.len(),
            }
        })
        .collect();
    let mut out = Vec::with_capacity(words.len());
    for at in 0..words.len() {
        let (mut weight, mut hash) = (0, 0u64);
        for word in &words[at..] {
            weight += word.weight;
            hash = (hash.rotate_left(23) ^ word.hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if weight >= WEIGHT_MIN {
                out.push(Shingle { hash: mixed(hash), start: words[at].start, end: word.end });
                break;
            }
        }
    }
    out
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

/// The `count` smallest distinct hashes, ascending.
pub(super) fn smallest(hashes: impl Iterator<Item = u64>, count: usize) -> Vec<u64> {
    let mut least: Vec<u64> = Vec::with_capacity(count + 1);
    for hash in hashes {
        if least.len() == count && least.last().is_some_and(|last| hash >= *last) {
            continue;
        }
        if let Err(at) = least.binary_search(&hash) {
            least.insert(at, hash);
            least.truncate(count);
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_words_or_five_characters() {
        let text = "one two three four";
        let of = |text: &str| {
            shingles(text).into_iter().map(|s| text[s.start..s.end].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of(text), ["one two three", "two three four"]);
        assert_eq!(of("买 卖 发 票 好 吗"), ["买 卖 发 票 好", "卖 发 票 好 吗"]);
        assert_eq!(of("one two"), Vec::<String>::new());
    }

    #[test]
    fn order_of_words_matters() {
        assert_ne!(shingles("a b c")[0].hash, shingles("c b a")[0].hash);
    }

    #[test]
    fn the_smallest_are_found() {
        assert_eq!(smallest([5, 3, 9, 3, 1, 7].into_iter(), 3), [1, 3, 5]);
        assert_eq!(smallest([2, 2].into_iter(), 3), [2]);
    }
}
