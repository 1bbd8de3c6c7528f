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
pub(super) struct OwnNames {
    names: BTreeSet<String>,
    /// A bit for each first byte, modulo 64: most words need no look-up.
    firsts: u64,
}

impl OwnNames {
    /// Names from To and Cc, never from the envelope, which not every door knows (DESIGN 3.1).
    pub(super) fn of(recipients: &[Mailbox]) -> Self {
        let mut own = Self::default();
        for mailbox in recipients {
            let (local, domain) = mailbox.address.split_once('@').unwrap_or(("", ""));
            let organisation = psl::domain_str(domain).and_then(|name| name.split('.').next());
            let words = mailbox.name.split(|c: char| !c.is_alphanumeric());
            let pieces = local.split(|c: char| !c.is_alphanumeric());
            for name in words.chain(pieces).chain([local]).chain(organisation) {
                let joined: String = name.chars().filter(|c| c.is_alphabetic()).collect();
                let word = fold::word(&fold::normalise(&joined));
                if word.chars().count() >= 2 {
                    own.firsts |= first_bit(&word);
                    own.names.insert(word);
                }
            }
        }
        own
    }

    fn has(&self, word: &str) -> bool {
        self.firsts & first_bit(word) != 0 && self.names.contains(word)
    }
}

fn first_bit(word: &str) -> u64 {
    word.as_bytes().first().map_or(0, |first| 1 << (first & 63))
}

/// What a byte of ASCII is to the tokeniser. Each is a bit, so that the kinds of a token's bytes
/// add up to what the token needs.
mod kind {
    pub(super) const LETTER: u8 = 1;
    pub(super) const DIGIT: u8 = 2;
    pub(super) const SPACE: u8 = 4;
    /// Stands between words.
    pub(super) const SEPARATOR: u8 = 8;
    /// Is part of addresses: `@`, `:` and `.`.
    pub(super) const OF_ADDRESS: u8 = 16;
    /// Other punctuation, dropped within a word, and control characters.
    pub(super) const OTHER: u8 = 32;
}

/// The kinds of all bytes of ASCII. A look-up for each byte in place of a test for each kind is
/// what makes a fingerprint cheap (docs/measurements.md, "Time of a fingerprint").
const KINDS: [u8; 128] = kinds();

const fn kinds() -> [u8; 128] {
    let mut table = [kind::OTHER; 128];
    let mut byte = 0;
    while byte < 128u8 {
        table[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => kind::LETTER,
            b'0'..=b'9' => kind::DIGIT,
            b' ' | 0x09..=0x0d => kind::SPACE,
            b':' => kind::SEPARATOR | kind::OF_ADDRESS,
            b'@' | b'.' => kind::OTHER | kind::OF_ADDRESS,
            b',' | b';' | b'/' | b'\\' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>'
            | b'=' | b'&' | b'?' | b'#' | b'"' => kind::SEPARATOR,
            _ => kind::OTHER,
        };
        byte += 1;
    }
    table
}

fn kind_of(byte: u8) -> u8 {
    KINDS.get(usize::from(byte)).copied().unwrap_or(kind::OTHER)
}

/// Canonical words as they are found, with one space between them.
#[derive(Debug)]
pub(super) struct Words<'a> {
    out: String,
    own: &'a OwnNames,
    after_figure: bool,
}

impl<'a> Words<'a> {
    pub(super) fn new(own: &'a OwnNames, capacity: usize) -> Self {
        Self { out: String::with_capacity(capacity), own, after_figure: false }
    }

    /// The words so far.
    pub(super) fn text(&self) -> &str {
        &self.out
    }

    pub(super) fn into_text(self) -> String {
        self.out
    }

    /// Adds the words of a line. Figures in a row are one.
    pub(super) fn line(&mut self, line: &str) {
        self.after_figure = false;
        if !line.is_ascii() {
            let normal = fold::normalise(line);
            normal.split_whitespace().for_each(|token| self.token(token));
            return;
        }
        let bytes = line.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let (start, mut kinds) = (at, 0);
            while let Some(kind) = bytes.get(at).map(|byte| kind_of(*byte)) {
                if kind == kind::SPACE {
                    break;
                }
                kinds |= kind;
                at += 1;
            }
            match kinds {
                0 => {}
                kind::LETTER => self.letters(&bytes[start..at]),
                _ => self.ascii_token(&line[start..at], kinds),
            }
            at += 1;
        }
    }

    /// A token of a line that is not all ASCII.
    fn token(&mut self, token: &str) {
        if token.is_ascii() {
            let kinds = token.bytes().fold(0, |kinds, byte| kinds | kind_of(byte));
            return self.ascii_token(token, kinds);
        }
        if is_address(token) {
            return;
        }
        for piece in token.split(is_separator) {
            if piece.is_ascii() {
                self.ascii_piece(piece);
            } else {
                self.piece(piece);
            }
        }
    }

    fn ascii_token(&mut self, token: &str, kinds: u8) {
        if kinds & kind::OF_ADDRESS != 0 && is_address(token) {
            return;
        }
        if kinds & kind::SEPARATOR == 0 {
            return self.ascii_piece(token);
        }
        let separates = |byte: &u8| kind_of(*byte) & kind::SEPARATOR != 0;
        let bytes = token.as_bytes();
        let mut start = 0;
        while start < bytes.len() {
            let end =
                bytes[start..].iter().position(separates).map_or(bytes.len(), |at| start + at);
            self.ascii_piece(&token[start..end]);
            start = end + 1;
        }
    }

    /// What stands between separators: letters, digits and punctuation within a word.
    fn ascii_piece(&mut self, piece: &str) {
        let bytes = piece.as_bytes();
        let (mut letters, mut digits, mut changes, mut last) = (0, 0, 0usize, 0);
        for byte in bytes {
            let kind = kind_of(*byte) & (kind::LETTER | kind::DIGIT);
            letters += usize::from(kind == kind::LETTER);
            digits += usize::from(kind == kind::DIGIT);
            changes += usize::from(kind != 0 && last != 0 && kind != last);
            last = if kind == 0 { last } else { kind };
        }
        if letters == bytes.len() {
            return self.letters(bytes);
        }
        if is_figure(letters, digits, changes) {
            return self.figure();
        }
        if letters == 0 {
            return;
        }
        let is_letter = |byte: &u8| byte.is_ascii_alphabetic();
        let first = bytes.iter().position(is_letter).unwrap_or(0);
        let end = bytes.iter().rposition(is_letter).map_or(0, |at| at + 1);
        let start = self.begin();
        for byte in &bytes[first..end] {
            let letter =
                spelt(*byte as char).or(byte.is_ascii_alphabetic().then_some(*byte as char));
            if let Some(letter) = letter {
                self.out.push(letter.to_ascii_lowercase());
            }
        }
        self.finish(start);
    }

    /// A word of nothing but letters of ASCII.
    fn letters(&mut self, letters: &[u8]) {
        if letters.is_empty() || letters.len() > WORD_LEN_MAX {
            return;
        }
        let mut buffer = [0u8; WORD_LEN_MAX];
        let lower = &mut buffer[..letters.len()];
        for (to, from) in lower.iter_mut().zip(letters) {
            // The bit in which an upper-case letter differs.
            *to = from | 0x20;
        }
        let start = self.begin();
        self.out.push_str(std::str::from_utf8(lower).unwrap_or_default());
        self.finish(start);
    }

    /// A piece with other letters than ASCII's.
    fn piece(&mut self, piece: &str) {
        if piece.chars().any(fold::is_unspaced) {
            return self.unspaced(piece);
        }
        let (mut letters, mut digits, mut changes) = (0usize, 0usize, 0usize);
        let mut was_digit = None;
        for c in piece.chars().filter(|c| c.is_alphanumeric()) {
            let digit = c.is_numeric();
            letters += usize::from(!digit);
            digits += usize::from(digit);
            changes += usize::from(was_digit.is_some_and(|was| was != digit));
            was_digit = Some(digit);
        }
        if is_figure(letters, digits, changes) {
            return self.figure();
        }
        if letters > 0 {
            self.word(&fold::word(&letters_only(piece)));
        }
    }

    /// Each character of an unspaced script is a word; runs of others are words of their own.
    fn unspaced(&mut self, piece: &str) {
        let mut run = String::new();
        let mut buffer = [0u8; 4];
        for c in piece.chars() {
            if !fold::is_unspaced(c) {
                run.push(c);
                continue;
            }
            self.run(&std::mem::take(&mut run));
            self.word(c.encode_utf8(&mut buffer));
        }
        self.run(&run);
    }

    fn run(&mut self, run: &str) {
        match run.is_ascii() {
            _ if run.is_empty() => {}
            true => self.ascii_piece(run),
            false => self.piece(run),
        }
    }

    fn word(&mut self, word: &str) {
        let start = self.begin();
        self.out.push_str(word);
        self.finish(start);
    }

    fn figure(&mut self) {
        if !self.after_figure {
            let start = self.begin();
            self.out.push_str(FIGURE);
            self.finish(start);
            self.after_figure = true;
        }
    }

    /// Where the next word begins.
    fn begin(&mut self) -> usize {
        if !self.out.is_empty() {
            self.out.push(' ');
        }
        self.out.len()
    }

    /// Keeps the word from `start` on, or takes it back when it is no word or a recipient's name.
    fn finish(&mut self, start: usize) {
        let word = &self.out[start..];
        let long = word.len() > WORD_LEN_MAX && word.chars().count() > WORD_LEN_MAX;
        if word.is_empty() || long || self.own.has(word) {
            self.out.truncate(start.saturating_sub(1));
            return;
        }
        self.after_figure = false;
    }
}

/// A token that numbers something: no letters, an identifier, or more digits than letters.
fn is_figure(letters: usize, digits: usize, changes: usize) -> bool {
    let identifier = letters + digits >= ID_LEN_MIN && changes >= ID_CHANGES_MIN;
    digits > 0 && (letters == 0 || identifier || digits > letters)
}

/// An e-mail address or a URL: the link engine's, not the text's.
fn is_address(token: &str) -> bool {
    let bytes = token.as_bytes();
    if memchr::memchr(b':', bytes).is_some() {
        let start = token.trim_start_matches(|c: char| !c.is_alphanumeric());
        if token.contains("://") || begins(start, "mailto:") {
            return true;
        }
    }
    if memchr::memchr(b'.', bytes).is_none() {
        return false;
    }
    if begins(token.trim_start_matches(|c: char| !c.is_alphanumeric()), "www.") {
        return true;
    }
    token.split_once('@').is_some_and(|(local, domain)| {
        let domain = domain.trim_end_matches(|c: char| !c.is_alphanumeric());
        let labels = domain.split('.').all(|label| label.chars().any(char::is_alphanumeric));
        local.chars().any(char::is_alphanumeric) && domain.contains('.') && labels
    })
}

fn begins(text: &str, with: &str) -> bool {
    text.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with))
}

/// Punctuation that stands between words. Other punctuation stands inside one and is dropped.
fn is_separator(c: char) -> bool {
    match u8::try_from(c) {
        Ok(byte) if c.is_ascii() => kind_of(byte) & kind::SEPARATOR != 0,
        _ => matches!(
            c,
            '\u{2013}' | '\u{2014}' | '\u{2026}' | '\u{b7}' | '\u{2022}' | '\u{3001}' | '\u{3002}'
        ),
    }
}

/// The letter that a digit or sign between letters stands for.
fn spelt(c: char) -> Option<char> {
    Some(match c {
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        _ => return None,
    })
}

/// The letters of a token that is mostly letters: digits and signs between letters stand for
/// the letters they look like; everything else goes, and so do figures at either end, which
/// number things more often than they spell them.
fn letters_only(token: &str) -> String {
    let first = token.char_indices().find(|(_, c)| c.is_alphabetic()).map_or(0, |(at, _)| at);
    let last = token.char_indices().rfind(|(_, c)| c.is_alphabetic());
    let end = last.map_or(0, |(at, c)| at + c.len_utf8());
    // Marks are parts of letters in scripts that have them (and accents elsewhere, which the
    // folding drops).
    let kept = |c: char| spelt(c).or((c.is_alphabetic() || is_mark(c)).then_some(c));
    token[first..end].chars().filter_map(kept).collect()
}

/// A mark that no composed form swallowed: neither letter, digit, punctuation nor symbol of the
/// Latin kind.
fn is_mark(c: char) -> bool {
    matches!(c as u32, 0x0300..=0x036f | 0x0591..=0x05c7 | 0x064b..=0x065f | 0x0900..=0x0dff)
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
        let mut words = Words::new(&own, 0);
        words.line(line);
        assert_eq!(words.text(), expected, "{line}");
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
