//! Pairing a mail client with a user: a short code, good once and for some minutes, is exchanged
//! for a token. Pure: random bytes and `now` are arguments.
//!
//! Main item: [`Pairings`]. Key decision: the code begins with the user's name, so that whoever
//! types it in sees for whom he will speak. Wrong guesses are counted over all codes, and too
//! many end all: 40 bits are then enough for a code that a person can type.

use novacula_catalog::Time;

/// How long a code is good, in seconds.
pub(crate) const CODE_SECS: u64 = 600;

/// Wrong guesses after which all codes end; they must be asked for again.
const WRONG_MAX: u32 = 20;

/// Codes at a time; a further one ends the oldest.
const CODES_MAX: usize = 100;

/// Letters and digits that are not mistaken for one another; 32 of them.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

struct Code {
    user: String,
    code: String,
    until: Time,
}

/// The codes that wait to be used.
#[derive(Default)]
pub(crate) struct Pairings {
    codes: Vec<Code>,
    wrong: u32,
}

impl Pairings {
    /// A code for this user, who had better use it soon. An earlier one of his ends.
    pub(crate) fn issue(&mut self, user: &str, random: [u8; 8], now: Time) -> String {
        self.codes.retain(|code| code.user != user && code.until > now);
        if self.codes.len() >= CODES_MAX {
            self.codes.remove(0);
        }
        let letters: String = random
            .map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]))
            .iter()
            .collect();
        let code = format!("{user}:{}-{}", &letters[..4], &letters[4..]);
        let until = Time(now.0 + CODE_SECS);
        self.codes.push(Code { user: user.to_owned(), code: code.clone(), until });
        code
    }

    /// Whom the code names, if it is good; it ends with that.
    pub(crate) fn redeem(&mut self, given: &str, now: Time) -> Option<String> {
        self.codes.retain(|code| code.until > now);
        if self.codes.is_empty() {
            self.wrong = 0;
        }
        let given = given.trim();
        let found = self.codes.iter().position(|code| code.code.eq_ignore_ascii_case(given));
        let Some(at) = found else {
            self.wrong += 1;
            if self.wrong >= WRONG_MAX {
                self.codes.clear();
            }
            return None;
        };
        self.wrong = 0;
        Some(self.codes.remove(at).user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_800_000_000);

    #[test]
    fn a_code_is_good_once_and_for_a_while() {
        let mut pairings = Pairings::default();
        let code = pairings.issue("ann@example.org", [0, 1, 31, 32, 255, 6, 7, 8], NOW);
        assert_eq!(code, "ann@example.org:AB9A-9GHJ");
        assert_eq!(pairings.redeem("ann@example.org:AB9A-9GHK", NOW), None);
        let typed = format!(" {} ", code.to_lowercase());
        assert_eq!(pairings.redeem(&typed, NOW), Some("ann@example.org".into()));
        assert_eq!(pairings.redeem(&code, NOW), None, "once");
        let code = pairings.issue("ann", [1; 8], NOW);
        assert_eq!(pairings.redeem(&code, Time(NOW.0 + CODE_SECS)), None, "too late");
        let first = pairings.issue("ann", [1; 8], NOW);
        let _second = pairings.issue("ann", [2; 8], NOW);
        assert_eq!(pairings.redeem(&first, NOW), None, "an earlier code ends");
    }

    #[test]
    fn guessing_ends_all_codes() {
        let mut pairings = Pairings::default();
        let code = pairings.issue("ann", [1; 8], NOW);
        for _ in 0..WRONG_MAX {
            assert_eq!(pairings.redeem("ann:AAAA-AAAA", NOW), None);
        }
        assert_eq!(pairings.redeem(&code, NOW), None);
        let code = pairings.issue("ann", [1; 8], NOW);
        assert_eq!(pairings.redeem(&code, NOW), Some("ann".into()));
    }

    #[test]
    fn codes_are_bounded() {
        let mut pairings = Pairings::default();
        for number in 0..2 * CODES_MAX {
            pairings.issue(&number.to_string(), [1; 8], NOW);
        }
        assert_eq!(pairings.codes.len(), CODES_MAX);
    }
}
