//! The database: loading it, and handing writes to the writer's thread. Opinions are on the disk
//! when they are acknowledged; sightings are grouped, and a crash loses at most the last second of
//! them (DESIGN 4.1).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::learned::{self, LoadedLearned, SaveLearned};
use super::network::{self, LoadedNetwork, SaveNetwork};
use super::open::{Damage, connect, set_aside};
use super::writer::{self, Command, Health};
use crate::acts::{Act, Acts, Occasion, Reporter};
use crate::clock::{Epoch, Time};
use crate::digest::Nilsimsa;
use crate::entry::{Network, Witness};
use crate::identity::SiteId;
use crate::site::SEQ_BLOCK;
use crate::statement::{MailId, Statement};
use crate::token::Token;
use crate::trace::Trace;

/// Name of the database in the data directory.
const FILE_NAME: &str = "catalog.db";

/// Writes that may wait for the writer's thread. At the bound sightings are dropped and counted;
/// opinions wait.
const QUEUE_MAX: usize = 4096;

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("use the data directory {path}: {source}")]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Made by a later release; it is left untouched.
    #[error(
        "open {0}: a newer release of novacula made it; install that release, or start with another data directory"
    )]
    Newer(PathBuf),
    /// It belongs to another site.
    #[error(
        "open {0}: it belongs to another site than the identity file beside it; put the right identity back, or move the database away"
    )]
    ForeignSite(PathBuf),
    /// No room.
    #[error(
        "write to {0}: the disk is full; free some space, nothing that was acknowledged is lost"
    )]
    Full(PathBuf),
    /// Not writable.
    #[error("write to {0}: it is read-only; make the directory writable for the agent's user")]
    ReadOnly(PathBuf),
    /// Anything else that SQLite says.
    #[error("use the database {path}: {source}")]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The writer's thread is gone: the agent is stopping.
    #[error("store it: the agent is stopping")]
    Stopping,
}

impl StoreError {
    /// The error as an administrator can mend it.
    pub(super) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(path),
            Some(ErrorCode::ReadOnly) => Self::ReadOnly(path),
            _ => Self::Sqlite { path, source },
        }
    }
}

/// What to write.
#[derive(Clone, Debug)]
pub enum Save {
    /// A statement with its signed bytes.
    Statement(Box<Witness>, Vec<u8>),
    /// A person's act on a mail.
    Act(MailId, Reporter, Act, Occasion),
    /// A person's act taken back; with `true`, everybody's.
    Withdraw(MailId, Reporter, bool),
    /// A sender allowed.
    Allow(String, Time),
    /// A sender no longer allowed.
    Disallow(String),
    /// A correspondent met.
    Trace(Trace),
    /// A mail client may speak for a user.
    Token(Token),
    /// The client whose token has this hash no longer may.
    Untoken([u8; 32]),
    /// Numbers below this one may be given to statements.
    Reserve(u64),
    /// Something of the network of peers.
    Network(SaveNetwork),
    /// Something that was learnt.
    Learned(SaveLearned),
    /// What is too old at this time may go.
    Expire(Time),
}

/// What the database held at start.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Statements, unexpired.
    pub witnesses: Vec<Witness>,
    /// What people said.
    pub acts: Acts,
    /// Allowed senders.
    pub allowed: Vec<String>,
    /// Correspondents.
    pub traces: Vec<Trace>,
    /// What the network of peers needs.
    pub network: LoadedNetwork,
    /// What was learnt.
    pub learned: LoadedLearned,
    /// Tokens of mail clients.
    pub tokens: Vec<Token>,
    /// First running number that no statement of this host has; a block from here is reserved.
    pub next_number: u64,
    /// Where a damaged database was put.
    pub set_aside: Option<PathBuf>,
}

/// The open database.
pub struct Disk {
    queue: SyncSender<Command>,
    health: Arc<Health>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// Opens or makes the database in `dir` and loads what is not too old.
    ///
    /// # Errors
    /// [`StoreError`], with what to mend. A damaged database is no error: it is renamed with the
    /// date, and a new one begun.
    pub fn open(dir: &Path, home: SiteId, now: Time) -> Result<(Self, Loaded), StoreError> {
        let path = dir.join(FILE_NAME);
        let existed = path.exists();
        let (connection, set_aside) = match connect(&path, existed, home, now) {
            Err(Damage::Damaged) => {
                let aside = set_aside(&path, now)?;
                (
                    connect(&path, false, home, now).map_err(|damage| damage.into_error(&path))?,
                    Some(aside),
                )
            }
            Err(damage) => return Err(damage.into_error(&path)),
            Ok(connection) => (connection, None),
        };
        let loaded = load(&connection, now).map_err(|source| StoreError::sqlite(&path, source))?;
        let loaded = Loaded { set_aside, ..loaded };
        let (queue, commands) = sync_channel(QUEUE_MAX);
        let health = Arc::new(Health::default());
        let for_thread = Arc::clone(&health);
        let thread = std::thread::Builder::new()
            .name("novacula-store".into())
            .spawn(move || writer::run(connection, &path, &commands, &for_thread))
            .map_err(|source| StoreError::Directory { path: dir.to_owned(), source })?;
        Ok((Self { queue, health, thread: Some(thread) }, loaded))
    }

    /// Counters of the writer's thread.
    #[must_use]
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Writes within about a second. When the queue is full it is dropped and counted.
    pub fn save_soon(&self, save: Save) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Command::Soon(save)) {
            self.health.count_dropped(1);
        }
    }

    /// Writes all or nothing; when this returns Ok it is on the disk.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written.
    pub async fn save_now(&self, saves: Vec<Save>) -> Result<(), Arc<StoreError>> {
        let (done, answer) = oneshot::channel();
        let mut command = Command::Now(saves, done);
        // The queue is a thread's: waiting for a place must not block the runtime.
        while let Err(refused) = self.queue.try_send(command) {
            match refused {
                TrySendError::Full(again) => command = again,
                TrySendError::Disconnected(_) => return Err(StoreError::Stopping.into()),
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::Stopping.into()))
    }
}

impl Drop for Disk {
    /// Writes what waits, then closes.
    fn drop(&mut self) {
        let _ = self.queue.send(Command::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn load_tokens(connection: &Connection) -> Result<Vec<Token>, rusqlite::Error> {
    let mut select = connection.prepare("SELECT hash, user, label, made FROM token")?;
    let token = |row: &rusqlite::Row<'_>| {
        let made = Time(row.get::<_, i64>(3)?.cast_unsigned());
        Ok(Token { hash: row.get(0)?, user: row.get(1)?, label: row.get(2)?, made })
    };
    select.query_map([], token)?.collect()
}

fn load(connection: &Connection, now: Time) -> Result<Loaded, rusqlite::Error> {
    writer::expire(connection, now)?;
    let mut loaded = Loaded::default();
    let mut select =
        connection.prepare("SELECT network, kept_from, nilsimsa, signed FROM statement")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let signed: Vec<u8> = row.get(3)?;
        // A row that no longer decodes is left where it is and not counted.
        let Ok(statement) = Statement::decode(&signed) else { continue };
        let nilsimsa: Option<[u8; 32]> = row.get(2)?;
        loaded.witnesses.push(Witness {
            statement,
            network: Network(row.get::<_, i64>(0)?.cast_unsigned()),
            nilsimsa: nilsimsa.map(|bytes| Nilsimsa::from_bytes(&bytes)),
            kept_from: Epoch(row.get(1)?),
        });
    }
    let mut select = connection
        .prepare("SELECT mail, name, administrator, act, acted, received, digest FROM act")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let Some(act) = Act::from_byte(row.get(3)?) else { continue };
        let who = Reporter { name: row.get(1)?, administrator: row.get(2)? };
        let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let (acted, received, digest) = (Time(number(4)?), Time(number(5)?), number(6)?);
        let occasion = Occasion { acted, received, digest };
        loaded.acts.set(MailId(number(0)?), who, act, occasion);
    }
    let mut select = connection.prepare("SELECT pattern FROM allow ORDER BY pattern")?;
    loaded.allowed = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut select = connection.prepare("SELECT hash, kind, first_day, last_day FROM trace")?;
    let trace = |row: &rusqlite::Row<'_>| {
        let hash = row.get::<_, i64>(0)?.cast_unsigned();
        let (kind, first_day, last_day) = (row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(Trace { hash, kind, first_day, last_day })
    };
    loaded.traces = select.query_map([], trace)?.collect::<Result<_, _>>()?;
    loaded.network = network::load(connection)?;
    loaded.learned = learned::load(connection)?;
    loaded.tokens = load_tokens(connection)?;
    let reserved: i64 =
        connection.query_row("SELECT seq_reserved FROM instance", [], |row| row.get(0))?;
    loaded.next_number = reserved.cast_unsigned();
    let upto = (loaded.next_number + SEQ_BLOCK).cast_signed();
    connection.execute("UPDATE instance SET seq_reserved = ?1", [upto])?;
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::Feature;
    use crate::identity::Identity;
    use crate::learning::Learned;
    use crate::statement::{Copies, Facts, Kind, Opinion};

    const NOW: Time = Time(1_800_000_000);
    const OCCASION: Occasion = Occasion { acted: NOW, received: Time(5), digest: u64::MAX };

    fn identity() -> Identity {
        Identity::from_seed(&[3; 32])
    }

    fn open(dir: &Path) -> (Disk, Loaded) {
        Disk::open(dir, identity().site(), NOW).unwrap()
    }

    fn statement(mail: u64, opinion: bool) -> Save {
        let kind = match opinion {
            true => Kind::Opinion { opinion: Opinion::Report, nilsimsa: Some(Nilsimsa([5; 4])) },
            false => Kind::Sighting { copies: Copies::One, facts: Facts::default() },
        };
        let epoch = NOW.epoch();
        let keys = vec![crate::Key(mail)];
        let statement = Statement::new(identity().site(), MailId(mail), mail, epoch, keys, kind);
        let signed = statement.sign(&identity());
        let nilsimsa = Some(Nilsimsa([mail; 4]));
        let witness = Witness { statement, network: Network(u64::MAX), nilsimsa, kept_from: epoch };
        Save::Statement(Box::new(witness), signed)
    }

    #[tokio::test]
    async fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let who = Reporter { name: "ann".into(), administrator: false };
        let (disk, loaded) = open(dir.path());
        assert!(loaded.witnesses.is_empty());
        let (user, label) = ("ann".into(), "mail client".into());
        let token = Token { hash: [9; 32], user, label, made: NOW };
        disk.save_soon(statement(1, false));
        let learned = Learned { reports: 1.5, copies: 900.0, until: NOW.epoch() };
        let day = (NOW.0 / 86_400) as u32;
        let feature =
            |hash, last_day| Feature { hash, days: 3, first_day: 7, last_day, reported_day: 0 };
        let features = vec![feature(u64::MAX, day), feature(1, day - 100)];
        disk.save_soon(Save::Learned(SaveLearned::Rate(learned)));
        disk.save_soon(Save::Learned(SaveLearned::Features(features)));
        let acts = vec![
            statement(2, true),
            Save::Act(MailId(2), who.clone(), Act::Report, OCCASION),
            Save::Token(token.clone()),
            Save::Allow("@example.org".into(), NOW),
        ];
        disk.save_now(acts).await.unwrap();
        drop(disk);
        let (disk, loaded) = open(dir.path());
        let mut saved = loaded.witnesses;
        saved.sort_by_key(|witness| witness.statement.mail);
        let expected = [statement(1, false), statement(2, true)].map(|save| match save {
            Save::Statement(witness, _) => *witness,
            _ => unreachable!(),
        });
        assert_eq!(saved, expected);
        assert_eq!(loaded.acts.of(MailId(2), &who), Some(Act::Report));
        assert_eq!(loaded.acts.by("ann")[0].1.occasion, OCCASION);
        assert_eq!(loaded.tokens, [token]);
        assert_eq!(loaded.learned.rate, learned);
        assert_eq!(loaded.learned.features, [feature(u64::MAX, day)], "what is old is gone");
        assert_eq!(loaded.allowed, ["@example.org"]);
        disk.save_now(vec![
            Save::Withdraw(MailId(2), who, false),
            Save::Disallow("@example.org".into()),
            Save::Untoken([9; 32]),
        ])
        .await
        .unwrap();
        drop(disk);
        let (_, loaded) = open(dir.path());
        assert_eq!((loaded.acts.count(MailId(2)), loaded.allowed.len()), (0, 0));
        assert!(loaded.tokens.is_empty());
    }

    #[test]
    fn no_number_is_given_again_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let numbers: Vec<u64> = (0..3).map(|_| open(dir.path()).1.next_number).collect();
        let first = NOW.0 * super::super::open::NUMBERS_A_SECOND;
        assert_eq!(numbers, [first, first + SEQ_BLOCK, first + 2 * SEQ_BLOCK]);
    }

    #[test]
    fn anothers_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let other = Identity::from_seed(&[4; 32]).site();
        assert!(matches!(Disk::open(dir.path(), other, NOW), Err(StoreError::ForeignSite(_))));
    }

    #[test]
    fn what_is_too_old_is_not_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, _) = open(dir.path());
        disk.save_soon(statement(1, false));
        disk.save_soon(statement(2, true));
        drop(disk);
        let later = Time(NOW.0 + super::super::KEEP_SECS + 2000);
        let (_, loaded) = Disk::open(dir.path(), identity().site(), later).unwrap();
        assert_eq!(loaded.witnesses.len(), 1, "the opinion stays for its site's own use");
    }
}
