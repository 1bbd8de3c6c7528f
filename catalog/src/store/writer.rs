//! The only thread that writes to the database. It takes what comes, groups sightings for up to
//! a second, and commits at once when an opinion waits. When a write fails the opinions in it
//! are refused (their callers hear why), the sightings stay in memory and are tried again.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use super::disk::{Save, StoreError};
use super::memory::oldest_kept;
use super::{learned, network};
use crate::clock::Time;

/// Longest time that a sighting waits for its group (DESIGN 4.1: a crash loses one second).
const GROUP_TIME: Duration = Duration::from_secs(1);

/// How often a waiting group looks for more. So long an opinion may wait beside its fsync.
const LOOK_TIME: Duration = Duration::from_millis(5);

/// Most writes in one transaction.
const GROUP_MAX: usize = 4096;

/// Most sightings kept for another try while the disk refuses; at the bound the oldest go.
const RETRY_MAX: usize = 65_536;

/// Whether a write reached the disk.
pub(super) type Answer = Result<(), Arc<StoreError>>;

/// What the thread is told.
pub(super) enum Command {
    Soon(Save),
    Now(Vec<Save>, oneshot::Sender<Answer>),
    Close,
}

/// What the writer's thread counted.
#[derive(Debug, Default)]
pub struct Health {
    written: AtomicU64,
    dropped: AtomicU64,
    failures: AtomicU64,
    failing: AtomicBool,
    last_error: Mutex<String>,
}

impl Health {
    /// Writes committed.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Sightings that never reached the disk.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Transactions that failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What the last transaction met with, when it failed.
    #[must_use]
    pub fn failing(&self) -> Option<String> {
        let failing = self.failing.load(Ordering::Relaxed);
        failing.then(|| self.last_error.lock().map(|text| text.clone()).unwrap_or_default())
    }

    pub(super) fn count_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    fn note(&self, outcome: &Result<(), StoreError>, writes: usize) {
        self.failing.store(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Ok(()) => {
                self.written.fetch_add(writes as u64, Ordering::Relaxed);
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                if let Ok(mut text) = self.last_error.lock() {
                    *text = error.to_string();
                }
            }
        }
    }
}

/// Writes that wait for an answer, with where to send it.
type AtOnce = Vec<(Vec<Save>, oneshot::Sender<Answer>)>;

/// Runs until [`Command::Close`] or the last sender is gone.
pub(super) fn run(
    mut connection: Connection,
    path: &Path,
    commands: &Receiver<Command>,
    health: &Health,
) {
    let mut waiting: Vec<Save> = Vec::new();
    let mut closing = false;
    while !closing {
        let at_once;
        (at_once, closing) = gather(commands, &mut waiting);
        let writes = || waiting.iter().chain(at_once.iter().flat_map(|(saves, _)| saves));
        let outcome =
            apply(&mut connection, writes()).map_err(|source| StoreError::sqlite(path, source));
        health.note(&outcome, writes().count());
        match &outcome {
            Ok(()) => waiting.clear(),
            Err(_) if waiting.len() > RETRY_MAX => {
                let surplus = waiting.len() - RETRY_MAX;
                waiting.drain(..surplus);
                health.count_dropped(surplus as u64);
            }
            Err(_) => {}
        }
        let outcome = outcome.map_err(Arc::new);
        for (_, done) in at_once {
            let _ = done.send(outcome.clone());
        }
    }
    health.count_dropped(waiting.len() as u64);
}

/// Takes commands until something must be written: an opinion waits, the group is a second old
/// or full, or the end has come.
fn gather(commands: &Receiver<Command>, waiting: &mut Vec<Save>) -> (AtOnce, bool) {
    let due = Instant::now() + GROUP_TIME;
    let mut at_once = AtOnce::new();
    for _ in 0..GROUP_MAX {
        let received = if !at_once.is_empty() {
            // Whoever already stands in the queue shares the same fsync.
            commands.recv_timeout(Duration::ZERO)
        } else if waiting.is_empty() {
            commands.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            look(commands, due)
        };
        match received {
            Ok(Command::Soon(save)) => waiting.push(save),
            Ok(Command::Now(saves, done)) => at_once.push((saves, done)),
            Ok(Command::Close) | Err(RecvTimeoutError::Disconnected) => return (at_once, true),
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    (at_once, false)
}

/// The next command until `due`, looked for now and then: who parks at the queue is woken by every
/// sighting, which costs each check a switch of threads.
fn look(commands: &Receiver<Command>, due: Instant) -> Result<Command, RecvTimeoutError> {
    loop {
        match commands.try_recv() {
            Ok(command) => return Ok(command),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) if Instant::now() >= due => {
                return Err(RecvTimeoutError::Timeout);
            }
            Err(TryRecvError::Empty) => std::thread::sleep(LOOK_TIME),
        }
    }
}

fn apply<'a>(
    connection: &mut Connection,
    saves: impl Iterator<Item = &'a Save>,
) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction()?;
    for save in saves {
        apply_one(&transaction, save)?;
    }
    transaction.commit()
}

fn apply_one(connection: &Connection, save: &Save) -> Result<(), rusqlite::Error> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map(|_| ())
    };
    match save {
        Save::Statement(witness, signed) => {
            let slot = witness.slot();
            run(
                "INSERT OR REPLACE INTO statement VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    &slot.site.0[..],
                    slot.mail.0.cast_signed(),
                    slot.class as u8,
                    slot.network.0.cast_signed(),
                    witness.kept_from.0,
                    witness.nilsimsa.map(|digest| digest.to_bytes()),
                    signed,
                ],
            )
        }
        Save::Act(mail, who, act, occasion) => run(
            "INSERT OR REPLACE INTO act VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                mail.0.cast_signed(),
                who.name,
                who.administrator,
                *act as u8,
                occasion.acted.0.cast_signed(),
                occasion.received.0.cast_signed(),
                occasion.digest.cast_signed(),
            ],
        ),
        Save::Withdraw(mail, _, true) => {
            run("DELETE FROM act WHERE mail = ?1", params![mail.0.cast_signed()])
        }
        Save::Withdraw(mail, who, false) => run(
            "DELETE FROM act WHERE mail = ?1 AND name = ?2",
            params![mail.0.cast_signed(), who.name],
        ),
        Save::Allow(pattern, at) => {
            run("INSERT OR IGNORE INTO allow VALUES (?1, ?2)", params![pattern, at.0.cast_signed()])
        }
        Save::Disallow(pattern) => run("DELETE FROM allow WHERE pattern = ?1", params![pattern]),
        Save::Trace(trace) => run(
            "INSERT OR REPLACE INTO trace VALUES (?1, ?2, ?3, ?4)",
            params![trace.hash.cast_signed(), trace.kind, trace.first_day, trace.last_day],
        ),
        Save::Token(token) => run(
            "INSERT OR REPLACE INTO token VALUES (?1, ?2, ?3, ?4)",
            params![&token.hash[..], token.user, token.label, token.made.0.cast_signed()],
        ),
        Save::Untoken(hash) => run("DELETE FROM token WHERE hash = ?1", params![&hash[..]]),
        Save::Reserve(upto) => run(
            "UPDATE instance SET seq_reserved = MAX(seq_reserved, ?1)",
            params![upto.cast_signed()],
        ),
        Save::Network(save) => network::apply(connection, save),
        Save::Learned(save) => learned::apply(connection, save),
        Save::Expire(now) => expire(connection, *now),
    }
}

/// Deletes what is too old.
pub(super) fn expire(connection: &Connection, now: Time) -> Result<(), rusqlite::Error> {
    let (oldest, oldest_own) = oldest_kept(now);
    connection.execute(
        "DELETE FROM statement WHERE kept_from < ?1 AND (kept_from < ?2 OR class = 0
         OR site <> (SELECT site FROM instance))",
        params![oldest.0, oldest_own.0],
    )?;
    let acts_from = oldest_own.start().0.cast_signed();
    connection.execute("DELETE FROM act WHERE acted < ?1", [acts_from])?;
    // As Trace::days_kept.
    connection.execute(
        "DELETE FROM trace WHERE last_day + CASE kind WHEN 1 THEN 400 WHEN 2 THEN 30
         ELSE CASE WHEN first_day = last_day THEN 14 ELSE 90 END END < ?1",
        [now.0.cast_signed() / 86_400],
    )?;
    network::expire(connection, oldest, now)?;
    learned::expire(connection, now)
}
