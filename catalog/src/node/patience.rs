//! Both sides of a refusal: who is told to wait waits ([`Waits`]), and who goes on asking is cut off
//! ([`Impatience`]): refusing a request still costs a node the frame.
//!
//! Key decision: nobody is asked whether he waited. Refusals drain away faster than a peer that waits
//! collects them, also one of an older program that tries each request three times; what is left
//! grows only with those who do not listen.

use std::collections::HashMap;

use crate::node::api::Now;
use crate::node::host::NodeId;

/// Refusals that a peer may have in a second. A site of 30 mails/s that does not know how to wait has
/// 90; a node spends 5 ms on so many.
const REFUSALS_A_SECOND: f64 = 100.0;
/// And at once. What a site of 100 mails/s has under way when it is refused, were every answer as
/// late as it may be, three times over.
const REFUSALS_MAX: f64 = 1_024.0;
/// How long a peer is cut off the first time, and at most, in seconds; four times as long each time.
const CUT_SECS: (u64, u64) = (10, 3_600);
/// After so long without being cut off, one time is forgiven, in milliseconds.
const FORGIVEN_MS: u64 = 3_600_000;
/// Longest wait that a peer can ask for, in seconds.
const WAIT_SECS_MAX: u32 = 60;
/// Most peers in either table. At the bound those go about whom nothing is left to say; if there are
/// none, one more is not waited for, and not cut off.
const PEERS_MAX: usize = 20_000;

/// Peers that said that one should wait, and until when.
#[derive(Default)]
pub(crate) struct Waits(HashMap<NodeId, u64>);

impl Waits {
    /// The peer wants to be left alone for so long.
    pub(crate) fn told(&mut self, peer: NodeId, secs: u32, now: Now) {
        if self.0.len() >= PEERS_MAX {
            self.0.retain(|_, until| *until > now.ms);
        }
        if self.0.len() < PEERS_MAX || self.0.contains_key(&peer) {
            let ms = u64::from(secs.min(WAIT_SECS_MAX)) * 1_000;
            self.0.insert(peer, now.ms.saturating_add(ms));
        }
    }

    /// True while it does.
    pub(crate) fn on(&self, peer: NodeId, now: Now) -> bool {
        self.0.get(&peer).is_some_and(|until| *until > now.ms)
    }
}

/// How a peer took its refusals.
struct Record {
    refusals: f64,
    at_ms: u64,
    cuts: u32,
    cut_ms: u64,
}

impl Record {
    fn drain(&mut self, now: Now) {
        let secs = now.ms.saturating_sub(self.at_ms) as f64 / 1_000.0;
        self.refusals = (self.refusals - secs * REFUSALS_A_SECOND).max(0.0);
        self.at_ms = now.ms;
        while self.cuts > 0 && now.ms.saturating_sub(self.cut_ms) >= FORGIVEN_MS {
            self.cuts -= 1;
            self.cut_ms = self.cut_ms.saturating_add(FORGIVEN_MS);
        }
    }
}

/// Peers that were refused.
#[derive(Default)]
pub(crate) struct Impatience(HashMap<NodeId, Record>);

impl Impatience {
    /// A request of the peer was refused. For how many seconds it is to be cut off, if it is.
    pub(crate) fn refused(&mut self, peer: NodeId, now: Now) -> Option<u64> {
        if self.0.len() >= PEERS_MAX && !self.0.contains_key(&peer) {
            self.0.retain(|_, record| {
                record.drain(now);
                record.refusals > 0.0 || record.cuts > 0
            });
            if self.0.len() >= PEERS_MAX {
                return None;
            }
        }
        let record = self.0.entry(peer).or_insert(Record {
            refusals: 0.0,
            at_ms: now.ms,
            cuts: 0,
            cut_ms: 0,
        });
        record.drain(now);
        record.refusals += 1.0;
        if record.refusals < REFUSALS_MAX {
            return None;
        }
        let secs = CUT_SECS.0.saturating_mul(1 << (2 * record.cuts).min(32)).min(CUT_SECS.1);
        record.refusals = 0.0;
        record.cuts = record.cuts.saturating_add(1);
        record.cut_ms = now.ms.saturating_add(secs * 1_000);
        Some(secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;

    fn at(ms: u64) -> Now {
        Now { wall: Time(0), ms }
    }

    fn peer(number: u32) -> NodeId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_le_bytes());
        NodeId(id)
    }

    #[test]
    fn who_goes_on_is_cut_off_for_longer_each_time() {
        let mut impatience = Impatience::default();
        let mut now_ms = 0;
        let mut cuts = Vec::new();
        while cuts.len() < 7 {
            now_ms += 1;
            if let Some(secs) = impatience.refused(peer(1), at(now_ms)) {
                now_ms += secs * 1_000;
                cuts.push(secs);
            }
        }
        assert_eq!(cuts, [10, 40, 160, 640, 2_560, 3_600, 3_600]);
        // A day later all is forgiven.
        let later = now_ms + 24 * FORGIVEN_MS;
        let first = (0..2_000).find_map(|one| impatience.refused(peer(1), at(later + one)));
        assert_eq!(first, Some(10));
    }

    #[test]
    fn who_waits_is_never_cut_off() {
        let mut impatience = Impatience::default();
        // A day of bursts: 300 requests are under way each time it is refused, then it waits.
        for burst in 0..8_640u64 {
            for one in 0..300 {
                assert_eq!(impatience.refused(peer(1), at(burst * 10_000 + one)), None);
            }
        }
        // And who does not know how to wait, at 30 mails a second, each asked three times.
        for one in 0..90 * 3_600u64 {
            assert_eq!(impatience.refused(peer(2), at(one * 1_000 / 90)), None);
        }
    }

    #[test]
    fn both_tables_are_bounded() {
        let (mut impatience, mut waits) = (Impatience::default(), Waits::default());
        for number in 0..30_000 {
            impatience.refused(peer(number), at(0));
            waits.told(peer(number), u32::MAX, at(0));
        }
        assert_eq!((impatience.0.len(), waits.0.len()), (PEERS_MAX, PEERS_MAX));
        assert!(waits.on(peer(1), at(59_999)) && !waits.on(peer(1), at(60_000)));
        impatience.refused(peer(29_999), at(60_000));
        waits.told(peer(29_999), 1, at(60_000));
        assert_eq!((impatience.0.len(), waits.0.len()), (1, 1), "old ones make room");
    }
}
