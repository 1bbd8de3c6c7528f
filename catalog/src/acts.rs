//! Who said what at home. The catalog's unit is the site: a site says one thing of one mail. But
//! a site has many people, and each may speak once per mail and take back what he said. This
//! module keeps their acts apart and derives the site's one opinion from them.

use std::collections::{BTreeMap, HashMap};

use crate::clock::Time;
use crate::statement::{MailId, Opinion};

/// One person's (or trap's) word. What is withdrawn is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Act {
    /// Spam.
    Report = 1,
    /// It came to a trap address.
    TrapReport = 2,
    /// Not spam.
    Revoke = 3,
}

impl Act {
    /// The act with this number on disk.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Report, Self::TrapReport, Self::Revoke].into_iter().find(|act| *act as u8 == byte)
    }
}

/// Who acted: a name that the agent vouches for, and whether he administers the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// User name, as the socket's peer or a believed door gave it.
    pub name: String,
    /// An administrator's word settles what the site says, and he may withdraw any.
    pub administrator: bool,
}

/// When a person acted, and on what: enough to name the mail to him again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// When he acted.
    pub acted: Time,
    /// When the mail was received.
    pub received: Time,
    /// The mail's first digest, its name in the log.
    pub digest: u64,
}

/// What one person said of one mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// His word.
    pub act: Act,
    /// He administers the site.
    pub administrator: bool,
    /// When, and of what.
    pub occasion: Occasion,
}

/// All acts on the site's mails, by the person's name.
#[derive(Clone, Debug, Default)]
pub struct Acts {
    by_mail: HashMap<MailId, BTreeMap<String, Said>>,
}

impl Acts {
    /// What the site says of a mail: the administrator's word if he spoke, else the majority of
    /// its people, and nothing when they are split. A trap's report counts when no person's does.
    #[must_use]
    pub fn opinion(&self, mail: MailId) -> Opinion {
        let Some(acts) = self.by_mail.get(&mail) else { return Opinion::Withdrawn };
        let said = |act: Act, administrator: bool| {
            let by = acts.values().filter(|said| said.administrator == administrator);
            by.filter(|said| said.act == act).count()
        };
        for administrator in [true, false] {
            let (reports, revokes) =
                (said(Act::Report, administrator), said(Act::Revoke, administrator));
            match reports.cmp(&revokes) {
                std::cmp::Ordering::Greater => return Opinion::Report,
                std::cmp::Ordering::Less => return Opinion::Revoke,
                std::cmp::Ordering::Equal if reports > 0 => return Opinion::Withdrawn,
                std::cmp::Ordering::Equal => {}
            }
        }
        let trapped = acts.values().any(|said| said.act == Act::TrapReport);
        if trapped { Opinion::TrapReport } else { Opinion::Withdrawn }
    }

    /// What this person said of a mail.
    #[must_use]
    pub fn of(&self, mail: MailId, who: &Reporter) -> Option<Act> {
        let said = self.by_mail.get(&mail)?.get(&who.name)?;
        Some(said.act)
    }

    /// How many people's words there are on a mail.
    #[must_use]
    pub fn count(&self, mail: MailId) -> usize {
        self.by_mail.get(&mail).map_or(0, BTreeMap::len)
    }

    /// What is known of one mail only, to try a change on.
    #[must_use]
    pub fn clone_of(&self, mail: MailId) -> Self {
        let acts = self.by_mail.get(&mail).map(|acts| (mail, acts.clone()));
        Self { by_mail: acts.into_iter().collect() }
    }

    /// Takes over what another says of one mail.
    pub fn replace(&mut self, mail: MailId, mut other: Self) {
        match other.by_mail.remove(&mail) {
            Some(acts) => self.by_mail.insert(mail, acts),
            None => self.by_mail.remove(&mail),
        };
    }

    /// All that a person said and did not take back, the latest first.
    #[must_use]
    pub fn by(&self, name: &str) -> Vec<(MailId, Said)> {
        let own = self.by_mail.iter().filter_map(|(mail, acts)| Some((*mail, *acts.get(name)?)));
        let mut own: Vec<_> = own.collect();
        own.sort_by_key(|(mail, said)| std::cmp::Reverse((said.occasion.acted, *mail)));
        own
    }

    /// Sets what a person says of a mail; an earlier word of his is replaced.
    pub fn set(&mut self, mail: MailId, who: Reporter, act: Act, occasion: Occasion) {
        let said = Said { act, administrator: who.administrator, occasion };
        self.by_mail.entry(mail).or_default().insert(who.name, said);
    }

    /// Forgets what was said before `oldest`.
    pub fn expire(&mut self, oldest: Time) {
        self.by_mail.retain(|_, acts| {
            acts.retain(|_, said| said.occasion.acted >= oldest);
            !acts.is_empty()
        });
    }

    /// Takes back what a person said; with `all`, what anybody said. False when there was
    /// nothing to take back.
    pub fn withdraw(&mut self, mail: MailId, who: &Reporter, all: bool) -> bool {
        let Some(acts) = self.by_mail.get_mut(&mail) else { return false };
        let before = acts.len();
        acts.retain(|other, _| !all && *other != who.name);
        let withdrawn = acts.len() < before;
        if acts.is_empty() {
            self.by_mail.remove(&mail);
        }
        withdrawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Occasion {
        Occasion { acted: Time(secs), received: Time(secs), digest: secs }
    }

    fn who(name: &str) -> Reporter {
        Reporter { name: name.into(), administrator: name == "root" }
    }

    #[track_caller]
    fn check(acts: &[(&str, Option<Act>)], expected: Opinion) {
        let mail = MailId(1);
        let mut all = Acts::default();
        for (name, act) in acts {
            match act {
                Some(act) => all.set(mail, who(name), *act, at(5)),
                None => {
                    all.withdraw(mail, &who(name), false);
                }
            }
        }
        assert_eq!(all.opinion(mail), expected, "{acts:?}");
    }

    #[test]
    fn what_a_site_says() {
        use Act::{Report, Revoke, TrapReport};
        check(&[], Opinion::Withdrawn);
        check(&[("ann", Some(Report))], Opinion::Report);
        check(
            &[("ann", Some(Report)), ("ann", Some(Revoke)), ("ann", Some(Report))],
            Opinion::Report,
        );
        check(&[("ann", Some(Report)), ("ann", None)], Opinion::Withdrawn);
        check(&[("ann", Some(Report)), ("bob", None)], Opinion::Report);
        check(&[("ann", Some(Report)), ("bob", Some(Revoke))], Opinion::Withdrawn);
        check(
            &[("ann", Some(Report)), ("bob", Some(Revoke)), ("cy", Some(Revoke))],
            Opinion::Revoke,
        );
        check(
            &[("ann", Some(Report)), ("bob", Some(Report)), ("root", Some(Revoke))],
            Opinion::Revoke,
        );
        check(&[("trap", Some(TrapReport))], Opinion::TrapReport);
        check(&[("trap", Some(TrapReport)), ("ann", Some(Revoke))], Opinion::Revoke);
    }

    #[test]
    fn the_administrator_may_withdraw_everything() {
        let mail = MailId(4);
        let mut acts = Acts::default();
        acts.set(mail, who("ann"), Act::Report, at(5));
        acts.set(mail, who("bob"), Act::Report, at(5));
        assert!(acts.withdraw(mail, &who("root"), true));
        assert_eq!((acts.opinion(mail), acts.count(mail)), (Opinion::Withdrawn, 0));
        assert!(!acts.withdraw(mail, &who("root"), true));
    }

    #[test]
    fn everybody_sees_his_own_words_the_latest_first() {
        let mut acts = Acts::default();
        for (mail, name, secs) in [(1, "ann", 5), (2, "bob", 6), (3, "ann", 7), (4, "ann", 6)] {
            acts.set(MailId(mail), who(name), Act::Report, at(secs));
        }
        acts.withdraw(MailId(4), &who("ann"), false);
        let of = |name| acts.by(name).iter().map(|(mail, _)| mail.0).collect::<Vec<_>>();
        assert_eq!((of("ann"), of("bob"), of("cy")), (vec![3, 1], vec![2], vec![]));
    }

    #[test]
    fn who_becomes_administrator_still_speaks_once() {
        let mail = MailId(4);
        let mut acts = Acts::default();
        acts.set(mail, who("ann"), Act::Report, at(5));
        let promoted = Reporter { name: "ann".into(), administrator: true };
        acts.set(mail, promoted.clone(), Act::Revoke, at(6));
        assert_eq!((acts.opinion(mail), acts.count(mail)), (Opinion::Revoke, 1));
        acts.expire(Time(6));
        assert_eq!(acts.of(mail, &promoted), Some(Act::Revoke));
        acts.expire(Time(7));
        assert_eq!(acts.count(mail), 0);
    }
}
