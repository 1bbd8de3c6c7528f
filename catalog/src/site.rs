//! One site's own part: which of its mails is this, how many copies came, and what is to be
//! stated. Pure: the daemon signs and stores what comes out, `replay` runs forty of these in one
//! process.

use std::collections::{BTreeMap, HashMap};

use crate::clock::{EPOCH_SECS, Epoch, Time};
use crate::delivery::{Copied, Delivery};
use crate::entry::{Network, Witness};
use crate::identity::SiteId;
use crate::matching::{Match, Probe};
use crate::signing::{lane_of, number_of, seq_of};
use crate::statement::{Class, Copies, Facts, Kind, MailId, Opinion, Statement};

/// Copies of one mail within this time are the same delivery (a list, a forwarder, a secondary
/// MX), in seconds (2 h, DESIGN 4.1).
pub const SAME_MAIL_SECS: u64 = 2 * 3600;

/// Numbers that a site may give to statements before it must reserve more on disk.
///
/// The agent reserves anew once a minute, so this is good for 8,700 statements a second.
pub const SEQ_BLOCK: u64 = 1 << 20;

/// The site's counters.
#[derive(Clone, Debug)]
pub struct Site {
    id: SiteId,
    network: Network,
    lane: u16,
    next_number: u64,
    copies: HashMap<MailId, Copied>,
    by_epoch: BTreeMap<Epoch, Vec<MailId>>,
}

impl Site {
    /// A site whose one host gives `next_number` next. It must never have used that number.
    #[must_use]
    pub fn new(id: SiteId, network: Network, next_number: u64) -> Self {
        Self::in_lane(id, network, 0, next_number)
    }

    /// One host of a site with many, which gives its numbers in `lane`.
    #[must_use]
    pub fn in_lane(id: SiteId, network: Network, lane: u16, next_number: u64) -> Self {
        let (copies, by_epoch) = (HashMap::new(), BTreeMap::new());
        Self { id, network, lane, next_number, copies, by_epoch }
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> SiteId {
        self.id
    }

    /// Where it is.
    #[must_use]
    pub fn network(&self) -> Network {
        self.network
    }

    /// The running number that its next statement gets.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// The site received a copy. States it when it is a new mail, when its copies pass a step, or
    /// when more is known of it than was stated: a filter that the mail reaches after the MTA adds
    /// what it thinks.
    pub fn sight(
        &mut self,
        matches: &[Match],
        probe: &Probe,
        facts: Facts,
        delivery: impl Into<Delivery>,
        now: Time,
    ) -> Option<Witness> {
        self.forget(now);
        let (mail, epoch, stated) = match self.same_mail(matches, now) {
            Some((own, copies, facts)) => (own.mail, own.epoch, Some((copies, facts))),
            None => (self.next_mail(), now.epoch(), None),
        };
        let copied = self.copies.entry(mail).or_insert_with(|| {
            self.by_epoch.entry(now.epoch()).or_default().push(mail);
            Copied::since(stated.map_or(0, |(copies, _)| copies.at_least()))
        });
        let copies = copied.count(delivery.into());
        if stated.is_some_and(|(known, before)| known >= copies && !facts.tells_more_than(before)) {
            return None;
        }
        let facts = stated.map_or(facts, |(_, before)| facts.or(before));
        let kind = Kind::Sighting { copies, facts };
        Some(self.state(mail, epoch, epoch, probe, kind))
    }

    /// The site's people now say this of the mail. `received` is when the mail came in, and the
    /// only time that leaves the site.
    pub fn opine(
        &mut self,
        matches: &[Match],
        probe: &Probe,
        opinion: Opinion,
        received: Time,
        now: Time,
    ) -> Witness {
        // Above all that the site's hosts said of it: the latest word is the site's.
        let own = matches.iter().map(|found| &found.witness.statement);
        let known = own.filter(|own| own.site == self.id).map(|own| number_of(own.seq)).max();
        self.next_number = self.next_number.max(known.map_or(0, |known| known + 1));
        let mail = self.mail_of(matches, received).unwrap_or(self.next_mail());
        let said = matches.iter().map(|found| &found.witness.statement).find(|statement| {
            statement.site == self.id
                && statement.mail == mail
                && statement.class() == Class::Opinion
        });
        let epoch = said.map_or(received.epoch(), |statement| statement.epoch);
        let kind = Kind::Opinion { opinion, nilsimsa: probe.nilsimsa() };
        self.state(mail, epoch, now.epoch(), probe, kind)
    }

    /// Which of the site's mails this one is, received at about `received`: the one that its
    /// people spoke of, else the one it saw, the nearest in time first.
    #[must_use]
    pub fn mail_of(&self, matches: &[Match], received: Time) -> Option<MailId> {
        let own = matches.iter().map(|found| &found.witness.statement);
        own.filter(|statement| statement.site == self.id)
            .min_by_key(|statement| {
                let away = statement.epoch.0.abs_diff(received.epoch().0);
                (std::cmp::Reverse(statement.class()), away, statement.mail)
            })
            .map(|statement| statement.mail)
    }

    /// This host's sighting of the same mail in the last two hours, with what it stated. Another
    /// host's count is its own: two that raise one count would overwrite each other.
    fn same_mail<'a>(
        &self,
        matches: &'a [Match],
        now: Time,
    ) -> Option<(&'a Statement, Copies, Facts)> {
        let since = now.minus_secs(SAME_MAIL_SECS).epoch();
        let own = matches.iter().map(|found| &found.witness.statement);
        own.filter(|own| own.site == self.id && lane_of(own.mail.0) == self.lane)
            .filter(|own| own.epoch >= since)
            .filter_map(|own| match own.kind {
                Kind::Sighting { copies, facts } => Some((own, copies, facts)),
                Kind::Opinion { .. } => None,
            })
            .max_by_key(|(own, ..)| (own.epoch, own.mail))
    }

    /// The name that a mail gets whose first statement comes now.
    #[must_use]
    pub fn next_mail(&self) -> MailId {
        MailId(seq_of(self.next_number, self.lane))
    }

    fn state(
        &mut self,
        mail: MailId,
        epoch: Epoch,
        kept_from: Epoch,
        probe: &Probe,
        kind: Kind,
    ) -> Witness {
        let seq = seq_of(self.next_number, self.lane);
        self.next_number += 1;
        let keys = probe.emitted().to_vec();
        let statement = Statement::new(self.id, mail, seq, epoch, keys, kind);
        Witness { statement, network: self.network, nilsimsa: probe.nilsimsa(), kept_from }
    }

    /// Lets go of counters that no copy can reach any more.
    fn forget(&mut self, now: Time) {
        let gone = now.minus_secs(SAME_MAIL_SECS + EPOCH_SECS).epoch();
        while let Some(first) = self.by_epoch.first_entry().filter(|first| *first.key() < gone) {
            for mail in first.remove() {
                self.copies.remove(&mail);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Stage;
    use crate::digest::{Digest, Engine};
    use crate::statement::{Fact, Filter};
    use crate::store::Catalog;

    struct Rig {
        site: Site,
        catalog: Catalog,
    }

    const START: Time = Time(1_800_000_000);

    impl Rig {
        fn new() -> Self {
            let id = SiteId([1; 32]);
            Self { site: Site::new(id, Network::HOME, 0), catalog: Catalog::new(id, 1000) }
        }

        fn probe(value: u64, now: Time) -> Probe {
            Probe::new(&[Digest { engine: Engine::Exact, weak: false, value }], None, now)
        }

        fn copy(&mut self, value: u64, after_secs: u64) -> Option<(MailId, Copies)> {
            let now = Time(START.0 + after_secs);
            let probe = Self::probe(value, now);
            let matches = self.catalog.matches(&probe);
            let witness = self.site.sight(&matches, &probe, Facts::default(), 1, now)?;
            let Kind::Sighting { copies, .. } = witness.statement.kind else { return None };
            let mail = witness.statement.mail;
            self.catalog.insert(witness);
            Some((mail, copies))
        }
    }

    #[test]
    fn copies_are_stated_when_they_pass_a_step() {
        let mut rig = Rig::new();
        let stated: Vec<Option<Copies>> =
            (0..12).map(|at| rig.copy(7, at * 60).map(|(_, copies)| copies)).collect();
        let expected: Vec<Option<Copies>> = (1..=12)
            .map(|count| match count {
                1 => Some(Copies::One),
                2 => Some(Copies::Two),
                4 => Some(Copies::Four),
                10 => Some(Copies::Ten),
                _ => None,
            })
            .collect();
        assert_eq!(stated, expected);
        assert_eq!(rig.catalog.len(), 1, "each step replaces the one before");
    }

    #[test]
    fn what_a_filter_adds_is_stated_of_the_same_copy() {
        let mut rig = Rig::new();
        let mut state = |stage, facts| {
            let probe = Rig::probe(7, START);
            let matches = rig.catalog.matches(&probe);
            let delivery = Delivery { recipients: 1, stage, message: Some(1) };
            let witness = rig.site.sight(&matches, &probe, facts, delivery, START)?;
            rig.catalog.insert(witness.clone());
            Some(witness.statement.kind)
        };
        let from_mta = Facts { sender_known: Fact::No, ..Facts::default() };
        let from_filter = Facts { filter: Filter::Spam, ..Facts::default() };
        let one = |facts| Some(Kind::Sighting { copies: Copies::One, facts });
        assert_eq!(state(Stage::Mta, from_mta), one(from_mta));
        let both = Facts { filter: Filter::Spam, ..from_mta };
        assert_eq!(state(Stage::Filter, from_filter), one(both));
        assert_eq!(state(Stage::Mailbox, Facts::default()), None, "nothing new");
        let second = Kind::Sighting { copies: Copies::Two, facts: both };
        assert_eq!(state(Stage::Mta, from_mta), Some(second), "it came again");
        assert_eq!(rig.catalog.len(), 1);
    }

    #[test]
    fn after_two_hours_it_is_another_delivery() {
        let mut rig = Rig::new();
        let first = rig.copy(7, 0).unwrap().0;
        assert_eq!(rig.copy(7, SAME_MAIL_SECS - EPOCH_SECS).unwrap().0, first);
        assert_ne!(rig.copy(7, 2 * SAME_MAIL_SECS).unwrap().0, first);
        assert_ne!(rig.copy(8, 0).unwrap().0, first, "another mail is another");
    }

    #[test]
    fn opinions_on_one_mail_replace_each_other_and_tell_only_its_receipt() {
        let mut rig = Rig::new();
        let mut say = |opinion, after_secs| {
            let now = Time(START.0 + after_secs);
            let probe = Rig::probe(7, now);
            let matches = rig.catalog.matches(&probe);
            let witness = rig.site.opine(&matches, &probe, opinion, START, now);
            assert_eq!(witness.statement.epoch, START.epoch());
            assert_eq!(witness.kept_from, now.epoch());
            rig.catalog.insert(witness);
            rig.catalog.opinions()
        };
        assert_eq!(say(Opinion::Report, 60), 1);
        assert_eq!(say(Opinion::Revoke, 4000), 1);
        assert_eq!(say(Opinion::Report, 90_000), 1);
    }

    #[test]
    fn hosts_of_a_site_count_apart_and_the_latest_word_is_the_sites() {
        let id = SiteId([1; 32]);
        let mut catalog = Catalog::new(id, 1000);
        let mut hosts = [3, 1, 2].map(|lane| Site::in_lane(id, Network::HOME, lane, 100));
        hosts[2].next_number = 5;
        let probe = Rig::probe(7, START);
        let mut numbers = std::collections::HashSet::new();
        for host in &mut hosts {
            let matches = catalog.matches(&probe);
            let seen = host.sight(&matches, &probe, Facts::default(), 1, START).unwrap();
            numbers.insert(seen.statement.seq);
            catalog.insert(seen);
        }
        assert_eq!((catalog.len(), numbers.len()), (3, 3), "a statement each, a number each");
        for (host, opinion) in [(0, Opinion::Report), (2, Opinion::Revoke), (1, Opinion::Report)] {
            let matches = catalog.matches(&probe);
            let said = hosts[host].opine(&matches, &probe, opinion, START, START);
            assert!(numbers.insert(said.statement.seq));
            catalog.insert(said.clone());
            let now: Vec<_> = catalog.matches(&probe);
            let opinions = now.iter().map(|found| &found.witness.statement);
            let last =
                opinions.filter(|one| one.class() == Class::Opinion).max_by_key(|one| one.seq);
            assert_eq!(last.unwrap(), &said.statement, "host {host}");
            assert_eq!(catalog.opinions(), 1, "of one mail the site has one opinion");
        }
    }

    #[test]
    fn no_number_is_given_twice() {
        let mut rig = Rig::new();
        let mut last = rig.site.next_number();
        for at in 0..50 {
            if rig.copy(at % 5, at * 600).is_some() {
                assert!(rig.site.next_number() > last);
                last = rig.site.next_number();
            }
        }
    }
}
