//! The part of the database that the network of peers needs: outbox, address book, and what the
//! administrator decided.

use rusqlite::{Connection, params};

use crate::clock::{Epoch, Time};
use crate::identity::SiteId;
use crate::node::{Invite, InviteId, InviteSecret, NodeId};
use crate::trust::{CREDIT_HALF_LIFE_SECS, Record, VOUCH_KEEP_SECS};

/// Most addresses joined at that are kept; at the bound the oldest goes.
const JOINED_MAX: u32 = 64;
/// How long what a site did is kept, in seconds: six half-lives, after which the worst record is
/// below what one contradiction costs.
const RECORD_KEEP_SECS: u64 = 6 * CREDIT_HALF_LIFE_SECS;

/// What of the network is to be written.
#[derive(Clone, Debug)]
pub enum SaveNetwork {
    /// An opinion that replicas have to acknowledge.
    Outbox {
        /// Its number.
        seq: u64,
        /// When the mail was received.
        epoch: Epoch,
        /// Its signed bytes.
        signed: Vec<u8>,
    },
    /// The opinion is acknowledged.
    Settled(u64),
    /// A host's membership record.
    Member(NodeId, Vec<u8>),
    /// The host is gone.
    Forget(NodeId),
    /// An address to begin with.
    Joined(String, Time),
    /// The network is left: no address to begin with.
    Left,
    /// A site's word counts from now on.
    Vouch(SiteId, Time),
    /// It counts no longer.
    Unvouch(SiteId),
    /// An invitation, new or accepted.
    Invite(Invite),
    /// The invitation is gone.
    Uninvite(InviteId),
    /// A site's list of whom it vouches for, signed.
    VouchList(SiteId, Time, Vec<u8>),
    /// The site's list may go.
    Unlisted(SiteId),
    /// What a site did.
    Record(SiteId, Record),
    /// A site gave one number to these two statements.
    Equivocator(SiteId, Vec<u8>, Vec<u8>),
}

/// What the database held of the network at start.
#[derive(Debug, Default)]
pub struct LoadedNetwork {
    /// Opinions that replicas have not acknowledged, signed.
    pub outbox: Vec<Vec<u8>>,
    /// Membership records.
    pub members: Vec<Vec<u8>>,
    /// Addresses joined at, the latest first.
    pub joined: Vec<String>,
    /// Sites whose word counts.
    pub vouched: Vec<SiteId>,
    /// Invitations that this site gave.
    pub invites: Vec<Invite>,
    /// Lists of whom sites vouch for, signed.
    pub vouch_lists: Vec<Vec<u8>>,
    /// What sites did.
    pub records: Vec<(SiteId, Record)>,
    /// Pairs of statements under one number, signed.
    pub proofs: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(super) fn apply(connection: &Connection, save: &SaveNetwork) -> Result<(), rusqlite::Error> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map(|_| ())
    };
    match save {
        SaveNetwork::Outbox { seq, epoch, signed } => run(
            "INSERT OR REPLACE INTO outbox VALUES (?1, ?2, ?3)",
            params![seq.cast_signed(), epoch.0, signed],
        ),
        SaveNetwork::Settled(seq) => {
            run("DELETE FROM outbox WHERE seq = ?1", params![seq.cast_signed()])
        }
        SaveNetwork::Member(node, record) => {
            run("INSERT OR REPLACE INTO member VALUES (?1, ?2)", params![&node.0[..], record])
        }
        SaveNetwork::Forget(node) => {
            run("DELETE FROM member WHERE node = ?1", params![&node.0[..]])
        }
        SaveNetwork::Joined(address, at) => {
            let at = at.0.cast_signed();
            run("INSERT OR REPLACE INTO joined VALUES (?1, ?2)", params![address, at])?;
            run(
                "DELETE FROM joined WHERE address NOT IN
                 (SELECT address FROM joined ORDER BY added DESC, address LIMIT ?1)",
                params![JOINED_MAX],
            )
        }
        SaveNetwork::Left => run("DELETE FROM joined", params![]),
        SaveNetwork::Vouch(site, at) => run(
            "INSERT OR REPLACE INTO vouched VALUES (?1, ?2)",
            params![&site.0[..], at.0.cast_signed()],
        ),
        SaveNetwork::Unvouch(site) => {
            run("DELETE FROM vouched WHERE site = ?1", params![&site.0[..]])
        }
        SaveNetwork::Invite(invite) => run(
            "INSERT OR REPLACE INTO invite VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                &invite.secret.id().0[..],
                &invite.secret.bytes()[..],
                invite.until.0.cast_signed(),
                invite.note,
                invite.by.map(|site| site.0.to_vec()),
            ],
        ),
        SaveNetwork::Uninvite(id) => run("DELETE FROM invite WHERE id = ?1", params![&id.0[..]]),
        SaveNetwork::VouchList(site, made, signed) => run(
            "INSERT OR REPLACE INTO vouch_list VALUES (?1, ?2, ?3)",
            params![&site.0[..], made.0.cast_signed(), signed],
        ),
        SaveNetwork::Unlisted(site) => {
            run("DELETE FROM vouch_list WHERE site = ?1", params![&site.0[..]])
        }
        SaveNetwork::Record(site, Record { credit, reports, revokes, at }) => run(
            "INSERT OR REPLACE INTO record VALUES (?1, ?2, ?3, ?4, ?5)",
            params![&site.0[..], credit, reports, revokes, at.0.cast_signed()],
        ),
        SaveNetwork::Equivocator(site, first, second) => run(
            "INSERT OR REPLACE INTO equivocator VALUES (?1, ?2, ?3)",
            params![&site.0[..], first, second],
        ),
    }
}

pub(super) fn load(connection: &Connection) -> Result<LoadedNetwork, rusqlite::Error> {
    let blobs = |sql: &str| -> Result<Vec<Vec<u8>>, rusqlite::Error> {
        connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
    };
    let mut joined = connection.prepare("SELECT address FROM joined ORDER BY added DESC")?;
    let vouched = blobs("SELECT site FROM vouched ORDER BY added")?;
    let mut records =
        connection.prepare("SELECT site, credit, reports, revokes, at FROM record")?;
    let record = |row: &rusqlite::Row<'_>| {
        let at = Time(row.get::<_, i64>(4)?.cast_unsigned());
        let (credit, reports, revokes) = (row.get(1)?, row.get(2)?, row.get(3)?);
        Ok((SiteId(row.get(0)?), Record { credit, reports, revokes, at }))
    };
    let mut invites =
        connection.prepare("SELECT secret, until, note, accepted_by FROM invite ORDER BY until")?;
    let invite = |row: &rusqlite::Row<'_>| {
        let by: Option<[u8; 32]> = row.get(3)?;
        Ok(Invite {
            secret: InviteSecret::new(row.get(0)?),
            until: Time(row.get::<_, i64>(1)?.cast_unsigned()),
            note: row.get(2)?,
            by: by.map(SiteId),
        })
    };
    let mut proofs = connection.prepare("SELECT first, second FROM equivocator")?;
    Ok(LoadedNetwork {
        invites: invites.query_map([], invite)?.collect::<Result<_, _>>()?,
        vouch_lists: blobs("SELECT signed FROM vouch_list")?,
        records: records.query_map([], record)?.collect::<Result<_, _>>()?,
        proofs: proofs
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?,
        outbox: blobs("SELECT signed FROM outbox ORDER BY seq")?,
        members: blobs("SELECT record FROM member")?,
        joined: joined.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?,
        vouched: vouched.into_iter().filter_map(|site| site.try_into().ok().map(SiteId)).collect(),
    })
}

/// Lets go of opinions that the network would not take any more.
pub(super) fn expire(
    connection: &Connection,
    oldest: Epoch,
    now: Time,
) -> Result<(), rusqlite::Error> {
    let secs = |keep: u64| now.minus_secs(keep).0.cast_signed();
    connection.execute("DELETE FROM vouch_list WHERE made < ?1", [secs(VOUCH_KEEP_SECS)])?;
    // After so long a record says nothing any more.
    connection.execute("DELETE FROM record WHERE at < ?1", [secs(RECORD_KEEP_SECS)])?;
    connection.execute("DELETE FROM outbox WHERE epoch < ?1", [oldest.0]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::store::{Disk, KEEP_SECS, Save};

    const NOW: Time = Time(1_800_000_000);
    const RECORD: Record = Record { credit: -0.3, reports: 2.5, revokes: 0.0, at: NOW };

    #[tokio::test]
    async fn what_the_network_needs_survives() {
        let dir = tempfile::tempdir().unwrap();
        let site = Identity::from_seed(&[3; 32]).site();
        let (disk, _) = Disk::open(dir.path(), site, NOW).unwrap();
        let outbox = |seq, epoch| SaveNetwork::Outbox {
            seq,
            epoch,
            signed: vec![u8::try_from(seq).unwrap()],
        };
        let old = NOW.minus_secs(KEEP_SECS + 3600).epoch();
        let invite = |secret, by| Invite {
            secret: InviteSecret::new([secret; 16]),
            until: NOW,
            note: "Bob's site".into(),
            by,
        };
        let saves = [
            SaveNetwork::Invite(invite(1, None)),
            SaveNetwork::Invite(invite(2, None)),
            SaveNetwork::Invite(invite(2, Some(SiteId([6; 32])))),
            SaveNetwork::Invite(invite(3, None)),
            SaveNetwork::Uninvite(InviteSecret::new([3; 16]).id()),
            outbox(1, NOW.epoch()),
            outbox(2, NOW.epoch()),
            outbox(3, old),
            SaveNetwork::Settled(2),
            SaveNetwork::Member(NodeId([1; 32]), vec![7]),
            SaveNetwork::Member(NodeId([2; 32]), vec![8]),
            SaveNetwork::Forget(NodeId([1; 32])),
            SaveNetwork::Joined("a.example".into(), NOW),
            SaveNetwork::Joined("b.example".into(), Time(NOW.0 + 1)),
            SaveNetwork::Vouch(SiteId([5; 32]), NOW),
            SaveNetwork::Vouch(SiteId([6; 32]), NOW),
            SaveNetwork::Unvouch(SiteId([5; 32])),
            SaveNetwork::VouchList(SiteId([5; 32]), NOW, vec![1]),
            SaveNetwork::VouchList(SiteId([6; 32]), NOW.minus_secs(VOUCH_KEEP_SECS + 1), vec![2]),
            SaveNetwork::VouchList(SiteId([7; 32]), NOW, vec![3]),
            SaveNetwork::Unlisted(SiteId([7; 32])),
            SaveNetwork::Record(SiteId([5; 32]), RECORD),
            SaveNetwork::Equivocator(SiteId([9; 32]), vec![1], vec![2]),
        ];
        disk.save_now(saves.into_iter().map(Save::Network).collect()).await.unwrap();
        drop(disk);
        let (disk, loaded) = Disk::open(dir.path(), site, NOW).unwrap();
        let network = loaded.network;
        assert_eq!(network.outbox, [vec![1]], "settled and too old ones are gone");
        assert_eq!(network.members, [vec![8]]);
        assert_eq!(network.joined, ["b.example", "a.example"]);
        assert_eq!(network.vouched, [SiteId([6; 32])]);
        let mut invites = network.invites;
        invites.sort_by_key(|one| one.secret.bytes());
        assert_eq!(invites, [invite(1, None), invite(2, Some(SiteId([6; 32])))]);
        assert_eq!(network.vouch_lists, [vec![1]], "dropped and not renewed ones are gone");
        assert_eq!(network.records, [(SiteId([5; 32]), RECORD)]);
        assert_eq!(network.proofs, [(vec![1], vec![2])]);
        disk.save_now(vec![Save::Network(SaveNetwork::Left)]).await.unwrap();
        drop(disk);
        assert!(Disk::open(dir.path(), site, NOW).unwrap().1.network.joined.is_empty());
    }
}
