//! `novacula doctor`: tests every leg that the agent stands on and says what to mend.
//!
//! Main item: [`legs`], pure. A leg that can't be judged is shown and is no fault.

use std::io;
use std::path::Path;

use novacula_catalog::Time;
use novacula_client::{Client, MilterWord, Status};
use serde::Serialize;

use super::mail::{out, printable, to_json};
use super::{EXIT_OK, EXIT_PASS, Global, failed_to, network_legs, runtime};

/// A milter tells how it is every 5 s; after three times that it is gone or hangs.
const SILENT_SECS_MAX: u64 = 15;

/// One leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Leg {
    /// Which.
    pub(super) leg: String,
    /// Nothing is to be mended.
    pub(super) well: bool,
    /// What is seen, and what to mend.
    text: String,
}

impl Leg {
    pub(super) fn new(leg: &str, well: bool, text: impl Into<String>) -> Self {
        Self { leg: leg.into(), well, text: text.into() }
    }

    /// The same leg of the private group beside the network.
    pub(super) fn of_group(self) -> Self {
        Self { leg: format!("group {}", self.leg), ..self }
    }
}

pub(super) fn run(global: &Global) -> anyhow::Result<u8> {
    let mut found = Vec::new();
    match global.config_path() {
        _ if let Err(error) = global.config() => {
            found.push(Leg::new("configuration", false, failed_to(&error)));
        }
        Some(path) => found.push(Leg::new("configuration", true, path.display().to_string())),
        None => found.push(Leg::new("configuration", true, "none; the defaults hold")),
    }
    if let Ok(socket) = global.socket() {
        match runtime()?.block_on(Client::new(&socket).status()) {
            Err(error) => found.push(Leg::new("agent", false, error.to_string())),
            Ok(status) => {
                let group = global.config().map(|config| config.socket_group).unwrap_or_default();
                found.push(door(&socket, &group));
                found.extend(legs(&status, Time::now().0));
                if (status.network != "off" || status.group.is_some())
                    && let Ok(config) = global.config()
                {
                    found.push(network_legs::dns(&config));
                }
            }
        }
    }
    for leg in &found {
        if global.json {
            out(&to_json(leg)?);
        } else {
            let word = if leg.well { "well" } else { "MEND" };
            out(&format!("{word}  {:14} {}", printable(&leg.leg), printable(&leg.text)));
        }
    }
    Ok(if found.iter().all(|leg| leg.well) { EXIT_OK } else { EXIT_PASS })
}

/// Who may use the socket.
fn door(socket: &Path, group: &str) -> Leg {
    use std::os::unix::fs::MetadataExt;
    let shown = socket.display();
    let owner = match std::fs::metadata(socket) {
        Ok(found) => found.gid(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Leg::new("socket", true, "");
        }
        Err(error) => return Leg::new("socket", false, format!("{shown}: {error}")),
    };
    let named = uzers::get_group_by_gid(owner).map(|group| group.name().to_owned());
    match named.filter(|name| name.to_string_lossy() == group) {
        Some(_) => Leg::new("socket", true, format!("{shown}, for the group {group}")),
        None => {
            let text = format!(
                "{shown}, for the agent's own user only; others need a group {group:?} that this user is in, and a restart"
            );
            Leg::new("socket", true, text)
        }
    }
}

/// What the agent's own words tell.
fn legs(status: &Status, now_secs: u64) -> Vec<Leg> {
    let uptime = format!("release {}, running for {} s", status.version, status.uptime_secs);
    let database = match &status.store_failing {
        None => Leg::new("database", true, format!("{} takes writes", status.data_dir)),
        Some(reason) => Leg::new("database", false, format!("opinions are refused: {reason}")),
    };
    let lost = match status.sightings_lost {
        0 => Leg::new("sightings", true, "all on the disk"),
        lost => Leg::new("sightings", true, format!("{lost} never reached the disk")),
    };
    let mut legs = vec![Leg::new("agent", true, uptime), database, lost];
    legs.extend(network_legs::legs(status));
    if status.milters.is_empty() {
        let text = "none has told anything: none runs, or its user is not in believed_users";
        legs.push(Leg::new("milter", true, text));
    }
    legs.extend(status.milters.iter().flat_map(|word| milter(word, now_secs)));
    legs
}

/// A milter, and each place where MTAs should connect to it.
fn milter(word: &MilterWord, now_secs: u64) -> Vec<Leg> {
    let MilterWord { state, secs_ago } = word;
    let name = format!("milter {}", state.name);
    if *secs_ago > SILENT_SECS_MAX {
        let text = format!(
            "silent for {secs_ago} s: it has stopped or hangs, and mail passes unchecked; look at its log"
        );
        return vec![Leg::new(&name, false, text)];
    }
    let total: u64 = state.mails.values().sum();
    let unchecked: u64 = state
        .mails
        .iter()
        .filter(|(kind, _)| kind.starts_with("agent-"))
        .map(|(_, count)| count)
        .sum();
    let mails = format!("release {}, {total} mails, {unchecked} of them unchecked", state.version);
    let listener = |listener: &novacula_client::MilterListener| match listener.last_secs {
        Some(last) => {
            let ago = now_secs.saturating_sub(last);
            let text = format!("{}: an MTA last connected {ago} s ago", listener.address);
            Leg::new(&name, true, text)
        }
        None => {
            let text = format!(
                "{}: no MTA has connected since it started; if mail flows, look for it in the MTA's log (novacula-milter setup postfix --print shows the settings)",
                listener.address
            );
            Leg::new(&name, false, text)
        }
    };
    let listeners = state.listeners.iter().map(listener);
    [Leg::new(&name, true, mails)].into_iter().chain(listeners).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use novacula_client::{MilterListener, MilterState};

    fn status() -> Status {
        Status { data_dir: "/data".into(), network: "off".into(), ..Status::default() }
    }

    #[track_caller]
    fn check(status: &Status, fault: Option<&str>) {
        let faults: Vec<Leg> = legs(status, 1000).into_iter().filter(|leg| !leg.well).collect();
        match fault {
            None => assert_eq!(faults, []),
            Some(part) => assert!(faults.len() == 1 && faults[0].text.contains(part), "{faults:?}"),
        }
    }

    #[test]
    fn what_is_to_be_mended() {
        check(&status(), None);
        check(&Status { store_failing: Some("disk full".into()), ..status() }, Some("disk full"));
        let word = |last_secs, secs_ago| {
            let listeners =
                vec![MilterListener { address: "unix:/m".into(), connections: 1, last_secs }];
            let state = MilterState { name: "mx".into(), listeners, ..MilterState::default() };
            Status { milters: vec![MilterWord { state, secs_ago }], ..status() }
        };
        check(&word(Some(990), 3), None);
        check(&word(None, 3), Some("no MTA has connected"));
        check(&word(Some(990), 16), Some("silent for 16 s"));
    }
}
