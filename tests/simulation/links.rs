//! Connections between hosts: made by the first request, closed when nothing was asked for long, as
//! the driver does it, but for those that gossip keeps.

use std::collections::BTreeMap;

/// A connection without a request for so long is closed, in milliseconds (the driver's
/// `IDLE_TIME_MAX`).
const IDLE_MS: u64 = 120_000;
/// Connections that gossip keeps (gossipsub's mesh).
const MESH: usize = 6;
/// How often idle ones are looked for, in milliseconds.
const SWEEP_MS: u64 = 30_000;

/// All connections: for each host to whom, and when it was last used.
#[derive(Default)]
pub(super) struct Links {
    of: Vec<BTreeMap<usize, u64>>,
    swept_ms: u64,
}

impl Links {
    pub(super) fn new(hosts: usize) -> Self {
        Self { of: vec![BTreeMap::new(); hosts], swept_ms: 0 }
    }

    /// Uses the connection; true when there was none.
    pub(super) fn make(&mut self, from: usize, to: usize, now_ms: u64) -> bool {
        self.of[to].insert(from, now_ms);
        self.of[from].insert(to, now_ms).is_none()
    }

    /// True when the host has a connection.
    pub(super) fn any(&self, host: usize) -> bool {
        !self.of[host].is_empty()
    }

    /// Breaks all of a host's; gives to whom they were.
    pub(super) fn break_all(&mut self, host: usize) -> Vec<usize> {
        let others: Vec<usize> = std::mem::take(&mut self.of[host]).into_keys().collect();
        for other in &others {
            self.of[*other].remove(&host);
        }
        others
    }

    /// Breaks those between hosts of different parts.
    pub(super) fn cut(&mut self, parts: &[u8]) {
        for (host, links) in self.of.iter_mut().enumerate() {
            links.retain(|other, _| parts[*other] == parts[host]);
        }
    }

    /// Closes what is idle, when it is time to look; gives the ends.
    pub(super) fn close_idle(&mut self, now_ms: u64) -> Vec<(usize, usize)> {
        if now_ms < self.swept_ms + SWEEP_MS {
            return Vec::new();
        }
        self.swept_ms = now_ms;
        let mut closed = Vec::new();
        for host in 0..self.of.len() {
            let idle = self.of[host].iter().filter(|(other, used)| {
                **other > host && **used + IDLE_MS <= now_ms && self.of[**other].len() > MESH
            });
            let spare = self.of[host].len().saturating_sub(MESH);
            let idle: Vec<usize> = idle.map(|(other, _)| *other).take(spare).collect();
            for other in idle {
                self.of[host].remove(&other);
                self.of[other].remove(&host);
                closed.push((host, other));
            }
        }
        closed
    }
}
