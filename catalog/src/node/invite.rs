//! Invitations: a secret that a site gives to one other, by which it vouches for that one without
//! another word. The guest shows that he has the secret over the encrypted connection to the host
//! that invited; the host's agent vouches, and the guest asks again until that is on its disk.
//!
//! Main item: [`Invite`]. Key decision: the secret itself never travels. What travels is a keyed
//! hash over both sites, so that a frame that was recorded or overheard helps nobody else, and
//! every invitation is good for one site. The agent decides: a node only says what it was told.

use std::collections::BTreeMap;
use std::fmt;

use crate::clock::Time;
use crate::identity::SiteId;
use crate::node::api::{Action, AskId, Keep, Now, Purpose};
use crate::node::host::NodeId;
use crate::node::state::{Node, Pending};
use crate::node::wire::{Request, Response};

/// Bytes of a secret: 128 bits, which nobody guesses.
pub const SECRET_LEN: usize = 16;
/// Most invitations of a site that wait at a time, a choice: an administrator invites by hand,
/// and each is one vouch to whoever gets hold of it.
pub const INVITES_OPEN_MAX: usize = 16;
/// How long a host has to answer, in milliseconds.
const ASK_MS: u64 = 5_000;

/// Names an invitation: the first 64 bits of a hash of its secret, from which nobody finds that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InviteId(pub [u8; 8]);

impl fmt::Display for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What only who invited and who was invited know. It is never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InviteSecret([u8; SECRET_LEN]);

impl fmt::Debug for InviteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteSecret(..)")
    }
}

impl InviteSecret {
    /// A secret from random bytes, or from those in an invitation.
    #[must_use]
    pub fn new(bytes: [u8; SECRET_LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for the invitation and the disk.
    #[must_use]
    pub fn bytes(&self) -> [u8; SECRET_LEN] {
        self.0
    }

    /// What the invitation is called.
    #[must_use]
    pub fn id(&self) -> InviteId {
        let hash = blake3::derive_key("novacula 2026-11 invitation id", &self.0);
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        InviteId(id)
    }

    /// Shows that `guest` has the secret of `inviter`'s, and is good for no other pair of sites.
    #[must_use]
    pub fn proof(&self, inviter: SiteId, guest: SiteId) -> [u8; 32] {
        let key = blake3::derive_key("novacula 2026-11 invitation proof", &self.0);
        blake3::keyed_hash(&key, &[inviter.0, guest.0].concat()).into()
    }
}

/// An invitation that this site gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// What whoever accepts it must have.
    pub secret: InviteSecret,
    /// Until when it may be accepted.
    pub until: Time,
    /// For whom, in the administrator's words.
    pub note: String,
    /// Who accepted it.
    pub by: Option<SiteId>,
}

impl Invite {
    /// It may still be accepted.
    #[must_use]
    pub fn is_open(&self, now: Time) -> bool {
        self.by.is_none() && now <= self.until
    }
}

/// What became of an invitation that somebody accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Acceptance {
    /// It is good, and not on the disk yet: ask again.
    Taken = 0,
    /// The inviting site vouches for who asks.
    Vouched = 1,
    /// No such invitation is open there.
    Unknown = 2,
    /// Its time is over.
    Expired = 3,
    /// Another site accepted it before.
    Used = 4,
}

/// Why a host said nothing of an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unanswered {
    /// Its program does not know invitations to accept.
    TooOld,
    /// It refused, or did not answer: try again.
    Silent,
}

/// Invitations as the agent told them.
#[derive(Default)]
pub(crate) struct Invites(BTreeMap<InviteId, Held>);

struct Held {
    invite: Invite,
    /// Who showed the secret, of which the agent has not spoken yet.
    claimed: Option<SiteId>,
}

impl Node {
    /// The agent says which invitations there are, with who accepted which.
    pub(crate) fn know_invites(&mut self, invites: Vec<Invite>) {
        let held = |invite: Invite| (invite.secret.id(), Held { invite, claimed: None });
        self.invites = Invites(invites.into_iter().map(held).collect());
    }

    /// The agent accepts an invitation of `inviter`, whose host is `to`.
    pub(crate) fn accept(
        &mut self,
        ask: AskId,
        to: NodeId,
        secret: InviteSecret,
        inviter: SiteId,
        now: Now,
    ) {
        let proof = secret.proof(inviter, self.certificate.site);
        let request = Request::Accept { invite: secret.id(), proof };
        self.send(to, &request, Purpose::Members, Pending::Accept { ask }, ASK_MS, now);
    }

    /// A member shows that it has an invitation.
    pub(crate) fn serve_accept(
        &mut self,
        peer: NodeId,
        invite: InviteId,
        proof: &[u8; 32],
        now: Now,
    ) -> Response {
        let acceptance = self.judge_accept(peer, invite, proof, now);
        match acceptance {
            Acceptance::Taken | Acceptance::Vouched => self.counters.invites_shown += 1,
            Acceptance::Unknown | Acceptance::Expired | Acceptance::Used => {
                self.counters.invites_refused += 1;
            }
        }
        Response::Accepted(acceptance)
    }

    fn judge_accept(
        &mut self,
        peer: NodeId,
        invite: InviteId,
        proof: &[u8; 32],
        now: Now,
    ) -> Acceptance {
        let home = self.certificate.site;
        let guest = self.members.get(peer).map(|row| row.record.site());
        let (Some(guest), Some(held)) = (guest, self.invites.0.get_mut(&invite)) else {
            return Acceptance::Unknown;
        };
        // The comparison of hashes takes the same time whatever they are.
        if blake3::Hash::from(held.invite.secret.proof(home, guest)) != *proof || guest == home {
            self.fault(peer);
            return Acceptance::Unknown;
        }
        match (held.invite.by, held.claimed) {
            (Some(by), _) if by == guest => Acceptance::Vouched,
            (Some(_), _) => Acceptance::Used,
            (None, Some(claimed)) if claimed != guest => Acceptance::Used,
            (None, None) if !held.invite.is_open(now.wall) => Acceptance::Expired,
            // Told again with each request: the agent's disk may have refused.
            (None, _) => {
                held.claimed = Some(guest);
                self.out.push(Action::Keep(Keep::Accepted { invite, site: guest }));
                Acceptance::Taken
            }
        }
    }
}
