//! Noticing that a peer's program was started anew. A crash closes no QUIC connection: the other side
//! takes it for alive until it has been silent for ten seconds, half of all requests go there, and
//! gossip, which tells its topics on the first connection with a peer only, never tells them to the
//! new program. So each program has a number of its own, which it says (by identify) on every
//! connection, and who hears another one than before lets go of all connections with that peer and
//! meets it anew.
//!
//! Key decision: the number says "another", not "later", and is drawn by chance: it tells nothing of
//! the host, needs no clock, and several connections of one program (both sides dialled, a hole was
//! punched, a reachable address was tried) say the same.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

/// Before the number, in what identify calls the agent's version.
const MARK: &str = " process ";
/// A peer is met anew at most so often in so long: two hosts with one key must not keep a third busy,
/// and a program may fail several times before it runs. (A choice; the time is how long a silent QUIC
/// connection lasts.)
const TIMES_MAX: u32 = 4;
const WITHIN: Duration = Duration::from_secs(10);
/// Most peers that were met anew of which that is remembered; at the bound no other is.
const ANEW_MAX: usize = 10_000;

/// What this program says of itself.
pub(crate) fn name() -> String {
    let number = fastrand::u64(..);
    format!("novacula/{}{MARK}{number:016x}", env!("CARGO_PKG_VERSION"))
}

/// The number in what a peer says; none of a program that has none.
fn number_of(said: &str) -> Option<u64> {
    let (_, number) = said.rsplit_once(MARK)?;
    u64::from_str_radix(number, 16).ok()
}

/// The programs at the other ends of the connections.
#[derive(Default)]
pub(crate) struct Processes {
    /// By peer that is connected.
    numbers: HashMap<PeerId, u64>,
    anew: HashMap<PeerId, Anew>,
}

/// A peer that is met anew, or was.
struct Anew {
    since: Instant,
    /// So often since then.
    times: u32,
    /// Its connections are being closed.
    closing: bool,
}

impl Processes {
    /// A peer said who it is; true when all connections with it are to be closed.
    pub(crate) fn heard(&mut self, peer: PeerId, said: &str, now: Instant) -> bool {
        let Some(number) = number_of(said) else { return false };
        let before = self.numbers.insert(peer, number);
        if before.is_none_or(|before| before == number) {
            return false;
        }
        let is_old = |one: &Anew| now.saturating_duration_since(one.since) >= WITHIN;
        if self.anew.len() >= ANEW_MAX && !self.anew.contains_key(&peer) {
            self.anew.retain(|_, one| one.closing || !is_old(one));
            if self.anew.len() >= ANEW_MAX {
                return false;
            }
        }
        let first = Anew { since: now, times: 0, closing: false };
        let anew = self.anew.entry(peer).or_insert(first);
        if is_old(anew) {
            (anew.since, anew.times) = (now, 0);
        }
        let may = anew.times < TIMES_MAX;
        (anew.times, anew.closing) = (anew.times + u32::from(may), anew.closing || may);
        may
    }

    /// True while the peer's connections are being closed: a new one is closed as well.
    pub(crate) fn is_closing(&self, peer: &PeerId) -> bool {
        self.anew.get(peer).is_some_and(|one| one.closing)
    }

    /// The last connection with a peer is gone; true when it is to be met anew.
    pub(crate) fn gone(&mut self, peer: &PeerId) -> bool {
        self.numbers.remove(peer);
        self.anew.get_mut(peer).is_some_and(|one| std::mem::replace(&mut one.closing, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(number: u64) -> String {
        format!("novacula/9.9{MARK}{number:016x}")
    }

    #[test]
    fn another_program_is_noticed_and_the_same_is_not() {
        let (mut processes, peer, now) = (Processes::default(), PeerId::random(), Instant::now());
        assert!(number_of(&name()).is_some() && name() != name());
        for said in [says(1), says(1), "novacula/0.1".into(), "x process zz".into(), says(1)] {
            assert!(!processes.heard(peer, &said, now), "{said}");
        }
        assert!(processes.heard(peer, &says(2), now));
        assert!(processes.is_closing(&peer));
        assert!(processes.gone(&peer) && !processes.is_closing(&peer));
        // On the new connection it says the same, and when that ends nothing is to be done.
        assert!(!processes.heard(peer, &says(2), now));
        assert!(!processes.gone(&peer));
    }

    #[test]
    fn two_hosts_with_one_key_keep_nobody_busy() {
        let (mut processes, peer, start) = (Processes::default(), PeerId::random(), Instant::now());
        let mut closed = 0;
        for step in 0..300u64 {
            let now = start + Duration::from_millis(100 * step);
            closed += usize::from(processes.heard(peer, &says(step % 2), now));
        }
        assert_eq!(closed, 12, "four times in ten seconds");
        for number in 0..ANEW_MAX as u64 + 5 {
            let other = PeerId::random();
            processes.heard(other, &says(number), start);
            processes.heard(other, &says(number + 1), start);
            processes.gone(&other);
        }
        assert_eq!((processes.anew.len(), processes.numbers.len()), (ANEW_MAX, 1));
    }
}
