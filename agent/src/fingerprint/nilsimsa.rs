//! Nilsimsa (cmeclax 2001; Damiani et al. 2004): a locality-sensitive digest of 256 bits. Near
//! texts have near digests. Digests agree with the reference code and with PyPI's `nilsimsa`.
//!
//! Every window of five bytes gives up to eight trigrams; each trigram is hashed to one of 256
//! counters; bit *i* is set when counter *i* exceeds the mean. Key decision: the products of the
//! second byte's table value with each of the eight odd multipliers are tables of their own, so
//! that a trigram costs three look-ups and no multiplication.

use novacula_catalog::Nilsimsa;

/// The permutation of the 256 byte values that the algorithm is defined with ("tran53").
const TRAN: [u8; 256] = tran();

/// `TRAN[b] * (2n + 1)` modulo 256, for each n.
const PRODUCTS: [[u8; 256]; 8] = products();

const fn tran() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut value: usize = 0;
    let mut filled = 0;
    while filled < 256 {
        value = (value * 53 + 1) & 255;
        value += value;
        if value > 255 {
            value -= 255;
        }
        let mut seen = 0;
        while seen < filled {
            if table[seen] as usize == value {
                value = (value + 1) & 255;
                seen = 0;
            } else {
                seen += 1;
            }
        }
        table[filled] = value as u8;
        filled += 1;
    }
    table
}

const fn products() -> [[u8; 256]; 8] {
    let mut tables = [[0u8; 256]; 8];
    let mut n = 0;
    while n < 8 {
        let mut byte = 0;
        while byte < 256 {
            tables[n][byte] = TRAN[byte].wrapping_mul(2 * n as u8 + 1);
            byte += 1;
        }
        n += 1;
    }
    tables
}

/// The counter of trigram (a, b, c) in position n.
#[inline]
fn counter(a: u8, b: u8, c: u8, n: usize) -> usize {
    let mixed = TRAN[usize::from(a.wrapping_add(n as u8))] ^ PRODUCTS[n][usize::from(b)];
    usize::from(mixed.wrapping_add(TRAN[usize::from(c ^ TRAN[n])]))
}

/// The digest of a text's bytes. Under three bytes it is all zeros.
#[must_use]
pub fn nilsimsa(text: &[u8]) -> Nilsimsa {
    let mut counters = [0u32; 256];
    // The first windows are incomplete: two, then three earlier bytes.
    if let [w1, w0, c, rest @ ..] = text {
        counters[counter(*c, *w0, *w1, 0)] += 1;
        if let [c2, ..] = rest {
            let (c, w0, w1, w2) = (*c2, *c, *w0, *w1);
            counters[counter(c, w0, w1, 0)] += 1;
            counters[counter(c, w0, w2, 1)] += 1;
            counters[counter(c, w1, w2, 2)] += 1;
        }
    }
    for window in text.windows(5) {
        let &[w3, w2, w1, w0, c] = window else { continue };
        counters[counter(c, w0, w1, 0)] += 1;
        counters[counter(c, w0, w2, 1)] += 1;
        counters[counter(c, w1, w2, 2)] += 1;
        counters[counter(c, w0, w3, 3)] += 1;
        counters[counter(c, w1, w3, 4)] += 1;
        counters[counter(c, w2, w3, 5)] += 1;
        counters[counter(w3, w0, c, 6)] += 1;
        counters[counter(w3, w2, c, 7)] += 1;
    }
    let trigrams = match text.len() {
        0..=2 => 0,
        3 => 1,
        4 => 4,
        len => 8 * len - 28,
    };
    let mean = (trigrams / 256) as u32;
    let mut lanes = [0u64; 4];
    for (bit, count) in counters.iter().enumerate() {
        lanes[bit / 64] |= u64::from(*count > mean) << (bit % 64);
    }
    Nilsimsa(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, hex: &str) {
        assert_eq!(nilsimsa(text.as_bytes()).to_hex(), hex, "{text}");
    }

    /// Expected values were printed by PyPI's nilsimsa 0.3.8.
    #[test]
    fn agrees_with_the_reference() {
        let zeros = "0".repeat(64);
        check("", &zeros);
        check("ab", &zeros);
        check("abc", "0040000000000000000000000000000000000000000000000000000000000000");
        check("abcd", "0440000000000000000000000000000000100000000000000008000000000000");
        check("abcdefgh", "14c8118000000000030800000004042004189020001308014088003280000078");
        check(
            "The quick brown fox jumps over the lazy dog",
            "02b0b4ae03001086d100c660ab88503545c14ae760282108390a2928020120db",
        );
        check(
            &"novacula ".repeat(40),
            "21508024400320c8c28021c03c08000928160310984b0248540240402aa85004",
        );
    }

    #[test]
    fn near_texts_agree_and_others_do_not() {
        let text = "we met at the harbour in the early morning and talked about the boats";
        let near = text.replace("early", "misty");
        let other = "please find attached the minutes of our meeting on quarterly figures";
        let digest = |text: &str| nilsimsa(text.as_bytes());
        let equal = |other: &str| digest(text).equal_bits(&digest(other));
        assert!(equal(&near) >= novacula_catalog::NILSIMSA_OF_TWO_BITS, "{}", equal(&near));
        assert!(equal(other) < novacula_catalog::NILSIMSA_OF_TWO_BITS, "{}", equal(other));
    }
}
