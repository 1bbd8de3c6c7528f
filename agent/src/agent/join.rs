//! Joining a network of peers: at an address, or by an invitation, after which two sites know each
//! other. A site that was invited for itself shows the invitation's secret, for which the inviting
//! site vouches for it in turn.
//!
//! Key decision: what an administrator decided here (where to begin, whom to vouch for) is on the
//! disk before anybody is dialled, so that it holds although nobody answers; and who types the
//! same again goes on where it ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use novacula_catalog::node::{Acceptance, NodeId, Unanswered};
use novacula_catalog::store::{Save, SaveNetwork, SaveSide, Side};
use novacula_catalog::{Reporter, SiteId, Time};
use novacula_client::Joined;
use novacula_net::Handle;

use super::invite::Invite;
use super::peers::administrator;
use super::{Agent, AgentError};

/// Longest wait after joining until the other side has said who it is.
const WELCOME_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest wait until the site that invited vouches for this one: its disk, and a few tries.
const ACCEPT_TIME_MAX: Duration = Duration::from_secs(10);
/// Time between two tries.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Why a network could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Only administrators may.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// It is no address and no invitation.
    #[error("{0}")]
    Malformed(String),
    /// The network side can't be started.
    #[error("start the network: {0}")]
    Start(String),
    /// Nobody answers.
    #[error(
        "join at {address}: {reason}; check the address, and that the port is open there for UDP and TCP"
    )]
    Unreachable {
        /// The address.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// Somebody answers who does not take this host in.
    #[error(
        "join at {0}: a host answers, but it does not take this one in; it speaks another version of the protocol, belongs to another network (group_key, group_sites, [group]; --group joins the private group), or its clock differs by more than 15 minutes"
    )]
    NotWelcome(String),
}

impl Agent {
    /// Turns a network on, for good, and meets the host at `what`: an address or an invitation.
    ///
    /// # Errors
    /// [`JoinError`]. The address is kept all the same when only nobody answered: it is tried
    /// again at every start, and `leave` forgets it.
    pub async fn join(
        self: &Arc<Self>,
        side: Side,
        what: &str,
        who: &Reporter,
        now: Time,
    ) -> Result<Joined, JoinError> {
        administrator(who, "join a network")?;
        let network = self.networks.of(side).ok_or(AgentError::NoGroup)?;
        let (addresses, invite) = places(what, self.identity.site(), now)?;
        let inviter = invite.as_ref().map(|invite| invite.site);
        let mut saves: Vec<Save> = addresses
            .iter()
            .map(|address| SaveSide::Joined(address.clone(), now))
            .map(|joined| Save::Network(SaveNetwork::Of(side, joined)))
            .collect();
        saves.extend(inviter.map(|site| Save::Network(SaveNetwork::Vouch(site, now))));
        let one_at_a_time = self.speaking.lock().await;
        if let Some(site) = inviter {
            self.weights.has_room_for(site, now)?;
        }
        self.disk.save_now(saves).await.map_err(AgentError::Write)?;
        if let Some(site) = inviter {
            self.trust_anew(now, |vouched| vouched.insert(site));
        }
        network.loaded().joined.extend(addresses.iter().cloned());
        let handle = match network.handle() {
            Some(handle) => handle,
            None => self.start_network(network, now).map_err(JoinError::Start)?,
        };
        // Two sites that invite each other at once wait for each other.
        drop(one_at_a_time);
        let address = what_is_dialled(&addresses);
        let mut reason = String::new();
        for address in &addresses {
            match handle.dial(address.clone()).await {
                Ok(node) => {
                    let joined = welcomed(&handle, node, address, inviter).await?;
                    return Ok(match &invite {
                        Some(invite) => accept(&handle, invite, joined).await,
                        None => joined,
                    });
                }
                Err(why) => reason = why,
            }
        }
        Err(JoinError::Unreachable { address, reason })
    }
}

/// The addresses in an address or an invitation, and the invitation.
fn places(what: &str, own: SiteId, now: Time) -> Result<(Vec<String>, Option<Invite>), JoinError> {
    let what = what.trim();
    if !Invite::is_meant(what) {
        let malformed = |error: novacula_net::AddressError| JoinError::Malformed(error.to_string());
        novacula_net::forms(what).map_err(malformed)?;
        return Ok((vec![what.to_owned()], None));
    }
    let cut = "read the invitation: a part of it is missing; copy the whole line";
    let invite = Invite::parse(what).ok_or(JoinError::Malformed(cut.into()))?;
    if invite.site == own {
        let text = "accept the invitation: it is this site's own; give it to another site";
        return Err(JoinError::Malformed(text.into()));
    }
    if let Some(pass) = invite.pass.filter(|pass| pass.until < now) {
        let until = pass.until.rfc3339();
        let text = format!("accept the invitation: it was good until {until}; ask for a new one");
        return Err(JoinError::Malformed(text));
    }
    let addresses = invite.addresses.iter().filter_map(|address| {
        let form = novacula_net::forms(address).ok()?.into_iter().next()?;
        novacula_net::pinned(&form, invite.node).map(|pinned| pinned.to_string())
    });
    Ok((addresses.collect(), Some(invite)))
}

fn what_is_dialled(addresses: &[String]) -> String {
    addresses.first().cloned().unwrap_or_default()
}

/// Waits until the host at the other end is known as a member.
async fn welcomed(
    handle: &Handle,
    node: NodeId,
    address: &str,
    inviter: Option<SiteId>,
) -> Result<Joined, JoinError> {
    let started = Instant::now();
    while started.elapsed() < WELCOME_TIME_MAX {
        if handle.knows(node).await
            && let Some(view) = handle.view(0).await
        {
            return Ok(Joined {
                node: node.to_string(),
                members: view.status.members,
                vouched: inviter.map(|site| site.to_string()),
                accepted: false,
                refused: None,
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(JoinError::NotWelcome(address.to_owned()))
}

/// Shows the invitation's secret to the host that invited, until its site vouches for this one.
async fn accept(handle: &Handle, invite: &Invite, joined: Joined) -> Joined {
    let Some(pass) = invite.pass else { return joined };
    let started = Instant::now();
    let refused = loop {
        break match handle.accept(invite.node, pass.secret, invite.site).await {
            Ok(Acceptance::Vouched) => return Joined { accepted: true, ..joined },
            Ok(Acceptance::Unknown) => "the invitation, or the vouch it gave, was taken back",
            Ok(Acceptance::Expired) => "the invitation's time is over by the clock there",
            Ok(Acceptance::Used) => "another site has accepted the invitation",
            Err(Unanswered::TooOld) => "the program there is too old to take an invitation",
            Ok(Acceptance::Taken) | Err(Unanswered::Silent) => {
                if started.elapsed() < ACCEPT_TIME_MAX {
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
                "it did not say so in time; type the same once more"
            }
        };
    };
    Joined { refused: Some(refused.into()), ..joined }
}

#[cfg(test)]
mod tests {
    use novacula_catalog::Identity;
    use novacula_catalog::node::InviteSecret;

    use super::super::invite::Pass;
    use super::*;

    const NOW: Time = Time(1_800_000_000);

    fn code(until: Time, key: &Identity) -> String {
        let addresses = vec!["/ip4/192.0.2.7/tcp/25725".to_owned()];
        let node = NodeId::of(&Identity::from_seed(&[3; 32]));
        let invite = Invite { site: key.site(), node, addresses, pass: None };
        invite.sign(Pass { secret: InviteSecret::new([9; 16]), until }, key)
    }

    #[test]
    fn what_is_typed_leads_to_pinned_addresses_or_says_what_is_wrong() {
        let (own, other) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let read = |text: &str| places(text, own.site(), NOW);
        let (addresses, invite) = read(&format!("  {}\n", code(NOW, &other))).unwrap();
        let invite = invite.unwrap();
        assert_eq!((invite.site, invite.pass.map(|pass| pass.until)), (other.site(), Some(NOW)));
        // Only the host in the code can answer there.
        assert_eq!(addresses.len(), 1);
        assert!(addresses[0].starts_with("/ip4/192.0.2.7/tcp/25725/p2p/12D3"), "{addresses:?}");
        let failed = |text: &str| read(text).err().map(|error| error.to_string()).unwrap();
        let over = failed(&code(Time(NOW.0 - 1), &other));
        assert!(over.contains("good until 2027-01-15T07:59:59Z; ask for a new one"), "{over}");
        assert!(failed(&code(NOW, &own)).contains("this site's own"));
        assert!(failed(&code(NOW, &other)[..99]).contains("copy the whole line"));
        let (addresses, invite) = read("mx.example.org").unwrap();
        assert_eq!((addresses, invite), (vec!["mx.example.org".to_owned()], None));
    }
}
