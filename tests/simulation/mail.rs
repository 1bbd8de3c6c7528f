//! Mail as the catalog sees it: digests. A campaign is a mail that comes again with changes.

use novacula_catalog::{Digest, Engine};

/// One copy.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Its digests, as an agent's fingerprint would give them.
    pub digests: Vec<Digest>,
    /// Which campaign it is of, for the checks only.
    pub campaign: u64,
}

/// What its copies are made from.
#[derive(Clone, Debug)]
pub struct Campaign {
    base: Vec<Digest>,
    number: u64,
    /// Share of digests that a copy changes.
    pub mutation: f64,
}

/// Digests of a mail by engine: 23, as today's engines give at most.
const BUDGET: [(Engine, usize); 5] = [
    (Engine::Exact, 1),
    (Engine::Text, 10),
    (Engine::Head, 5),
    (Engine::Tail, 3),
    (Engine::Link, 4),
];

impl Campaign {
    /// A campaign whose copies differ by `mutation`.
    pub fn new(number: u64, mutation: f64, rng: &mut fastrand::Rng) -> Self {
        let all = BUDGET.iter().flat_map(|(engine, count)| std::iter::repeat_n(*engine, *count));
        let base = all.map(|engine| Digest { engine, weak: false, value: rng.u64(..) }).collect();
        Self { base, number, mutation }
    }

    /// The next copy.
    pub fn copy(&self, rng: &mut fastrand::Rng) -> Mail {
        let changed = |digest: &Digest, rng: &mut fastrand::Rng| {
            let often = match digest.engine {
                Engine::Exact if self.mutation > 0.0 => 0.9,
                _ => self.mutation,
            };
            let value = if rng.f64() < often { rng.u64(..) } else { digest.value };
            Digest { value, ..*digest }
        };
        let digests = self.base.iter().map(|digest| changed(digest, rng)).collect();
        Mail { digests, campaign: self.number }
    }
}
