//! Commands about the network of peers: join, peers, identity, invitations, vouch.

use novacula_catalog::VOUCHES_MAX;
use novacula_client::{Client, IdentityReply, InviteAsk, InviteState, Joined, Peer};

use super::mail::{out, printable, to_json};
use super::{EXIT_ERROR, EXIT_OK, Global, runtime};

pub(super) fn join(global: &Global, place: &str, group: bool) -> anyhow::Result<u8> {
    let mut client = Client::new(&global.socket()?);
    let joined = runtime()?.block_on(client.join(place, group))?;
    if global.json {
        out(&to_json(&joined)?);
        return Ok(if joined.refused.is_some() { EXIT_ERROR } else { EXIT_OK });
    }
    out(&format!("joined at host {}; {} hosts are known", joined.node, joined.members));
    match &joined.vouched {
        _ if group => out("the word of all members of the private group counts in its judgement"),
        Some(site) => out(&format!("the word of {site}, who invited, counts here from now on")),
        None => out("nobody's word but your own counts yet: novacula vouch SITE"),
    }
    if group && joined.vouched.is_none() {
        return Ok(EXIT_OK);
    }
    let own = runtime()?.block_on(client.identity())?.site;
    Ok(told(&joined, &own))
}

/// Whether this site's word counts there too.
fn told(joined: &Joined, own: &str) -> u8 {
    if joined.accepted {
        out("and yours counts there: they vouch for this site");
        return EXIT_OK;
    }
    let they = format!("for your word to count there, they type: novacula vouch {own}");
    match &joined.refused {
        None => {
            out(&they);
            EXIT_OK
        }
        Some(why) => {
            let text = format!("the site that invited does not vouch for this one: {why}");
            eprintln!("novacula: {}", printable(&text));
            eprintln!("novacula: {they}");
            EXIT_ERROR
        }
    }
}

pub(super) fn accept(global: &Global, code: &str, group: bool) -> anyhow::Result<u8> {
    if !code.trim().starts_with("nvc") {
        anyhow::bail!(
            "read the invitation: it begins with nvc; an address is for `novacula join ADDRESS`"
        );
    }
    join(global, code, group)
}

pub(super) fn invite(
    global: &Global,
    note: &str,
    days: Option<u64>,
    group: bool,
) -> anyhow::Result<u8> {
    let mut client = Client::new(&global.socket()?);
    let ask = InviteAsk { note: note.to_owned(), days, group };
    let invite = runtime()?.block_on(client.invite(&ask))?;
    if global.json {
        out(&to_json(&invite)?);
        return Ok(EXIT_OK);
    }
    out(&invite.code);
    // Apart from the code, so that it alone can be piped to where it is sent from.
    eprintln!(
        "for one site, until {}; there: novacula identity accept{} CODE; to take it back: novacula identity invite --remove {}",
        invite.until,
        if group { " --group" } else { "" },
        invite.id
    );
    Ok(EXIT_OK)
}

/// Shows invitations; with an ID takes that one back first.
pub(super) fn invites(global: &Global, remove: Option<&str>) -> anyhow::Result<u8> {
    let mut client = Client::new(&global.socket()?);
    let identity = match remove {
        Some(id) => runtime()?.block_on(client.uninvite(id))?,
        None => runtime()?.block_on(client.identity())?,
    };
    if global.json {
        identity.invites.iter().try_for_each(|one| to_json(one).map(|line| out(&line)))?;
        return Ok(EXIT_OK);
    }
    if identity.invites.is_empty() {
        out("nobody is invited");
    }
    identity.invites.iter().for_each(|one| out(&printable(&invited(one))));
    Ok(EXIT_OK)
}

fn invited(one: &InviteState) -> String {
    let state = match (&one.accepted_by, one.open) {
        (Some(site), _) => format!("accepted by {site}"),
        (None, true) => format!("open until {}", one.until),
        (None, false) => format!("over since {}", one.until),
    };
    format!("{}  {state}  {}", one.id, one.note).trim_end().to_owned()
}

/// A site that is vouched for, and how it came.
fn vouched(site: &str, invites: &[InviteState]) -> String {
    let came = invites.iter().find(|one| one.accepted_by.as_deref() == Some(site));
    let how = came.map(|one| format!("  by invitation  {}", one.note));
    format!("{site}{}", how.unwrap_or_default()).trim_end().to_owned()
}

pub(super) fn peers(global: &Global) -> anyhow::Result<u8> {
    let mut client = Client::new(&global.socket()?);
    let runtime = runtime()?;
    let peers = runtime.block_on(client.peers())?.peers;
    if global.json {
        peers.iter().try_for_each(|peer| to_json(peer).map(|line| out(&line)))?;
        return Ok(EXIT_OK);
    }
    if peers.is_empty() {
        let network = runtime.block_on(client.status())?.network;
        out(&format!("network {}; novacula join ADDRESS turns it on", printable(&network)));
        return Ok(EXIT_OK);
    }
    out("site      host      since                 trip ms  trust  held  state       address");
    let (group, main): (Vec<Peer>, Vec<Peer>) = peers.into_iter().partition(|peer| peer.group);
    main.iter().for_each(|peer| out(&printable(&line(peer))));
    if !group.is_empty() {
        out("in the private group:");
    }
    group.iter().for_each(|peer| out(&printable(&line(peer))));
    Ok(EXIT_OK)
}

fn line(peer: &Peer) -> String {
    let short = |key: &str| key.chars().take(8).collect::<String>();
    let state = match peer {
        Peer { own: true, .. } => "this host",
        Peer { up: false, .. } => "silent",
        Peer { placed: false, .. } => "unconfirmed",
        Peer { connected: true, .. } => "connected",
        _ => "known",
    };
    let trip = peer.round_trip_ms.map_or_else(|| "-".to_owned(), |trip| format!("{trip:.1}"));
    format!(
        "{}  {}  {}  {trip:>7}  {:>5.2}  {:>4}  {state:11} {}",
        short(&peer.site),
        short(&peer.node),
        peer.since,
        peer.trust,
        peer.records_here,
        peer.addresses.first().map_or("", String::as_str)
    )
}

pub(super) fn identity(global: &Global, invite: bool, group: bool) -> anyhow::Result<u8> {
    let mut client = Client::new(&global.socket()?);
    let identity = runtime()?.block_on(client.identity())?;
    if global.json {
        out(&to_json(&identity)?);
        return Ok(EXIT_OK);
    }
    if !invite {
        out(&identity.site);
        return Ok(EXIT_OK);
    }
    match if group { &identity.group_invite } else { &identity.invite } {
        Some(line) => {
            out(line);
            Ok(EXIT_OK)
        }
        None => {
            let text = match group {
                true => {
                    "an invitation needs an address: name the group's key or sites in [group] of the configuration and restart the agent"
                }
                false => {
                    "an invitation needs an address: set network = true in the configuration and restart the agent"
                }
            };
            eprintln!("novacula: {text}");
            Ok(EXIT_ERROR)
        }
    }
}

pub(super) fn vouch(global: &Global, site: Option<&str>, remove: bool) -> anyhow::Result<u8> {
    let mut client = Client::new(&global.socket()?);
    let runtime = runtime()?;
    let identity: IdentityReply = match site {
        Some(site) => runtime.block_on(client.vouch(site, remove))?,
        None => runtime.block_on(client.identity())?,
    };
    if global.json {
        out(&to_json(&identity)?);
        return Ok(EXIT_OK);
    }
    match identity.vouched.is_empty() {
        true => out("nobody is vouched for yet"),
        false => identity.vouched.iter().for_each(|site| {
            out(&printable(&vouched(site, &identity.invites)));
        }),
    }
    if identity.vouched.len() > VOUCHES_MAX {
        eprintln!("novacula: {}", super::too_many_vouches(identity.vouched.len()));
    }
    Ok(EXIT_OK)
}
