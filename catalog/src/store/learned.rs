//! What a site has learnt, on the disk: of people's mistakes, and of what is common in its own
//! accepted mail. Both are advice: a crash may lose the last second of them.

use rusqlite::{Connection, OptionalExtension, params};

use crate::clock::{Epoch, Time};
use crate::feature::{FEATURE_DAYS_KEPT, FEATURE_ONCE_DAYS_KEPT, Feature};
use crate::learning::Learned;

/// What is written.
#[derive(Clone, Debug)]
pub enum SaveLearned {
    /// How often wanted bulk is reported.
    Rate(Learned),
    /// Features of a mail that changed.
    Features(Vec<Feature>),
}

pub(super) fn apply(connection: &Connection, save: &SaveLearned) -> Result<(), rusqlite::Error> {
    match save {
        SaveLearned::Rate(learned) => {
            let values = params![learned.reports, learned.copies, learned.until.0];
            connection
                .prepare_cached("INSERT OR REPLACE INTO learned_rate VALUES (1, ?1, ?2, ?3)")?
                .execute(values)?;
        }
        SaveLearned::Features(features) => {
            let mut insert = connection
                .prepare_cached("INSERT OR REPLACE INTO feature VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for of in features {
                let days = (of.days, of.first_day, of.last_day, of.reported_day);
                insert.execute(params![of.hash.cast_signed(), days.0, days.1, days.2, days.3])?;
            }
        }
    }
    Ok(())
}

/// What was learnt, as it was stored.
#[derive(Clone, Debug, Default)]
pub struct LoadedLearned {
    /// How often wanted bulk is reported.
    pub rate: Learned,
    /// What is common in accepted mail.
    pub features: Vec<Feature>,
}

pub(super) fn load(connection: &Connection) -> Result<LoadedLearned, rusqlite::Error> {
    let rate = |row: &rusqlite::Row<'_>| {
        Ok(Learned { reports: row.get(0)?, copies: row.get(1)?, until: Epoch(row.get(2)?) })
    };
    let select = "SELECT reports, copies, until FROM learned_rate";
    let rate = connection.query_row(select, [], rate).optional()?.unwrap_or_default();
    let mut select =
        connection.prepare("SELECT hash, days, first_day, last_day, reported_day FROM feature")?;
    let feature = |row: &rusqlite::Row<'_>| {
        Ok(Feature {
            hash: row.get::<_, i64>(0)?.cast_unsigned(),
            days: row.get(1)?,
            first_day: row.get(2)?,
            last_day: row.get(3)?,
            reported_day: row.get(4)?,
        })
    };
    let features = select.query_map([], feature)?.collect::<Result<_, _>>()?;
    Ok(LoadedLearned { rate, features })
}

/// Deletes what is too old, as [`Feature::kept_until`].
pub(super) fn expire(connection: &Connection, now: Time) -> Result<(), rusqlite::Error> {
    connection.execute(
        "DELETE FROM feature WHERE MAX(last_day, reported_day)
         + CASE WHEN days <= 1 AND reported_day = 0 THEN ?1 ELSE ?2 END < ?3",
        params![FEATURE_ONCE_DAYS_KEPT, FEATURE_DAYS_KEPT, now.0.cast_signed() / 86_400],
    )?;
    Ok(())
}
