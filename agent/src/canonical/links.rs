//! Where a mail wants its reader to go: web addresses, phone numbers, coin addresses, taken from
//! the text before it is folded (folding would drop them) and from the page's own attributes.

use std::borrow::Cow;
use std::mem::discriminant;

use linkify::{LinkFinder, LinkKind};
use memchr::memmem;

/// Most links of each sort that are taken from one mail.
const LINKS_MAX: usize = 64;

/// Longest web address that is looked at, in bytes.
const URL_LEN_MAX: usize = 2048;

/// Fewest and most digits of a phone number with its area code (E.164 allows 15).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 9..=15;

/// One place to go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// A web address.
    Web {
        /// Host in lower case, without port and user.
        host: String,
        /// Path from `/` on, without query; may be empty.
        path: String,
        /// It has a query: what it shows is decided there and not by its path.
        query: bool,
    },
    /// A phone number, digits only.
    Phone(String),
    /// An address of a crypto coin, as written.
    Coin(String),
}

/// Most hosts of pictures that are taken from one mail.
const PICTURES_MAX: usize = 16;

/// Most wrappers around one address that are undone.
const WRAPPERS_MAX: usize = 3;

/// Collects links; each once.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: Vec<Link>,
    pictures: Vec<String>,
}

impl Links {
    pub(super) fn into_parts(self) -> (Vec<Link>, Vec<String>) {
        (self.links, self.pictures)
    }

    /// All links of a text.
    pub(super) fn scan_text(&mut self, text: &str) {
        self.scan_urls(text);
        if has_run(text.as_bytes(), *COIN_LEN.start()) {
            text.lines().for_each(|line| self.scan_coins(line));
        }
        if text.bytes().filter(u8::is_ascii_digit).count() >= *PHONE_DIGITS.start() {
            text.lines().for_each(|line| self.scan_phones(line));
        }
    }

    /// Web addresses in the lines that may hold one: a bare `setup.py` is no link; what a reader
    /// would click has a scheme or www.
    fn scan_urls(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut places: Vec<usize> = [b"://".as_slice(), b"ww.", b"WW."]
            .iter()
            .flat_map(|start| memmem::find_iter(bytes, start))
            .collect();
        places.sort_unstable();
        let mut finder = LinkFinder::new();
        finder.kinds(&[LinkKind::Url]).url_must_have_scheme(false);
        let mut left = LINKS_MAX * 4;
        let mut done = 0;
        for place in places {
            if place < done {
                continue;
            }
            let start = memchr::memrchr(b'\n', &bytes[..place]).map_or(0, |at| at + 1);
            let end = memchr::memchr(b'\n', &bytes[place..]).map_or(bytes.len(), |at| place + at);
            for link in finder.links(&text[start..end]).take(left) {
                left -= 1;
                let url = link.as_str();
                if ["http://", "https://", "www."].iter().any(|start| begins(url, start)) {
                    self.add_url(url);
                }
            }
            done = end;
        }
    }

    /// A web address, `tel:` or other.
    pub(super) fn add_url(&mut self, url: &str) {
        match scheme(url) {
            Some((Scheme::Web, rest)) => self.add_web(rest),
            Some((Scheme::Tel, rest)) => self.add_phone(rest),
            None => {}
        }
    }

    /// Where a picture is loaded from.
    pub(super) fn add_picture(&mut self, url: &str) {
        let Some((Scheme::Web, rest)) = scheme(url) else { return };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        if let Some(host) = host(&rest[..end]).filter(|host| !self.pictures.contains(host))
            && self.pictures.len() < PICTURES_MAX
        {
            self.pictures.push(host);
        }
    }

    fn add_web(&mut self, rest: &str) {
        let mut rest = Cow::Borrowed(rest);
        for _ in 0..WRAPPERS_MAX {
            match unwrapped(&rest) {
                Some(inner) => rest = inner.into(),
                None => break,
            }
        }
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let Some(host) = host(authority) else { return };
        let path = tail.split(['?', '#']).next().unwrap_or_default().replace('\\', "/");
        let path = percent_decoded(&path).into_owned();
        self.add(Link::Web { host, path, query: tail.contains('?') });
    }

    fn add(&mut self, link: Link) {
        // By sort: a flood of web addresses does not crowd out a phone number.
        let of_sort = |other: &&Link| discriminant(*other) == discriminant(&link);
        if self.links.iter().filter(of_sort).count() < LINKS_MAX && !self.links.contains(&link) {
            self.links.push(link);
        }
    }

    /// Numbers written as phone numbers: with a leading plus, or an area code in brackets, or in
    /// groups of three, three and four.
    fn scan_phones(&mut self, line: &str) {
        let of_number =
            |c: char| c.is_ascii_digit() || matches!(c, '+' | '(' | ')' | '-' | '.' | ' ');
        if line.bytes().filter(u8::is_ascii_digit).count() < *PHONE_DIGITS.start() {
            return;
        }
        for run in line.split(|c: char| !of_number(c)) {
            if run.len() >= *PHONE_DIGITS.start() && run.len() <= 32 && written_as_phone(run) {
                self.add_phone(run);
            }
        }
    }

    fn add_phone(&mut self, text: &str) {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        // The North American trunk 1 is written or not.
        let digits = match digits.strip_prefix('1') {
            Some(rest) if rest.len() == 10 => rest.to_owned(),
            _ => digits,
        };
        let distinct = digits.bytes().collect::<std::collections::BTreeSet<_>>().len();
        if PHONE_DIGITS.contains(&digits.len()) && distinct >= 3 {
            self.add(Link::Phone(digits));
        }
    }

    /// Bitcoin (legacy and bech32) and Ethereum addresses by their form.
    fn scan_coins(&mut self, line: &str) {
        for token in line.as_bytes().split(|byte| !byte.is_ascii_alphanumeric()) {
            if !COIN_LEN.contains(&token.len()) {
                continue;
            }
            let token = std::str::from_utf8(token).unwrap_or_default();
            if is_coin(token) {
                self.add(Link::Coin(token.to_owned()));
            }
        }
    }
}

/// Shortest and longest coin address, in characters.
const COIN_LEN: std::ops::RangeInclusive<usize> = 26..=62;

/// True when so many letters and digits follow each other somewhere. A run of that length covers
/// one of every so many places: most bytes are never looked at.
fn has_run(bytes: &[u8], len: usize) -> bool {
    let mut at = len - 1;
    while let Some(byte) = bytes.get(at) {
        if byte.is_ascii_alphanumeric() {
            let other = |byte: &u8| !byte.is_ascii_alphanumeric();
            let start = bytes[..at].iter().rposition(other).map_or(0, |before| before + 1);
            let end = bytes[at..].iter().position(other).map_or(bytes.len(), |after| at + after);
            if end - start >= len {
                return true;
            }
            at = end;
        }
        at += len;
    }
    false
}

enum Scheme {
    Web,
    Tel,
}

/// The scheme of an address and what stands behind it.
fn scheme(url: &str) -> Option<(Scheme, &str)> {
    let rest = |rest: &'static str| url.get(rest.len()..).filter(|_| begins(url, rest));
    let of = match url.len() {
        len if len > URL_LEN_MAX => return None,
        _ => rest("https:").or(rest("http:")).map(|rest| rest.trim_start_matches(['/', '\\'])),
    };
    let bare = || url.get(..4).filter(|_| begins(url, "www.")).map(|_| url);
    match of.or_else(bare) {
        Some(rest) => Some((Scheme::Web, rest)),
        None => rest("tel:").map(|rest| (Scheme::Tel, rest)),
    }
}

fn begins(text: &str, with: &str) -> bool {
    text.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with))
}

/// The host of an authority, in lower case and ASCII, without user and port.
fn host(authority: &str) -> Option<String> {
    let authority = percent_decoded(authority);
    let host = authority.rsplit('@').next()?.split(':').next()?.trim_matches('.');
    let host = match host.is_ascii() {
        true => host.to_ascii_lowercase(),
        // One form for names in other scripts; what is no such name stays as it is.
        false => idna::domain_to_ascii(host).unwrap_or_else(|_| host.to_lowercase()),
    };
    let in_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    (host.contains('.') && host.chars().all(in_host)).then_some(host)
}

/// The address within the address of a redirector, without its scheme: where the reader ends up.
/// It is read from the query or path and never fetched.
fn unwrapped(rest: &str) -> Option<String> {
    let start = rest.find(['/', '?'])?;
    let tail = &rest.as_bytes()[start..];
    let inner =
        memmem::find_iter(tail, b"http").chain(memmem::find_iter(tail, b"HTTP")).find_map(|at| {
            let inner = rest.get(start + at..)?;
            let end = inner.find(['&', '#', '"', '<', ' ']).unwrap_or(inner.len());
            let mut inner = percent_decoded(&inner[..end]).into_owned();
            if memmem::find(inner.as_bytes(), b"%2").is_some() {
                inner = percent_decoded(&inner).into_owned();
            }
            let rest = ["https://", "http://"].iter().find(|start| begins(&inner, start))?;
            Some(inner[rest.len()..].to_owned())
        });
    inner.filter(|inner| inner.split(['/', '?']).next().is_some_and(|host| host.contains('.')))
}

/// With `%41` for `A` undone, as every browser does before it looks up a host; other bytes stay.
fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let hex = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).map_or(text.into(), Into::into)
}

fn written_as_phone(run: &str) -> bool {
    let run = run.trim_matches([' ', '.', '-']);
    let groups: Vec<usize> =
        run.split(|c: char| !c.is_ascii_digit()).map(str::len).filter(|len| *len > 0).collect();
    let by_threes = groups.ends_with(&[3, 3, 4]) && groups.len() <= 4;
    run.starts_with('+') || (run.starts_with('(') && groups.len() >= 2) || by_threes
}

fn is_coin(token: &str) -> bool {
    let base58 = |c: char| c.is_ascii_alphanumeric() && !matches!(c, '0' | 'O' | 'I' | 'l');
    let kinds = [char::is_uppercase as fn(char) -> bool, char::is_lowercase, char::is_numeric];
    let mixed = || kinds.iter().all(|kind| token.chars().any(kind));
    let legacy =
        token.len() <= 35 && token.starts_with(['1', '3']) && token.chars().all(base58) && mixed();
    let segwit = token.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("bc1"))
        && token
            .chars()
            .skip(3)
            .all(|c| c.is_ascii_alphanumeric() && !matches!(c, '1' | 'b' | 'i' | 'o'))
        && token.chars().any(|c| c.is_ascii_digit());
    let ethereum = token.len() == 42
        && token.starts_with("0x")
        && token[2..].chars().all(|c| c.is_ascii_hexdigit());
    legacy || segwit || ethereum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let mut links = Links::default();
        links.scan_text(text);
        let shown: Vec<String> = links
            .links
            .into_iter()
            .map(|link| match link {
                Link::Web { host, path, .. } => format!("{host}{path}"),
                Link::Phone(digits) => format!("tel:{digits}"),
                Link::Coin(address) => format!("coin:{address}"),
            })
            .collect();
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn runs_are_found_wherever_they_stand() {
        for before in 0..40 {
            for (len, expected) in [(25, false), (26, true), (60, true)] {
                let text = format!("{}{}, b", "a ".repeat(before), "x1".repeat(30));
                let text = format!("{}{}.", "- ".repeat(before), &text[before * 2..][..len]);
                assert_eq!(has_run(text.as_bytes(), 26), expected, "{text}");
            }
        }
        assert!(!has_run(b"", 26) && !has_run(b"short", 26));
    }

    #[test]
    fn web_addresses() {
        check(
            "at http://Shop.Example/a/b?x=1#y or www.shop.example.",
            &["shop.example/a/b", "www.shop.example"],
        );
        check("http://user@host.example:8080/p setup.py a.b", &["host.example/p"]);
        check("HTTPS://a.example https://a.example", &["a.example"]);
        check("http://localhost/x http:// http://[::1]/", &[]);
    }

    #[test]
    fn one_form_for_every_way_to_write_an_address() {
        let mut links = Links::default();
        links.add_url("http://www.%65xample.%63om/%70ath");
        let web = Link::Web { host: "www.example.com".into(), path: "/path".into(), query: false };
        assert_eq!(links.links, [web]);
        check(
            "http://b\u{fc}cher.example/x http://xn--bcher-kva.example/x",
            &["xn--bcher-kva.example/x"],
        );
    }

    #[test]
    fn redirectors_are_unwrapped() {
        let inner = &["shop.example/offer/today"];
        check("http://r.example/url?q=http://shop.example/offer/today&sa=D", inner);
        check("http://r.example/?u=https%3A%2F%2Fshop.example%2Foffer%2Ftoday&d=1", inner);
        check("http://r.example/?u=https%253A%252F%252Fshop.example%252Foffer%252Ftoday", inner);
        check("http://a.example/go/http://r.example/?x=http://shop.example/offer/today", inner);
        check("http://r.example/about/http-basics?q=http", &["r.example/about/http-basics"]);
        check("http://r.example/p?u=http://localhost/x", &["r.example/p"]);
    }

    #[test]
    fn phone_numbers() {
        check("Call +1 (212) 555-0123 now", &["tel:2125550123"]);
        check("(212) 555-0123 or 1-212-555-0123", &["tel:2125550123"]);
        check("date 2026-01-01 02:08, size 1234567890, 10.20.30.40", &[]);
        check("000-000-0000", &[]);
    }

    #[test]
    fn coin_addresses() {
        check(
            "to bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq!",
            &["coin:bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"],
        );
        check("commit 3a1b2c3d4e5f60718293a4b5c6d7e8f901234567", &[]);
    }
}
