//! The part of the database that the networks of peers need: outbox, address book, and what the
//! administrator decided.
//!
//! Key decision: what was heard in a network, and what is to be said there, is kept by [`Side`], so
//! that nothing of the private group gets into the network beside it over a restart.

use rusqlite::{Connection, OptionalExtension, params};

use crate::clock::{Epoch, Time};
use crate::identity::SiteId;
use crate::node::{GroupId, Invite, InviteId, InviteSecret, NodeId};
use crate::trust::{CREDIT_HALF_LIFE_SECS, Record, VOUCH_KEEP_SECS};

/// Most addresses joined at that are kept; at the bound the oldest goes.
const JOINED_MAX: u32 = 64;
/// How long what a site did is kept, in seconds: six half-lives, after which the worst record is
/// below what one contradiction costs.
const RECORD_KEEP_SECS: u64 = 6 * CREDIT_HALF_LIFE_SECS;

/// Which of a site's networks of peers. What is heard in one is never told in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The network of the configuration's top level.
    Main,
    /// The private group beside it.
    Group,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Main, Self::Group];

    /// The side's word in outputs and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Group => "group",
        }
    }

    /// The side's number on the disk.
    fn number(self) -> i64 {
        match self {
            Self::Main => 0,
            Self::Group => 1,
        }
    }
}

/// What of the networks of peers is to be written.
#[derive(Clone, Debug)]
pub enum SaveNetwork {
    /// Something of one of them.
    Of(Side, SaveSide),
    /// A site's word counts from now on.
    Vouch(SiteId, Time),
    /// It counts no longer.
    Unvouch(SiteId),
    /// An invitation, new or accepted.
    Invite(Invite),
    /// The invitation is gone.
    Uninvite(InviteId),
    /// What a site did.
    Record(SiteId, Record),
}

/// What of one network is to be written.
#[derive(Clone, Debug)]
pub enum SaveSide {
    /// Which network this side is from now on.
    Begins(GroupId),
    /// It was another until now: what was heard there is forgotten.
    Forgotten {
        /// What that one was not told yet is not for the new one either.
        unsaid: bool,
    },
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
    /// A site's list of whom it vouches for, signed.
    VouchList(SiteId, Time, Vec<u8>),
    /// The site's list may go.
    Unlisted(SiteId),
    /// A site gave one number to these two statements.
    Equivocator(SiteId, Vec<u8>, Vec<u8>),
}

/// What the database held of the networks at start.
#[derive(Debug, Default)]
pub struct LoadedNetwork {
    /// Of the network of the configuration's top level.
    pub main: LoadedSide,
    /// Of the private group beside it.
    pub group: LoadedSide,
    /// Sites whose word counts.
    pub vouched: Vec<SiteId>,
    /// Invitations that this site gave.
    pub invites: Vec<Invite>,
    /// What sites did.
    pub records: Vec<(SiteId, Record)>,
}

/// What it held of one network.
#[derive(Debug, Default)]
pub struct LoadedSide {
    /// Which it was; none in a database of before that was kept.
    pub begun: Option<GroupId>,
    /// Opinions that replicas have not acknowledged, signed.
    pub outbox: Vec<Vec<u8>>,
    /// Membership records.
    pub members: Vec<Vec<u8>>,
    /// Addresses joined at, the latest first.
    pub joined: Vec<String>,
    /// Lists of whom sites vouch for, signed.
    pub vouch_lists: Vec<Vec<u8>>,
    /// Pairs of statements under one number, signed.
    pub proofs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl LoadedNetwork {
    /// What it held of this one.
    pub fn side(&mut self, side: Side) -> &mut LoadedSide {
        match side {
            Side::Main => &mut self.main,
            Side::Group => &mut self.group,
        }
    }
}

fn run(
    connection: &Connection,
    sql: &str,
    values: &[&dyn rusqlite::ToSql],
) -> Result<(), rusqlite::Error> {
    connection.prepare_cached(sql)?.execute(values).map(|_| ())
}

pub(super) fn apply(connection: &Connection, save: &SaveNetwork) -> Result<(), rusqlite::Error> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| run(connection, sql, values);
    match save {
        SaveNetwork::Of(side, save) => apply_to_side(connection, side.number(), save),
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
        SaveNetwork::Record(site, Record { credit, reports, revokes, at }) => run(
            "INSERT OR REPLACE INTO record VALUES (?1, ?2, ?3, ?4, ?5)",
            params![&site.0[..], credit, reports, revokes, at.0.cast_signed()],
        ),
    }
}

fn apply_to_side(
    connection: &Connection,
    side: i64,
    save: &SaveSide,
) -> Result<(), rusqlite::Error> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| run(connection, sql, values);
    match save {
        SaveSide::Begins(group) => {
            run("INSERT OR REPLACE INTO network VALUES (?1, ?2)", params![side, &group.0[..]])
        }
        SaveSide::Forgotten { unsaid } => {
            run("DELETE FROM member WHERE side = ?1", params![side])?;
            run("DELETE FROM equivocator WHERE side = ?1", params![side])?;
            // This site's own list is no other's word, and a later one must follow it.
            run(
                "DELETE FROM vouch_list WHERE side = ?1 AND site NOT IN (SELECT site FROM instance)",
                params![side],
            )?;
            match unsaid {
                true => run("DELETE FROM outbox WHERE side = ?1", params![side]),
                false => Ok(()),
            }
        }
        SaveSide::Outbox { seq, epoch, signed } => run(
            "INSERT OR REPLACE INTO outbox VALUES (?1, ?2, ?3, ?4)",
            params![side, seq.cast_signed(), epoch.0, signed],
        ),
        SaveSide::Settled(seq) => {
            run("DELETE FROM outbox WHERE side = ?1 AND seq = ?2", params![side, seq.cast_signed()])
        }
        SaveSide::Member(node, record) => run(
            "INSERT OR REPLACE INTO member VALUES (?1, ?2, ?3)",
            params![side, &node.0[..], record],
        ),
        SaveSide::Forget(node) => {
            run("DELETE FROM member WHERE side = ?1 AND node = ?2", params![side, &node.0[..]])
        }
        SaveSide::Joined(address, at) => {
            let at = at.0.cast_signed();
            run("INSERT OR REPLACE INTO joined VALUES (?1, ?2, ?3)", params![side, address, at])?;
            run(
                "DELETE FROM joined WHERE side = ?1 AND address NOT IN
                 (SELECT address FROM joined WHERE side = ?1
                  ORDER BY added DESC, address LIMIT ?2)",
                params![side, JOINED_MAX],
            )
        }
        SaveSide::Left => run("DELETE FROM joined WHERE side = ?1", params![side]),
        SaveSide::VouchList(site, made, signed) => run(
            "INSERT OR REPLACE INTO vouch_list VALUES (?1, ?2, ?3, ?4)",
            params![side, &site.0[..], made.0.cast_signed(), signed],
        ),
        SaveSide::Unlisted(site) => {
            run("DELETE FROM vouch_list WHERE side = ?1 AND site = ?2", params![side, &site.0[..]])
        }
        SaveSide::Equivocator(site, first, second) => run(
            "INSERT OR REPLACE INTO equivocator VALUES (?1, ?2, ?3, ?4)",
            params![side, &site.0[..], first, second],
        ),
    }
}

pub(super) fn load(connection: &Connection) -> Result<LoadedNetwork, rusqlite::Error> {
    let mut vouched = connection.prepare("SELECT site FROM vouched ORDER BY added")?;
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
    Ok(LoadedNetwork {
        main: load_side(connection, Side::Main)?,
        group: load_side(connection, Side::Group)?,
        vouched: vouched.query_map([], |row| row.get(0).map(SiteId))?.collect::<Result<_, _>>()?,
        invites: invites.query_map([], invite)?.collect::<Result<_, _>>()?,
        records: records.query_map([], record)?.collect::<Result<_, _>>()?,
    })
}

fn load_side(connection: &Connection, side: Side) -> Result<LoadedSide, rusqlite::Error> {
    let side = [side.number()];
    let blobs = |sql: &str| -> Result<Vec<Vec<u8>>, rusqlite::Error> {
        connection.prepare(sql)?.query_map(side, |row| row.get(0))?.collect()
    };
    let mut joined =
        connection.prepare("SELECT address FROM joined WHERE side = ?1 ORDER BY added DESC")?;
    let mut proofs = connection.prepare("SELECT first, second FROM equivocator WHERE side = ?1")?;
    let begun = "SELECT group_id FROM network WHERE side = ?1";
    Ok(LoadedSide {
        begun: connection.query_row(begun, side, |row| row.get(0).map(GroupId)).optional()?,
        outbox: blobs("SELECT signed FROM outbox WHERE side = ?1 ORDER BY seq")?,
        members: blobs("SELECT record FROM member WHERE side = ?1")?,
        joined: joined.query_map(side, |row| row.get(0))?.collect::<Result<_, _>>()?,
        vouch_lists: blobs("SELECT signed FROM vouch_list WHERE side = ?1")?,
        proofs: proofs
            .query_map(side, |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?,
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

    fn invite(secret: u8, by: Option<SiteId>) -> Invite {
        let secret = InviteSecret::new([secret; 16]);
        Invite { secret, until: NOW, note: "Bob's site".into(), by }
    }

    #[tokio::test]
    async fn what_the_network_needs_survives() {
        let dir = tempfile::tempdir().unwrap();
        let site = Identity::from_seed(&[3; 32]).site();
        let (disk, _) = Disk::open(dir.path(), site, NOW).unwrap();
        let outbox =
            |seq, epoch| SaveSide::Outbox { seq, epoch, signed: vec![u8::try_from(seq).unwrap()] };
        let old = NOW.minus_secs(KEEP_SECS + 3600).epoch();
        let of_main = [
            outbox(1, NOW.epoch()),
            outbox(2, NOW.epoch()),
            outbox(3, old),
            SaveSide::Settled(2),
            SaveSide::Member(NodeId([1; 32]), vec![7]),
            SaveSide::Member(NodeId([2; 32]), vec![8]),
            SaveSide::Forget(NodeId([1; 32])),
            SaveSide::Joined("a.example".into(), NOW),
            SaveSide::Joined("b.example".into(), Time(NOW.0 + 1)),
            SaveSide::VouchList(SiteId([5; 32]), NOW, vec![1]),
            SaveSide::VouchList(SiteId([6; 32]), NOW.minus_secs(VOUCH_KEEP_SECS + 1), vec![2]),
            SaveSide::VouchList(SiteId([7; 32]), NOW, vec![3]),
            SaveSide::Unlisted(SiteId([7; 32])),
            SaveSide::Equivocator(SiteId([9; 32]), vec![1], vec![2]),
        ];
        // The same numbers, hosts and addresses in the group are rows of their own.
        let of_group = [
            SaveSide::Begins(GroupId([4; 16])),
            outbox(2, NOW.epoch()),
            SaveSide::Member(NodeId([1; 32]), vec![9]),
            SaveSide::Joined("a.example".into(), NOW),
            SaveSide::VouchList(SiteId([7; 32]), NOW, vec![4]),
            SaveSide::Equivocator(SiteId([9; 32]), vec![3], vec![4]),
        ];
        let of_both = [
            SaveNetwork::Invite(invite(1, None)),
            SaveNetwork::Invite(invite(2, None)),
            SaveNetwork::Invite(invite(2, Some(SiteId([6; 32])))),
            SaveNetwork::Invite(invite(3, None)),
            SaveNetwork::Uninvite(InviteSecret::new([3; 16]).id()),
            SaveNetwork::Vouch(SiteId([5; 32]), NOW),
            SaveNetwork::Vouch(SiteId([6; 32]), NOW),
            SaveNetwork::Unvouch(SiteId([5; 32])),
            SaveNetwork::Record(SiteId([5; 32]), RECORD),
        ];
        let of = |side| move |save| SaveNetwork::Of(side, save);
        let saves = (of_group.into_iter().map(of(Side::Group)))
            .chain(of_main.into_iter().map(of(Side::Main)))
            .chain(of_both);
        disk.save_now(saves.map(Save::Network).collect()).await.unwrap();
        drop(disk);
        let network = Disk::open(dir.path(), site, NOW).unwrap().1.network;
        let main = network.main;
        assert_eq!(main.outbox, [vec![1]], "settled and too old ones are gone");
        assert_eq!(main.members, [vec![8]]);
        assert_eq!(main.joined, ["b.example", "a.example"]);
        assert_eq!(main.vouch_lists, [vec![1]], "dropped and not renewed ones are gone");
        assert_eq!(main.proofs, [(vec![1], vec![2])]);
        assert_eq!(main.begun, None);
        let group = network.group;
        assert_eq!((group.outbox, group.members), (vec![vec![2]], vec![vec![9]]));
        assert_eq!((group.joined, group.vouch_lists), (vec!["a.example".into()], vec![vec![4]]));
        assert_eq!((group.proofs, group.begun), (vec![(vec![3], vec![4])], Some(GroupId([4; 16]))));
        assert_eq!(network.vouched, [SiteId([6; 32])]);
        let mut invites = network.invites;
        invites.sort_by_key(|one| one.secret.bytes());
        assert_eq!(invites, [invite(1, None), invite(2, Some(SiteId([6; 32])))]);
        assert_eq!(network.records, [(SiteId([5; 32]), RECORD)]);
    }

    #[tokio::test]
    async fn what_is_forgotten_of_one_network_stays_of_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let site = Identity::from_seed(&[3; 32]).site();
        let (disk, _) = Disk::open(dir.path(), site, NOW).unwrap();
        let heard = [
            SaveSide::Outbox { seq: 1, epoch: NOW.epoch(), signed: vec![1] },
            SaveSide::Member(NodeId([1; 32]), vec![2]),
            SaveSide::Joined("a.example".into(), NOW),
            SaveSide::VouchList(SiteId([7; 32]), NOW, vec![3]),
            SaveSide::VouchList(site, NOW, vec![6]),
            SaveSide::Equivocator(SiteId([9; 32]), vec![4], vec![5]),
        ];
        let in_both = Side::ALL
            .into_iter()
            .flat_map(|side| heard.clone().map(|save| Save::Network(SaveNetwork::Of(side, save))));
        let then = [
            SaveSide::Left,
            SaveSide::Begins(GroupId([8; 16])),
            SaveSide::Forgotten { unsaid: true },
        ];
        let then = then.map(|save| Save::Network(SaveNetwork::Of(Side::Main, save)));
        disk.save_now(in_both.chain(then).collect()).await.unwrap();
        drop(disk);
        let LoadedNetwork { main, group, .. } =
            Disk::open(dir.path(), site, NOW).unwrap().1.network;
        assert!(main.joined.is_empty() && main.outbox.is_empty() && main.members.is_empty());
        assert_eq!((main.vouch_lists, main.proofs), (vec![vec![6]], vec![]), "own list stays");
        assert_eq!((main.begun, group.begun), (Some(GroupId([8; 16])), None));
        assert_eq!((group.outbox.len(), group.members.len(), group.joined.len()), (1, 1, 1));
        assert_eq!((group.vouch_lists.len(), group.proofs.len()), (2, 1));
    }
}
