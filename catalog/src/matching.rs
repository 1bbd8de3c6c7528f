//! Does this mail match that statement? Pure functions from the asker's own digests and the
//! keys of a statement. A key shared says which of *our* engines it came from, so the rule of
//! match needs nothing of the other side but its keys (and its Nilsimsa digest where two keys
//! are shared and a third is missing).

use std::borrow::Cow;
use std::sync::Arc;

use crate::clock::Time;
use crate::digest::{Digest, Engine, Key, Nilsimsa, SaltEpoch};
use crate::entry::Witness;
use crate::identity::SiteId;

/// Shared shingles that suffice while the other side's Nilsimsa digest is not known.
pub const SHARED_UNVERIFIED: u32 = 3;
/// Equal bits (of 256) of the Nilsimsa digests from which two shared shingles suffice. The curve
/// of this and the next is in docs/measurements.md, "Twins".
pub const NILSIMSA_OF_TWO_BITS: u32 = 188;
/// The same for three shared shingles.
pub const NILSIMSA_OF_THREE_BITS: u32 = 176;
/// The same for four; five need none.
pub const NILSIMSA_OF_FOUR_BITS: u32 = 164;
/// Shared shingles of one end of a long text that need none: what stands before or behind may
/// all be padding.
pub const SHARED_OF_END: u32 = 3;

/// One key of the asker's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OwnKey {
    key: Key,
    engine: Engine,
    weak: bool,
    /// It stands in much of the asker's own accepted mail.
    common: bool,
}

/// One mail as the asker knows it: its digests with their keys under the salts in force.
#[derive(Clone, Debug)]
pub struct Probe {
    keys: Vec<OwnKey>,
    emitted: Vec<Key>,
    nilsimsa: Option<Nilsimsa>,
}

impl Probe {
    /// The probe for a mail's digests at `now`.
    #[must_use]
    pub fn new(digests: &[Digest], nilsimsa: Option<Nilsimsa>, now: Time) -> Self {
        Self::with_common(digests, nilsimsa, now, |_| false)
    }

    /// The same, where some digests are common in the asker's own accepted mail: they are stated
    /// and asked for as all others, but no match rests on them ([`Match::common`]).
    #[must_use]
    pub fn with_common(
        digests: &[Digest],
        nilsimsa: Option<Nilsimsa>,
        now: Time,
        common: impl Fn(&Digest) -> bool,
    ) -> Self {
        let (current, former) = SaltEpoch::for_query(now);
        let mut keys = Vec::with_capacity(digests.len() * 2);
        let emitted: Vec<Key> = digests.iter().map(|digest| digest.key(current)).collect();
        let own = |key: Key, of: &Digest| OwnKey {
            key,
            engine: of.engine,
            weak: of.weak,
            common: common(of),
        };
        keys.extend(emitted.iter().zip(digests).map(|(key, of)| own(*key, of)));
        if let Some(former) = former {
            keys.extend(digests.iter().map(|of| own(of.key(former), of)));
        }
        keys.sort_unstable();
        Self { keys, emitted, nilsimsa }
    }

    /// Every key to look up, sorted.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.keys.iter().map(|own| own.key)
    }

    /// True when the key is one to look up.
    #[must_use]
    pub fn asks(&self, key: Key) -> bool {
        self.keys.binary_search_by_key(&key, |own| own.key).is_ok()
    }

    /// Whether a statement that carries these keys would match, if its Nilsimsa digest (which an
    /// opinion has) agreed: what is known before the statement itself is.
    #[must_use]
    pub fn may_match(&self, keys: &[Key], opinion: bool) -> bool {
        let mut shared = Shared::default();
        for own in self.keys.iter().filter(|own| keys.contains(&own.key)) {
            shared.count(own.engine, own.weak);
        }
        shared.nilsimsa_bits = (opinion && self.nilsimsa.is_some()).then_some(256);
        shared.rule().is_some()
    }

    /// The keys that a statement made now carries, in the engines' order of priority.
    #[must_use]
    pub fn emitted(&self) -> &[Key] {
        &self.emitted
    }

    /// The mail's Nilsimsa digest.
    #[must_use]
    pub fn nilsimsa(&self) -> Option<Nilsimsa> {
        self.nilsimsa
    }
}

/// How many keys of each engine are shared, and whether Nilsimsa agrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// All canonical words equal.
    pub exact: bool,
    /// Shared text keys.
    pub text: u32,
    /// Shared head keys.
    pub head: u32,
    /// Shared tail keys.
    pub tail: u32,
    /// Shared links that suffice alone.
    pub link: u32,
    /// Shared hosts, paths and pictures, which do not.
    pub host: u32,
    /// Shared attachments.
    pub attachment: u32,
    /// Equal bits of the Nilsimsa digests, where both are known.
    pub nilsimsa_bits: Option<u32>,
}

impl Shared {
    fn count(&mut self, engine: Engine, weak: bool) {
        match (engine, weak) {
            (Engine::Exact, _) => self.exact = true,
            (Engine::Text, _) => self.text += 1,
            (Engine::Head, _) => self.head += 1,
            (Engine::Tail, _) => self.tail += 1,
            (Engine::Link, false) => self.link += 1,
            (Engine::Link, true) => self.host += 1,
            (Engine::Attachment, false) => self.attachment += 1,
            // A picture beside a text weighs as a host does.
            (Engine::Attachment, true) => self.host += 1,
        }
    }

    /// What a mail shares with a witness.
    #[must_use]
    pub fn of(probe: &Probe, witness: &Witness) -> Self {
        Self::of_keys(probe, witness, |_| true)
    }

    fn of_keys(probe: &Probe, witness: &Witness, counts: impl Fn(&OwnKey) -> bool) -> Self {
        let mut shared = Self::default();
        for own in probe.keys.iter().filter(|own| counts(own)) {
            if witness.statement.keys().binary_search(&own.key).is_ok() {
                shared.count(own.engine, own.weak);
            }
        }
        shared.nilsimsa_bits =
            probe.nilsimsa.zip(witness.nilsimsa).map(|(ours, theirs)| ours.equal_bits(&theirs));
        shared
    }

    /// The rule of match: the engine that proves that both mails are the same, if one does.
    #[must_use]
    pub fn rule(&self) -> Option<Engine> {
        let shingles = self.text + self.head + self.tail;
        let needed = match shingles {
            0 | 1 => None,
            2 => Some(NILSIMSA_OF_TWO_BITS),
            _ if self.head.max(self.tail) >= SHARED_OF_END => Some(0),
            3 => Some(NILSIMSA_OF_THREE_BITS),
            4 => Some(NILSIMSA_OF_FOUR_BITS),
            _ => Some(0),
        };
        let text = match (needed, self.nilsimsa_bits) {
            (Some(needed), Some(bits)) => bits >= needed,
            (Some(_), None) => shingles >= SHARED_UNVERIFIED,
            (None, _) => false,
        };
        // What stands at the end of a long text may be its sender's signature.
        let with_host = self.host > 0 && self.text + self.head > 0;
        match self {
            Self { exact: true, .. } => Some(Engine::Exact),
            _ if text && self.head == shingles => Some(Engine::Head),
            _ if text && self.tail == shingles => Some(Engine::Tail),
            _ if text => Some(Engine::Text),
            _ if self.attachment > 0 => Some(Engine::Attachment),
            _ if self.link > 0 || with_host => Some(Engine::Link),
            _ => None,
        }
    }
}

/// A statement about the same mail, and why it is the same.
#[derive(Clone, Debug)]
pub struct Match {
    /// The statement with where it was observed.
    pub witness: Arc<Witness>,
    /// The engine that proved it.
    pub engine: Engine,
    /// What was shared.
    pub shared: Shared,
    /// It rests on what is common in the asker's own accepted mail: the form of receipts, a
    /// company's disclaimer. It is no word about this mail.
    pub common: bool,
}

/// The matches that say something of this mail: those of the asker's own, and those that do not
/// rest on what is common at home.
#[must_use]
pub fn telling(matches: &[Match], home: SiteId) -> Cow<'_, [Match]> {
    let tells = |of: &Match| !of.common || of.witness.statement.site == home;
    if matches.iter().all(tells) {
        return matches.into();
    }
    matches.iter().filter(|of| tells(of)).cloned().collect()
}

/// Compares a mail with one witness.
#[must_use]
pub fn compare(probe: &Probe, witness: &Arc<Witness>) -> Option<Match> {
    let shared = Shared::of(probe, witness);
    let engine = shared.rule()?;
    let common = probe.keys.iter().any(|own| own.common)
        && Shared::of_keys(probe, witness, |own| !own.common).rule().is_none();
    Some(Match { witness: Arc::clone(witness), engine, shared, common })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shared: Shared, expected: Option<Engine>) {
        assert_eq!(shared.rule(), expected, "{shared:?}");
    }

    #[test]
    fn rule_of_match() {
        let none = Shared::default();
        check(none, None);
        check(Shared { exact: true, ..none }, Some(Engine::Exact));
        for (shingles, bits) in
            [(2, NILSIMSA_OF_TWO_BITS), (3, NILSIMSA_OF_THREE_BITS), (4, NILSIMSA_OF_FOUR_BITS)]
        {
            let shared = |bits| Shared { text: shingles, nilsimsa_bits: Some(bits), ..none };
            check(shared(bits), Some(Engine::Text));
            check(shared(bits - 1), None);
        }
        check(Shared { text: 1, nilsimsa_bits: Some(256), ..none }, None);
        check(Shared { text: 5, nilsimsa_bits: Some(0), ..none }, Some(Engine::Text));
        check(Shared { text: 2, ..none }, None);
        check(Shared { text: 3, ..none }, Some(Engine::Text));
        check(Shared { text: 2, head: 2, tail: 1, ..none }, Some(Engine::Text));
        check(Shared { head: 3, nilsimsa_bits: Some(0), ..none }, Some(Engine::Head));
        check(Shared { head: 2, tail: 1, nilsimsa_bits: Some(0), ..none }, None);
        check(Shared { tail: 3, ..none }, Some(Engine::Tail));
        check(Shared { link: 1, ..none }, Some(Engine::Link));
        check(Shared { host: 2, ..none }, None);
        check(Shared { host: 1, head: 1, ..none }, Some(Engine::Link));
        check(Shared { host: 3, tail: 1, ..none }, None);
        check(Shared { attachment: 1, ..none }, Some(Engine::Attachment));
        check(Shared { nilsimsa_bits: Some(256), ..none }, None);
    }

    #[test]
    fn what_is_common_at_home_proves_nothing() {
        use crate::entry::Network;
        use crate::statement::{Copies, Facts, Kind, MailId, Statement};
        let now = Time(1_800_000_000);
        let digest = |value| Digest { engine: Engine::Text, weak: false, value };
        let stated = |values: std::ops::Range<u64>| {
            let digests: Vec<Digest> = values.map(digest).collect();
            let keys = Probe::new(&digests, None, now).emitted().to_vec();
            let kind = Kind::Sighting { copies: Copies::One, facts: Facts::default() };
            let statement = Statement::new(SiteId([1; 32]), MailId(1), 1, now.epoch(), keys, kind);
            let network = Network(1);
            Arc::new(Witness { statement, network, nilsimsa: None, kept_from: now.epoch() })
        };
        let own: Vec<Digest> = (0..10).map(digest).collect();
        let probe = Probe::with_common(&own, None, now, |of| of.value < 6);
        assert_eq!(probe.emitted(), Probe::new(&own, None, now).emitted(), "all are stated");
        let form = compare(&probe, &stated(0..6)).unwrap();
        assert!(form.common, "only what is common is shared");
        let mail = compare(&probe, &stated(3..10)).unwrap();
        assert!(!mail.common);
        let both = [form, mail];
        assert_eq!(telling(&both, SiteId([9; 32])).len(), 1);
        assert_eq!(telling(&both, SiteId([1; 32])).len(), 2, "what we said ourselves stands");
    }

    #[test]
    fn after_the_salt_rolls_statements_of_last_week_still_match_for_72_hours() {
        use crate::digest::{SALT_OVERLAP_SECS, SALT_SECS};
        use crate::entry::Network;
        use crate::statement::{Copies, Facts, Kind, MailId, Statement};
        let digests = [Digest { engine: Engine::Exact, weak: false, value: 11 }];
        let roll = Time(2900 * SALT_SECS);
        let before = Probe::new(&digests, None, roll.minus_secs(60));
        let kind = Kind::Sighting { copies: Copies::One, facts: Facts::default() };
        let keys = before.emitted().to_vec();
        let epoch = roll.minus_secs(60).epoch();
        let statement = Statement::new(SiteId([1; 32]), MailId(1), 1, epoch, keys, kind);
        let network = Network(1);
        let witness = Arc::new(Witness { statement, network, nilsimsa: None, kept_from: epoch });
        let matches = |at| compare(&Probe::new(&digests, None, at), &witness).is_some();
        assert!(matches(roll));
        assert!(!matches(Time(roll.0 + SALT_OVERLAP_SECS)));
    }
}
