//! The corpus over real agents: one for each site, all in this process, with stores and
//! identities of their own and libp2p between them on loopback. It measures what the network
//! costs, in bytes for each mail.
//!
//! Key decision: everything happens now, in the index's order. Nodes refuse statements that are
//! not of the last 72 h, and their timers are real; so no window closes and no delay passes, and
//! what is caught here is not comparable with `replay`'s simulated clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use novacula_catalog::node::Purpose;
use novacula_catalog::{Filter, Opinion, Reporter, Stage, Time};
use novacula_client::Asked;
use serde::Serialize;

use super::world::say;
use super::{Plan, ReplayError, Row};
use crate::agent::{Agent, Caller, Deed};
use crate::config::Config;

/// Longest wait until all sites have met.
const MEET_TIME_MAX: Duration = Duration::from_secs(120);
/// Longest wait of a check; the measure is bytes, and so nothing should be cut short.
const DEADLINE_MS: u64 = 500;
/// The private network's key, repeated: members' word weighs 1, as in `replay`.
const GROUP_KEY: &str = "52";

/// What it cost.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cost {
    /// Agents.
    pub sites: usize,
    /// Mails delivered.
    pub mails: usize,
    /// Opinions given.
    pub opinions: usize,
    /// Bytes of frames sent, all agents and purposes, for each mail.
    pub bytes_per_message: f64,
    /// The same by purpose.
    pub bytes_by_purpose: BTreeMap<&'static str, f64>,
    /// Requests for each mail.
    pub requests_per_message: f64,
    /// Keys asked or stated at peers, for each mail.
    pub keys_per_message: f64,
    /// Mails that asked nobody, because enough was known at home: a share.
    pub known_at_home: f64,
    /// Questions that the deadline ended: a share of all mails.
    pub late: f64,
    /// Mails for each second, all agents on one machine together.
    pub messages_per_second: f64,
    /// Mails by label and verdict.
    pub verdicts: BTreeMap<String, BTreeMap<&'static str, usize>>,
}

impl Cost {
    /// For people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut out = String::new();
        // Writing to a String can't fail.
        let _ = writeln!(
            out,
            "{} agents on loopback, {} mails, {} opinions, {:.0} mails/s in all",
            self.sites, self.mails, self.opinions, self.messages_per_second
        );
        let _ = writeln!(
            out,
            "a mail: {:.0} bytes sent, {:.2} requests, {:.1} keys",
            self.bytes_per_message, self.requests_per_message, self.keys_per_message
        );
        for (purpose, bytes) in &self.bytes_by_purpose {
            let _ = writeln!(out, "  {purpose:10} {bytes:>8.1} bytes");
        }
        let _ = writeln!(
            out,
            "known at home: {:.1} %; ended by the deadline: {:.1} %",
            100.0 * self.known_at_home,
            100.0 * self.late
        );
        for (label, verdicts) in &self.verdicts {
            let shown: Vec<String> =
                verdicts.iter().map(|(verdict, count)| format!("{verdict} {count}")).collect();
            let _ = writeln!(out, "{label:10} {}", shown.join(", "));
        }
        out
    }
}

/// Runs the rows over real agents, under the plan's first seed.
///
/// # Errors
/// [`ReplayError`].
pub fn over_agents(rows: &[Row], plan: &Plan, progress: impl Fn(f64)) -> Result<Cost, ReplayError> {
    let failed = |reason: String| ReplayError::Agents(reason);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let dir = std::env::temp_dir().join(format!("novacula-replay-{}", std::process::id()));
    let outcome = runtime.block_on(run(rows, plan, &dir, progress));
    drop(runtime);
    let _ = std::fs::remove_dir_all(&dir);
    outcome
}

async fn run(
    rows: &[Row],
    plan: &Plan,
    dir: &std::path::Path,
    progress: impl Fn(f64),
) -> Result<Cost, ReplayError> {
    let names: BTreeSet<&str> = rows.iter().map(|row| row.site.as_str()).collect();
    let agents = start(&names, plan, dir).await?;
    let before = sums(&agents).await;
    let mut cost = Cost { sites: agents.len(), mails: rows.len(), ..Cost::default() };
    let mut waiting: BTreeMap<(u64, usize), Opinion> = BTreeMap::new();
    let seed = plan.seeds.first().copied().unwrap_or(1);
    let (started, mut known, mut late) = (Instant::now(), 0usize, 0usize);
    for (at, row) in rows.iter().enumerate() {
        while let Some(first) = waiting.first_entry().filter(|first| first.key().0 <= row.time_secs)
        {
            let ((_, of), opinion) = first.remove_entry();
            cost.opinions += 1;
            speak(&agents, &rows[of], plan, opinion).await?;
        }
        let Some(agent) = agents.get(row.site.as_str()) else { continue };
        let mail = read(plan, row)?;
        let now = Time::now();
        let look = agent.look(&mail, &caller(&row.site, true), now);
        let answer = agent.answer(look, &caller(&row.site, true), now).await;
        known += usize::from(answer.asked == Asked::Known);
        late += usize::from(answer.asked == Asked::Deadline);
        let verdicts = cost.verdicts.entry(row.label.clone()).or_default();
        *verdicts.entry(answer.verdict.name()).or_default() += 1;
        for (opinion, after_secs) in say(&plan.protocol, seed, row, answer.verdict) {
            waiting.insert((row.time_secs + after_secs, at), opinion);
        }
        progress((at + 1) as f64 / rows.len() as f64);
    }
    let mails = rows.len().max(1) as f64;
    cost.messages_per_second = mails / started.elapsed().as_secs_f64();
    (cost.known_at_home, cost.late) = (known as f64 / mails, late as f64 / mails);
    let after = sums(&agents).await;
    for purpose in Purpose::ALL {
        let name = purpose.name();
        let bytes = (after[name] - before[name]) as f64 / mails;
        cost.bytes_by_purpose.insert(name, bytes);
        cost.bytes_per_message += bytes;
    }
    cost.requests_per_message = (after["requests"] - before["requests"]) as f64 / mails;
    cost.keys_per_message = (after["keys"] - before["keys"]) as f64 / mails;
    Ok(cost)
}

/// Starts an agent for each site and waits until all have met.
async fn start<'a>(
    names: &BTreeSet<&'a str>,
    plan: &Plan,
    dir: &std::path::Path,
) -> Result<HashMap<&'a str, Arc<Agent>>, ReplayError> {
    let mut agents: HashMap<&str, Arc<Agent>> = HashMap::new();
    let mut first: Option<String> = None;
    let started = Instant::now();
    for (at, name) in names.iter().enumerate() {
        // Each site has an address of its own, which names its network.
        let place = u16::try_from(at + 1).unwrap_or(u16::MAX).to_be_bytes();
        let address = Ipv4Addr::new(127, 88, place[0], place[1]);
        let config = Config {
            data_dir: dir.join(at.to_string()),
            network: true,
            // Over QUIC, whose one socket speaks from that address only.
            network_listen: vec![format!("/ip4/{address}/udp/0/quic-v1")],
            network_prefix_v4: 32,
            group_key: GROUP_KEY.repeat(32),
            deadline_ms: DEADLINE_MS,
            bootstrap: first.iter().cloned().collect(),
            ..plan.config.clone()
        };
        let agent = Agent::open(&config, Time::now());
        let agent = Arc::new(agent.map_err(|error| ReplayError::Agents(error.to_string()))?);
        agent.connect(Time::now());
        while first.is_none() && started.elapsed() < MEET_TIME_MAX {
            let peers = agent.status().await.peers;
            first = peers.and_then(|state| state.addresses.first().cloned());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        agents.insert(*name, agent);
    }
    for agent in agents.values() {
        while agent.status().await.peers.is_none_or(|state| state.placed < agents.len()) {
            if started.elapsed() > MEET_TIME_MAX {
                return Err(ReplayError::Agents("the agents did not all meet".into()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(agents)
}

/// Bytes sent by purpose, requests and keys, over all agents.
async fn sums(agents: &HashMap<&str, Arc<Agent>>) -> BTreeMap<&'static str, u64> {
    let mut sums: BTreeMap<&'static str, u64> = BTreeMap::new();
    for agent in agents.values() {
        let Some(view) = agent.main_view().await else { continue };
        for purpose in Purpose::ALL {
            *sums.entry(purpose.name()).or_default() += view.counters.sent(purpose);
        }
        *sums.entry("requests").or_default() += view.counters.query_requests;
        *sums.entry("keys").or_default() += view.counters.query_keys;
    }
    let names = Purpose::ALL.map(Purpose::name).into_iter().chain(["requests", "keys"]);
    names.for_each(|name| {
        sums.entry(name).or_default();
    });
    sums
}

async fn speak(
    agents: &HashMap<&str, Arc<Agent>>,
    row: &Row,
    plan: &Plan,
    opinion: Opinion,
) -> Result<(), ReplayError> {
    let Some(agent) = agents.get(row.site.as_str()) else { return Ok(()) };
    let deed = if opinion == Opinion::Revoke { Deed::Revoke } else { Deed::Report };
    let trap = opinion == Opinion::TrapReport;
    let caller = Caller { trap, ..caller(&row.site, false) };
    let done = agent.opine(deed, &read(plan, row)?, &caller, Time::now()).await;
    done.map(|_| ()).map_err(|error| ReplayError::Agents(error.to_string()))
}

fn read(plan: &Plan, row: &Row) -> Result<Vec<u8>, ReplayError> {
    let path: PathBuf = plan.root.join(&row.path);
    let mut bytes = std::fs::read(&path).map_err(|source| ReplayError::Mail { path, source })?;
    bytes.truncate(crate::message::MAIL_LEN_MAX);
    Ok(bytes)
}

fn caller(site: &str, delivery: bool) -> Caller {
    Caller {
        delivery,
        pending: false,
        authentication: None,
        received: Some(Time::now()),
        reporter: Reporter { name: site.to_owned(), administrator: false },
        trap: false,
        all: false,
        believed: false,
        client: None,
        bounce: false,
        recipients: 1,
        location: String::new(),
        filter: Filter::Unknown,
        stage: Stage::default(),
    }
}
