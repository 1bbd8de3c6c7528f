//! Commands about the agent itself: status, allow.

use novacula_catalog::VOUCHES_MAX;
use novacula_client::{Client, NetworkState};

use super::mail::{out, printable, to_json};
use super::{EXIT_OK, Global, runtime};

pub(super) fn status(global: &Global) -> anyhow::Result<u8> {
    let mut client = Client::new(&global.socket()?);
    let status = runtime()?.block_on(client.status())?;
    if global.json {
        out(&to_json(&status)?);
        return Ok(EXIT_OK);
    }
    let network = network_words(&status.network, status.peers.as_ref());
    let group = status.group.map(|of| network_words(&of.network, of.peers.as_ref()));
    let vouched = status.peers.as_ref().map_or(0, |peers| peers.vouched);
    let store = status.store_failing.as_deref().unwrap_or("takes writes");
    let lines = [
        ("version", status.version),
        ("site", status.site),
        ("running for", format!("{} s", status.uptime_secs)),
        ("data", status.data_dir),
        ("network", network),
        ("statements", format!("{}, {} of them opinions", status.statements, status.opinions)),
        ("allowed senders", status.allowed.to_string()),
        ("checks answered", status.checks.to_string()),
        ("database", store.to_owned()),
        ("sightings lost", status.sightings_lost.to_string()),
    ];
    for (name, value) in lines.into_iter().chain(group.map(|group| ("private group", group))) {
        out(&format!("{name:16} {}", printable(&value)));
    }
    if vouched > VOUCHES_MAX {
        out(&format!("{:16} {}", "vouches", super::too_many_vouches(vouched)));
    }
    Ok(EXIT_OK)
}

/// How a network is, in a line.
fn network_words(word: &str, state: Option<&NetworkState>) -> String {
    match state {
        Some(peers) => format!(
            "on: {} hosts known, {} connected; {} opinions on their way",
            peers.members, peers.connected, peers.outbox
        ),
        None => word.to_owned(),
    }
}

pub(super) fn allow(global: &Global, pattern: Option<&str>, remove: bool) -> anyhow::Result<u8> {
    let mut client = Client::new(&global.socket()?);
    let list = runtime()?.block_on(client.allow(pattern, remove))?;
    if global.json {
        out(&to_json(&list)?);
        return Ok(EXIT_OK);
    }
    match list.allowed.is_empty() {
        true => out("nobody is allowed yet"),
        false => list.allowed.iter().for_each(|allowed| out(&printable(allowed))),
    }
    Ok(EXIT_OK)
}
