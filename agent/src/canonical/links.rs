//! Where a mail wants its reader to go: web addresses, phone numbers, coin addresses, taken from
//! the text before it is folded (folding would drop them) and from the page's own attributes.

use std::mem::discriminant;

use linkify::{LinkFinder, LinkKind};

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

/// Collects links; each once.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Link>);

impl Links {
    pub(super) fn into_vec(self) -> Vec<Link> {
        self.0
    }

    /// All links of a text.
    pub(super) fn scan_text(&mut self, text: &str) {
        let mut finder = LinkFinder::new();
        finder.kinds(&[LinkKind::Url]).url_must_have_scheme(false);
        for link in finder.links(text).take(LINKS_MAX * 4) {
            let url = link.as_str();
            // A bare `setup.py` is no link; what a reader would click has a scheme or www.
            let starts = |prefix: &str| {
                url.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
            };
            if starts("http://") || starts("https://") || starts("www.") {
                self.add_url(url);
            }
        }
        self.scan_phones(text);
        self.scan_coins(text);
    }

    /// A web address, `tel:` or other.
    pub(super) fn add_url(&mut self, url: &str) {
        if url.len() > URL_LEN_MAX {
            return;
        }
        let (scheme, rest) = match url.split_once(':') {
            Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                (scheme.to_ascii_lowercase(), rest)
            }
            _ if url.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("www.")) => {
                ("http".into(), url)
            }
            _ => return,
        };
        match scheme.as_str() {
            "http" | "https" => self.add_web(rest.trim_start_matches(['/', '\\'])),
            "tel" => self.add_phone(rest),
            _ => {}
        }
    }

    fn add_web(&mut self, rest: &str) {
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let host = authority.rsplit('@').next().unwrap_or(authority);
        let host = host.split(':').next().unwrap_or(host).trim_matches('.').to_lowercase();
        let in_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !host.contains('.') || !host.chars().all(in_host) {
            return;
        }
        let path = tail.split(['?', '#']).next().unwrap_or_default().replace('\\', "/");
        self.add(Link::Web { host, path, query: tail.contains('?') });
    }

    fn add(&mut self, link: Link) {
        // By sort: a flood of web addresses does not crowd out a phone number.
        let of_sort = |other: &&Link| discriminant(*other) == discriminant(&link);
        if self.0.iter().filter(of_sort).count() < LINKS_MAX && !self.0.contains(&link) {
            self.0.push(link);
        }
    }

    /// Numbers written as phone numbers: with a leading plus, or an area code in brackets, or in
    /// groups of three, three and four.
    fn scan_phones(&mut self, text: &str) {
        let of_number =
            |c: char| c.is_ascii_digit() || matches!(c, '+' | '(' | ')' | '-' | '.' | ' ');
        for line in text.lines() {
            if line.bytes().filter(u8::is_ascii_digit).count() < *PHONE_DIGITS.start() {
                continue;
            }
            for run in line.split(|c: char| !of_number(c)) {
                if run.len() >= *PHONE_DIGITS.start() && run.len() <= 32 && written_as_phone(run) {
                    self.add_phone(run);
                }
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
    fn scan_coins(&mut self, text: &str) {
        for token in text.split(|c: char| !c.is_ascii_alphanumeric()) {
            if (26..=62).contains(&token.len()) && is_coin(token) {
                self.add(Link::Coin(token.to_owned()));
            }
        }
    }
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
            .into_vec()
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
