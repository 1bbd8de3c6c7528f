//! What spammers do to one text so that its copies differ: a library of attacks of our own making.
//! Tests hold the recall that each must keep (tests/integration/mutations.rs), and
//! tests/bench/robustness.rs measures them over a corpus.
//!
//! Main item: [`Attack::apply`]. Everything follows from a seed.

use crate::aimed::Ground;
use crate::synonyms::synonyms;

/// A small generator of numbers (SplitMix64): tests need numbers that repeat, not good ones.
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    /// Draws that follow from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, share: u32) -> bool {
        self.below(100) < share as usize
    }

    /// A word of syllables, nearly always another one.
    pub fn word(&mut self) -> String {
        const HEADS: &[u8] = b"bcdfghklmnprstvw";
        const VOWELS: &[u8] = b"aeiou";
        let mut word = String::new();
        for _ in 0..2 + self.below(2) {
            word.push(HEADS[self.below(HEADS.len())] as char);
            word.push(VOWELS[self.below(VOWELS.len())] as char);
        }
        word
    }
}

/// One attack; numbers are percent of the text's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Random words behind the text.
    PadAfter(u32),
    /// Random words before the text.
    PadBefore(u32),
    /// Sentences of wanted mail behind the text.
    PadHam(u32),
    /// Random words between words.
    Insert(u32),
    /// Words replaced by others.
    Substitute(u32),
    /// Words replaced by synonyms, where the table knows any: so many of a hundred of those.
    Spin(u32),
    /// So many triples of words, ground to the smallest hashes, spread over the text.
    Aimed(u32),
    /// Words spelt with look-alikes, digits, dots and invisible characters.
    Obfuscate(u32),
    /// Lines in another order.
    Reorder,
    /// Another name, amount, order number and tracking id, and a line of random words at each end.
    Personalise,
    /// The text as a page with hidden words, comments within words and entities.
    Hide,
    /// Every line behind a quote sign, below so many random words.
    Quote(u32),
    /// As a signature, below random words of so many percent of its own.
    Sign(u32),
    /// Forwarded, with the usual lines before it.
    Forward,
}

impl Attack {
    /// Everything that is measured, in the order of the table in docs/measurements.md.
    pub const ALL: [Self; 34] = [
        Self::PadAfter(100),
        Self::PadAfter(300),
        Self::PadAfter(1000),
        Self::PadBefore(100),
        Self::PadBefore(300),
        Self::PadBefore(1000),
        Self::PadHam(100),
        Self::PadHam(300),
        Self::Insert(10),
        Self::Insert(20),
        Self::Insert(33),
        Self::Substitute(5),
        Self::Substitute(10),
        Self::Substitute(15),
        Self::Substitute(20),
        Self::Substitute(33),
        Self::Spin(50),
        Self::Spin(100),
        Self::Aimed(13),
        Self::Aimed(24),
        Self::Aimed(40),
        Self::Obfuscate(5),
        Self::Obfuscate(10),
        Self::Obfuscate(15),
        Self::Obfuscate(33),
        Self::Obfuscate(100),
        Self::Reorder,
        Self::Personalise,
        Self::Hide,
        Self::Quote(8),
        Self::Quote(24),
        Self::Sign(120),
        Self::Sign(240),
        Self::Forward,
    ];

    /// A mail with the altered text. `lines` are the text's; `wanted` is text of wanted mail.
    #[must_use]
    pub fn apply(self, lines: &[String], wanted: &str, draws: &mut Draws) -> Vec<u8> {
        let words = lines.iter().map(|line| line.split_whitespace().count()).sum::<usize>();
        let share = |percent: u32| words * percent as usize / 100;
        let lines = lines.to_vec();
        match self {
            Self::PadAfter(percent) => {
                plain(&[lines, random_lines(share(percent), draws)].concat())
            }
            Self::PadBefore(percent) => {
                plain(&[random_lines(share(percent), draws), lines].concat())
            }
            Self::PadHam(percent) => {
                plain(&[lines, wanted_lines(share(percent), wanted, draws)].concat())
            }
            Self::Insert(percent) => plain(&each_word(&lines, |word| {
                let more = draws.percent(percent);
                if more { format!("{word} {}", draws.word()) } else { word.to_owned() }
            })),
            Self::Substitute(percent) => plain(&each_word(&lines, |word| {
                if draws.percent(percent) { draws.word() } else { word.to_owned() }
            })),
            Self::Spin(percent) => plain(&each_word(&lines, |word| match synonyms(word) {
                Some(group) if draws.percent(percent) => group[draws.below(group.len())].to_owned(),
                _ => word.to_owned(),
            })),
            Self::Aimed(triples) => plain(&aimed(&lines, triples as usize, draws)),
            Self::Obfuscate(percent) => plain(&each_word(&lines, |word| {
                if draws.percent(percent) { obfuscated(word, draws) } else { word.to_owned() }
            })),
            Self::Reorder => {
                let mut lines = lines;
                for at in (1..lines.len()).rev() {
                    lines.swap(at, draws.below(at + 1));
                }
                plain(&lines)
            }
            Self::Personalise => personalised(&lines, draws),
            Self::Hide => page(&lines, draws),
            Self::Quote(words) => {
                let quoted = lines.iter().map(|line| format!("> {line}"));
                plain(
                    &random_lines(words as usize, draws)
                        .into_iter()
                        .chain(quoted)
                        .collect::<Vec<_>>(),
                )
            }
            Self::Sign(percent) => {
                let rule = vec!["-- ".to_owned()];
                plain(&[random_lines(share(percent), draws), rule, lines].concat())
            }
            Self::Forward => {
                let mut head = vec!["-------- Forwarded Message --------".to_owned()];
                head.push(format!("From: {} <{}@mail.example>", draws.word(), draws.word()));
                head.push(format!("Date: Mon, {} Jan 2026", 1 + draws.below(28)));
                head.push(String::new());
                plain(&[head, lines].concat())
            }
        }
    }
}

/// The text with triples put in at equal distances.
fn aimed(lines: &[String], triples: usize, draws: &mut Draws) -> Vec<String> {
    let all = lines.join(" ");
    let words: Vec<&str> = all.split_whitespace().collect();
    let mut out = Vec::new();
    for at in 0..triples {
        out.push(Ground::triple(draws));
        out.extend(&words[words.len() * at / triples..words.len() * (at + 1) / triples]);
    }
    out.chunks(LINE_WORDS).map(|line| line.join(" ")).collect()
}

/// A mail in plain text.
#[must_use]
pub fn plain(lines: &[String]) -> Vec<u8> {
    let header =
        "To: someone@site.example\nSubject: hello\nContent-Type: text/plain; charset=utf-8\n";
    format!("{header}\n{}\n", lines.join("\n")).into_bytes()
}

fn each_word(lines: &[String], mut change: impl FnMut(&str) -> String) -> Vec<String> {
    let line =
        |line: &String| line.split_whitespace().map(&mut change).collect::<Vec<_>>().join(" ");
    lines.iter().map(line).collect()
}

/// Words of a line of random ones.
const LINE_WORDS: usize = 12;

fn random_lines(words: usize, draws: &mut Draws) -> Vec<String> {
    let all: Vec<String> = (0..words).map(|_| draws.word()).collect();
    all.chunks(LINE_WORDS).map(|line| line.join(" ")).collect()
}

fn wanted_lines(words: usize, wanted: &str, draws: &mut Draws) -> Vec<String> {
    let all: Vec<&str> = wanted.split_whitespace().collect();
    let start = draws.below(all.len());
    let taken: Vec<&str> = all.iter().cycle().skip(start).take(words).copied().collect();
    taken.chunks(LINE_WORDS).map(|line| line.join(" ")).collect()
}

/// One word as spammers write it.
fn obfuscated(word: &str, draws: &mut Draws) -> String {
    let how = draws.below(4);
    let inner = |at: usize| at > 0 && at + 1 < word.chars().count();
    let letters = word.chars().enumerate();
    match how {
        0 => letters.map(|(at, c)| if inner(at) { digit(c) } else { c }).collect(),
        1 => word.chars().map(look_alike).collect(),
        2 => letters
            .flat_map(|(at, c)| [(at > 0).then_some('\u{200b}'), Some(c)])
            .flatten()
            .collect(),
        _ => letters.flat_map(|(at, c)| [(at > 0).then_some('.'), Some(c)]).flatten().collect(),
    }
}

fn digit(c: char) -> char {
    match c {
        'o' => '0',
        'i' => '1',
        'e' => '3',
        'a' => '@',
        's' => '$',
        _ => c,
    }
}

fn look_alike(c: char) -> char {
    match c {
        'a' => '\u{430}',
        'e' => '\u{435}',
        'o' => '\u{43e}',
        'c' => '\u{441}',
        'i' => '\u{456}',
        _ => c,
    }
}

fn personalised(lines: &[String], draws: &mut Draws) -> Vec<u8> {
    let (name, id) = (draws.word(), format!("{}{}", draws.word(), draws.below(1_000_000)));
    let mut body = random_lines(5 + draws.below(8), draws);
    body.push(format!("Dear {name},"));
    body.extend(lines.iter().cloned());
    body.push(format!("Order {} of {}.{:02} EUR", draws.below(100_000), draws.below(900), 7));
    body.push(format!("http://track.example/{id}"));
    body.extend(random_lines(5 + draws.below(8), draws));
    let mail = String::from_utf8_lossy(&plain(&body)).into_owned();
    mail.replace("To: someone@", &format!("To: \"{name}\" <{name}@"))
        .replace("site.example\n", "site.example>\n")
        .into_bytes()
}

fn page(lines: &[String], draws: &mut Draws) -> Vec<u8> {
    let class = draws.word();
    let mut body = format!("<html><head><style>.{class} {{ font-size: 0 }}</style></head><body>\n");
    let hidden = [
        "<div style='display:none'>",
        "<div style=\"font-size:0\">",
        "<div style='color:#fefeff'>",
        "<div style='position:absolute;left:-9999px'>",
        &format!("<div class=\"{class}\">"),
    ];
    for line in lines {
        body += hidden[draws.below(hidden.len())];
        (0..4).for_each(|_| body += &format!("{} ", draws.word()));
        body += "</div>\n<p>";
        for word in line.split_whitespace() {
            let half = word.chars().count() / 2;
            for (at, c) in word.chars().enumerate() {
                if at == half && draws.percent(20) {
                    body += "<!-- x --><b></b>&#8203;";
                }
                match c {
                    '<' | '>' | '&' => body += &format!("&#{};", c as u32),
                    c if draws.percent(10) => body += &format!("&#x{:x};", c as u32),
                    c => body.push(c),
                }
            }
            body.push(' ');
        }
        body += "</p>\n";
    }
    let header =
        "To: someone@site.example\nSubject: hello\nContent-Type: text/html; charset=utf-8\n";
    format!("{header}\n{body}</body></html>\n").into_bytes()
}
