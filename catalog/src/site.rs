//! One site's own part: which of its mails is this, how many copies came, and what is to be
//! stated. Pure: the daemon signs and stores what comes out, `replay` runs forty of these in one
//! process.

use std::collections::{BTreeMap, HashMap};

use crate::clock::{EPOCH_SECS, Epoch, Time};
use crate::entry::{Network, Witness};
use crate::identity::SiteId;
use crate::matching::{Match, Probe};
use crate::statement::{Class, Copies, Facts, Kind, MailId, Opinion, Statement};

/// Copies of one mail within this time are the same delivery (a list, a forwarder, a secondary
/// MX), in seconds (2 h, DESIGN 4.1).
pub const SAME_MAIL_SECS: u64 = 2 * 3600;

/// Numbers that a site may give to statements before it must reserve more on disk.
pub const SEQ_BLOCK: u64 = 1 << 16;

/// The site's counters.
#[derive(Clone, Debug)]
pub struct Site {
    id: SiteId,
    network: Network,
    next_seq: u64,
    copies: HashMap<MailId, u32>,
    by_epoch: BTreeMap<Epoch, Vec<MailId>>,
}

impl Site {
    /// A site that gives `next_seq` to its next statement. It must never have used that number.
    #[must_use]
    pub fn new(id: SiteId, network: Network, next_seq: u64) -> Self {
        Self { id, network, next_seq, copies: HashMap::new(), by_epoch: BTreeMap::new() }
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

    /// The number that its next statement gets.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The site received a copy. States it when it is a new mail or its copies pass a step;
    /// within a step nothing new is to be said.
    pub fn sight(
        &mut self,
        matches: &[Match],
        probe: &Probe,
        facts: Facts,
        now: Time,
    ) -> Option<Witness> {
        self.forget(now);
        let (mail, epoch, stated) = match self.same_mail(matches, now) {
            Some(own) => match own.statement.kind {
                Kind::Sighting { copies, .. } => {
                    (own.statement.mail, own.statement.epoch, Some(copies))
                }
                Kind::Opinion { .. } => (own.statement.mail, own.statement.epoch, None),
            },
            None => (self.next_mail(), now.epoch(), None),
        };
        let known = stated.map_or(0, Copies::at_least);
        let count = self.copies.entry(mail).or_insert_with(|| {
            self.by_epoch.entry(now.epoch()).or_default().push(mail);
            known
        });
        *count = count.saturating_add(1);
        let copies = Copies::of(*count);
        if stated.is_some_and(|stated| stated >= copies) {
            return None;
        }
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

    /// The site's own sighting of the same mail in the last two hours.
    fn same_mail<'a>(&self, matches: &'a [Match], now: Time) -> Option<&'a Witness> {
        let since = now.minus_secs(SAME_MAIL_SECS).epoch();
        matches
            .iter()
            .map(|found| found.witness.as_ref())
            .filter(|own| own.statement.site == self.id && own.statement.epoch >= since)
            .filter(|own| own.statement.class() == Class::Sighting)
            .max_by_key(|own| (own.statement.epoch, own.statement.mail))
    }

    /// The name that a mail gets whose first statement comes now.
    #[must_use]
    pub fn next_mail(&self) -> MailId {
        MailId(self.next_seq)
    }

    fn state(
        &mut self,
        mail: MailId,
        epoch: Epoch,
        kept_from: Epoch,
        probe: &Probe,
        kind: Kind,
    ) -> Witness {
        let seq = self.next_seq;
        self.next_seq += 1;
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
