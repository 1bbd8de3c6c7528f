//! Characters as a reader takes them: one form for every way to write the same letter.
//! NFKC first (full width, mathematical and circled letters), then accents and invisible
//! characters go, and letters of other scripts that look Latin become Latin where a word mixes
//! scripts or consists of such letters only. A wholly Cyrillic or Greek word stays what it is.

use std::borrow::Cow;
use std::sync::LazyLock;

use unicode_normalization::char::decompose_canonical;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

/// Look-alikes are looked up in a table below this code point (all alphabets that have any;
/// NFKC has already folded the mathematical and full-width ones).
const TABLE_LEN: u32 = 0x2100;

/// For each character the Latin letter or digit that it looks like, or itself.
static LOOKS_LIKE: LazyLock<Vec<char>> = LazyLock::new(|| {
    (0..TABLE_LEN).map(|code| char::from_u32(code).map_or('\u{fffd}', looks_like)).collect()
});

fn looks_like(c: char) -> char {
    if c.is_ascii() {
        return c;
    }
    let text = c.to_string();
    let mut skeleton = unicode_security::confusable_detection::skeleton(&text);
    match (skeleton.next(), skeleton.next()) {
        (Some(only), None) if only.is_ascii_alphanumeric() => only,
        _ => c,
    }
}

/// Characters that are not seen: soft hyphen, joiners, direction marks, variation selectors,
/// tags, byte order marks.
fn invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

/// NFKC, invisible characters dropped. ASCII passes through.
pub(super) fn normalise(line: &str) -> Cow<'_, str> {
    if line.is_ascii() {
        return Cow::Borrowed(line);
    }
    if is_nfkc_quick(line.chars()) != IsNormalized::Yes {
        return line.nfkc().filter(|c| !invisible(*c)).collect();
    }
    if line.contains(invisible) {
        return line.chars().filter(|c| !invisible(*c)).collect();
    }
    Cow::Borrowed(line)
}

/// A character without its accents (Latin, Greek, Cyrillic: combining U+0300..U+036F).
fn without_accent(c: char) -> Option<char> {
    if c.is_ascii() {
        return Some(c);
    }
    if ('\u{300}'..='\u{36f}').contains(&c) {
        return None;
    }
    // Other scripts' marks carry meaning and have no such decomposition here.
    if c as u32 >= 0x2000 {
        return Some(c);
    }
    let mut base = None;
    decompose_canonical(c, |part| {
        base.get_or_insert(part);
    });
    base.or(Some(c))
}

/// A word in lower case, accents dropped, look-alikes folded (module text).
pub(super) fn word(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let bare: String = text.chars().filter_map(without_accent).collect();
    let alike: String = bare
        .chars()
        .map(|c| LOOKS_LIKE.get(c as usize).copied().filter(|_| !c.is_ascii()).unwrap_or(c))
        .collect();
    let mixed = bare.chars().any(|c| c.is_ascii_alphabetic());
    let folded = if mixed || alike.is_ascii() { alike } else { bare };
    folded.chars().flat_map(char::to_lowercase).collect()
}

/// True for characters of scripts that put no space between words: each counts as a word.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(c as u32,
        0x0e00..=0x0eff      // Thai, Lao
        | 0x1000..=0x109f    // Myanmar
        | 0x1780..=0x17ff    // Khmer
        | 0x3040..=0x30ff    // kana
        | 0x3400..=0x9fff    // Han
        | 0xf900..=0xfaff
        | 0x20000..=0x3ffff)
}

/// True for Han and kana.
pub(super) fn is_ideograph(c: char) -> bool {
    is_unspaced(c) && c as u32 >= 0x3040
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(word(&normalise(text)), expected, "{text}");
    }

    #[test]
    fn one_form_for_every_way_to_write_a_letter() {
        check("Viagra", "viagra");
        check("Víàgrä", "viagra");
        check("V\u{200b}i\u{ad}agra", "viagra");
        check("Ｖｉａｇｒａ", "viagra");
        check("𝐕𝐢𝐚𝐠𝐫𝐚", "viagra");
        check("Vіаgrа", "viagra"); // Cyrillic i and a
        check("РАУРАL", "paypal"); // Cyrillic but for the L
        check("ΑΒΟ", "abo"); // Greek capitals
    }

    #[test]
    fn words_of_other_scripts_stay_what_they_are() {
        check("Привет", "привет");
        check("Ёлка", "елка");
        check("Καλημέρα", "καλημερα");
        check("مرحبا", "مرحبا");
        check("สวัสดี", "สวัสดี");
        check("ОСА", "oca");
        check("оса", "oca");
    }
}
