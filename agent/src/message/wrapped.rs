//! Mail that a site's own SpamAssassin wrapped (`report_safe` 1 or 2): the text that a reader sees
//! is SpamAssassin's report, which all such mails share, and the mail itself is a part. What people
//! say of it, they say of the mail inside.
//!
//! Key decision: only what a host that the administrator named has wrapped is taken apart, and
//! never at delivery. Anybody can send a mail of this form, with his own words outside and somebody
//! else's mail inside; SpamAssassin takes a stranger's `X-Spam-Flag` away.

use mail_parser::{Encoding, Message, MessagePart, MimeHeaders, PartType};

use super::{bounded, caught, parser, raw_fields, without_envelope_line};

/// The mail inside a mail that SpamAssassin on one of these hosts wrapped; None for any other.
pub(crate) fn original(raw: &[u8], hosts: &[String]) -> Option<Vec<u8>> {
    if hosts.is_empty() {
        return None;
    }
    let bytes = bounded(without_envelope_line(raw));
    caught(|| {
        let message = parser().parse(bytes)?;
        let first = |name| raw_fields(&message, bytes, name).next().unwrap_or_default();
        let checker = first("X-Spam-Checker-Version");
        let host = checker.rsplit_once(" on ").map(|(_, host)| host.trim())?;
        let named = hosts.iter().any(|named| named.eq_ignore_ascii_case(host));
        if !named || !first("X-Spam-Flag").eq_ignore_ascii_case("yes") {
            return None;
        }
        message.parts.iter().find(|part| is_original(part)).map(|part| inside(&message, part))
    })
    .flatten()
}

/// The mark by which SpamAssassin itself finds what it wrapped.
fn is_original(part: &MessagePart<'_>) -> bool {
    let mark = part.content_type().and_then(|content| content.attribute("x-spam-type"));
    mark.is_some_and(|mark| mark.eq_ignore_ascii_case("original"))
}

fn inside(message: &Message<'_>, part: &MessagePart<'_>) -> Vec<u8> {
    match &part.body {
        PartType::Message(original) => original.raw_message().to_vec(),
        // Its bytes, not its characters, unless a carrier encoded them.
        _ if part.encoding == Encoding::None => {
            let body = part.raw_body_offset() as usize..part.raw_end_offset() as usize;
            message.raw_message().get(body).unwrap_or_default().to_vec()
        }
        _ => part.contents().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "From: a@example.org\nSubject: Gold\n\nthe mail's own words\n";

    fn wrapped(kind: &str, host: &str, flag: &str) -> String {
        format!(
            "Received: from localhost by {host} with SpamAssassin (version 4.0.1)\nX-Spam-Checker-Version: SpamAssassin 4.0.1 (2024-03-25) on {host}\nX-Spam-Flag: {flag}\nContent-Type: multipart/mixed; boundary=\"b\"\n\n--b\nContent-Type: text/plain\n\nSpam detection software has identified this\n\n--b\nContent-Type: {kind}; x-spam-type=original\nContent-Disposition: inline\nContent-Transfer-Encoding: 8bit\n\n{MAIL}\n--b--\n"
        )
    }

    #[test]
    fn what_our_own_host_wrapped_is_taken_apart() {
        let hosts = ["mx.example.net".to_owned()];
        for kind in ["message/rfc822", "text/plain"] {
            let mail = wrapped(kind, "MX.example.net", "YES");
            let found = original(mail.as_bytes(), &hosts).expect(kind);
            assert_eq!(String::from_utf8(found).unwrap().trim_end(), MAIL.trim_end(), "{kind}");
        }
    }

    #[test]
    fn what_others_wrapped_is_not() {
        let hosts = ["mx.example.net".to_owned()];
        let check = |mail: &str| assert_eq!(original(mail.as_bytes(), &hosts), None, "{mail}");
        check(MAIL);
        check(&wrapped("message/rfc822", "mx.evil.example", "YES"));
        check(&wrapped("message/rfc822", "mx.example.net", "No"));
        // A stranger's fields below our own.
        let own = "X-Spam-Checker-Version: SpamAssassin 4.0.1 on other.example\n";
        check(&(own.to_owned() + &wrapped("message/rfc822", "mx.example.net", "YES")));
        check(&wrapped("message/rfc822", "mx.example.net", "YES").replace("original", "other"));
        let mail = wrapped("message/rfc822", "mx.example.net", "YES");
        assert_eq!(original(mail.as_bytes(), &[]), None);
    }
}
