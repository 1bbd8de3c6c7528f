//! What is to happen, in order of time; of the same millisecond, in the order in which it was said.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use novacula_catalog::node::{Failure, NodeId, RequestId, Topic};

/// What happens to a host.
pub(super) enum What {
    Tick,
    Request { from: usize, request: RequestId, frame: Vec<u8>, until_ms: u64 },
    Response { from: NodeId, request: RequestId, frame: Vec<u8> },
    Failed { request: RequestId, why: Failure },
    Gossip { from: NodeId, topic: Topic, frame: Arc<[u8]> },
    Disconnected { peer: NodeId },
    Listens,
    Turn,
}

/// Something that is due.
pub(super) struct Due {
    pub(super) to: usize,
    /// For which start of the node; a later one does not get it.
    pub(super) boot: u64,
    pub(super) what: What,
}

/// All that is due.
#[derive(Default)]
pub(super) struct Queue(BTreeMap<u64, VecDeque<Due>>);

impl Queue {
    pub(super) fn push(&mut self, at_ms: u64, due: Due) {
        self.0.entry(at_ms).or_default().push_back(due);
    }

    /// The first of what is due by `end_ms`, and when.
    pub(super) fn pop(&mut self, end_ms: u64) -> Option<(u64, Due)> {
        let mut first = self.0.first_entry().filter(|first| *first.key() <= end_ms)?;
        let at_ms = *first.key();
        let due = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        due.map(|due| (at_ms, due))
    }
}
