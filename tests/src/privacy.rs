//! What can be learned of wanted mail from the keys that a site sends: *reading* them with a
//! dictionary made of other mail, and *confirming* a text that is known already. Main items:
//! [`Dictionary`], [`Reading`], [`Confirmation`].
//!
//! Key decision: the adversary has everything. The salt is public, so he makes keys of whatever
//! he likes; and he is given every statement, as if he held the whole catalog. What a single
//! replica is given follows from the size of the network ([`listener`]).

use std::collections::HashSet;

use novacula_agent::{Canonical, Fingerprint, StopList, quoted_shingle, stoppable};
use novacula_catalog::{
    Copies, Digest, Engine, Facts, Key, Kind, MailId, Network, Probe, SALT_OVERLAP_SECS, SALT_SECS,
    SaltEpoch, SiteId, Statement, Time, Witness, compare,
};

use crate::mutations::Draws;

/// Inside one salt epoch and outside the overlap, so that every digest has one key.
const NOW: Time = Time(2900 * SALT_SECS + SALT_OVERLAP_SECS);

/// Holders of a key (docs/peers.md).
const HOLDERS: f64 = 6.0;

/// Keys of everything that the adversary has read elsewhere.
#[derive(Debug, Default)]
pub struct Dictionary(HashSet<Key>);

impl Dictionary {
    /// Takes in every shingle of a text, chosen by the engines or not, and what it is in a quote.
    pub fn learn(&mut self, canonical: &Canonical) {
        for shingle in stoppable(&text_of(&canonical.text)) {
            self.0.extend([shingle, quoted_shingle(shingle)].map(shingle_key));
        }
    }

    /// How many keys it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a dictionary makes of statements about mail that it never saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Mails that were stated.
    pub mails: usize,
    /// Distinct shingles of their texts, and of their quotes.
    pub shingles: usize,
    /// Keys of shingles that were sent.
    pub keys: usize,
    /// Of them, those that the dictionary knows.
    pub read: usize,
    /// Mails with at least one such key.
    pub touched: usize,
    /// Mails of which at least half of the keys are known.
    pub half_read: usize,
}

impl Reading {
    /// Lets the adversary read what is stated of one mail; nothing is of mail without evidence.
    pub fn read(&mut self, canonical: &Canonical, stop: &StopList, dictionary: &Dictionary) {
        let fingerprint = Fingerprint::with(canonical, stop);
        if !fingerprint.is_evidence() {
            return;
        }
        let sent: Vec<Key> = fingerprint
            .digests()
            .iter()
            .filter(|digest| digest.engine.key_number() == Engine::Text as u8)
            .map(|digest| digest.key(SaltEpoch::at(NOW)))
            .collect();
        let read = sent.iter().filter(|key| dictionary.0.contains(key)).count();
        self.mails += 1;
        let texts = [&canonical.text, &canonical.quoted];
        self.shingles += texts.map(|text| stoppable(&text_of(text)).len()).iter().sum::<usize>();
        self.keys += sent.len();
        self.read += read;
        self.touched += usize::from(read > 0);
        self.half_read += usize::from(read > 0 && read * 2 >= sent.len());
    }

    /// Share of the texts' shingles that become known.
    #[must_use]
    pub fn of_shingles(&self) -> f64 {
        self.read as f64 / self.shingles.max(1) as f64
    }

    /// Share of the keys sent that become known.
    #[must_use]
    pub fn of_keys(&self) -> f64 {
        self.read as f64 / self.keys.max(1) as f64
    }
}

/// How many keys a mail sends, and whether who has a text can tell that it was received.
#[derive(Clone, Debug, Default)]
pub struct Confirmation {
    /// Mails that were stated.
    pub mails: usize,
    /// Of them, those that are confirmed.
    pub confirmed: usize,
    /// Keys of each mail.
    pub keys: Vec<usize>,
}

impl Confirmation {
    /// Somebody who knows the text but for a share of its words asks about it.
    pub fn ask(&mut self, canonical: &Canonical, percent_wrong: u32, draws: &mut Draws) {
        let fingerprint = Fingerprint::of(canonical);
        if !fingerprint.is_evidence() {
            return;
        }
        // A sighting carries no Nilsimsa digest.
        let probe = Probe::new(fingerprint.digests(), None, NOW);
        let kind = Kind::Sighting { copies: Copies::One, facts: Facts::default() };
        let keys = probe.emitted().to_vec();
        self.keys.push(keys.len());
        let statement = Statement::new(SiteId([1; 32]), MailId(1), 1, NOW.epoch(), keys, kind);
        let witness =
            Witness { statement, network: Network::HOME, nilsimsa: None, kept_from: NOW.epoch() };
        let words = canonical.text.split(' ');
        let guess: Vec<String> = words
            .map(|word| if draws.percent(percent_wrong) { draws.word() } else { word.into() })
            .collect();
        let guess = Canonical { text: guess.join(" "), ..canonical.clone() };
        let guess = Fingerprint::of(&guess);
        let probe = Probe::new(guess.digests(), guess.nilsimsa(), NOW);
        self.mails += 1;
        self.confirmed += usize::from(compare(&probe, &witness.into()).is_some());
    }

    /// Share that is confirmed.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.confirmed as f64 / self.mails.max(1) as f64
    }

    /// Share of the mails of which one replica among so many peers holds a key, and so can
    /// confirm them without asking anybody.
    #[must_use]
    pub fn overheard(&self, peers: usize) -> f64 {
        let missed = 1.0 - listener(peers);
        let heard = self.keys.iter().map(|keys| 1.0 - missed.powf(*keys as f64));
        heard.sum::<f64>() / self.keys.len().max(1) as f64
    }
}

/// Share of all keys that lie at one replica among so many peers.
#[must_use]
pub fn listener(peers: usize) -> f64 {
    (HOLDERS / peers.max(1) as f64).min(1.0)
}

fn text_of(text: &str) -> Canonical {
    Canonical { text: text.to_owned(), ..Canonical::default() }
}

fn shingle_key(value: u64) -> Key {
    Digest { engine: Engine::Text, weak: false, value }.key(SaltEpoch::at(NOW))
}
