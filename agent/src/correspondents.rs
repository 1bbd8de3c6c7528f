//! Who is no stranger here: to whom this site's people wrote, which of their mails may be
//! answered, and who has written here before. Only keyed 64-bit hashes are kept, so that the
//! database does not tell who writes to whom.
//!
//! Main item: [`Correspondents`], pure: what it learns it gives back as [`Trace`]s to store. At
//! its bound the newest is not learned, and counted.

use std::collections::HashMap;
use std::net::IpAddr;

use novacula_catalog::{Fact, Time, Trace};
use novacula_client::{Authentication, Sent};

use crate::message::Message;

/// Most that is known of each kind; a trace takes about 40 bytes in memory.
const KIND_MAX: usize = 100_000;

/// Most recipients of one mail that are learned.
const RECIPIENTS_MAX: usize = 100;

const DAY_SECS: u64 = 24 * 3600;

/// Days after which a domain that wrote here is known: more than the 72 h for which a mail's
/// statements are kept, so that no outbreak makes its own sender known.
const DOMAIN_DAYS_MIN: u32 = 4;

/// What a trace stands for. The numbers are on the disk: never give one anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Somebody here wrote to this address.
    WrittenTo = 1,
    /// A mail with this Message-ID was sent from here.
    Sent = 2,
    /// This address wrote here, from this network.
    Wrote = 3,
}

/// What is known, by hash.
#[derive(Clone, Debug)]
pub(crate) struct Correspondents {
    key: [u8; 32],
    known: HashMap<u64, Trace>,
    /// Traces by kind.
    counts: [usize; 4],
    dropped: u64,
}

impl Correspondents {
    /// What was stored, under the site's own key.
    pub(crate) fn new(key: [u8; 32], stored: Vec<Trace>) -> Self {
        let mut counts = [0; 4];
        stored.iter().for_each(|trace| counts[usize::from(trace.kind & 3)] += 1);
        let known = stored.into_iter().map(|trace| (trace.hash, trace)).collect();
        Self { key, known, counts, dropped: 0 }
    }

    /// How many addresses and mails are known.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// What was not learned for want of room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Why this mail is wanted, if it is: an answer to one of ours, or from an authenticated
    /// address that somebody here wrote to.
    pub(crate) fn vouch(
        &self,
        message: &Message,
        authentication: Option<Authentication>,
    ) -> Option<String> {
        if authentication == Some(Authentication::Fail) {
            return None;
        }
        if message.answers.iter().any(|id| self.has(Kind::Sent, id)) {
            return Some("it answers a mail that was sent from here".into());
        }
        let written_to = self.has(Kind::WrittenTo, &message.from.address);
        (written_to && authentication == Some(Authentication::Pass))
            .then(|| "its authenticated sender is a correspondent".into())
    }

    /// Whether the sender has written here before today, or been written to. Unknown where the
    /// client that brought the mail is.
    pub(crate) fn sender_known(
        &self,
        message: &Message,
        client: Option<IpAddr>,
        now: Time,
    ) -> Fact {
        let Some(client) = client else { return Fact::Unknown };
        let from = &message.from.address;
        let wrote = self.known.get(&self.hash(Kind::Wrote, &from_where(from, client)));
        let before = wrote.is_some_and(|trace| trace.first_day < day(now));
        match before || self.has(Kind::WrittenTo, from) {
            true => Fact::Yes,
            false => Fact::No,
        }
    }

    /// Mail of this site's own people went out.
    pub(crate) fn learn_sent(&mut self, sent: &Sent, now: Time) -> Vec<Trace> {
        let mut learned = Vec::new();
        for address in sent.recipients.iter().take(RECIPIENTS_MAX) {
            learned.extend(self.learn(Kind::WrittenTo, &address.to_lowercase(), now));
        }
        if let Some(id) = &sent.message_id {
            let id = id.trim().trim_start_matches('<').trim_end_matches('>');
            learned.extend(self.learn(Kind::Sent, id, now));
        }
        learned
    }

    /// A mail came in from this client that is not spam.
    pub(crate) fn learn_wrote(
        &mut self,
        message_from: &str,
        client: IpAddr,
        now: Time,
    ) -> Option<Trace> {
        self.learn(Kind::Wrote, &from_where(message_from, client), now)
    }

    /// Why this mail is bulk of a sender long known here, if it is: authenticated for the domain of
    /// From, of which accepted mail came days ago, and sent as bulk.
    pub(crate) fn known_bulk(
        &self,
        message: &Message,
        authentication: Option<Authentication>,
        now: Time,
    ) -> Option<String> {
        if authentication != Some(Authentication::Pass) || !message.is_bulk() {
            return None;
        }
        let domain = domain_of(&message.from.address)?;
        let trace = self.known.get(&self.hash(Kind::Wrote, &domain))?;
        (trace.first_day + DOMAIN_DAYS_MIN <= day(now))
            .then(|| "authenticated bulk of a sender long known here".into())
    }

    /// Authenticated mail came in from this address that is not spam.
    pub(crate) fn learn_domain(&mut self, message_from: &str, now: Time) -> Option<Trace> {
        let domain = domain_of(message_from)?;
        self.learn(Kind::Wrote, &domain, now)
    }

    /// Lets go of what is too old.
    pub(crate) fn expire(&mut self, now: Time) {
        let today = day(now);
        let counts = &mut self.counts;
        self.known.retain(|_, trace| {
            let kept = today.saturating_sub(trace.last_day) <= trace.days_kept();
            counts[usize::from(trace.kind & 3)] -= usize::from(!kept);
            kept
        });
    }

    /// Learns; Some where the disk must hear of it, at most once a day for each.
    fn learn(&mut self, kind: Kind, what: &str, now: Time) -> Option<Trace> {
        if what.is_empty() {
            return None;
        }
        let (hash, today) = (self.hash(kind, what), day(now));
        if let Some(trace) = self.known.get_mut(&hash) {
            let newer = trace.last_day < today;
            trace.last_day = trace.last_day.max(today);
            return newer.then_some(*trace);
        }
        let count = &mut self.counts[kind as usize];
        if *count >= KIND_MAX {
            self.dropped += 1;
            return None;
        }
        *count += 1;
        let trace = Trace { hash, kind: kind as u8, first_day: today, last_day: today };
        self.known.insert(hash, trace);
        Some(trace)
    }

    fn has(&self, kind: Kind, what: &str) -> bool {
        !what.is_empty() && self.known.contains_key(&self.hash(kind, what))
    }

    fn hash(&self, kind: Kind, what: &str) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[kind as u8]).update(what.as_bytes());
        let mut bytes = [0; 8];
        hasher.finalize_xof().fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

fn day(now: Time) -> u32 {
    u32::try_from(now.0 / DAY_SECS).unwrap_or(u32::MAX)
}

/// The registrable domain of an address, told apart from addresses that wrote.
fn domain_of(address: &str) -> Option<String> {
    let domain = psl::domain_str(address.rsplit_once('@')?.1)?;
    Some(format!("domain {domain}"))
}

/// An address together with the /24 or /64 that it wrote from: a forger writes from elsewhere.
fn from_where(address: &str, client: IpAddr) -> String {
    let network = match client {
        IpAddr::V4(client) => format!("4 {:x}", client.to_bits() >> 8),
        IpAddr::V6(client) => format!("6 {:x}", client.to_bits() >> 64),
    };
    match address.is_empty() {
        true => String::new(),
        false => format!("{network} {address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_800_000_000);
    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn mail(header: &str) -> Message {
        Message::parse(format!("{header}\n\ntext").as_bytes())
    }

    #[test]
    fn bulk_of_a_sender_long_known_is_told() {
        let later = Time(NOW.0 + u64::from(DOMAIN_DAYS_MIN) * DAY_SECS);
        let pass = Some(Authentication::Pass);
        let mut known = Correspondents::new([7; 32], Vec::new());
        let bulk = mail("From: news@mail.shop.example\nList-Unsubscribe: <https://shop.example/u>");
        assert!(known.known_bulk(&bulk, pass, later).is_none(), "never met");
        assert!(known.learn_domain("info@shop.example", NOW).is_some());
        assert!(known.known_bulk(&bulk, pass, NOW).is_none(), "met today only");
        assert!(known.known_bulk(&bulk, pass, later).is_some());
        assert!(known.known_bulk(&bulk, None, later).is_none(), "not authenticated");
        assert!(known.known_bulk(&mail("From: a@shop.example"), pass, later).is_none(), "no bulk");
        let other = mail("From: a@shop2.example\nList-Id: <l.shop2.example>");
        assert!(known.known_bulk(&other, pass, later).is_none());
    }

    fn knows(header: &str, authentication: Option<Authentication>) -> bool {
        let mut known = Correspondents::new([7; 32], Vec::new());
        let recipients = vec!["Ann@Example.org".into()];
        let sent = Sent { recipients, message_id: Some("<one@our.example>".into()) };
        assert_eq!(known.learn_sent(&sent, NOW).len(), 2);
        assert!(known.learn_sent(&sent, NOW).is_empty(), "once a day");
        known.vouch(&mail(header), authentication).is_some()
    }

    #[test]
    fn whose_mail_is_wanted() {
        use Authentication::{Fail, Pass};
        assert!(knows("From: ann@example.org", Some(Pass)));
        assert!(!knows("From: ann@example.org", None), "anybody can write that");
        assert!(!knows("From: ann@example.org", Some(Fail)));
        assert!(!knows("From: bob@example.org", Some(Pass)));
        assert!(knows("From: bob@b.example\nIn-Reply-To: <one@our.example>", None));
        assert!(knows("From: b@b.example\nReferences: <x@y> <one@our.example> <z@y>", None));
        assert!(!knows("From: b@b.example\nIn-Reply-To: <one@our.example>", Some(Fail)));
        assert!(!knows("From: b@b.example\nIn-Reply-To: <two@our.example>", None));
        assert!(!knows("", Some(Pass)));
    }

    #[test]
    fn a_sender_is_known_from_the_next_day_on_and_from_his_network() {
        let mut known = Correspondents::new([7; 32], Vec::new());
        let message = mail("From: ann@example.org");
        let tomorrow = Time(NOW.0 + DAY_SECS);
        assert_eq!(known.sender_known(&message, Some(CLIENT), NOW), Fact::No);
        assert!(known.learn_wrote("ann@example.org", CLIENT, NOW).is_some());
        assert_eq!(known.sender_known(&message, Some(CLIENT), NOW), Fact::No, "an outbreak's day");
        assert_eq!(known.sender_known(&message, Some(CLIENT), tomorrow), Fact::Yes);
        let neighbour = "192.0.2.200".parse().ok();
        assert_eq!(known.sender_known(&message, neighbour, tomorrow), Fact::Yes);
        let elsewhere = "198.51.100.1".parse().ok();
        assert_eq!(known.sender_known(&message, elsewhere, tomorrow), Fact::No);
        assert_eq!(known.sender_known(&message, None, tomorrow), Fact::Unknown);
    }

    #[test]
    fn what_is_known_is_bounded_and_expires() {
        let mut known = Correspondents::new([7; 32], Vec::new());
        for number in 0..KIND_MAX {
            assert!(known.learn(Kind::Wrote, &number.to_string(), NOW).is_some());
        }
        assert!(known.learn(Kind::Wrote, "one too many", NOW).is_none());
        assert_eq!((known.len(), known.dropped()), (KIND_MAX, 1));
        assert!(known.learn(Kind::Sent, "another kind", NOW).is_some());
        known.expire(Time(NOW.0 + 15 * DAY_SECS));
        assert_eq!(known.len(), 1, "who wrote on one day only is forgotten first");
        assert!(known.learn(Kind::Wrote, "now there is room", NOW).is_some());
    }

    #[test]
    fn the_key_is_the_sites_own() {
        let hash = |key| Correspondents::new([key; 32], Vec::new()).hash(Kind::Sent, "a");
        assert_ne!(hash(1), hash(2));
    }
}
