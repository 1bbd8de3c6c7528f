//! Opinions: what a person does becomes what the site says. Opinions are made one after another,
//! so that two people who speak of one new mail at once speak of the same mail; each is worked
//! out without changing anything, stored, and only then applied.

use novacula_catalog::store::{Save, SaveNetwork, SaveSide, Side};
use novacula_catalog::{
    Act, Acts, KEEP_SECS, MailId, Occasion, Opinion, Reporter, SEQ_BLOCK, Time, Witness,
};
use novacula_client::{OpinionOutcome, OpinionReply};

use super::{Agent, AgentError, Caller, LONG_MAIL, Read};
use crate::maillog;

/// What a person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Says that it is spam.
    Report,
    /// Says that it is not.
    Revoke,
    /// Takes back what he said.
    Withdraw,
}

impl Deed {
    /// The deed's word in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Revoke => "revoke",
            Self::Withdraw => "withdraw",
        }
    }
}

/// What an opinion changes.
struct Change {
    mail: MailId,
    acts: Acts,
    witness: Option<Witness>,
    /// Signed, for peers.
    told: Option<Vec<u8>>,
    saves: Vec<Save>,
    reply: OpinionReply,
}

impl Agent {
    /// Somebody reports, revokes or withdraws. When this returns Ok the opinion is on the disk.
    ///
    /// # Errors
    /// [`AgentError::Write`] when the disk refuses; nothing has changed then.
    pub async fn opine(
        &self,
        deed: Deed,
        mail: &[u8],
        caller: &Caller,
        now: Time,
    ) -> Result<OpinionReply, AgentError> {
        let settings = self.settings();
        if caller.all && !caller.reporter.administrator {
            return Err(AgentError::NotAdministrator("withdraw what others said"));
        }
        let most = settings.config.opinions_per_hour_max;
        let counted = !caller.reporter.administrator && !caller.trap;
        if counted && !self.state().quota.take(&caller.reporter.name, most, now) {
            return Err(AgentError::TooManyOpinions(most));
        }
        let read = if mail.len() > LONG_MAIL {
            tokio::task::block_in_place(|| self.read(mail, caller, &settings, now))
        } else {
            self.read(mail, caller, &settings, now)
        };
        let _one_at_a_time = self.speaking.lock().await;
        let reply = match self.prepare(deed, &read, caller, now) {
            Err(reply) => reply,
            Ok(change) => {
                let stored = self.disk.save_now(change.saves.clone()).await;
                self.note_store();
                if let Err(error) = stored {
                    maillog::opinion_lost(&read.circumstances.id, deed.name(), &error);
                    return Err(AgentError::Write(error));
                }
                self.metrics.opinions.inc();
                if deed == Deed::Report {
                    let features = self.state().familiar.reported(read.fingerprint.digests(), now);
                    self.save_features(features);
                }
                if let Some(signed) = &change.told {
                    for (_, handle) in self.networks.on() {
                        // Without room it is in the outbox, and goes out at the next start.
                        self.metrics.unsent.inc_by(u64::from(!handle.publish(signed.clone())));
                    }
                }
                let reply = self.apply(change);
                self.note_opinion(&read, now);
                reply
            }
        };
        maillog::opined(&read.circumstances.id, deed.name(), &caller.reporter.name, &reply);
        Ok(reply)
    }

    /// Works out what an opinion changes, without changing it.
    fn prepare(
        &self,
        deed: Deed,
        read: &Read,
        caller: &Caller,
        now: Time,
    ) -> Result<Change, OpinionReply> {
        let mut state = self.state();
        let received = caller.received.or(read.received).unwrap_or(now).min(now);
        let reach = Reach {
            old: now.secs_since(received) > KEEP_SECS,
            joined: self.networks.is_on(),
            allowed: read.circumstances.allowed.is_some(),
        };
        let home_only = reach.is_home_only();
        let reply = |outcome, says: Opinion, note: String| OpinionReply {
            outcome,
            site_says: says.name().into(),
            home_only,
            note,
        };
        if !read.fingerprint.is_evidence() || read.circumstances.no_evidence.is_some() {
            let why = read.circumstances.no_evidence.clone().unwrap_or_default();
            return Err(reply(OpinionOutcome::NoEvidence, Opinion::Withdrawn, why));
        }
        let matches = state.catalog.matches(&read.probe);
        let mail = state.site.mail_of(&matches, received).unwrap_or(state.site.next_mail());
        let said = state.acts.opinion(mail);
        let mut acts = state.acts.clone_of(mail);
        let who = caller.reporter.clone();
        let mut saves = Vec::new();
        match deed {
            Deed::Withdraw => {
                if !acts.withdraw(mail, &who, caller.all) {
                    let note = nothing_to_withdraw(acts.count(mail), &who);
                    return Err(reply(OpinionOutcome::NothingToWithdraw, said, note));
                }
                saves.push(Save::Withdraw(mail, who, caller.all));
            }
            Deed::Report | Deed::Revoke => {
                let act = act_of(deed, caller);
                let digest = read.fingerprint.number();
                let occasion = Occasion { acted: now, received, digest };
                acts.set(mail, who.clone(), act, occasion);
                saves.push(Save::Act(mail, who, act, occasion));
            }
        }
        let says = acts.opinion(mail);
        let (mut witness, mut told) = (None, None);
        if says != said || deed != Deed::Withdraw {
            let stated = state.site.opine(&matches, &read.probe, says, received, now);
            let signed = self.identity.sign(&stated.statement);
            if !home_only {
                let wanted = self.networks.iter().filter(|network| network.wanted());
                saves.extend(wanted.map(|network| outbox(network.side(), &stated, &signed)));
                told = Some(signed.clone());
            }
            saves.push(Save::Statement(Box::new(stated.clone()), signed));
            witness = Some(stated);
        }
        // Numbers beyond the reserved block are reserved together with the opinion.
        if state.site.next_number() >= state.reserved {
            saves.push(Save::Reserve(state.site.next_number() + SEQ_BLOCK));
        }
        let note = note(deed, says, reach.words());
        let reply = reply(OpinionOutcome::Durable, says, note);
        Ok(Change { mail, acts, witness, told, saves, reply })
    }

    fn apply(&self, change: Change) -> OpinionReply {
        let mut state = self.state();
        state.acts.replace(change.mail, change.acts);
        for save in &change.saves {
            if let Save::Reserve(upto) = save {
                state.reserved = state.reserved.max(*upto);
            }
        }
        if let Some(witness) = change.witness {
            state.catalog.insert(witness);
        }
        change.reply
    }
}

/// The row that waits until a network's replicas have acknowledged the opinion; there is one for each
/// network that is to be on, also where it could not be started.
fn outbox(side: Side, stated: &Witness, signed: &[u8]) -> Save {
    let (seq, epoch) = (stated.statement.seq, stated.statement.epoch);
    let row = SaveSide::Outbox { seq, epoch, signed: signed.to_vec() };
    Save::Network(SaveNetwork::Of(side, row))
}

/// What a deed is among a person's acts.
fn act_of(deed: Deed, caller: &Caller) -> Act {
    match deed {
        Deed::Report if caller.trap => Act::TrapReport,
        Deed::Report => Act::Report,
        Deed::Revoke | Deed::Withdraw => Act::Revoke,
    }
}

fn nothing_to_withdraw(others: usize, who: &Reporter) -> String {
    match others {
        0 => "nobody has said anything of this mail".into(),
        _ if who.administrator => {
            format!("{others} others spoke of this mail, you did not; --all takes back theirs")
        }
        _ => "others spoke of this mail, you did not".into(),
    }
}

/// How far an opinion goes.
struct Reach {
    /// The mail is older than the network keeps.
    old: bool,
    /// A network is on.
    joined: bool,
    /// Mail of allowed senders is nobody else's business (DESIGN 4.4).
    allowed: bool,
}

impl Reach {
    fn is_home_only(&self) -> bool {
        self.old || !self.joined || self.allowed
    }

    fn words(&self) -> &'static str {
        match self {
            Self { old: true, .. } => "it acts at this site only: the mail is older than 72 h",
            Self { joined: false, .. } => "it acts at this site only: no network is joined",
            Self { allowed: true, .. } => "it acts at this site only: its sender is allowed here",
            _ => "it goes to the network's peers",
        }
    }
}

fn note(deed: Deed, says: Opinion, reach: &str) -> String {
    let done = match deed {
        Deed::Report => "reported",
        Deed::Revoke => "revoked",
        Deed::Withdraw => "withdrawn",
    };
    let says = match says {
        Opinion::Report => "spam",
        Opinion::TrapReport => "spam (a trap's word)",
        Opinion::Revoke => "not spam",
        Opinion::Withdrawn => "nothing of it",
    };
    format!("{done}; this site now says {says}; {reach}")
}
