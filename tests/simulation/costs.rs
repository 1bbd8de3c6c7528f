//! What one mail costs in frames, records under the keys against whole statements everywhere:
//! real frames for a sighting with 23 keys, whose holders are drawn evenly.

use std::collections::BTreeMap;

use novacula_catalog::node::wire::{Observe, Request, Response, Said, Standing};
use novacula_catalog::{Copies, Facts, Identity, Key, Kind, MailId, Statement, Time};

/// Keys of a mail, as today's engines give at most.
const KEYS: usize = 23;
/// Replicas of a key.
const REPLICAS: usize = 6;
/// Mails averaged over.
const MAILS: u64 = 200;

/// Per mail.
#[derive(Debug, Default)]
pub struct Costs {
    /// Distinct peers.
    pub peers: f64,
    /// Bytes of requests and empty answers, records under the keys.
    pub records: f64,
    /// The same with whole statements everywhere.
    pub whole: f64,
    /// Bytes of a signed statement.
    pub signed: usize,
}

/// Costs in a network of `sites`.
#[must_use]
pub fn costs(sites: usize, seed: u64) -> Costs {
    let mut rng = fastrand::Rng::with_seed(seed);
    let identity = Identity::from_seed(&[5; 32]);
    let mut sum = Costs::default();
    for number in 0..MAILS {
        let keys: Vec<Key> = (0..KEYS).map(|_| Key(rng.u64(..))).collect();
        let kind = Kind::Sighting { copies: Copies::One, facts: Facts::default() };
        let epoch = Time(1_800_000_000).epoch();
        let statement = Statement::new(identity.site(), MailId(number), number, epoch, keys, kind);
        let signed = statement.sign(&identity);
        sum.signed = signed.len();
        let mut plan: BTreeMap<usize, (Vec<Key>, bool)> = BTreeMap::new();
        for (at, key) in statement.keys().iter().enumerate() {
            let mut holders: Vec<usize> = Vec::new();
            while holders.len() < REPLICAS.min(sites) {
                let one = rng.usize(..sites);
                if !holders.contains(&one) {
                    holders.push(one);
                }
            }
            for holder in holders {
                let (keys, home) = plan.entry(holder).or_default();
                keys.push(*key);
                *home |= at == 0;
            }
        }
        // Number 0 is the asker himself.
        plan.remove(&0);
        let home = statement.keys()[0];
        for (keys, is_home) in plan.into_values() {
            let all = (1u64 << keys.len()) - 1;
            let observe = |said| Observe {
                keys: keys.clone(),
                ask: all,
                under: all,
                said,
                inline: false,
                known: vec![],
            };
            let frame = |said| Request::Observe(observe(said)).encode().len() as f64;
            let standing = Standing::Kept;
            let count = u8::try_from(keys.len()).unwrap_or(u8::MAX);
            let answer =
                Response::Observed { standing, keys: count, pointers: vec![], statements: vec![] };
            let answer = answer.encode().len() as f64;
            let whole = frame(Said::Whole(signed.clone()));
            let (mail, seq) = (statement.mail, statement.seq);
            let record = frame(Said::Record { mail, seq, epoch, kind, home });
            sum.peers += 1.0;
            sum.whole += whole + answer;
            sum.records += answer + if is_home { whole } else { record };
        }
    }
    let mails = MAILS as f64;
    Costs {
        peers: sum.peers / mails,
        records: sum.records / mails,
        whole: sum.whole / mails,
        ..sum
    }
}
