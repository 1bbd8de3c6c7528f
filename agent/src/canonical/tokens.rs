//! From a line of text to canonical words. What differs from copy to copy of one mail goes:
//! figures, identifiers, addresses, the recipient's own names; what a spammer puts between
//! letters goes too.

use std::collections::BTreeSet;

use super::fold;
use crate::message::Mailbox;

/// Longest word that is kept, in characters; longer ones are encodings or identifiers.
const WORD_LEN_MAX: usize = 40;

/// Changes between letters and digits from which a token is an identifier.
const ID_CHANGES_MIN: usize = 3;

/// Shortest identifier, in characters: `pl41n` is a word.
const ID_LEN_MIN: usize = 8;

/// What stands for every figure and identifier.
const FIGURE: &str = "0";

/// The names by which a mail calls its own recipients, as canonical words.
#[derive(Debug, Default)]
pub(super) struct OwnNames(BTreeSet<String>);

impl OwnNames {
    /// Names from To and Cc, never from the envelope, which not every door knows (DESIGN 3.1).
    pub(super) fn of(recipients: &[Mailbox]) -> Self {
        let mut names = BTreeSet::new();
        for mailbox in recipients {
            let (local, domain) = mailbox.address.split_once('@').unwrap_or(("", ""));
            let organisation = psl::domain_str(domain).and_then(|name| name.split('.').next());
            let words = mailbox.name.split(|c: char| !c.is_alphanumeric());
            let pieces = local.split(|c: char| !c.is_alphanumeric());
            for name in words.chain(pieces).chain([local]).chain(organisation) {
                let joined: String = name.chars().filter(|c| c.is_alphabetic()).collect();
                let word = fold::word(&fold::normalise(&joined));
                if word.chars().count() >= 2 {
                    names.insert(word);
                }
            }
        }
        Self(names)
    }

    fn has(&self, word: &str) -> bool {
        self.0.contains(word)
    }
}

/// Calls `emit` with every canonical word of a line. Figures in a row are one.
pub(super) fn words(line: &str, own: &OwnNames, mut emit: impl FnMut(&str)) {
    let normal = fold::normalise(line);
    let mut after_figure = false;
    for token in normal.split_whitespace() {
        if is_address(token) {
            continue;
        }
        for piece in token.split(is_separator) {
            token_words(piece, &mut |word| {
                if own.has(word) || (after_figure && word == FIGURE) {
                    return;
                }
                after_figure = word == FIGURE;
                emit(word);
            });
        }
    }
}

/// An e-mail address or a URL: the link engine's, not the text's.
fn is_address(token: &str) -> bool {
    if !token.contains(['@', ':', '.']) {
        return false;
    }
    let lower = || token.trim_start_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
    if token.contains("://") || (token.contains('.') && lower().starts_with("www.")) {
        return true;
    }
    if lower().starts_with("mailto:") {
        return true;
    }
    token.split_once('@').is_some_and(|(local, domain)| {
        let domain = domain.trim_end_matches(|c: char| !c.is_alphanumeric());
        let labels = domain.split('.').all(|label| label.chars().any(char::is_alphanumeric));
        local.chars().any(char::is_alphanumeric) && domain.contains('.') && labels
    })
}

/// Punctuation that stands between words. Other punctuation stands inside one and is dropped.
fn is_separator(c: char) -> bool {
    matches!(
        c,
        ',' | ';'
            | ':'
            | '/'
            | '\\'
            | '('
            | ')'
            | '['
            | ']'
            | '{'
            | '}'
            | '<'
            | '>'
            | '='
            | '&'
            | '?'
            | '#'
            | '"'
            | '\u{2013}'
            | '\u{2014}'
            | '\u{2026}'
            | '\u{b7}'
            | '\u{2022}'
    )
}

fn token_words(token: &str, emit: &mut dyn FnMut(&str)) {
    // Most tokens are plain words.
    if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        if token.len() <= WORD_LEN_MAX {
            let mut buffer = [0u8; WORD_LEN_MAX];
            let lower = &mut buffer[..token.len()];
            lower.copy_from_slice(token.as_bytes());
            lower.make_ascii_lowercase();
            emit(std::str::from_utf8(lower).unwrap_or_default());
        }
        return;
    }
    if !token.is_ascii() && token.chars().any(fold::is_unspaced) {
        return unspaced(token, emit);
    }
    let (mut letters, mut digits, mut changes) = (0usize, 0usize, 0usize);
    let mut was_digit = None;
    for c in token.chars().filter(|c| c.is_alphanumeric()) {
        let digit = c.is_numeric();
        if digit {
            digits += 1
        } else {
            letters += 1
        }
        changes += usize::from(was_digit.is_some_and(|was| was != digit));
        was_digit = Some(digit);
    }
    if letters + digits == 0 {
        return;
    }
    let identifier = letters + digits >= ID_LEN_MIN && changes >= ID_CHANGES_MIN;
    if letters == 0 || identifier || digits > letters {
        return emit(FIGURE);
    }
    let spelt = fold::word(&letters_only(token));
    if !spelt.is_empty() && spelt.chars().count() <= WORD_LEN_MAX {
        emit(&spelt);
    }
}

/// The letters of a token that is mostly letters: digits and signs between letters stand for
/// the letters they look like; everything else goes, and so do figures at either end, which
/// number things more often than they spell them.
fn letters_only(token: &str) -> String {
    let chars: Vec<char> = token.chars().collect();
    let first = chars.iter().position(|c| c.is_alphabetic()).unwrap_or(0);
    let last = chars.iter().rposition(|c| c.is_alphabetic()).unwrap_or(0);
    let mut out = String::with_capacity(token.len());
    for c in &chars[first..=last] {
        match c {
            '0' => out.push('o'),
            '1' | '!' | '|' => out.push('i'),
            '3' => out.push('e'),
            '4' | '@' => out.push('a'),
            '5' | '$' => out.push('s'),
            '7' => out.push('t'),
            // Marks are parts of letters in scripts that have them (and accents elsewhere,
            // which the folding drops).
            c if c.is_alphabetic() || is_mark(*c) => out.push(*c),
            _ => {}
        }
    }
    out
}

/// A mark that no composed form swallowed: neither letter, digit, punctuation nor symbol of the
/// Latin kind.
fn is_mark(c: char) -> bool {
    matches!(c as u32, 0x0300..=0x036f | 0x0591..=0x05c7 | 0x064b..=0x065f | 0x0900..=0x0dff)
}

/// Each character of an unspaced script is a word; runs of others are words of their own.
fn unspaced(token: &str, emit: &mut dyn FnMut(&str)) {
    let mut run = String::new();
    let mut buffer = [0u8; 4];
    for c in token.chars() {
        if fold::is_unspaced(c) {
            if !run.is_empty() {
                token_words(&std::mem::take(&mut run), emit);
            }
            emit(c.encode_utf8(&mut buffer));
        } else {
            run.push(c);
        }
    }
    if !run.is_empty() {
        token_words(&run, emit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let own = OwnNames::of(&[Mailbox {
            name: "Yara Nox".into(),
            address: "yara0.x@mail.s01-shop.example".into(),
        }]);
        let mut out = Vec::new();
        words(line, &own, |word| out.push(word.to_owned()));
        assert_eq!(out.join(" "), expected, "{line}");
    }

    #[test]
    fn what_differs_between_copies_goes() {
        check("Order 12345 costs $1,299.00 now", "order 0 costs 0 now");
        check("Call 555-0100 or (555) 0101", "call 0 or 0");
        check("your id is a8f3k2c9d1 thanks", "your id is 0 thanks");
        check("Dear Yara, yara0@s01.example is", "dear is");
        check("see http://a.example/x?y and www.b.example/ now", "see and now");
        check("mail bob.smith@example.com, please", "mail please");
    }

    #[test]
    fn what_spammers_put_between_letters_goes() {
        check("V.i.a.g.r.a", "viagra");
        check("v1agra pl41n", "viagra plain");
        check("fr-ee m*o*n*e*y", "free money");
        check("don't", "dont");
        check("win32 10am 2nd B2B", "win am nd bb");
        check("*** !!! --", "");
    }

    #[test]
    fn scripts_without_spaces_give_characters() {
        check("买卖abc发票123", "买 卖 abc 发 票 0");
        check("สวัสดี", "ส ว ั ส ด ี");
    }

    #[test]
    fn other_scripts_give_words() {
        check("Привет, мир", "привет мир");
        check("안녕 세계", "안녕 세계");
        check("हिन्दी भाषा", "हिन्दी भाषा");
    }
}
