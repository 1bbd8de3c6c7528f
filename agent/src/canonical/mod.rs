//! The canonical text of a mail: the words that a recipient reads, in one form for every way to
//! send them (DESIGN 3.1). Two copies of one mail that differ in encoding, markup, hidden text,
//! spelling tricks, the recipient's name, figures and identifiers have the same words.
//!
//! Main item: [`Canonical::of`]. Order matters: links are taken from the text as it is, then
//! characters are folded, then words are made.

mod fold;
mod html;
mod links;
mod style;
mod tokens;

pub use links::Link;

use crate::message::{Attachment, Message, TextPart};
use tokens::{OwnNames, Words};

/// Most canonical text, in bytes (64 KiB, DESIGN 3.1).
const TEXT_LEN_MAX: usize = 64 << 10;

/// Fewest canonical characters that can be judged (DESIGN 3.2, the entropy gate).
pub const GATE_CHARS: usize = 64;

/// Most words of a greeting line.
const GREETING_WORDS_MAX: usize = 5;

/// A quote and footer of more than so many times what is written beside them are the text: spam
/// behind a line of random words (docs/measurements.md, "Twins").
const QUOTE_TIMES_MAX: usize = 10;

/// A footer is at most this part of what stands before it.
const FOOTER_PART: usize = 3;

/// Most lines of a footer that a rule of dashes sets apart.
const FOOTER_LINES_MAX: usize = 12;

/// The words of a mail and where it leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Canonical {
    /// The words with one space between them.
    pub text: String,
    /// The words of quotes that were left out of it: spam may stand there below words of no weight.
    pub quoted: String,
    /// Links in order of appearance.
    pub links: Vec<Link>,
    /// Hosts that pictures are loaded from.
    pub pictures: Vec<String>,
    /// What attachments hold.
    pub attachments: Vec<Attachment>,
    /// Address that answers go to in place of the author's: where a mail without links leads.
    /// None where a list or the recipient himself set it.
    pub answers_to: Option<String>,
}

impl Canonical {
    /// The canonical text of a message: of what a reader with HTML sees, or of the plain
    /// alternative where that has too little text, with the subject where both have.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        let own = OwnNames::of(&message.recipients);
        let mut links = links::Links::default();
        let shown = read(&message.shown, &mut links);
        let (mut text, mut quoted) = words_of(&shown, &own);
        if !message.plain.is_empty() {
            let plain = read(&message.plain, &mut links);
            if !passes_gate(&text) {
                let plain = words_of(&plain, &own);
                (text, quoted) = if plain.0.len() > text.len() { plain } else { (text, quoted) };
            }
        }
        // A subject is read too, but lists and filters change it, and it weighs nothing beside a
        // text: only a mail that is too short without it takes it in.
        if !passes_gate(&text) {
            let (subject, _) = words_of(&message.subject, &own);
            text = [subject, text]
                .into_iter()
                .filter(|of| !of.is_empty())
                .collect::<Vec<_>>()
                .join(" ");
        }
        let attachments = message.attachments.clone();
        let (links, pictures) = links.into_parts();
        let answers_to = elsewhere(message).map(str::to_owned);
        Self { text, quoted, links, pictures, attachments, answers_to }
    }

    /// True when there is enough text to judge by it: the entropy gate.
    #[must_use]
    pub fn passes_gate(&self) -> bool {
        passes_gate(&self.text)
    }

    /// Characters that count for the entropy gate: letters and figures, no spaces.
    #[must_use]
    pub fn chars(&self) -> usize {
        count_chars(&self.text)
    }

    /// The words.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split(' ').filter(|word| !word.is_empty())
    }
}

/// The address that answers go to, when it is neither the author's nor a recipient's. Lists and
/// other bulk answer to themselves, whoever writes.
fn elsewhere(message: &Message) -> Option<&str> {
    let mut others = message.recipients.iter().chain([&message.from]);
    let answers_to = Some(message.reply_to.as_str()).filter(|address| address.contains('@'))?;
    let theirs = others.any(|mailbox| mailbox.address == answers_to);
    (!theirs && !message.is_bulk()).then_some(answers_to)
}

fn count_chars(text: &str) -> usize {
    text.chars().filter(|c| *c != ' ').count()
}

/// Enough to judge by. A character of Han or kana says as much as several letters: most words
/// have two of them.
fn passes_gate(text: &str) -> bool {
    let mut sum = 0;
    text.chars().filter(|c| *c != ' ').any(|c| {
        sum += if fold::is_ideograph(c) { IDEOGRAPH_CHARS } else { 1 };
        sum >= GATE_CHARS
    })
}

/// Letters that a character of Han or kana counts for: half an English word.
const IDEOGRAPH_CHARS: usize = 3;

/// The visible text of the parts; their links go to `links`.
fn read(parts: &[TextPart], links: &mut links::Links) -> String {
    let mut all = String::new();
    for part in parts {
        let room = TEXT_LEN_MAX.saturating_sub(all.len());
        if room == 0 {
            break;
        }
        if part.html {
            let visible = html::visible(&part.text, room);
            visible.hrefs.iter().for_each(|href| links.add_url(href));
            visible.pictures.iter().for_each(|source| links.add_picture(source));
            all.push_str(&visible.text);
        } else {
            // Line ends count alike towards the bound, however they are written.
            let lines = part.text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
            lines.for_each(|line| all.extend([line, "\n"]));
        }
        all.truncate(all.floor_char_boundary(TEXT_LEN_MAX));
        all.push('\n');
    }
    links.scan_text(&all);
    all
}

/// What a line is to its mail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Body,
    Around,
    Quote,
}

/// Canonical words of a text, and those of its quotes where they are left out. Greeting, quoted
/// replies and footers are left out when what remains passes the entropy gate and is no mere fig
/// leaf before them, else kept: spam can hide in a quote.
fn words_of(text: &str, own: &OwnNames) -> (String, String) {
    let lines: Vec<&str> = text.lines().collect();
    let roles = roles(&lines);
    let mut words = Words::new(own, text.len());
    // Where the words of each run of lines of one role stand.
    let mut runs: Vec<(Role, std::ops::Range<usize>)> = Vec::new();
    for (line, role) in lines.iter().zip(&roles) {
        let start = words.text().len();
        words.line(line);
        let end = words.text().len();
        match runs.last_mut() {
            Some((last, run)) if last == role => run.end = end,
            _ => runs.push((*role, start..end)),
        }
    }
    let mut text = words.into_text();
    let mut quoted = String::new();
    if runs.iter().any(|(role, run)| *role != Role::Body && !run.is_empty()) {
        let of = |role: Role| -> String {
            let runs = runs.iter().filter(|(of, _)| *of == role);
            let runs = runs.map(|(_, run)| text[run.clone()].trim_start());
            runs.filter(|run| !run.is_empty()).collect::<Vec<_>>().join(" ")
        };
        let kept = of(Role::Body);
        if passes_gate(&kept) && kept.len() * QUOTE_TIMES_MAX >= text.len() {
            quoted = of(Role::Quote);
            text = kept;
        }
    }
    for text in [&mut text, &mut quoted] {
        text.truncate(text.floor_char_boundary(TEXT_LEN_MAX));
    }
    (text, quoted)
}

fn roles(lines: &[&str]) -> Vec<Role> {
    let mut roles = vec![Role::Body; lines.len()];
    let written = |line: &&str| !line.trim().is_empty();
    if let Some(first) = lines.iter().position(&written)
        && is_greeting(lines[first])
    {
        roles[first] = Role::Around;
    }
    for (at, line) in lines.iter().enumerate() {
        if !is_quoted(line) {
            continue;
        }
        roles[at] = Role::Quote;
        // "On Monday Ann wrote:" stands in the last written lines before its quote.
        let before = lines[..at].iter().rposition(written);
        if let Some(before) = before.filter(|before| lines[*before].trim_end().ends_with(':')) {
            roles[before] = Role::Around;
        }
    }
    if let Some(footer) = footer_start(lines) {
        // A footer longer than all before it is the text, set behind random words.
        let letters = |range: std::ops::Range<usize>| -> usize {
            range.filter(|at| roles[*at] == Role::Body).map(|at| lines[at].trim().len()).sum()
        };
        if letters(0..footer) >= FOOTER_PART * letters(footer..lines.len()) {
            roles[footer..].fill(Role::Around);
        }
    }
    roles
}

/// A short first line that ends like an address to somebody.
fn is_greeting(line: &str) -> bool {
    let line = line.trim();
    line.ends_with([',', '!', ':', '，', '：'])
        && line.split_whitespace().count() <= GREETING_WORDS_MAX
}

/// `>From ` is how old mail stores wrote a line that began with `From `: no quote.
fn is_quoted(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('>') && !line.starts_with(">From ")
}

/// Where the signature or the list's footer begins: after `-- `, or a rule near the end.
fn footer_start(lines: &[&str]) -> Option<usize> {
    let signature = lines.iter().position(|line| line.trim_end_matches('\r') == "-- ");
    let is_rule = |line: &str| {
        let line = line.trim();
        line.len() >= 10 && line.chars().all(|c| matches!(c, '_' | '-' | '=' | '*'))
    };
    let written_after =
        |at: usize| lines[at..].iter().filter(|line| !line.trim().is_empty()).count();
    let rule = lines.iter().rposition(|line| is_rule(line));
    let rule = rule.filter(|at| written_after(*at) <= FOOTER_LINES_MAX);
    signature.into_iter().chain(rule).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str =
        "this sentence alone is long enough to pass the gate of sixty four characters for certain";

    #[track_caller]
    fn check(body: &str, expected: &str) {
        let raw = format!("To: Yara <yara@example.org>\n\n{body}");
        assert_eq!(Canonical::of(&Message::parse(raw.as_bytes())).text, expected, "{body}");
    }

    #[test]
    fn what_stands_around_the_text_is_left_out() {
        check(&format!("Dear friend,\n{LONG}"), LONG);
        check(&format!("On Monday Bob wrote:\n> old words\n\n{LONG}"), LONG);
        check(&format!("{LONG}\n-- \nBob\nDirector"), LONG);
        check(&format!("{LONG}\n________________\nlist footer\n"), LONG);
    }

    #[test]
    fn a_quote_that_is_all_there_is_stays() {
        check("Hi,\n> buy this now", "hi buy this now");
    }

    #[test]
    fn an_escaped_from_line_is_text() {
        check(&format!(">From here on: {LONG}"), &format!("from here on {LONG}"));
    }

    #[test]
    fn html_is_read_before_its_plain_alternative() {
        let raw = format!(
            "Content-Type: multipart/alternative; boundary=b\n\n--b\n\nnoise noise http://plain.example/p\n--b\nContent-Type: text/html\n\n<p>{LONG} <a href='http://html.example/h'>x</a>\n--b--\n"
        );
        let canonical = Canonical::of(&Message::parse(raw.as_bytes()));
        assert_eq!(canonical.text, format!("{LONG} x"));
        assert_eq!(canonical.links.len(), 2);
    }

    #[test]
    fn answers_go_elsewhere_when_nobody_of_the_mail_stands_there() {
        let check = |header: &str, expected: Option<&str>| {
            let raw = format!("From: a@example.org\nTo: b@example.net\n{header}\n\nwords");
            let canonical = Canonical::of(&Message::parse(raw.as_bytes()));
            assert_eq!(canonical.answers_to.as_deref(), expected, "{header}");
        };
        check("Subject: x", None);
        check("Reply-To: <Prize.Office@example.com>", Some("prize.office@example.com"));
        check("Reply-To: A <A@example.org>", None);
        check("Reply-To: b@example.net", None);
        check("Reply-To: nobody", None);
        check("Reply-To: talk@example.com\nList-Id: <talk.example.com>", None);
        check("Reply-To: shop@example.com\nList-Unsubscribe: <mailto:x@example.com>", None);
    }
}
