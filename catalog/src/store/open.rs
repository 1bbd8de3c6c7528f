//! Opening the database: bringing its tables up to date, telling a damaged one, another site's and
//! a newer release's, and setting a damaged one aside.
//!
//! Main item: [`connect`].

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use rusqlite_migration::{M, MigrationDefinitionError, Migrations};

use super::disk::StoreError;
use crate::clock::Time;
use crate::identity::SiteId;

/// Numbers that a site may give out in a second on average. A database made anew begins above
/// all that its predecessor can have given, though nothing of that one can be read.
pub(super) const NUMBERS_A_SECOND: u64 = 1024;

/// One step per release that changed the schema; never edited, only added to.
const STEPS: &[M<'_>] = &[
    M::up(include_str!("001-schema.sql")),
    M::up(include_str!("002-correspondents.sql")),
    M::up(include_str!("003-doors.sql")),
    M::up(include_str!("010-network.sql")),
    M::up(include_str!("020-learning.sql")),
    M::up(include_str!("021-trust.sql")),
    M::up(include_str!("022-invite.sql")),
    M::up(include_str!("023-group.sql")),
];

/// Why a database can't be used as it is.
pub(super) enum Damage {
    Damaged,
    Error(StoreError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Damage {
    fn from(source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged,
            _ => Self::Sqlite(source),
        }
    }
}

impl Damage {
    pub(super) fn into_error(self, path: &Path) -> StoreError {
        let damaged = || rusqlite::Error::InvalidPath(path.to_owned());
        match self {
            Self::Error(error) => error,
            Self::Sqlite(source) => StoreError::sqlite(path, source),
            Self::Damaged => StoreError::sqlite(path, damaged()),
        }
    }
}

pub(super) fn connect(
    path: &Path,
    existed: bool,
    home: SiteId,
    now: Time,
) -> Result<Connection, Damage> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Damage::Damaged);
    }
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if existed && version == 0 {
        return Err(Damage::Damaged); // emptied or never ours
    }
    match Migrations::from_slice(STEPS).to_latest(&mut connection) {
        Err(rusqlite_migration::Error::MigrationDefinition(
            MigrationDefinitionError::DatabaseTooFarAhead,
        )) => return Err(Damage::Error(StoreError::Newer(path.to_owned()))),
        Err(rusqlite_migration::Error::RusqliteError { err, .. }) => return Err(err.into()),
        Err(_) => return Err(Damage::Damaged),
        Ok(()) => {}
    }
    let select = "SELECT site FROM instance";
    let site: Option<Vec<u8>> = connection.query_row(select, [], |row| row.get(0)).optional()?;
    match site {
        Some(site) if site == home.0 => {}
        Some(_) => return Err(Damage::Error(StoreError::ForeignSite(path.to_owned()))),
        None if existed => return Err(Damage::Damaged),
        None => {
            let insert = "INSERT INTO instance VALUES (1, ?1, ?2, ?3)";
            let first = now.0.saturating_mul(NUMBERS_A_SECOND).cast_signed();
            connection.execute(insert, params![&home.0[..], now.0.cast_signed(), first])?;
        }
    }
    Ok(connection)
}

pub(super) fn set_aside(path: &Path, now: Time) -> Result<PathBuf, StoreError> {
    let stamp = now.rfc3339().replace(':', "");
    let mut aside = path.with_extension(format!("db.damaged-{stamp}"));
    for attempt in 1.. {
        if !aside.exists() {
            break;
        }
        aside = path.with_extension(format!("db.damaged-{stamp}-{attempt}"));
    }
    fs::rename(path, &aside)
        .map_err(|source| StoreError::Directory { path: path.to_owned(), source })?;
    for suffix in ["db-wal", "db-shm"] {
        let _ = fs::remove_file(path.with_extension(suffix));
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::store::{Disk, SaveNetwork, SaveSide, Side};

    const NOW: Time = Time(1_800_000_000);

    /// The tables as they were before there could be a group beside the network.
    const BEFORE_GROUPS: usize = 7;

    #[tokio::test]
    async fn what_an_older_release_left_is_the_main_networks() {
        let dir = tempfile::tempdir().unwrap();
        let site = Identity::from_seed(&[3; 32]).site();
        let mut old = Connection::open(dir.path().join("catalog.db")).unwrap();
        Migrations::from_slice(&STEPS[..BEFORE_GROUPS]).to_latest(&mut old).unwrap();
        let epoch = NOW.epoch().0;
        old.execute("INSERT INTO instance VALUES (1, ?1, 5, 7)", [&site.0[..]]).unwrap();
        old.execute("INSERT INTO outbox VALUES (9, ?1, x'01')", [epoch]).unwrap();
        old.execute("INSERT INTO member VALUES (?1, x'02')", [[1u8; 32]]).unwrap();
        old.execute("INSERT INTO joined VALUES ('a.example', 5)", []).unwrap();
        old.execute(
            "INSERT INTO vouch_list VALUES (?1, ?2, x'03')",
            params![[2u8; 32], NOW.0.cast_signed()],
        )
        .unwrap();
        old.execute("INSERT INTO equivocator VALUES (?1, x'04', x'05')", [[3u8; 32]]).unwrap();
        drop(old);
        let (disk, loaded) = Disk::open(dir.path(), site, NOW).unwrap();
        let (main, group) = (loaded.network.main, loaded.network.group);
        assert_eq!((main.outbox, main.members), (vec![vec![1]], vec![vec![2]]));
        assert_eq!((main.joined, main.vouch_lists), (vec!["a.example".into()], vec![vec![3]]));
        assert_eq!((main.proofs, main.begun), (vec![(vec![4], vec![5])], None));
        assert!(group.outbox.is_empty() && group.members.is_empty() && group.joined.is_empty());
        assert!(group.vouch_lists.is_empty() && group.proofs.is_empty());
        // And it goes on from there.
        let settled = SaveNetwork::Of(Side::Main, SaveSide::Settled(9));
        disk.save_now(vec![crate::store::Save::Network(settled)]).await.unwrap();
        drop(disk);
        assert!(Disk::open(dir.path(), site, NOW).unwrap().1.network.main.outbox.is_empty());
    }
}
