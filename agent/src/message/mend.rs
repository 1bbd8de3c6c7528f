//! Mends what spamware gets wrong in a mail's header, the way mail programs read it: a second
//! Content-Type behind a multipart one is not looked at, and a header ends where its fields end,
//! even if the blank line is missing, and the last part of a mail ends with the mail. Without it whole campaigns have no text (docs/measurements.md,
//! "Twins").
//!
//! Main item: [`mended`]. Only damaged mail is copied.

use std::borrow::Cow;

use memchr::memmem;

/// What a line of a header is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    ContentType {
        multipart: bool,
    },
    ContentEncoding,
    Field,
    Folded,
    /// Begins with two dashes.
    Delimiter,
    Other,
}

/// The mail with its header mended.
pub(super) fn mended(bytes: &[u8]) -> Cow<'_, [u8]> {
    // Where each line of the header begins, and what it is.
    let mut lines: Vec<(usize, Line)> = Vec::new();
    let mut start = 0;
    let mut blank = false;
    while start < bytes.len() {
        let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |at| start + at + 1);
        let line = &bytes[start..end];
        if line.trim_ascii().is_empty() {
            blank = true;
            break;
        }
        lines.push((start, kind_of(line)));
        start = end;
    }
    let header = &bytes[..start];
    let unclosed = closing(header).filter(|end| memmem::find(&bytes[start..], end).is_none());
    let types = lines.iter().filter(|(_, line)| matches!(line, Line::ContentType { .. })).count();
    let is_end = |line: &Line| matches!(line, Line::Delimiter | Line::Other);
    let whole = types == 1 && blank && !lines.iter().any(|(_, line)| is_end(line));
    if types == 0 || (whole && unclosed.is_none()) {
        return Cow::Borrowed(bytes);
    }
    let end = header_end(&lines);
    let body = lines.get(end).map_or(start, |(at, _)| *at);
    let mut out = Vec::with_capacity(bytes.len() + 2);
    let (mut in_multipart, mut keep) = (false, true);
    for (at, (start, line)) in lines[..end].iter().enumerate() {
        let next = lines.get(at + 1).map_or(body, |(next, _)| *next);
        keep = match line {
            Line::ContentType { .. } | Line::ContentEncoding if in_multipart => false,
            Line::Folded => keep,
            _ => true,
        };
        in_multipart |= *line == Line::ContentType { multipart: true };
        if keep {
            out.extend_from_slice(&bytes[*start..next]);
        }
    }
    if end < lines.len() {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(&bytes[body..]);
    if let Some(end) = unclosed {
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&end);
        out.extend_from_slice(b"\r\n");
    }
    Cow::Owned(out)
}

/// Longest boundary, in bytes (RFC 2046 allows 70).
const BOUNDARY_LEN_MAX: usize = 200;

/// What closes the multipart mail that a header announces: a part whose end is missing is not
/// decoded otherwise.
fn closing(header: &[u8]) -> Option<Vec<u8>> {
    let lower = header.to_ascii_lowercase();
    let multipart = memmem::find(&lower, b"multipart/")?;
    let at = multipart + memmem::find(&lower[multipart..], b"boundary=")? + b"boundary=".len();
    let value = &header[at..];
    let (value, ends) = match value.strip_prefix(b"\"") {
        Some(quoted) => (quoted, &b"\""[..]),
        None => (value, &b"; \t\r\n"[..]),
    };
    let end = value.iter().position(|byte| ends.contains(byte)).unwrap_or(value.len());
    let fits = (1..=BOUNDARY_LEN_MAX).contains(&end);
    fits.then(|| [b"--", &value[..end], b"--"].concat())
}

/// The line at which the body begins though no blank line stands before it: a delimiter behind a
/// Content-Type, or what follows the last field; all lines where neither is.
fn header_end(lines: &[(usize, Line)]) -> usize {
    let is = |wanted: fn(&Line) -> bool| move |(_, line): &(usize, Line)| wanted(line);
    let of_content = |line: &Line| matches!(line, Line::ContentType { .. });
    let Some(content) = lines.iter().position(is(of_content)) else { return lines.len() };
    let delimiter = lines[content..].iter().position(is(|line| *line == Line::Delimiter));
    if let Some(at) = delimiter {
        return content + at;
    }
    let of_field = |line: &Line| !matches!(line, Line::Other | Line::Folded);
    let last = lines.iter().rposition(is(of_field)).unwrap_or(0);
    let after = lines[last + 1..].iter().position(is(|line| *line == Line::Other));
    after.map_or(lines.len(), |at| last + 1 + at)
}

fn kind_of(line: &[u8]) -> Line {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Line::Folded;
    }
    if line.starts_with(b"--") {
        return Line::Delimiter;
    }
    let Some(colon) = memchr::memchr(b':', line) else { return Line::Other };
    let name = line[..colon].trim_ascii_end();
    // RFC 5322 allows any sign in a name; those that are used have none but these.
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.iter().all(in_name) {
        return Line::Other;
    }
    if name.eq_ignore_ascii_case(b"content-type") {
        let value = line[colon + 1..].trim_ascii_start();
        let multipart = value.get(..10).is_some_and(|v| v.eq_ignore_ascii_case(b"multipart/"));
        return Line::ContentType { multipart };
    }
    match name.eq_ignore_ascii_case(b"content-transfer-encoding") {
        true => Line::ContentEncoding,
        false => Line::Field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mail: &str, expected: &str) {
        let mended = mended(mail.as_bytes());
        assert_eq!(String::from_utf8_lossy(&mended), expected, "{mail}");
    }

    #[test]
    fn whole_mail_stays_as_it_is() {
        for mail in [
            "Subject: a\nContent-Type: text/plain\n\nbody: x\n--\n",
            "Subject: a\n folded\nContent-Type: multipart/mixed;\n\tboundary=b\n\n--b--\n",
            "garbage line\nSubject: a\n\ntext",
            "",
            "no header at all\nonly text\n",
        ] {
            assert!(matches!(mended(mail.as_bytes()), Cow::Borrowed(_)), "{mail}");
        }
    }

    #[test]
    fn the_first_content_type_counts_when_it_is_multipart() {
        check(
            "Content-Type: multipart/mixed; boundary=b\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\nTo: x\n\n--b--\n",
            "Content-Type: multipart/mixed; boundary=b\nTo: x\n\n--b--\n",
        );
    }

    #[test]
    fn a_header_ends_where_its_fields_end() {
        check(
            "Content-Type: multipart/mixed; boundary=b\n--b\nContent-Type: text/plain\n\nhi\n--b--",
            "Content-Type: multipart/mixed; boundary=b\n\r\n--b\nContent-Type: text/plain\n\nhi\n--b--",
        );
        check(
            "Content-Type: text/html\n<html>\n<p>a: b\n\nmore",
            "Content-Type: text/html\n\r\n<html>\n<p>a: b\n\nmore",
        );
    }

    #[test]
    fn the_last_part_ends_with_the_mail() {
        check(
            "Content-Type: Multipart/Mixed;\n boundary=\"a b\"\n\n--a b\n\nhi",
            "Content-Type: Multipart/Mixed;\n boundary=\"a b\"\n\n--a b\n\nhi\r\n--a b--\r\n",
        );
    }
}
