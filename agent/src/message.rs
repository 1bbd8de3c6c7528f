//! A mail as bytes becomes a [`Message`]: the parts that a reader sees and the few header fields
//! that the agent needs. The only door to mail-parser, with the files in message/.
//!
//! Parsing never fails: damaged mail still yields a Message, and a panic of the parser yields
//! the raw text. What a stranger can send is cut to bounds before it is parsed, because some of
//! the parser's costs (nested messages are nested values) can't be bounded from outside.

mod archive;
mod mend;
mod wrapped;

use std::borrow::Cow;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mail_parser::{Address, DateTime, Encoding, HeaderName, MessageParser, MimeHeaders, PartType};
use memchr::memmem;
use novacula_catalog::Time;

pub(crate) use wrapped::original;

/// Largest mail that is looked at, in bytes (25 MiB, DESIGN 3.1).
pub const MAIL_LEN_MAX: usize = 25 << 20;

/// Largest header section that is parsed, in bytes. Postfix passes up to 102,400 bytes for one
/// field; 100,000 address lines (THREATS 23) would be 3 MB.
const HEADER_LEN_MAX: usize = 512 << 10;

/// Most MIME parts that are parsed; real mail has tens.
const PARTS_MAX: usize = 1000;

/// Most messages within the message that are parsed.
const NESTED_MAX: usize = 50;

/// Most text of one part that is kept, in bytes of decoded text. The canonical text has 64 KiB;
/// HTML needs more, since most of it is markup.
const PART_TEXT_MAX: usize = 2 << 20;

/// Least length of an attachment that is looked at, in bytes: spacers, bullets and signature
/// files are shorter, and shared by unrelated mails.
const ATTACHMENT_LEN_MIN: usize = 1024;

/// Most attachments that are looked at.
const ATTACHMENTS_MAX: usize = 16;

/// Most addresses read from each of To and Cc.
const RECIPIENTS_MAX: usize = 64;

thread_local! {
    /// This thread is inside the parser, whose panics are caught.
    static PARSING: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the parser's panics, which are caught and cost only structure, from filling the log
/// with backtraces: mails that cause them can be sent by anybody. Programs call it once.
pub fn quiet_parser_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if PARSING.get() {
            tracing::debug!("the mail parser gave up; the mail is read as raw text");
        } else {
            usual(info);
        }
    }));
}

/// A mailbox in a header field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// Display name, decoded.
    pub name: String,
    /// Address, lower case.
    pub address: String,
}

/// A part that the reader sees as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPart {
    /// It is HTML.
    pub html: bool,
    /// Its decoded text.
    pub text: String,
}

/// What the agent needs of one mail.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// First author.
    pub from: Mailbox,
    /// Those in To and Cc.
    pub recipients: Vec<Mailbox>,
    /// Address that answers go to, where Reply-To says so; lower case.
    pub reply_to: String,
    /// Subject, decoded.
    pub subject: String,
    /// Message-ID without brackets.
    pub message_id: String,
    /// List-Id's identifier, lower case, without brackets.
    pub list_id: String,
    /// It says how to unsubscribe (RFC 2369).
    pub unsubscribes: bool,
    /// When the topmost Received field says that it came in.
    pub received: Option<Time>,
    /// Authentication-Results fields, topmost first, unfolded.
    pub authentication_results: Vec<String>,
    /// What a reader with HTML sees, in order.
    pub shown: Vec<TextPart>,
    /// Message-IDs of the mails that it answers, without brackets.
    pub answers: Vec<String>,
    /// The plain text alternatives, where they are others than shown.
    pub plain: Vec<TextPart>,
    /// What each attachment and image holds.
    pub attachments: Vec<Attachment>,
}

/// A part that is no text, by what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// First 64 bits of BLAKE3 over the decoded bytes, or over the members of an archive.
    pub hash: u64,
    /// It is a picture.
    pub picture: bool,
}

/// Mails that one mail may carry as attachments; further ones are left out.
pub const ATTACHED_MAX: usize = 50;

/// The mails that a mail carries as attachments, byte by byte: originals that somebody forwards.
#[must_use]
pub fn attached_mails(raw: &[u8]) -> Vec<Vec<u8>> {
    let bytes = bounded(without_envelope_line(raw));
    let found = caught(|| {
        let parts = parser().parse(bytes).map(|message| message.parts).unwrap_or_default();
        let mails = parts.iter().filter_map(|part| match &part.body {
            mail_parser::PartType::Message(original) => Some(original.raw_message().to_vec()),
            // Some programs name the file and not the type.
            mail_parser::PartType::Binary(bytes) => {
                let name = part.attachment_name().unwrap_or_default();
                name.to_ascii_lowercase().ends_with(".eml").then(|| bytes.to_vec())
            }
            _ => None,
        });
        mails.take(ATTACHED_MAX).collect()
    });
    found.unwrap_or_default()
}

/// What a use of the parser gives; None when it panicked.
fn caught<T>(parse: impl FnOnce() -> T) -> Option<T> {
    PARSING.set(true);
    let found = catch_unwind(AssertUnwindSafe(parse));
    PARSING.set(false);
    found.ok()
}

impl Message {
    /// Reads a mail. Never fails: at worst the message holds the raw text.
    #[must_use]
    pub fn parse(raw: &[u8]) -> Self {
        let bytes = &*mend::mended(bounded(without_envelope_line(raw)));
        let parsed =
            caught(|| parser().parse(bytes).map(|message| Self::from_parsed(&message, bytes)));
        parsed.flatten().unwrap_or_else(|| Self::from_text(bytes))
    }

    /// True for bulk that says what it is: of a mailing list, or with a way to unsubscribe.
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        self.unsubscribes || !self.list_id.is_empty()
    }

    /// A hash of the Message-Id, which tells copies of a mail apart at home and never leaves.
    pub(crate) fn id_hash(&self) -> Option<u64> {
        let hash = blake3::hash(self.message_id.as_bytes());
        let first = hash.as_bytes().first_chunk().copied().map(u64::from_le_bytes);
        first.filter(|_| !self.message_id.is_empty())
    }

    /// True for the mails that tools make up for themselves and that must never be counted
    /// (INTEROP 2: spamd scans one at every start).
    #[must_use]
    pub fn is_constant(&self) -> bool {
        ["@spamassassin_spamd_init", "@lint_rules"].iter().any(|end| self.message_id.ends_with(end))
    }

    fn from_parsed(message: &mail_parser::Message<'_>, bytes: &[u8]) -> Self {
        let texts = |ids: &[u32]| -> Vec<TextPart> {
            let parts = ids.iter().filter_map(|id| message.parts.get(*id as usize));
            parts.filter_map(text_part).collect()
        };
        let shown = texts(&message.html_body);
        let differs = message.text_body != message.html_body;
        let plain = if differs { texts(&message.text_body) } else { Vec::new() };
        let mut recipients = Vec::new();
        for field in [message.to(), message.cc()].into_iter().flatten() {
            recipients.extend(mailboxes(field).take(RECIPIENTS_MAX));
        }
        let first = |field: Option<&Address<'_>>| {
            field.and_then(|field| mailboxes(field).next()).unwrap_or_default()
        };
        let raw = |name: &'static str| raw_fields(message, bytes, name);
        let list_id = raw("List-Id").next().unwrap_or_default();
        let in_brackets = list_id.rsplit('<').next().and_then(|rest| rest.split('>').next());
        Self {
            from: first(message.from()),
            recipients,
            reply_to: first(message.reply_to()).address,
            subject: message.subject().unwrap_or_default().to_owned(),
            message_id: message.message_id().unwrap_or_default().to_owned(),
            list_id: in_brackets.unwrap_or_default().trim().to_lowercase(),
            unsubscribes: raw("List-Unsubscribe").next().is_some(),
            received: raw("Received").find_map(|field| date_after_semicolon(&field)),
            authentication_results: raw("Authentication-Results").take(16).collect(),
            answers: [raw("In-Reply-To"), raw("References")]
                .into_iter()
                .flat_map(|fields| fields.take(1))
                .flat_map(|field| ids_in(&field))
                .collect(),
            shown,
            plain,
            attachments: attachments(message),
        }
    }

    fn from_text(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(PART_TEXT_MAX)]);
        let body = text.split_once("\n\n").or_else(|| text.split_once("\r\n\r\n"));
        let text = body.map_or(text.as_ref(), |(_, body)| body).to_owned();
        Self { shown: vec![TextPart { html: false, text }], ..Self::default() }
    }
}

/// Most answered mails that are looked at, the nearest ones.
const ANSWERS_MAX: usize = 20;

/// Message-IDs in a field, the last ones of a long thread.
fn ids_in(field: &str) -> Vec<String> {
    let ids = field.split('<').skip(1).filter_map(|rest| rest.split('>').next());
    let mut ids: Vec<String> = ids.map(|id| id.trim().to_owned()).collect();
    ids.drain(..ids.len().saturating_sub(ANSWERS_MAX));
    ids
}

/// Only the fields that are used are parsed; the rest stays raw.
fn parser() -> MessageParser {
    MessageParser::new()
        .with_mime_headers()
        .header_address(HeaderName::From)
        .header_address(HeaderName::To)
        .header_address(HeaderName::Cc)
        .header_address(HeaderName::ReplyTo)
        .header_text(HeaderName::Subject)
        .header_id(HeaderName::MessageId)
}

fn text_part(part: &mail_parser::MessagePart<'_>) -> Option<TextPart> {
    // The original within a bounce is not this mail's text.
    let of_type = part.content_type().and_then(|content| content.subtype());
    if of_type.is_some_and(|subtype| subtype.eq_ignore_ascii_case("rfc822-headers")) {
        return None;
    }
    let (html, text) = match &part.body {
        PartType::Text(text) => (is_page(text), text),
        PartType::Html(text) => (true, text),
        _ => return None,
    };
    let mut end = text.len().min(PART_TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Some(TextPart { html, text: text[..end].to_owned() })
}

/// Parts that are no text, without signatures and cards, which repeat in every mail of one sender.
fn attachments(message: &mail_parser::Message<'_>) -> Vec<Attachment> {
    let of_part = |part: &mail_parser::MessagePart<'_>| {
        let bytes = match &part.body {
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) => bytes.as_ref(),
            PartType::Text(text) | PartType::Html(text) => text.as_bytes(),
            _ => return None,
        };
        // Line ends are the carrier's, unless base64 kept them from it.
        let text = !matches!(part.body, PartType::Binary(_) | PartType::InlineBinary(_));
        let carried = text || part.encoding != Encoding::Base64;
        let bytes: Cow<'_, [u8]> = match carried {
            true => bytes.iter().copied().filter(|byte| *byte != b'\r').collect::<Vec<_>>().into(),
            false => bytes.into(),
        };
        let subtype = part.content_type().and_then(|content| content.subtype());
        let signs = |subtype: &str| {
            let subtype = subtype.to_ascii_lowercase();
            subtype.ends_with("-signature")
                || subtype.contains("vcard")
                || subtype == "rfc822-headers"
        };
        let counts = bytes.len() >= ATTACHMENT_LEN_MIN && !subtype.is_some_and(signs);
        let kind = part.content_type().map(|content| content.ctype());
        let picture = kind.is_some_and(|kind| kind.eq_ignore_ascii_case("image"));
        counts.then(|| Attachment { hash: archive::content_hash(&bytes), picture })
    };
    // Texts that are shown are no attachments.
    let shown = |id: &u32| message.html_body.contains(id) || message.text_body.contains(id);
    let ids = message.attachments.iter().filter(|id| !shown(id));
    let parts = ids.filter_map(|id| message.parts.get(*id as usize));
    parts.filter_map(of_part).take(ATTACHMENTS_MAX).collect()
}

/// True for a page that is sent as plain text by mistake: what it says counts, not its markup.
fn is_page(text: &str) -> bool {
    let start = text.trim_start();
    let begins =
        |tag: &str| start.get(..tag.len()).is_some_and(|head| head.eq_ignore_ascii_case(tag));
    ["<html", "<!doctype html", "<body", "<head", "<table", "<center"].into_iter().any(begins)
}

fn mailboxes<'a>(field: &'a Address<'_>) -> impl Iterator<Item = Mailbox> + 'a {
    field.iter().map(|mailbox| Mailbox {
        name: mailbox.name.as_deref().unwrap_or_default().to_owned(),
        address: mailbox.address.as_deref().unwrap_or_default().trim().to_lowercase(),
    })
}

/// The values of all fields of this name in the mail's own header, unfolded.
fn raw_fields<'a>(
    message: &'a mail_parser::Message<'_>,
    bytes: &'a [u8],
    name: &'static str,
) -> impl Iterator<Item = String> + 'a {
    let fields = message.parts.first().map(|part| part.headers.as_slice()).unwrap_or_default();
    fields.iter().filter(move |field| field.name.as_str().eq_ignore_ascii_case(name)).filter_map(
        |field| {
            let value = bytes.get(field.offset_start as usize..field.offset_end as usize)?;
            let text = String::from_utf8_lossy(value);
            Some(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
        },
    )
}

fn date_after_semicolon(field: &str) -> Option<Time> {
    let date = DateTime::parse_rfc822(field.rsplit(';').next()?.trim())?;
    (date.is_valid() && date.year >= 1970).then(|| date.to_timestamp())?.try_into().ok().map(Time)
}

/// The mail without the `From ` line that mbox files and some pipes put before it.
fn without_envelope_line(raw: &[u8]) -> &[u8] {
    let line_end = |raw: &[u8]| memchr::memchr(b'\n', raw).map_or(raw.len(), |at| at + 1);
    if raw.starts_with(b"From ") || raw.starts_with(b">From ") {
        return &raw[line_end(raw)..];
    }
    raw
}

/// The mail cut where a bound is passed: length, header length, parts, nested messages.
fn bounded(raw: &[u8]) -> &[u8] {
    let mut bytes = &raw[..raw.len().min(MAIL_LEN_MAX)];
    let header_end = [&b"\n\n"[..], b"\n\r\n"]
        .into_iter()
        .filter_map(|blank| memmem::find(bytes, blank))
        .min()
        .unwrap_or(bytes.len());
    if header_end > HEADER_LEN_MAX {
        // The fields beyond the bound are left out, the body stays unread with them.
        return &bytes[..HEADER_LEN_MAX];
    }
    if let Some(at) = memmem::find_iter(bytes, b"\n--").nth(PARTS_MAX) {
        bytes = &bytes[..at];
    }
    // Cheap and case-insensitive in the two letters that matter for the bound.
    let nested = memmem::find_iter(bytes, b"fc822").nth(NESTED_MAX);
    let nested_upper = memmem::find_iter(bytes, b"FC822").nth(NESTED_MAX);
    if let Some(at) = nested.into_iter().chain(nested_upper).min() {
        bytes = &bytes[..at];
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_reader_sees_is_chosen() {
        let raw = b"From: Ann <ANN@Example.org>\r\nTo: b@c.example\r\nMessage-ID: <x@y>\r\n\
            List-Id: News <news.example.org>\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>shown\r\n--b--\r\n";
        let message = Message::parse(raw);
        assert_eq!(message.from, Mailbox { name: "Ann".into(), address: "ann@example.org".into() });
        assert_eq!(message.message_id, "x@y");
        assert_eq!(message.list_id, "news.example.org");
        assert!(message.shown[0].html && message.shown[0].text.contains("shown"));
        assert!(message.plain[0].text.contains("plain"));
    }

    #[test]
    fn the_topmost_received_tells_the_time() {
        let raw = b"Received: from a by b; Thu, 01 Jan 2026 02:08:01 +0000\nReceived: from x by a; Wed, 31 Dec 2025 00:00:00 +0000\n\nhi\n";
        assert_eq!(Message::parse(raw).received, Some(Time(1_767_233_281)));
        assert_eq!(Message::parse(b"Received:\n\t\nReceived: ; nonsense\n\nhi").received, None);
    }

    #[test]
    fn an_envelope_line_is_no_header() {
        let plain = Message::parse(b"Subject: a\n\ntext\n");
        let boxed =
            Message::parse(b"From ann@example.org Thu Jan  1 00:00:00 2026\nSubject: a\n\ntext\n");
        assert_eq!(plain.shown, boxed.shown);
    }

    #[test]
    fn bombs_are_cut() {
        let nested = "Content-Type: message/rfc822\n\n".repeat(20_000);
        let parts = format!(
            "Content-Type: multipart/mixed; boundary=b\n\n{}",
            "--b\nContent-Type: text/plain\n\nx\n".repeat(100_000)
        );
        let lines =
            format!("To: a@b.example\n{}\n\nx", "Cc: a@b.example, c@d.example\n".repeat(100_000));
        for bomb in [nested, parts, lines] {
            let started = std::time::Instant::now();
            let message = Message::parse(bomb.as_bytes());
            assert!(message.shown.len() <= PARTS_MAX + 1);
            assert!(started.elapsed().as_secs() < 2, "{:?}", started.elapsed());
        }
    }

    #[test]
    fn rfc822_headers_of_a_bounce_are_not_its_text() {
        let raw = b"Content-Type: multipart/report; boundary=b\n\n--b\n\nyour mail failed\n--b\nContent-Type: text/rfc822-headers\n\nSubject: original\n--b--\n";
        let message = Message::parse(raw);
        assert!(!message.shown.iter().any(|part| part.text.contains("original")));
    }
}
