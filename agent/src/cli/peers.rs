//! Commands about the network of peers: join, peers, identity, vouch.

use novacula_client::{Client, IdentityReply, Peer};

use super::mail::{out, printable, to_json};
use super::{EXIT_ERROR, EXIT_OK, Global, runtime};

pub(super) fn join(global: &Global, place: &str) -> anyhow::Result<u8> {
    let mut client = Client::new(&global.socket()?);
    let joined = runtime()?.block_on(client.join(place))?;
    if global.json {
        out(&to_json(&joined)?);
        return Ok(EXIT_OK);
    }
    out(&format!("joined at host {}; {} hosts are known", joined.node, joined.members));
    match &joined.vouched {
        Some(site) => out(&format!("the word of {site}, who invited, counts here from now on")),
        None => out("nobody's word but your own counts yet: novacula vouch SITE"),
    }
    let own = runtime()?.block_on(client.identity())?.site;
    out(&format!("for your word to count there, they type: novacula vouch {own}"));
    Ok(EXIT_OK)
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
    peers.iter().for_each(|peer| out(&printable(&line(peer))));
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

pub(super) fn identity(global: &Global, invite: bool) -> anyhow::Result<u8> {
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
    match &identity.invite {
        Some(line) => {
            out(line);
            Ok(EXIT_OK)
        }
        None => {
            let text = "an invitation needs an address: set network = true in the configuration and restart the agent";
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
        false => identity.vouched.iter().for_each(|site| out(site)),
    }
    Ok(EXIT_OK)
}
