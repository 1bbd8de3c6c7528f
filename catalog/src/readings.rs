//! One mail, judged by each network that a site takes part in.
//!
//! Main item: [`Readings`]. Key decision: the private group's members are not mixed into the main
//! network's sum. Its reading rests on their word alone, against its own threshold, and the stronger
//! word of the two holds; so each sum can be shown, argued with and set by itself. Only revokes from
//! so many networks that no report counts ([`Judgement::vetoed`]) hold against either.

use std::cmp::Reverse;

use crate::judgement::Judgement;
use crate::store::Side;

/// What follows from a mail's matches, network by network.
#[derive(Clone, Debug, PartialEq)]
pub struct Readings {
    /// By the rules of the configuration's top level.
    pub main: Judgement,
    /// By the word of the private group's members, where there is a group beside the main network.
    pub group: Option<Judgement>,
}

impl Readings {
    /// One network's.
    #[must_use]
    pub fn of(&self, side: Side) -> Option<&Judgement> {
        match side {
            Side::Main => Some(&self.main),
            Side::Group => self.group.as_ref(),
        }
    }

    /// The one that holds: a veto, else the stronger word, else the wider spread, else the main
    /// network's.
    #[must_use]
    pub fn holding(&self) -> (Side, &Judgement) {
        let both = Side::ALL.into_iter().filter_map(|side| Some((side, self.of(side)?)));
        let rank = |(side, of): &(Side, &Judgement)| {
            (!of.vetoed, of.conclusion, Reverse(of.spread.sites), *side)
        };
        both.min_by_key(rank).unwrap_or((Side::Main, &self.main))
    }
}

impl From<Judgement> for Readings {
    fn from(main: Judgement) -> Self {
        Self { main, group: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judgement::Conclusion::{self, Bulk, Contested, Spam, Unknown};
    use crate::spread::Spread;

    fn judgement(conclusion: Conclusion, vetoed: bool, sites: u32) -> Judgement {
        Judgement {
            conclusion,
            odds_nats: 0.0,
            confidence: 0,
            spread: Spread { sites, ..Spread::default() },
            reports: 0,
            revokes: 0,
            vetoed,
            home: None,
            terms: Vec::new(),
        }
    }

    #[track_caller]
    fn check(main: (Conclusion, bool, u32), group: (Conclusion, bool, u32), holds: Side) {
        let of = |(conclusion, vetoed, sites)| judgement(conclusion, vetoed, sites);
        let readings = Readings { main: of(main), group: Some(of(group)) };
        assert_eq!(readings.holding().0, holds, "{main:?} {group:?}");
    }

    #[test]
    fn the_stronger_word_holds_and_a_veto_before_it() {
        check((Unknown, false, 1), (Spam, false, 2), Side::Group);
        check((Spam, false, 3), (Unknown, false, 1), Side::Main);
        check((Bulk, false, 9), (Spam, false, 1), Side::Group);
        check((Contested, false, 9), (Spam, false, 1), Side::Group);
        check((Contested, true, 9), (Spam, false, 1), Side::Main);
        check((Spam, false, 9), (Contested, true, 5), Side::Group);
        check((Bulk, false, 3), (Unknown, false, 9), Side::Main);
        check((Unknown, false, 1), (Unknown, false, 2), Side::Group);
        check((Spam, false, 2), (Spam, false, 2), Side::Main);
        let alone = Readings::from(judgement(Unknown, false, 0));
        assert_eq!(alone.holding().0, Side::Main);
    }
}
