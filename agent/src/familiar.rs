//! What is common in this site's own accepted mail: the forms of receipts and newsletters, a
//! company's disclaimer, the hosts of those who write here (negative selection: what the body
//! knows as its own provokes nothing; Forrest et al. 1994). A match that rests on such features
//! alone is discounted at home. The choice of keys never changes by it, so that all sites go on
//! choosing alike (DESIGN 3.2).
//!
//! Main item: [`Familiar`], pure: what it learns it gives back to store. Key decision: common is
//! what came back on several days, over more days than any statement is kept, so that no outbreak
//! makes itself common; and a report by people here takes it back. Only keyed 64-bit hashes of
//! digests are kept. At its bounds the newest is not learned, and counted: what is common comes
//! again.

use std::collections::HashMap;

use crate::fingerprint::keyed;
use novacula_catalog::{Digest, Feature, Time};

/// Days with accepted mail that make a feature common (the curve is in docs/measurements.md,
/// "What a site learns").
const DAYS_MIN: u32 = 3;

/// Days between the first and the last of them: more than the 72 h that statements are kept.
const SPAN_DAYS_MIN: u32 = 4;

/// Days for which a report by this site's people keeps a feature from being common (30, as long
/// as their opinions act here).
const REPORTED_DAYS: u32 = 30;

/// Most features that are known; about 60 bytes each.
const FEATURES_MAX: usize = 400_000;

/// Most features that are met for the first time on one day: with the 14 days that they are kept
/// they fill what may be known.
const NEW_A_DAY_MAX: u32 = 25_000;

const DAY_SECS: u64 = 24 * 3600;

/// What is common here, by keyed hash.
#[derive(Clone, Debug, Default)]
pub struct Familiar {
    seed: u64,
    known: HashMap<u64, Feature>,
    today: u32,
    new_today: u32,
    dropped: u64,
}

impl Familiar {
    /// What was stored, under the site's own secret.
    #[must_use]
    pub fn new(secret: [u8; 32], stored: Vec<Feature>) -> Self {
        let mut seed = [0; 8];
        seed.copy_from_slice(&secret[..8]);
        let known = stored.into_iter().map(|feature| (feature.hash, feature)).collect();
        Self { seed: u64::from_le_bytes(seed), known, ..Self::default() }
    }

    /// How many features are known.
    #[must_use]
    pub fn features(&self) -> usize {
        self.known.len()
    }

    /// How many were not learned for want of room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// True when a digest stands in much of this site's accepted mail.
    #[must_use]
    pub fn is_common(&self, digest: &Digest, now: Time) -> bool {
        let Some(of) = self.known.get(&self.hash(digest)) else { return false };
        let reported = of.reported_day > 0 && day(now) <= of.reported_day + REPORTED_DAYS;
        of.days >= DAYS_MIN && of.last_day - of.first_day >= SPAN_DAYS_MIN && !reported
    }

    /// A mail was accepted. Gives what changed.
    pub fn accepted(&mut self, digests: &[Digest], now: Time) -> Vec<Feature> {
        let today = day(now);
        self.learn(digests, now, |of| {
            if of.last_day < today {
                of.last_day = today;
                of.days += 1;
            }
        })
    }

    /// People here reported a mail. Gives what changed.
    pub fn reported(&mut self, digests: &[Digest], now: Time) -> Vec<Feature> {
        let today = day(now);
        self.learn(digests, now, |of| of.reported_day = today)
    }

    /// Lets go of what is too old.
    pub fn expire(&mut self, now: Time) {
        let today = day(now);
        self.known.retain(|_, feature| feature.kept_until() >= today);
    }

    fn learn(
        &mut self,
        digests: &[Digest],
        now: Time,
        change: impl Fn(&mut Feature),
    ) -> Vec<Feature> {
        let today = day(now);
        if self.today != today {
            (self.today, self.new_today) = (today, 0);
        }
        let mut changed = Vec::new();
        for digest in digests {
            let hash = self.hash(digest);
            let known = self.known.get(&hash).copied();
            if known.is_none() {
                if self.known.len() >= FEATURES_MAX || self.new_today >= NEW_A_DAY_MAX {
                    self.dropped += 1;
                    continue;
                }
                self.new_today += 1;
            }
            let before = known.unwrap_or(Feature {
                hash,
                days: 0,
                first_day: today,
                last_day: 0,
                reported_day: 0,
            });
            let mut after = before;
            change(&mut after);
            if after != before {
                self.known.insert(hash, after);
                changed.push(after);
            }
        }
        changed
    }

    fn hash(&self, digest: &Digest) -> u64 {
        // A shingle is the same wherever it stands: the engine is no part of it.
        keyed(digest.value, self.seed)
    }
}

fn day(now: Time) -> u32 {
    u32::try_from(now.0 / DAY_SECS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::Canonical;
    use crate::fingerprint::Fingerprint;
    use crate::message::Message;

    const START: Time = Time(1_800_000_000);

    fn after_days(days: u64) -> Time {
        Time(START.0 + days * DAY_SECS)
    }

    fn fingerprint(text: &str) -> Fingerprint {
        Fingerprint::of(&Canonical::of(&Message::parse(format!("Subject: x\n\n{text}").as_bytes())))
    }

    fn of_site() -> Familiar {
        Familiar::new([7; 32], Vec::new())
    }

    const RECEIPT: &str = "Thank you for your purchase at our store on the harbour square, \
        your receipt with all items that you bought is below, keep it for your records";

    #[test]
    fn what_comes_back_on_several_days_is_common() {
        let (mut familiar, receipt) = (of_site(), fingerprint(RECEIPT));
        let common = |familiar: &Familiar, days: u64| {
            receipt.digests().iter().all(|of| familiar.is_common(of, after_days(days)))
        };
        assert!(!familiar.accepted(receipt.digests(), START).is_empty());
        assert!(familiar.accepted(receipt.digests(), START).is_empty(), "once a day");
        familiar.accepted(receipt.digests(), after_days(2));
        familiar.accepted(receipt.digests(), after_days(3));
        assert!(!common(&familiar, 3), "an outbreak may last so long");
        familiar.accepted(receipt.digests(), after_days(5));
        assert!(common(&familiar, 5));
        let other =
            fingerprint("nothing of this stood in any mail that came here before today, really");
        assert!(!other.digests().iter().any(|of| familiar.is_common(of, after_days(5))));
        assert!(!familiar.reported(receipt.digests(), after_days(6)).is_empty());
        assert!(!common(&familiar, 6), "people here say that it is spam");
        assert!(common(&familiar, 6 + 31));
    }

    #[test]
    fn what_is_stored_is_what_was_known_and_only_this_site_can_ask() {
        let (mut familiar, receipt) = (of_site(), fingerprint(RECEIPT));
        let mut stored = HashMap::new();
        for days in [0, 2, 5] {
            let changed = familiar.accepted(receipt.digests(), after_days(days));
            stored.extend(changed.into_iter().map(|of| (of.hash, of)));
        }
        let stored: Vec<Feature> = stored.into_values().collect();
        let first = receipt.digests()[0];
        assert!(Familiar::new([7; 32], stored.clone()).is_common(&first, after_days(5)));
        assert!(!Familiar::new([8; 32], stored).is_common(&first, after_days(5)));
    }

    #[test]
    fn it_is_bounded_and_forgets() {
        let mut familiar = of_site();
        for at in 0..2000 {
            let text: String =
                (0..40).map(|word| format!("w{}x ", letters(at * 40 + word))).collect();
            familiar.accepted(fingerprint(&text).digests(), START);
        }
        assert!(familiar.features() as u32 <= NEW_A_DAY_MAX && familiar.dropped() > 0);
        familiar.expire(after_days(14));
        assert!(familiar.features() > 0);
        familiar.expire(after_days(15));
        assert_eq!(familiar.features(), 0);
    }

    fn letters(mut number: u32) -> String {
        let mut out = String::new();
        while number > 0 {
            out.push(char::from(b'a' + (number % 26) as u8));
            number /= 26;
        }
        out
    }
}
