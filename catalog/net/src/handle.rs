//! How the agent talks to the task that owns the network.

use std::sync::Arc;
use std::time::Duration;

use novacula_catalog::node::{
    Acceptance, Completeness, Counters, Invite, InviteSecret, Keep, NodeId, PeerView, Status,
    Unanswered, Why,
};
use novacula_catalog::{Probe, Shelf, SiteId, Witness};
use tokio::sync::{mpsc, oneshot};

use crate::counts::DriverCounts;

/// Longest wait for the task's own words, beyond what a question's deadline is: it answers in
/// well under a millisecond, or it is overloaded.
const ANSWER_SLACK: Duration = Duration::from_millis(20);
/// Longest wait for a look at the network.
const VIEW_TIME_MAX: Duration = Duration::from_secs(2);

/// What is known of a mail.
#[derive(Debug)]
pub struct Answer {
    /// Who saw it, and who spoke; verified.
    pub witnesses: Vec<Witness>,
    /// Whether all who should know answered.
    pub completeness: Completeness,
}

impl Answer {
    fn alone() -> Self {
        Self { witnesses: Vec::new(), completeness: Completeness::Alone }
    }
}

/// What the agent hears unasked.
#[derive(Debug)]
pub enum Told {
    /// To be kept over a restart.
    Keep(Keep),
    /// Statements for the agent's catalog.
    Learned(Vec<Witness>, Why),
}

/// How the network looks from here.
#[derive(Clone, Debug)]
pub struct View {
    /// This node.
    pub node: NodeId,
    /// How it fares.
    pub status: Status,
    /// What the node counted.
    pub counters: Counters,
    /// What the driver counted.
    pub counts: DriverCounts,
    /// Peers, the nearest first.
    pub peers: Vec<PeerView>,
    /// Addresses at which this node can be reached.
    pub addresses: Vec<String>,
    /// What other peers found when they dialled back: `public`, `private` or `unknown`.
    pub nat: &'static str,
}

pub(crate) enum Ask {
    Query {
        probe: Box<Probe>,
        sighting: Option<Vec<u8>>,
        known: Vec<Arc<Witness>>,
        deadline_ms: u64,
        answer: oneshot::Sender<Answer>,
    },
    Publish(Vec<u8>),
    Vouch(Vec<u8>),
    Trusted(Vec<(SiteId, Shelf)>),
    Invites(Vec<Invite>),
    Accept {
        to: NodeId,
        secret: InviteSecret,
        inviter: SiteId,
        answer: oneshot::Sender<Result<Acceptance, Unanswered>>,
    },
    Dial(String, oneshot::Sender<Result<NodeId, String>>),
    Knows(NodeId, oneshot::Sender<bool>),
    View(usize, oneshot::Sender<View>),
    Leave(oneshot::Sender<()>),
}

/// The way to the task. When all are dropped, it ends.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) asks: mpsc::Sender<Ask>,
}

impl Handle {
    /// Asks all that is known of a mail, and states the sighting. Answers at the deadline at the
    /// latest; what comes later is told as [`Told::Learned`].
    pub async fn query(
        &self,
        probe: Probe,
        sighting: Option<Vec<u8>>,
        known: Vec<Arc<Witness>>,
        deadline: Duration,
    ) -> Answer {
        let (answer, answered) = oneshot::channel();
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let probe = Box::new(probe);
        let ask = Ask::Query { probe, sighting, known, deadline_ms, answer };
        if self.asks.try_send(ask).is_err() {
            return Answer::alone();
        }
        match tokio::time::timeout(deadline + ANSWER_SLACK, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Answer::alone(),
            Err(_) => Answer { completeness: Completeness::Deadline, ..Answer::alone() },
        }
    }

    /// States something without asking. False when there was no room: an opinion is then sent
    /// from the outbox at the next start, a sighting is lost.
    #[must_use]
    pub fn publish(&self, signed: Vec<u8>) -> bool {
        self.asks.try_send(Ask::Publish(signed)).is_ok()
    }

    /// Says whom the site vouches for: a signed list. False when there was no room.
    #[must_use]
    pub fn vouch(&self, signed: Vec<u8>) -> bool {
        self.asks.try_send(Ask::Vouch(signed)).is_ok()
    }

    /// Says which sites count. False when there was no room.
    #[must_use]
    pub fn trust(&self, sites: Vec<(SiteId, Shelf)>) -> bool {
        self.asks.try_send(Ask::Trusted(sites)).is_ok()
    }

    /// Says which invitations the site gave. False when there was no room.
    #[must_use]
    pub fn invites(&self, invites: Vec<Invite>) -> bool {
        self.asks.try_send(Ask::Invites(invites)).is_ok()
    }

    /// Shows the host `to` that this site has an invitation of `inviter`.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn accept(
        &self,
        to: NodeId,
        secret: InviteSecret,
        inviter: SiteId,
    ) -> Result<Acceptance, Unanswered> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Accept { to, secret, inviter, answer };
        self.asks.send(ask).await.map_err(|_| Unanswered::Silent)?;
        answered.await.unwrap_or(Err(Unanswered::Silent))
    }

    /// True when the task has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.asks.is_closed()
    }

    /// Connects to an address.
    ///
    /// # Errors
    /// Why not, in words.
    pub async fn dial(&self, address: String) -> Result<NodeId, String> {
        let (done, ended) = oneshot::channel();
        let stopping = || "the network is stopping".to_owned();
        self.asks.send(Ask::Dial(address, done)).await.map_err(|_| stopping())?;
        ended.await.map_err(|_| stopping())?
    }

    /// True when the host is known as a member.
    pub async fn knows(&self, host: NodeId) -> bool {
        let (answer, answered) = oneshot::channel();
        let asked = self.asks.send(Ask::Knows(host, answer)).await.is_ok();
        asked && answered.await.unwrap_or(false)
    }

    /// How the network looks, with at most `peers_max` peers; none while it stops or is
    /// overloaded.
    pub async fn view(&self, peers_max: usize) -> Option<View> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::View(peers_max, answer)).await.ok()?;
        tokio::time::timeout(VIEW_TIME_MAX, answered).await.ok()?.ok()
    }

    /// Hands off what this node holds for others, and stops. Waits at most `longest`.
    pub async fn leave(&self, longest: Duration) {
        let (left, done) = oneshot::channel();
        if self.asks.send(Ask::Leave(left)).await.is_ok() {
            let _ = tokio::time::timeout(longest, done).await;
        }
    }
}
