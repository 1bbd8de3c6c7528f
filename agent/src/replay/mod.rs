//! `novacula replay`: a time-ordered corpus as a network of sites. The project's measuring
//! instrument, and an administrator's way to ask "what would it have caught in my mail?".
//!
//! Main item: [`replay`]. The protocol stands in DESIGN 3.4 and docs/measurements.md.

mod agents;
mod curve;
mod html;
mod index;
mod report;
mod table;
mod world;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use novacula_catalog::Rates;

pub use agents::{Cost, over_agents};
pub use curve::{AtShare, Counted, OfLevel};
pub use index::{IndexError, Row, read_index};
pub use report::{CurvePoint, Group, Report};
pub use table::sensitivity_table;
pub use world::{Protocol, oracle, say};

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

/// One way for people to behave, and how the verdict with its rates as they are fares then.
#[derive(Clone, Debug)]
pub struct Cell {
    /// How people behaved.
    pub protocol: Protocol,
    /// Share of spam called spam, mean over seeds.
    pub recall: f64,
    /// Share of ham called spam, mean over seeds.
    pub ham_called_spam: f64,
}

/// What people may do: reports of spam, mistakes, and delay in seconds (the table in
/// docs/measurements.md, "Sensitivity").
const REPORT_RATES: [f64; 5] = [0.01, 0.02, 0.05, 0.1, 0.2];
const FALSE_REPORT_RATES: [f64; 3] = [0.0002, 0.0005, 0.003];
const REPORT_DELAYS_SECS: [f64; 3] = [600.0, 1800.0, 14_400.0];

/// Replays rows under every way for people to behave, with the verdict's own rates fixed.
///
/// # Errors
/// [`ReplayError`].
pub fn sensitivity(
    rows: &[Row],
    plan: &Plan,
    progress: impl Fn(f64) + Sync,
) -> Result<Vec<Cell>, ReplayError> {
    let ours = fingerprint_all(rows, &plan.root, |_| {})?;
    let mut protocols = Vec::new();
    for report_rate in REPORT_RATES {
        for false_report_rate in FALSE_REPORT_RATES {
            for report_delay_secs in REPORT_DELAYS_SECS {
                let rates =
                    Protocol { report_rate, false_report_rate, report_delay_secs, ..plan.protocol };
                protocols.push(rates);
            }
        }
    }
    let done = AtomicUsize::new(0);
    let cells = in_parallel(protocols.len(), |at| {
        let protocol = &protocols[at];
        let setting = Setting { rows, protocol, rates: &plan.rates, trust: &plan.trust };
        let (mut spam, mut ham) = (0.0, 0.0);
        for seed in &plan.seeds {
            let run = world::run(&setting, &ours, *seed, false);
            spam += report::called_spam(rows, &run, "spam");
            ham += report::called_spam(rows, &run, "ham");
        }
        let seeds = plan.seeds.len().max(1) as f64;
        let so_far = done.fetch_add(1, Ordering::Relaxed) + 1;
        progress(so_far as f64 / protocols.len() as f64);
        Cell { protocol: protocol.clone(), recall: spam / seeds, ham_called_spam: ham / seeds }
    });
    Ok(cells)
}

/// Calls `make` for every number below `count`, as many at a time as there are processors; the
/// results are in order.
fn in_parallel<T: Send>(count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        break;
                    }
                    let made = make(at);
                    if let Ok(mut done) = done.lock() {
                        done.push((at, made));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, made)| made).collect()
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

/// Runs every seed, ours and the oracle's.
fn run_all(
    setting: &Setting<'_>,
    ours: &[Known],
    oracle: &[Known],
    seeds: &[u64],
    progress: impl Fn(f64) + Sync,
) -> Vec<Pair> {
    let done = AtomicUsize::new(0);
    in_parallel(seeds.len(), |at| {
        let started = Instant::now();
        let ours = world::run(setting, ours, seeds[at], at == 0);
        let elapsed = started.elapsed();
        let oracle = world::run(setting, oracle, seeds[at], false);
        progress((done.fetch_add(1, Ordering::Relaxed) + 1) as f64 / seeds.len() as f64);
        Pair { ours, oracle, elapsed }
    })
}
