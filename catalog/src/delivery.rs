//! One copy of a mail as a site got it, and how copies are counted. Main item: [`Copied`].
//!
//! Key decision: a mail passes several programs of one site that each state it (the milter, then
//! SpamAssassin, then procmail). Each meets a copy once, so what two *stages* counted of one
//! Message-Id are the same copies, and the larger count stands. Copies under other Message-Ids are
//! other copies, wherever they were counted.

use std::collections::HashMap;

use crate::statement::{Copies, Fact, Facts, Filter};

/// Copies from which on nothing new can be stated: they are counted no further.
const COUNTED_MAX: u32 = 10;

/// Where on its way through a site a mail is stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// When the MTA takes it in.
    Mta = 0,
    /// In a content filter.
    Filter = 1,
    /// When it is put into a mailbox.
    #[default]
    Mailbox = 2,
}

impl Stage {
    const COUNT: usize = 3;
}

/// One copy, as the program knows it that states it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivery {
    /// How many recipients it has; 0 counts as 1.
    pub recipients: u32,
    /// Who states it.
    pub stage: Stage,
    /// Hash of its Message-Id, where it has one.
    pub message: Option<u64>,
}

impl From<u32> for Delivery {
    /// A copy with so many recipients, of which nothing else is known.
    fn from(recipients: u32) -> Self {
        Self { recipients, ..Self::default() }
    }
}

/// The copies of one mail, by Message-Id and stage; at most [`COUNTED_MAX`] Message-Ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copied {
    /// Copies of which only the number is left.
    before: u32,
    by_message: HashMap<Option<u64>, [u32; Stage::COUNT]>,
}

impl Copied {
    /// So many were stated before counting began here (the agent was restarted).
    pub(crate) fn since(stated: u32) -> Self {
        Self { before: stated, ..Self::default() }
    }

    /// Counts a copy; gives how many there are now.
    pub(crate) fn count(&mut self, copy: Delivery) -> Copies {
        if self.all() < COUNTED_MAX {
            let stages = self.by_message.entry(copy.message).or_default();
            let stage = &mut stages[copy.stage as usize];
            *stage = stage.saturating_add(copy.recipients.max(1));
        }
        Copies::of(self.all())
    }

    fn all(&self) -> u32 {
        let largest = |stages: &[u32; Stage::COUNT]| stages.iter().copied().max().unwrap_or(0);
        self.by_message.values().map(largest).fold(self.before, u32::saturating_add)
    }
}

impl Facts {
    /// These, and what they leave open as it was known before.
    #[must_use]
    pub(crate) fn or(self, before: Self) -> Self {
        let fact = |now: Fact, before: Fact| if now == Fact::Unknown { before } else { now };
        Self {
            authenticated: fact(self.authenticated, before.authenticated),
            sender_known: fact(self.sender_known, before.sender_known),
            list: fact(self.list, before.list),
            filter: if self.filter == Filter::Unknown { before.filter } else { self.filter },
        }
    }

    /// True where something is known that was not before.
    pub(crate) fn tells_more_than(self, before: Self) -> bool {
        let more = |now: Fact, before: Fact| now != Fact::Unknown && before == Fact::Unknown;
        more(self.authenticated, before.authenticated)
            || more(self.sender_known, before.sender_known)
            || more(self.list, before.list)
            || (self.filter != Filter::Unknown && before.filter == Filter::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTA: Stage = Stage::Mta;
    const FILTER: Stage = Stage::Filter;

    #[track_caller]
    fn check(copies: &[(u64, Stage, u32)], expected: u32) {
        let mut copied = Copied::default();
        for (message, stage, recipients) in copies.iter().copied() {
            copied.count(Delivery { recipients, stage, message: Some(message) });
        }
        assert_eq!(copied.all(), expected, "{copies:?}");
    }

    #[test]
    fn two_stages_count_the_same_copies() {
        check(&[(1, MTA, 1)], 1);
        check(&[(1, MTA, 1), (1, FILTER, 1)], 1);
        check(&[(1, MTA, 1), (1, FILTER, 1), (1, Stage::Mailbox, 1)], 1);
        // One mail for three, then a filter that looks at each of them.
        check(&[(1, MTA, 3), (1, FILTER, 1), (1, FILTER, 1), (1, FILTER, 1)], 3);
        // The same Message-Id again, to another recipient: a second copy, at either stage.
        check(&[(1, MTA, 1), (1, FILTER, 1), (1, MTA, 1), (1, FILTER, 1)], 2);
        check(&[(1, MTA, 1), (1, MTA, 1)], 2);
    }

    #[test]
    fn another_message_id_is_another_copy() {
        check(&[(1, MTA, 1), (2, FILTER, 1)], 2);
        check(&[(1, MTA, 1), (1, FILTER, 1), (2, MTA, 2), (2, FILTER, 1)], 3);
    }

    #[test]
    fn counting_ends_where_nothing_new_can_be_stated() {
        let mut copied = Copied::since(4);
        for message in 0..1000 {
            copied.count(Delivery { message: Some(message), ..Delivery::from(u32::MAX / 2) });
        }
        assert_eq!(copied.by_message.len(), 1);
        let mut copied = Copied::default();
        for message in 0..1000 {
            copied.count(Delivery { message: Some(message), ..Delivery::default() });
        }
        assert_eq!(copied.by_message.len(), COUNTED_MAX as usize);
        assert_eq!(copied.count(Delivery::default()), Copies::Ten);
    }

    #[test]
    fn facts_are_not_forgotten() {
        let mta = Facts { sender_known: Fact::No, ..Facts::default() };
        let filter = Facts { filter: Filter::Grey, ..Facts::default() };
        let both = Facts { sender_known: Fact::No, filter: Filter::Grey, ..Facts::default() };
        assert_eq!(filter.or(mta), both);
        assert!(filter.tells_more_than(mta) && !filter.tells_more_than(both));
        assert_eq!(Facts { filter: Filter::Spam, ..mta }.or(both).filter, Filter::Spam);
        assert!(!Facts::default().tells_more_than(Facts::default()));
    }
}
