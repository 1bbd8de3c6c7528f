//! The senders that this site always lets pass: addresses, `@domain`s and mailing lists. A sender
//! is taken for who he says he is unless authentication is *known to fail*; a list by its
//! List-Id, likewise. Pure: the agent keeps the patterns in the store.

use std::collections::BTreeSet;

use novacula_client::Authentication;

use crate::message::Message;

/// Longest pattern, in bytes (an address has 254 at most).
const PATTERN_LEN_MAX: usize = 254;

/// What can be wrong with a pattern.
#[derive(Debug, thiserror::Error)]
#[error(
    "allow {0:?}: give an address (ann@example.org), a domain (@example.org) or a list's List-Id (news.example.org)"
)]
pub struct PatternError(String);

/// Patterns, lower case.
#[derive(Clone, Debug, Default)]
pub struct Allowlist {
    patterns: BTreeSet<String>,
}

impl Allowlist {
    /// A list of patterns that were checked when they came in.
    #[must_use]
    pub fn of(patterns: impl IntoIterator<Item = String>) -> Self {
        Self { patterns: patterns.into_iter().collect() }
    }

    /// Checks a pattern and brings it into its one form.
    ///
    /// # Errors
    /// [`PatternError`] when it is none.
    pub fn pattern(text: &str) -> Result<String, PatternError> {
        let pattern = text.trim().to_lowercase();
        let fits = |c: char| c.is_alphanumeric() || "@._+-=&'*/!#$%^{}|~?".contains(c);
        let domain = domain_of(&pattern);
        let whole = pattern.len() <= PATTERN_LEN_MAX && pattern.chars().all(fits);
        let dotted = domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.');
        if !whole || !dotted || pattern.matches('@').count() > 1 {
            return Err(PatternError(text.chars().take(80).collect()));
        }
        Ok(pattern)
    }

    /// Adds a pattern; false when it was there.
    pub fn insert(&mut self, pattern: String) -> bool {
        self.patterns.insert(pattern)
    }

    /// Takes a pattern out; false when it was not there.
    pub fn remove(&mut self, pattern: &str) -> bool {
        self.patterns.remove(pattern)
    }

    /// The patterns in order.
    pub fn iter(&self) -> impl Iterator<Item = &String> {
        self.patterns.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// True when nobody is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Why this mail is allowed, if it is.
    #[must_use]
    pub fn allows(
        &self,
        message: &Message,
        authentication: Option<Authentication>,
    ) -> Option<String> {
        if self.patterns.is_empty() || authentication == Some(Authentication::Fail) {
            return None;
        }
        let address = &message.from.address;
        let at_domain = format!("@{}", domain_of(address));
        [address, &at_domain, &message.list_id]
            .into_iter()
            .find(|candidate| self.patterns.contains(candidate.as_str()))
            .map(|pattern| format!("this site allows {pattern}"))
    }
}

/// What follows the `@`, or all where there is none.
fn domain_of(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or(address)
}

/// What a configured verifier says of the sender: the topmost Authentication-Results field (RFC
/// 8601) of a trusted authserv-id. DMARC decides where it spoke, else a DKIM signature or an SPF
/// result that passed *for the domain of From*: anybody may sign with a domain of his own.
#[must_use]
pub fn authentication_of(message: &Message, authserv_ids: &[String]) -> Option<Authentication> {
    let trusted = message.authentication_results.iter().find(|field| {
        let id = field.split([';', ' ']).next().unwrap_or_default();
        authserv_ids.iter().any(|trusted| trusted.eq_ignore_ascii_case(id))
    })?;
    let results = trusted.to_lowercase();
    let mut passed = false;
    for result in results.split(';').skip(1) {
        let mut words = result.split_whitespace().flat_map(|word| word.split_once('='));
        match words.next() {
            Some(("dmarc", "pass")) => return Some(Authentication::Pass),
            Some(("dmarc", "fail")) => return Some(Authentication::Fail),
            Some(("dkim" | "spf", "pass")) => {
                let from = domain_of(&message.from.address);
                passed |= words.any(|(property, value)| {
                    matches!(property, "header.d" | "header.i" | "smtp.mailfrom")
                        && aligned(domain_of(value.trim_matches(['"', '<', '>'])), from)
                });
            }
            _ => {}
        }
    }
    passed.then_some(Authentication::Pass)
}

/// Both lie in one registrable domain: the relaxed alignment of DMARC (RFC 7489, 3.1).
fn aligned(one: &str, two: &str) -> bool {
    let registrable = psl::domain_str(one);
    registrable.is_some() && registrable == psl::domain_str(two)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pattern: &str, header: &str, authentication: Option<Authentication>) -> bool {
        let list = Allowlist::of([Allowlist::pattern(pattern).unwrap()]);
        let message = Message::parse(format!("{header}\n\ntext").as_bytes());
        list.allows(&message, authentication).is_some()
    }

    #[test]
    fn addresses_domains_and_lists() {
        assert!(allows("Ann@Example.org", "From: Ann <ann@example.org>", None));
        assert!(!allows("ann@example.org", "From: Bob <bob@example.org>", None));
        assert!(allows("@example.org", "From: bob@EXAMPLE.org", None));
        assert!(!allows("@example.org", "From: bob@sub.example.org", None));
        assert!(!allows("@example.org", "From: bob@evilexample.org", None));
        assert!(allows("news.example.org", "List-Id: News <news.example.org>", None));
    }

    #[test]
    fn a_forged_sender_is_not_allowed() {
        let header = "From: ann@example.org";
        assert!(!allows("ann@example.org", header, Some(Authentication::Fail)));
        assert!(allows("ann@example.org", header, Some(Authentication::Pass)));
    }

    #[test]
    fn patterns_that_are_none() {
        for text in ["", "ann", "a b@example.org", "a@b@c.example", "@", ".org", "x\ny@a.example"] {
            assert!(Allowlist::pattern(text).is_err(), "{text:?}");
        }
    }

    #[track_caller]
    fn results(field: &str, expected: Option<Authentication>) {
        let raw = format!("From: ann@news.a.example\nAuthentication-Results: {field}\n\nx");
        let trusted = ["mx.example.org".to_owned()];
        assert_eq!(
            authentication_of(&Message::parse(raw.as_bytes()), &trusted),
            expected,
            "{field}"
        );
    }

    #[test]
    fn only_a_trusted_verifier_is_believed() {
        let pass = Some(Authentication::Pass);
        results("mx.example.org; dmarc=pass header.from=a.example", pass);
        results("mx.example.org; dkim=pass; dmarc=fail (p=reject)", Some(Authentication::Fail));
        results("mx.example.org;\n\tspf=pass smtp.mailfrom=x@a.example", pass);
        results("mx.example.org 1; spf=none; DKIM=PASS (2048 bit) header.i=@A.example", pass);
        results("mx.example.org; dkim=pass header.d=a.example header.s=k", pass);
        results("mx.example.org; dkim=pass header.d=spammer.example", None);
        results("mx.example.org; dkim=fail header.d=a.example", None);
        results("mx.example.org; dkim=pass header.d=example", None);
        results("mx.example.org; dkim=pass", None);
        results("mx.example.org; spf=softfail", None);
        results("mx.spammer.example; dmarc=pass", None);
        results("mx.example.org; none", None);
    }
}
