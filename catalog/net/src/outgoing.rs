//! The node's own requests on their way. Main item: [`Outgoing`].
//!
//! Key decision: of one peer no more are under way than it takes on one connection, wherever libp2p
//! puts them; what is more waits here for its turn, with its time running. libp2p would fail it, and
//! the peer, which did nothing wrong, would count as one that does not answer. What a peer leaves
//! unanswered takes up its own turns only, and what waits is bounded for each peer and for all.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use libp2p::PeerId;
use novacula_catalog::node::{Purpose, RequestId};

use crate::behaviour::{ASKING_TIME_MAX, STREAMS_MAX};

/// Most requests under way to one peer: what one takes on one connection.
const UNDER_WAY_MAX: usize = STREAMS_MAX;
/// Most that wait for one peer: what it serves of a burst within its quota (1,000 requests of 24
/// keys), and that is also what it answers in 3 s at a round trip of 200 ms.
const LINE_MAX: usize = 1_024;
/// Most bytes of frames that wait for all peers together: 80,000 questions about a mail.
const LINES_LEN_MAX: usize = 32 << 20;
/// How long after libp2p should have ended a request its turn is given on, in milliseconds.
const SLACK_MS: u64 = 1_000;

/// A request that the node wants sent.
pub(crate) struct Asking {
    pub(crate) request: RequestId,
    pub(crate) frame: Vec<u8>,
    pub(crate) purpose: Purpose,
    pub(crate) addresses: Arc<[String]>,
    /// When it is given up.
    pub(crate) due_ms: u64,
}

/// Where a new request stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It goes at once.
    First,
    /// Behind others.
    Waits,
    /// Nowhere: there is no room.
    Nowhere,
}

/// A request whose time is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// It never left.
    Unsent(RequestId),
    /// It was not answered.
    Unanswered(RequestId),
    /// It was given up before, and libp2p never told its end: the peer's next one may go.
    Lost(PeerId),
}

enum Stage<Id> {
    Waits(PeerId),
    Sent(Id),
    /// Given up by the node, and still a stream of the connection.
    Late(Id),
}

struct Sent {
    peer: PeerId,
    due: (u64, RequestId),
    late: bool,
}

#[derive(Default)]
struct Line {
    under_way: usize,
    waiting: VecDeque<Asking>,
}

/// All requests that were not answered yet. `Id` is libp2p's name of one that was sent.
pub(crate) struct Outgoing<Id> {
    sent: HashMap<Id, Sent>,
    due: BTreeMap<(u64, RequestId), Stage<Id>>,
    lines: HashMap<PeerId, Line>,
    waiting: usize,
    waiting_len: usize,
}

impl<Id> Default for Outgoing<Id> {
    fn default() -> Self {
        Self {
            sent: HashMap::new(),
            due: BTreeMap::new(),
            lines: HashMap::new(),
            waiting: 0,
            waiting_len: 0,
        }
    }
}

impl<Id: Copy + Eq + Hash> Outgoing<Id> {
    /// How many wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// When the next one is due.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes in a request. One that has a place goes with the next [`Outgoing::advance`] that finds
    /// a turn free.
    pub(crate) fn push(&mut self, peer: PeerId, asking: Asking) -> Place {
        let line = self.lines.entry(peer).or_default();
        let waits = line.under_way + line.waiting.len() >= UNDER_WAY_MAX;
        let len = self.waiting_len + asking.frame.len();
        if waits && (line.waiting.len() >= LINE_MAX || len > LINES_LEN_MAX) {
            return Place::Nowhere;
        }
        self.due.insert((asking.due_ms, asking.request), Stage::Waits(peer));
        line.waiting.push_back(asking);
        self.waiting += 1;
        self.waiting_len = len;
        if waits { Place::Waits } else { Place::First }
    }

    /// Sends what may go now.
    pub(crate) fn advance(&mut self, peer: PeerId, mut send: impl FnMut(Asking) -> Id) {
        while let Some(line) = self.lines.get_mut(&peer)
            && line.under_way < UNDER_WAY_MAX
            && let Some(asking) = line.waiting.pop_front()
        {
            line.under_way += 1;
            self.waiting -= 1;
            self.waiting_len -= asking.frame.len();
            let due = (asking.due_ms, asking.request);
            let id = send(asking);
            self.due.insert(due, Stage::Sent(id));
            self.sent.insert(id, Sent { peer, due, late: false });
        }
    }

    /// libp2p told the end of a request: whose turn is free, and the node's number of it unless it
    /// was given up before.
    pub(crate) fn ended(&mut self, id: Id) -> Option<(PeerId, Option<RequestId>)> {
        let sent = self.sent.remove(&id)?;
        self.due.remove(&sent.due);
        self.free(sent.peer);
        Some((sent.peer, (!sent.late).then_some(sent.due.1)))
    }

    /// The next one whose time is over.
    pub(crate) fn overdue(&mut self, now_ms: u64) -> Option<Overdue> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now_ms)?;
        let ((_, request), stage) = first.remove_entry();
        match stage {
            Stage::Waits(peer) => {
                let line = self.lines.get_mut(&peer)?;
                let at = line.waiting.iter().position(|asking| asking.request == request)?;
                let gone = line.waiting.remove(at)?;
                self.waiting -= 1;
                self.waiting_len -= gone.frame.len();
                Some(Overdue::Unsent(request))
            }
            Stage::Sent(id) => {
                let time_ms = u64::try_from(ASKING_TIME_MAX.as_millis()).unwrap_or(u64::MAX);
                let due = (now_ms.saturating_add(time_ms).saturating_add(SLACK_MS), request);
                if let Some(sent) = self.sent.get_mut(&id) {
                    (sent.due, sent.late) = (due, true);
                }
                self.due.insert(due, Stage::Late(id));
                Some(Overdue::Unanswered(request))
            }
            Stage::Late(id) => {
                let peer = self.sent.remove(&id)?.peer;
                self.free(peer);
                Some(Overdue::Lost(peer))
            }
        }
    }

    /// Drops what waits for a peer that can't be reached; gives its numbers.
    pub(crate) fn give_up(&mut self, peer: &PeerId) -> Vec<RequestId> {
        let Some(line) = self.lines.get_mut(peer) else { return Vec::new() };
        let gone = std::mem::take(&mut line.waiting);
        if line.under_way == 0 {
            self.lines.remove(peer);
        }
        self.waiting -= gone.len();
        self.waiting_len -= gone.iter().map(|asking| asking.frame.len()).sum::<usize>();
        for asking in &gone {
            self.due.remove(&(asking.due_ms, asking.request));
        }
        gone.into_iter().map(|asking| asking.request).collect()
    }

    fn free(&mut self, peer: PeerId) {
        let Some(line) = self.lines.get_mut(&peer) else { return };
        line.under_way -= 1;
        if line.under_way == 0 && line.waiting.is_empty() {
            self.lines.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a test sends: ids are the numbers of requests.
    struct Driver {
        outgoing: Outgoing<u64>,
        sent: Vec<u64>,
        next: u64,
    }

    impl Driver {
        fn new() -> Self {
            Self { outgoing: Outgoing::default(), sent: Vec::new(), next: 0 }
        }

        fn push(&mut self, peer: PeerId, len: usize, due_ms: u64) -> Place {
            self.next += 1;
            let (frame, addresses) = (vec![0; len], Arc::from([]));
            let (request, purpose) = (RequestId(self.next), Purpose::Observe);
            let asking = Asking { request, frame, purpose, addresses, due_ms };
            let place = self.outgoing.push(peer, asking);
            self.advance(peer);
            place
        }

        fn advance(&mut self, peer: PeerId) {
            self.outgoing.advance(peer, |asking| {
                self.sent.push(asking.request.0);
                asking.request.0
            });
        }

        fn is_empty(&self) -> bool {
            let all = &self.outgoing;
            all.sent.is_empty()
                && all.due.is_empty()
                && all.lines.is_empty()
                && (all.waiting, all.waiting_len) == (0, 0)
        }
    }

    #[test]
    fn each_goes_in_its_turn() {
        let (mut driver, peer, other) = (Driver::new(), PeerId::random(), PeerId::random());
        let most = UNDER_WAY_MAX as u64;
        for number in 1..=3 * most {
            let place = if number <= most { Place::First } else { Place::Waits };
            assert_eq!(driver.push(peer, 100, 5_000), place);
        }
        assert_eq!(driver.sent, (1..=most).collect::<Vec<u64>>());
        assert_eq!(driver.push(other, 100, 5_000), Place::First, "another peer's turns are free");
        assert_eq!(
            driver.outgoing.ended(3 * most + 1),
            Some((other, Some(RequestId(3 * most + 1))))
        );
        driver.sent.pop();
        for number in 1..=3 * most {
            assert_eq!(driver.outgoing.ended(number), Some((peer, Some(RequestId(number)))));
            driver.advance(peer);
            assert_eq!(driver.sent.len() as u64, (most + number).min(3 * most));
        }
        assert!(driver.is_empty() && driver.outgoing.ended(1).is_none());
    }

    #[test]
    fn who_never_answers_takes_his_own_turns_only_and_not_for_ever() {
        let (mut driver, peer) = (Driver::new(), PeerId::random());
        let most = UNDER_WAY_MAX as u64;
        for _ in 0..2 * most {
            driver.push(peer, 100, 3_000);
        }
        assert_eq!((driver.outgoing.due_ms(), driver.outgoing.overdue(2_999)), (Some(3_000), None));
        let over: Vec<Overdue> = std::iter::from_fn(|| driver.outgoing.overdue(3_000)).collect();
        let unanswered = (1..=most).map(|number| Overdue::Unanswered(RequestId(number)));
        let unsent = (most + 1..=2 * most).map(|number| Overdue::Unsent(RequestId(number)));
        assert_eq!(over, unanswered.chain(unsent).collect::<Vec<Overdue>>());
        // Their streams are still taken.
        assert_eq!(driver.push(peer, 100, 30_000), Place::Waits);
        assert_eq!(driver.outgoing.ended(1), Some((peer, None)), "an answer that comes late");
        driver.advance(peer);
        assert_eq!(driver.sent.last(), Some(&(2 * most + 1)));
        // libp2p says nothing of the others.
        let late = std::iter::from_fn(|| driver.outgoing.overdue(20_000));
        assert!(late.eq((2..=most).map(|_| Overdue::Lost(peer))));
        assert_eq!(
            driver.outgoing.ended(2 * most + 1),
            Some((peer, Some(RequestId(2 * most + 1))))
        );
        assert!(driver.is_empty());
    }

    #[test]
    fn lines_are_bounded_and_given_up_at_once() {
        let (mut driver, peer) = (Driver::new(), PeerId::random());
        let places: Vec<Place> = (0..2_000).map(|_| driver.push(peer, 100, 3_000)).collect();
        let count = |place| places.iter().filter(|one| **one == place).count();
        let counts = (count(Place::First), count(Place::Waits), count(Place::Nowhere));
        assert_eq!(counts, (UNDER_WAY_MAX, LINE_MAX, 2_000 - UNDER_WAY_MAX - LINE_MAX));
        assert_eq!(driver.outgoing.give_up(&peer).len(), LINE_MAX);
        assert_eq!((driver.outgoing.waiting(), driver.outgoing.give_up(&peer).len()), (0, 0));
        // Long ones to many peers: all together have a bound, and who has a turn free needs no place.
        let mut nowhere = 0;
        for _ in 0..4 {
            let peer = PeerId::random();
            let places: Vec<Place> =
                (0..1_000).map(|_| driver.push(peer, 16 << 10, 3_000)).collect();
            assert!(places[..UNDER_WAY_MAX].iter().all(|place| *place == Place::First));
            nowhere += places.iter().filter(|place| **place == Place::Nowhere).count();
        }
        let room = LINES_LEN_MAX / (16 << 10);
        assert_eq!(
            (driver.outgoing.waiting(), nowhere),
            (room, 4 * (1_000 - UNDER_WAY_MAX) - room)
        );
    }
}
