//! What the milter counts, and the state that it tells the agent, whose `/metrics` and `doctor`
//! show it: with `milter_default_action=accept` an MTA hides a broken socket, so that when it last
//! connected is the figure to watch.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use novacula_client::{MilterListener, MilterState};

/// Counters since the start.
#[derive(Debug)]
pub struct Counts {
    name: String,
    started_secs: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    listeners: Vec<MilterListener>,
    mails: BTreeMap<&'static str, u64>,
    actions: BTreeMap<&'static str, u64>,
    events: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(name: &str, listeners: impl Iterator<Item = String>) -> Self {
        let listener = |address| MilterListener { address, connections: 0, last_secs: None };
        let inner = Inner { listeners: listeners.map(listener).collect(), ..Inner::default() };
        Self { name: name.to_owned(), started_secs: now_secs(), inner: Mutex::new(inner) }
    }

    /// The milter's host.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An MTA connected and negotiated.
    pub fn connected(&self, listener: usize) {
        if let Some(listener) = self.inner().listeners.get_mut(listener) {
            listener.connections += 1;
            listener.last_secs = Some(now_secs());
        }
    }

    /// A mail came to its end: its verdict, `own`, or why it was not checked; and what was done.
    pub fn mail(&self, outcome: &'static str, action: &'static str) {
        let mut inner = self.inner();
        *inner.mails.entry(outcome).or_default() += 1;
        *inner.actions.entry(action).or_default() += 1;
    }

    /// Something else happened.
    pub fn event(&self, what: &'static str) {
        *self.inner().events.entry(what).or_default() += 1;
    }

    /// All of it.
    #[must_use]
    pub fn state(&self) -> MilterState {
        let inner = self.inner();
        let owned = |counts: &BTreeMap<&'static str, u64>| {
            counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        MilterState {
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            started_secs: self.started_secs,
            listeners: inner.listeners.clone(),
            mails: owned(&inner.mails),
            actions: owned(&inner.actions),
            events: owned(&inner.events),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
