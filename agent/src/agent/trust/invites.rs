//! Invitations that this site gives: each is for one other site, for which it then vouches without
//! another word.
//!
//! Main item: [`Agent::invite`]. Key decision: an open invitation is a vouch given in advance. So
//! it takes its place on the list of vouches from the start, and an acceptance never finds that
//! full; it is on the disk before the code is shown, and the vouch is before the guest is told.

use novacula_catalog::node::{
    ADDRESSES_MAX, INVITES_OPEN_MAX, Invite, InviteId, InviteSecret, SECRET_LEN,
};
use novacula_catalog::store::{SaveNetwork, Side};
use novacula_catalog::{Reporter, SiteId, Time, VOUCHES_MAX};
use novacula_client::{InviteReply, InviteState};
use novacula_net::Handle;

use super::super::invite::{Invite as Line, Pass};
use super::super::networks::Network;
use super::super::peers::administrator;
use super::{Agent, AgentError, Weighing, Weights};
use crate::maillog;

/// How long an invitation is good if nothing is said, and at most, in days (a week, a month: the
/// other side's administrator may be away; a choice).
pub(super) const DAYS: (u64, u64) = (7, 30);
/// Seconds of a day.
const DAY_SECS: u64 = 24 * 3600;
/// Longest note, in characters.
const NOTE_CHARS_MAX: usize = 80;

impl Weighing {
    fn open(&self, now: Time) -> usize {
        self.invites.iter().filter(|invite| invite.is_open(now)).count()
    }

    /// How many more sites can be vouched for.
    fn room(&self, now: Time) -> usize {
        VOUCHES_MAX.saturating_sub(self.vouched.len() + self.open(now))
    }
}

impl Weights {
    /// Fails when `more` sites don't fit on the list of vouches.
    pub(in super::super) fn has_room(&self, more: usize, now: Time) -> Result<(), AgentError> {
        let weighing = self.lock();
        match weighing.room(now) >= more {
            true => Ok(()),
            false => Err(AgentError::TooManyVouches(weighing.vouched.len(), weighing.open(now))),
        }
    }

    /// The same for one site, which may be on it already.
    pub(in super::super) fn has_room_for(&self, site: SiteId, now: Time) -> Result<(), AgentError> {
        let more = usize::from(!self.lock().vouched.contains(&site));
        self.has_room(more, now)
    }

    /// Invitations as they are shown: without what is secret.
    pub(in super::super) fn invites(&self) -> Vec<InviteState> {
        let weighing = self.lock();
        let shown = |invite: &Invite| InviteState {
            id: invite.secret.id().to_string(),
            note: invite.note.clone(),
            until: invite.until.rfc3339(),
            open: invite.is_open(Time::now()),
            accepted_by: invite.by.map(|site| site.to_string()),
        };
        weighing.invites.iter().map(shown).collect()
    }

    /// Invitations by which `site` came.
    pub(super) fn invites_of(&self, site: SiteId) -> Vec<InviteId> {
        let weighing = self.lock();
        let of = weighing.invites.iter().filter(|invite| invite.by == Some(site));
        of.map(|invite| invite.secret.id()).collect()
    }

    /// Invitations that nobody can accept any more, and whose guest is not vouched for.
    fn spent(&self, now: Time) -> Vec<InviteId> {
        let weighing = self.lock();
        let spent = weighing.invites.iter().filter(|invite| match invite.by {
            Some(by) => !weighing.vouched.contains(&by),
            None => !invite.is_open(now),
        });
        spent.map(|invite| invite.secret.id()).collect()
    }

    pub(super) fn drop_invites(&self, gone: &[InviteId]) {
        let weighing = &mut *self.lock();
        weighing.invites.retain(|invite| !gone.contains(&invite.secret.id()));
        weighing.invites_said = false;
    }

    /// The invitation, accepted by `site`, if it still waits for somebody and there is room.
    fn claimed(&self, id: InviteId, site: SiteId) -> Option<Invite> {
        let weighing = self.lock();
        let waits = |invite: &&Invite| invite.secret.id() == id && invite.by.is_none();
        let invite = weighing.invites.iter().find(waits)?;
        // There is, but where another host of this site vouched for more meanwhile.
        let fits = weighing.vouched.len() < VOUCHES_MAX || weighing.vouched.contains(&site);
        fits.then(|| Invite { by: Some(site), ..invite.clone() })
    }

    fn put_invite(&self, invite: Invite) {
        let weighing = &mut *self.lock();
        weighing.invites.retain(|one| one.secret != invite.secret);
        weighing.invites.push(invite);
        weighing.invites_said = false;
    }

    /// Tells the nodes which invitations there are, where they do not know.
    pub(super) fn say_invites(&self, on: &[(&Network, Handle)]) {
        let weighing = &mut *self.lock();
        if !weighing.invites_said {
            let known =
                |invite: &&Invite| invite.by.is_none_or(|by| weighing.vouched.contains(&by));
            let invites: Vec<Invite> = weighing.invites.iter().filter(known).cloned().collect();
            weighing.invites_said = on.iter().all(|(_, handle)| handle.invites(invites.clone()));
        }
    }
}

fn note_of(note: &str) -> Result<String, AgentError> {
    let note = note.trim();
    let fits = note.chars().count() <= NOTE_CHARS_MAX && !note.contains(char::is_control);
    if fits { Ok(note.to_owned()) } else { Err(AgentError::Note(NOTE_CHARS_MAX)) }
}

impl Agent {
    /// An administrator invites one other site: the code that is to be typed there leads to a host
    /// in the network `side`. It holds for so many days, 7 if none are said.
    ///
    /// # Errors
    /// [`AgentError`]; nothing has changed then.
    pub async fn invite(
        &self,
        side: Side,
        note: &str,
        days: Option<u64>,
        who: &Reporter,
        now: Time,
    ) -> Result<InviteReply, AgentError> {
        administrator(who, "invite a site")?;
        let note = note_of(note)?;
        let days = days.unwrap_or(DAYS.0);
        if !(1..=DAYS.1).contains(&days) {
            return Err(AgentError::InviteDays(DAYS.1));
        }
        let Some(key) = self.identity.site_key() else { return Err(AgentError::NoSiteKey) };
        let Some(network) = self.networks.of(side) else { return Err(AgentError::NoGroup) };
        let view = network.view(0).await.filter(|view| !view.addresses.is_empty());
        let Some(view) = view else { return Err(AgentError::NoAddress) };
        let mut random = [0; SECRET_LEN];
        getrandom::fill(&mut random).map_err(|error| AgentError::Random(error.to_string()))?;
        let pass = Pass { secret: InviteSecret::new(random), until: Time(now.0 + days * DAY_SECS) };
        let _one_at_a_time = self.speaking.lock().await;
        if self.weights.lock().open(now) >= INVITES_OPEN_MAX {
            return Err(AgentError::TooManyInvites(INVITES_OPEN_MAX));
        }
        self.weights.has_room(1, now)?;
        let spent = self.weights.spent(now);
        let invite = Invite { secret: pass.secret, until: pass.until, note, by: None };
        let id = invite.secret.id();
        let gone = spent.iter().map(|id| SaveNetwork::Uninvite(*id));
        self.save_trust(gone.chain([SaveNetwork::Invite(invite.clone())]).collect()).await?;
        self.weights.drop_invites(&spent);
        self.weights.put_invite(invite);
        self.weights.say_invites(&self.networks.on());
        maillog::invited(&id, &who.name);
        let addresses = view.addresses.iter().take(ADDRESSES_MAX).cloned().collect();
        let line = Line { site: key.site(), node: view.node, addresses, pass: None };
        let until = pass.until.rfc3339();
        Ok(InviteReply { code: line.sign(pass, key), id: id.to_string(), until })
    }

    /// An administrator takes an invitation back that nobody has accepted.
    ///
    /// # Errors
    /// [`AgentError`]; nothing has changed then.
    pub async fn uninvite(&self, id: &str, who: &Reporter) -> Result<(), AgentError> {
        administrator(who, "take an invitation back")?;
        let _one_at_a_time = self.speaking.lock().await;
        let found = {
            let weighing = self.weights.lock();
            let named = |invite: &&Invite| invite.secret.id().to_string() == id.trim();
            let invite = weighing.invites.iter().find(named);
            invite.filter(|invite| invite.by.is_none()).map(|invite| invite.secret.id())
        };
        let Some(id) = found else { return Err(AgentError::NoInvite) };
        self.save_trust(vec![SaveNetwork::Uninvite(id)]).await?;
        self.weights.drop_invites(&[id]);
        self.weights.say_invites(&self.networks.on());
        Ok(())
    }

    /// A site showed the secret of an invitation: this one vouches for it. What fails is tried
    /// again when it asks again.
    pub(in super::super) async fn accepted(&self, id: InviteId, site: SiteId, now: Time) {
        let _one_at_a_time = self.speaking.lock().await;
        if let Some(invite) = self.weights.claimed(id, site) {
            let saves = vec![SaveNetwork::Invite(invite.clone()), SaveNetwork::Vouch(site, now)];
            if self.save_trust(saves).await.is_ok() {
                maillog::vouched(&site, &format!("invitation {id}"), false);
                self.weights.put_invite(invite);
                self.trust_anew(now, |vouched| vouched.insert(site));
            }
        }
        self.weights.lock().invites_said = false;
        self.say_trust(now).await;
    }
}
