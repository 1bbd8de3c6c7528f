//! Who speaks in a private network, where the site takes part in another one beside it: whose word
//! counts in its reading, and whose statements are never named in the other network.
//!
//! Main item: [`Circle`]. Key decision: both follow from the site that speaks, not from the way by
//! which a statement came, so that a statement heard twice is one. A site stays in the circle as long
//! as anything it said can still be held here.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use novacula_catalog::node::{Group, MemberRecord};
use novacula_catalog::{KEEP_SECS, SiteId, Time};

/// What is known of a site.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// A host of it belongs to the network, by its badge.
    member: bool,
    /// When something was last heard of it.
    at: Time,
}

/// The sites of a private network.
#[derive(Debug)]
pub(super) struct Circle {
    group: Group,
    home: SiteId,
    /// Most sites known; beyond, what a new one says is not taken in.
    sites_max: usize,
    sites: Mutex<HashMap<SiteId, Heard>>,
}

impl Circle {
    /// As many sites are known as statements are held: each could be of another site.
    pub(super) fn new(group: Group, home: SiteId, sites_max: usize) -> Self {
        Self { group, home, sites_max, sites: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SiteId, Heard>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, site: SiteId, member: bool, now: Time) -> bool {
        if site == self.home {
            return true;
        }
        let mut sites = self.lock();
        if sites.len() >= self.sites_max && !sites.contains_key(&site) {
            sites.retain(|_, of| now.secs_since(of.at) <= KEEP_SECS);
            if sites.len() >= self.sites_max {
                return false;
            }
        }
        let of = sites.entry(site).or_insert(Heard { member, at: now });
        (of.member, of.at) = (of.member || member, now);
        true
    }

    /// A statement of the site came by this network. False where there is no room to remember that:
    /// then it must not be held.
    #[must_use]
    pub(super) fn hear(&self, site: SiteId, now: Time) -> bool {
        self.note(site, false, now)
    }

    /// A host told of itself, and the node believes it. True where its site was no member before.
    pub(super) fn meet(&self, record: &MemberRecord, now: Time) -> bool {
        let site = record.site();
        let new = !self.counts(&site);
        self.group.accepts(&record.badge, record.node, &site) && self.note(site, true, now) && new
    }

    /// The site's word counts here, this one's own too.
    pub(super) fn counts(&self, site: &SiteId) -> bool {
        if *site == self.home {
            return true;
        }
        match &self.group {
            Group::Sites(sites) => sites.contains(site),
            Group::Open | Group::Key(_) => self.lock().get(site).is_some_and(|of| of.member),
        }
    }

    /// Something that the site said came by this network, or may come.
    pub(super) fn has(&self, site: &SiteId) -> bool {
        self.counts(site) || self.lock().contains_key(site)
    }

    /// The other sites whose word counts.
    pub(super) fn members(&self) -> Vec<SiteId> {
        match &self.group {
            Group::Sites(sites) => sites.iter().copied().filter(|of| *of != self.home).collect(),
            Group::Open | Group::Key(_) => {
                self.lock().iter().filter(|(_, of)| of.member).map(|(site, _)| *site).collect()
            }
        }
    }

    /// Lets go of sites of which nothing can be held here any more.
    pub(super) fn expire(&self, now: Time) {
        self.lock().retain(|_, of| now.secs_since(of.at) <= KEEP_SECS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: SiteId = SiteId([0; 32]);
    const NOW: Time = Time(1_800_000_000);

    fn site(number: u8) -> SiteId {
        SiteId([number; 32])
    }

    #[test]
    fn who_is_heard_is_named_nowhere_else_and_counts_only_as_a_member() {
        let circle = Circle::new(Group::Key([7; 32]), HOME, 2);
        assert!(circle.hear(site(1), NOW));
        assert!(circle.has(&site(1)) && !circle.counts(&site(1)));
        circle.note(site(1), true, NOW);
        assert!(circle.hear(site(1), NOW) && circle.counts(&site(1)), "a member stays one");
        assert!(circle.counts(&HOME) && circle.hear(HOME, NOW));
        assert_eq!(circle.members(), [site(1)]);
        // No room: what it says is not taken in. With time there is some again.
        assert!(circle.hear(site(2), NOW) && !circle.hear(site(3), NOW));
        assert!(!circle.has(&site(3)));
        assert!(circle.hear(site(3), Time(NOW.0 + KEEP_SECS + 1)));
        assert!(!circle.counts(&site(1)) && circle.counts(&HOME));
    }

    #[test]
    fn of_a_list_those_on_it_count() {
        let circle = Circle::new(Group::Sites([HOME, site(1)].into()), HOME, 9);
        assert!(circle.counts(&site(1)) && circle.has(&site(1)) && !circle.has(&site(2)));
        assert!(circle.hear(site(2), NOW) && circle.has(&site(2)) && !circle.counts(&site(2)));
        assert_eq!(circle.members(), [site(1)]);
        circle.expire(Time(NOW.0 + KEEP_SECS + 1));
        assert!(!circle.has(&site(2)) && circle.has(&site(1)));
    }
}
