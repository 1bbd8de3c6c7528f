//! `novacula replay`: a time-ordered corpus as a network of sites. The project's measuring
//! instrument, and an administrator's way to ask "what would it have caught in my mail?".
//!
//! Main item: [`replay`]. The protocol stands in DESIGN 3.4 and docs/measurements.md.

mod agents;
mod index;
mod report;
mod world;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use novacula_catalog::Rates;

pub use agents::{Cost, over_agents};
pub use index::{IndexError, Row, read_index};
pub use report::{CurvePoint, Group, Report};
pub use world::Protocol;

use crate::canonical::Canonical;
use crate::config::Config;
use crate::fingerprint::Fingerprint;
use crate::message::{MAIL_LEN_MAX, Message};
use world::{Known, Run, Setting};

/// What to replay.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Folder that the index's paths start from.
    pub root: PathBuf,
    /// Seeds of the draws.
    pub seeds: Vec<u64>,
    /// How people behave.
    pub protocol: Protocol,
    /// The agents' settings, where real ones run.
    pub config: Config,
    /// The verdict's own rates.
    pub rates: Rates,
    /// Weight and network of sites, where they are not 1 and their own.
    pub trust: HashMap<String, (f64, Option<String>)>,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A mail of the index can't be read.
    #[error(
        "read the mail {path}: {source}; --root must name the folder that the index's paths start from"
    )]
    Mail {
        /// The mail.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The real agents don't run.
    #[error("start the agents on loopback: {0}")]
    Agents(String),
    /// Nothing to do.
    #[error("replay: the index holds no mail")]
    Empty,
}

/// Replays rows as the plan says. `progress` is told of every mail fingerprinted and of every
/// run done, each as a share of the whole in `0..=1`.
///
/// # Errors
/// [`ReplayError`].
pub fn replay(
    rows: &[Row],
    plan: &Plan,
    progress: impl Fn(f64) + Sync,
) -> Result<Report, ReplayError> {
    if rows.is_empty() {
        return Err(ReplayError::Empty);
    }
    let started = Instant::now();
    let ours = fingerprint_all(rows, &plan.root, |share| progress(share / 2.0))?;
    let fingerprinting = started.elapsed();
    let oracle: Vec<Known> = rows.iter().map(Known::by_campaign).collect();
    let setting =
        Setting { rows, protocol: &plan.protocol, rates: &plan.rates, trust: &plan.trust };
    let runs = run_all(&setting, &ours, &oracle, &plan.seeds, |share| progress(0.5 + share / 2.0));
    Ok(report::summarise(rows, plan, &runs, fingerprinting))
}

/// Our run and the oracle's for one seed, and how long ours took.
struct Pair {
    ours: Run,
    oracle: Run,
    elapsed: Duration,
}

fn fingerprint_all(
    rows: &[Row],
    root: &Path,
    progress: impl Fn(f64),
) -> Result<Vec<Known>, ReplayError> {
    let mut known = Vec::with_capacity(rows.len());
    for row in rows {
        let path = root.join(&row.path);
        let mut bytes =
            std::fs::read(&path).map_err(|source| ReplayError::Mail { path, source })?;
        bytes.truncate(MAIL_LEN_MAX);
        let message = Message::parse(&bytes);
        known.push(Known::by_fingerprint(&Fingerprint::of(&Canonical::of(&message))));
        progress(known.len() as f64 / rows.len() as f64);
    }
    Ok(known)
}

/// Runs every seed, as many at a time as there are processors.
fn run_all(
    setting: &Setting<'_>,
    ours: &[Known],
    oracle: &[Known],
    seeds: &[u64],
    progress: impl Fn(f64) + Sync,
) -> Vec<Pair> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Pair)>> = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(seeds.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, seed)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|at| Some((at, seeds.get(at)?)))
                {
                    let started = Instant::now();
                    let ours = world::run(setting, ours, *seed, at == 0);
                    let elapsed = started.elapsed();
                    let pair =
                        Pair { ours, oracle: world::run(setting, oracle, *seed, false), elapsed };
                    if let Ok(mut done) = done.lock() {
                        done.push((at, pair));
                        progress(done.len() as f64 / seeds.len() as f64);
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, pair)| pair).collect()
}
