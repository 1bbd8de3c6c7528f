//! The link engine: where a mail leads, as digests. A web address gives its registrable domain
//! with the *skeleton* of its path (what identifies a recipient or a visit is left out), which
//! proves a match alone, and the bare domain, which does not: hosts alone match 0.58 % of ham
//! (DESIGN 3.2). Phone numbers and coin addresses prove a match alone.

use std::collections::BTreeSet;

use novacula_catalog::{Digest, Engine};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::stoplist::StopList;
use crate::canonical::Link;

/// Most digests of this engine (DESIGN 3.2, budget).
pub(super) const LINK_DIGESTS_MAX: usize = 4;

/// Path segments that are looked at.
const SEGMENTS_MAX: usize = 6;

/// Longest segment that is a word and not an identifier, in bytes.
const SEGMENT_LEN_MAX: usize = 24;

/// Fewest letters in a path, and fewest words among its segments, that make it tell-tale when
/// identifiers were left out of it.
const TELLING_LETTERS_MIN: usize = 10;
const TELLING_SEGMENTS_MIN: usize = 2;

/// The same for a path before a query.
const QUERY_LETTERS_MIN: usize = 20;
const QUERY_SEGMENTS_MIN: usize = 4;

/// Fewest letters that make a path without identifiers tell-tale.
const LITERAL_LETTERS_MIN: usize = 5;

/// What a hash stands for, in order of priority.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Coin,
    Phone,
    Path,
    Host,
}

/// One hash that a link gives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Trace {
    sort: Sort,
    value: u64,
    /// The hash of the domain, for a path.
    host: Option<u64>,
    /// A page that every site has, for a path.
    generic: bool,
}

impl Trace {
    fn of(sort: Sort, text: &str, host: Option<u64>) -> Self {
        // The sort as seed keeps equal texts of different sorts apart.
        Self {
            sort,
            value: xxh3_64_with_seed(text.as_bytes(), sort as u64 + 1),
            host,
            generic: false,
        }
    }
}

/// Every hash that the links give, in order of priority. Within a sort the smallest come first,
/// so that copies with a link more or less choose alike.
fn traces(links: &[Link]) -> BTreeSet<Trace> {
    let mut traces = BTreeSet::new();
    for link in links {
        match link {
            Link::Coin(address) => traces.insert(Trace::of(Sort::Coin, address, None)),
            Link::Phone(digits) => traces.insert(Trace::of(Sort::Phone, digits, None)),
            Link::Web { host, path, query } => {
                let domain = registrable(host);
                let host = Trace::of(Sort::Host, domain, None);
                if let Some(skeleton) = skeleton(path, *query) {
                    let path = format!("{domain}{skeleton}");
                    let generic = is_generic(&skeleton);
                    let path = Trace::of(Sort::Path, &path, Some(host.value));
                    traces.insert(Trace { generic, ..path });
                }
                traces.insert(host)
            }
        };
    }
    traces
}

/// The hashes of all that the links give, for building a stop list.
pub(super) fn hashes(links: &[Link]) -> impl Iterator<Item = u64> {
    traces(links).into_iter().map(|trace| trace.value)
}

/// The hashes of the domains that pictures come from, for building a stop list.
pub(super) fn picture_hashes(pictures: &[String]) -> impl Iterator<Item = u64> {
    pictures.iter().map(|host| Trace::of(Sort::Host, registrable(host), None).value)
}

/// The domains that a mail leads to and loads pictures from, without those of wanted mail.
pub(super) fn domains<'a>(
    links: &'a [Link],
    pictures: &'a [String],
    stop: &StopList,
) -> BTreeSet<&'a str> {
    let of_links = links.iter().filter_map(|link| match link {
        Link::Web { host, .. } => Some(host.as_str()),
        Link::Phone(_) | Link::Coin(_) => None,
    });
    let domains = of_links.chain(pictures.iter().map(String::as_str)).map(registrable);
    domains.filter(|name| !stop.stops(Trace::of(Sort::Host, name, None).value)).collect()
}

/// The digests that are emitted. A path at a domain that wanted mail leads to as well (free
/// hosters, list servers, shops) proves nothing alone, nor does a page that every site has. Where
/// the mail has a text that tells (`texted`), only a coin address does: a firm's phone number and
/// pages stand in all its mail, and under the mail of those who write from there.
pub(super) fn digests(links: &[Link], texted: bool, stop: &StopList) -> Vec<Digest> {
    let digest = |trace: Trace| {
        let known = trace.host.is_some_and(|host| stop.stops(host));
        let weak = match trace.sort {
            Sort::Coin => false,
            Sort::Phone => texted,
            Sort::Path => texted || known || trace.generic,
            Sort::Host => true,
        };
        Digest { engine: Engine::Link, weak, value: trace.value }
    };
    let chosen = traces(links).into_iter().filter(|trace| !stop.stops(trace.value));
    chosen.take(LINK_DIGESTS_MAX).map(digest).collect()
}

/// The domain that somebody registered: `a.b.example.co.uk` is `example.co.uk`'s. An address in
/// figures is its own.
fn registrable(host: &str) -> &str {
    if host.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return host;
    }
    psl::domain_str(host).unwrap_or(host)
}

/// The path with `*` for every segment that identifies a recipient, a visit or a campaign's
/// copy; None when nothing tell-tale remains. Behind a query stand redirectors and other pages
/// that serve everybody: only a long path tells then.
fn skeleton(path: &str, query: bool) -> Option<String> {
    let mut out = String::new();
    let (mut words, mut letters, mut identifiers) = (0, 0, 0);
    for segment in path.split('/').filter(|segment| !segment.is_empty()).take(SEGMENTS_MAX) {
        out.push('/');
        if is_identifier(segment) {
            identifiers += 1;
            out.push('*');
        } else {
            words += 1;
            letters += segment.chars().filter(|c| c.is_alphabetic()).count();
            out.push_str(&segment.to_lowercase());
        }
    }
    let telling = match identifiers {
        _ if query => words >= QUERY_SEGMENTS_MIN && letters >= QUERY_LETTERS_MIN,
        0 => letters >= LITERAL_LETTERS_MIN,
        _ => words >= TELLING_SEGMENTS_MIN && letters >= TELLING_LETTERS_MIN,
    };
    telling.then_some(out)
}

/// Segments of pages that every site has. Ours, from what footers of newsletters and receipts
/// link to; not taken from any corpus.
const GENERIC_SEGMENTS: [&str; 40] = [
    "about",
    "aboutus",
    "account",
    "accounts",
    "app",
    "blog",
    "contact",
    "contactus",
    "cookies",
    "download",
    "en",
    "en-us",
    "faq",
    "feedback",
    "help",
    "home",
    "imprint",
    "impressum",
    "index",
    "info",
    "legal",
    "login",
    "manage",
    "mobile",
    "news",
    "notifications",
    "optout",
    "policies",
    "policy",
    "preferences",
    "privacy",
    "profile",
    "security",
    "settings",
    "signin",
    "subscribe",
    "support",
    "terms",
    "unsubscribe",
    "user",
];

/// A page that every site has: no word of its path is its own.
fn is_generic(skeleton: &str) -> bool {
    let words = skeleton.split(['/', '-', '_', '.']).filter(|word| !word.is_empty());
    let joining =
        |word: &str| matches!(word, "*" | "and" | "of" | "us" | "our" | "html" | "php" | "htm");
    words.into_iter().all(|word| joining(word) || GENERIC_SEGMENTS.contains(&word))
}

fn is_identifier(segment: &str) -> bool {
    let vowel = |c: char| matches!(c.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
    let letters = segment.chars().filter(|c| c.is_alphabetic());
    let spoken = segment.chars().any(vowel) || !segment.is_ascii();
    // Capitals in the middle of a segment without separators: base64 and its kin.
    let inner_capitals = segment.chars().skip(1).filter(char::is_ascii_uppercase).count();
    segment.len() > SEGMENT_LEN_MAX
        || segment.chars().any(|c| c.is_ascii_digit())
        || segment.contains(['=', '%', '@', '~', '+'])
        || (letters.count() >= 6 && !spoken)
        || (inner_capitals >= 2 && segment.chars().any(|c| c.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(host: &str, path: &str) -> Link {
        Link::Web { host: host.into(), path: path.into(), query: false }
    }

    fn all(links: &[Link]) -> Vec<Digest> {
        digests(links, false, &StopList::default())
    }

    #[test]
    fn what_identifies_a_copy_is_left_out() {
        let one = all(&[web("t7.shop.example.co.uk", "/offers/special/a8F3k2/index.html")]);
        let two = all(&[web("x1.shop.example.co.uk", "/offers/special/Qz91bb/index.html")]);
        assert_eq!(one, two);
        assert_eq!(one.iter().map(|digest| digest.weak).collect::<Vec<_>>(), [false, true]);
        assert_ne!(all(&[web("other.example", "/offers/special/x1/index.html")])[0], one[0]);
    }

    #[test]
    fn what_serves_everybody_is_only_its_host() {
        for path in ["", "/", "/a1b2", "/12/34", "/x/y", "/QmFzZTY0", "/bcdfghjk", "/d/x1/out"] {
            let digests = all(&[web("a.example", path)]);
            assert!(digests.iter().all(|digest| digest.weak), "{path}");
        }
        let redirector =
            Link::Web { host: "a.example".into(), path: "/click/through/away".into(), query: true };
        assert!(all(&[redirector])[0].weak);
    }

    #[test]
    fn the_budget_holds_and_the_stop_list_stops() {
        let links: Vec<Link> =
            ('a'..='z').map(|c| web(&format!("{c}.com"), "/path/word")).collect();
        assert_eq!(all(&links).len(), LINK_DIGESTS_MAX);
        assert!(digests(&links, false, &StopList::of(hashes(&links))).is_empty());
    }

    #[test]
    fn a_path_at_a_domain_of_wanted_mail_is_weak() {
        let stop = StopList::of(hashes(&[web("hoster.example", "/")]));
        let digests = digests(&[web("x.hoster.example", "/page/of/somebody")], false, &stop);
        assert_eq!(digests.iter().map(|digest| digest.weak).collect::<Vec<_>>(), [true]);
    }

    #[test]
    fn what_every_site_has_proves_nothing_alone() {
        for path in
            ["/privacy-policy", "/account/unsubscribe.php", "/en/legal/terms", "/contact-us"]
        {
            assert!(all(&[web("a.example", path)]).iter().all(|of| of.weak), "{path}");
        }
        assert!(!all(&[web("a.example", "/unsubscribe/from/miracle-pills")])[0].weak);
    }

    #[test]
    fn beside_a_text_only_a_coin_address_proves_a_match_alone() {
        let links = [
            web("a.example", "/words/of/it"),
            Link::Phone("5550100123".into()),
            Link::Coin("bc1q".into()),
        ];
        let digests = digests(&links, true, &StopList::default());
        assert_eq!(digests.iter().map(|of| of.weak).collect::<Vec<_>>(), [false, true, true, true]);
    }

    #[test]
    fn coins_and_phones_come_first() {
        let links = [
            web("a.example", "/words"),
            Link::Phone("5550100123".into()),
            Link::Coin("bc1q".into()),
        ];
        let weak: Vec<bool> = all(&links).iter().map(|digest| digest.weak).collect();
        assert_eq!(weak, [false, false, false, true]);
    }
}
