//! `novacula watch`: a Junk folder in which a person puts spam (a Maildir), or the mailbox of a
//! trap. What comes in is reported; what a person moves out again is withdrawn.
//!
//! Main items: [`Folder`], which is pure, and [`run`]. Key decision: the system's notices only say
//! *when* to look; what happened is found by comparing two looks, so that a lost notice costs time
//! and no report. A mail is kept open as long as it is known: what was moved away can still be
//! read, and nothing is copied.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use notify::{RecursiveMode, Watcher};
use novacula_agent::MAIL_LEN_MAX;
use novacula_client::{Client, Envelope, OpinionOutcome};

use super::mail::{out, printable};
use super::{Global, runtime};

/// A mail that went is gone for good after this; a change of flags is a rename and takes no time.
const GONE_TIME: Duration = Duration::from_secs(2);

/// How often is looked even if nothing was noticed, and an absent agent is asked again.
const LOOK_TIME: Duration = Duration::from_secs(5);

/// Time in which several notices become one look.
const SETTLE_TIME: Duration = Duration::from_millis(100);

/// Mails kept open in a folder; of older ones a removal says nothing. Below the usual limit of
/// 1,024 open files.
const OPEN_MAX: usize = 500;

/// Watched folders.
const FOLDERS_MAX: usize = 64;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Maildirs, as in ~/Maildir/.Junk.
    #[arg(required = true, value_name = "MAILDIR", num_args = 1..=FOLDERS_MAX)]
    folders: Vec<PathBuf>,
    /// They are a trap's: whatever comes is reported as such, and removal says nothing.
    #[arg(long)]
    trap: bool,
    /// Report what lies there at the start, too.
    #[arg(long)]
    existing: bool,
    /// Speak for this mailbox user; for users named in believed_users of the agent.
    #[arg(long = "as", value_name = "USER")]
    reporter: Option<String>,
}

/// What is known of a mail in the folder.
struct Known<M> {
    seen: Seen,
    /// Open, if it is among the newest: bytes to withdraw when the file has gone.
    mail: Option<M>,
    /// It was reported, or lay there at the start.
    settled: bool,
    missing: Option<Instant>,
}

/// A mail as a look at the folder finds it.
#[derive(Clone)]
struct Seen {
    path: PathBuf,
    /// A program marked it for deletion: its removal is tidying up.
    trashed: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Report,
    Withdraw,
}

/// A folder's mails by their unique name (the part before the flags). `M` gives their bytes.
struct Folder<M> {
    known: BTreeMap<String, Known<M>>,
}

impl<M> Folder<M> {
    fn new() -> Self {
        Self { known: BTreeMap::new() }
    }

    /// Takes over what a look at the folder found. `settled`: what is new needs no report.
    fn look(
        &mut self,
        found: BTreeMap<String, Seen>,
        settled: bool,
        now: Instant,
        mut open: impl FnMut(&Path) -> Option<M>,
    ) {
        for (name, known) in &mut self.known {
            if !found.contains_key(name) && known.missing.is_none() {
                known.missing = Some(now);
            }
        }
        for (name, seen) in found {
            let new = || Known { seen: seen.clone(), mail: None, settled, missing: None };
            let known = self.known.entry(name).or_insert_with(new);
            known.missing = None;
            known.seen = seen;
        }
        // Names begin with the time of delivery, so the last are the newest.
        for (at, known) in self.known.values_mut().rev().enumerate() {
            if at >= OPEN_MAX {
                known.mail = None;
            } else if known.mail.is_none() && known.missing.is_none() {
                known.mail = open(&known.seen.path);
            }
        }
    }

    /// What is due, with its mail.
    fn due(&self, now: Instant) -> Vec<(String, Deed)> {
        let due = self.known.iter().filter_map(|(name, known)| {
            let gone = known.missing.is_some_and(|since| now - since >= GONE_TIME);
            match (known.settled, known.missing.is_some()) {
                (false, false) => Some((name.clone(), Deed::Report)),
                (true, _) if gone && !known.seen.trashed && known.mail.is_some() => {
                    Some((name.clone(), Deed::Withdraw))
                }
                _ => None,
            }
        });
        due.collect()
    }

    /// Forgets what went and needs no word.
    fn forget(&mut self, now: Instant) {
        self.known.retain(|_, known| {
            let gone = known.missing.is_some_and(|since| now - since >= GONE_TIME);
            !(gone && (known.seen.trashed || !known.settled || known.mail.is_none()))
        });
    }

    /// A deed is done.
    fn done(&mut self, name: &str, deed: Deed) {
        match deed {
            Deed::Withdraw => {
                self.known.remove(name);
            }
            Deed::Report => {
                if let Some(known) = self.known.get_mut(name) {
                    known.settled = true;
                }
            }
        }
    }
}

pub(super) fn run(global: &Global, args: &Args) -> anyhow::Result<u8> {
    let (notice, noticed) = sync_channel(1);
    let mut watcher = notify::recommended_watcher(move |_: notify::Result<notify::Event>| {
        // Full: there is a notice already, and one is enough.
        let _ = notice.try_send(());
    })
    .context("watch folders")?;
    let mut folders = Vec::new();
    for path in &args.folders {
        for part in ["cur", "new"] {
            let part = path.join(part);
            watcher.watch(&part, RecursiveMode::NonRecursive).with_context(|| {
                format!(
                    "read {}: it must be a Maildir, with the folders cur and new",
                    part.display()
                )
            })?;
        }
        let mut folder = Folder::new();
        folder.look(listed(path)?, !args.existing, Instant::now(), |mail| File::open(mail).ok());
        folders.push((path, folder));
    }
    let runtime = runtime()?;
    let mut speaker = Speaker {
        runtime,
        client: Client::new(&global.socket()?),
        envelope: Envelope {
            trap: args.trap,
            reporter: args.reporter.clone(),
            ..Envelope::default()
        },
    };
    eprintln!("novacula: watching {} folders", folders.len());
    let mut failing = false;
    loop {
        let mut failed = None;
        for (path, folder) in &mut folders {
            let now = Instant::now();
            match listed(path) {
                Ok(found) => folder.look(found, false, now, |mail| File::open(mail).ok()),
                Err(error) => failed = Some(error),
            }
            for (name, deed) in folder.due(now) {
                let Some(known) = folder.known.get(&name) else { continue };
                match speaker.speak(&name, deed, known) {
                    Ok(true) => folder.done(&name, deed),
                    Ok(false) => {}
                    // It is tried again at the next look.
                    Err(error) => failed = Some(error),
                }
            }
            folder.forget(now);
        }
        if let Some(error) = &failed
            && !failing
        {
            eprintln!("novacula: {}; trying again", printable(&super::failed_to(error)));
        }
        failing = failed.is_some();
        match noticed.recv_timeout(wait_for(folders.iter().map(|(_, folder)| folder))) {
            Ok(()) => std::thread::sleep(SETTLE_TIME),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("watch folders: no more notices"),
        }
    }
}

/// Tells the agent.
struct Speaker {
    runtime: tokio::runtime::Runtime,
    client: Client,
    envelope: Envelope,
}

impl Speaker {
    /// Does what is due; false when it can't be done yet.
    fn speak(&mut self, name: &str, deed: Deed, known: &Known<File>) -> anyhow::Result<bool> {
        let word = match deed {
            Deed::Report => "report",
            // What came to a trap stays a trap's.
            Deed::Withdraw if self.envelope.trap => return Ok(true),
            Deed::Withdraw => "withdraw",
        };
        // It was renamed a moment ago: the next look tells where it is.
        let Some(mail) = bytes(known) else { return Ok(false) };
        let asking = self.client.opine(word, mail.into(), &self.envelope);
        let reply = self.runtime.block_on(asking)?;
        // Another program's opinion is none of ours: to take nothing back is no news.
        if reply.outcome != OpinionOutcome::NothingToWithdraw {
            out(&printable(&format!("{name}: {}", reply.note)));
        }
        Ok(true)
    }
}

/// How long to wait for a notice: a mail that has gone is looked after sooner.
fn wait_for<'a>(mut folders: impl Iterator<Item = &'a Folder<File>>) -> Duration {
    let missing = folders.any(|folder| folder.known.values().any(|known| known.missing.is_some()));
    if missing { GONE_TIME / 4 } else { LOOK_TIME }
}

/// The mails in a Maildir by their unique names.
fn listed(path: &Path) -> anyhow::Result<BTreeMap<String, Seen>> {
    let mut found = BTreeMap::new();
    for part in ["cur", "new"] {
        let dir = path.join(part);
        let entries = std::fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("read {}", dir.display()))?;
            let file = entry.file_name().to_string_lossy().into_owned();
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if file.starts_with('.') || !is_file {
                continue;
            }
            let (name, flags) = file.split_once(':').unwrap_or((&file, ""));
            let seen = Seen { path: entry.path(), trashed: flags.contains('T') };
            found.insert(name.to_owned(), seen);
        }
    }
    Ok(found)
}

fn bytes(known: &Known<File>) -> Option<Vec<u8>> {
    let opened;
    let mut mail = match &known.mail {
        Some(mail) => mail,
        None => {
            opened = File::open(&known.seen.path).ok()?;
            &opened
        }
    };
    let mut bytes = Vec::new();
    mail.rewind().ok()?;
    mail.take(MAIL_LEN_MAX as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[(&str, bool)]) -> BTreeMap<String, Seen> {
        let seen = |trashed| Seen { path: PathBuf::new(), trashed };
        names.iter().map(|(name, trashed)| ((*name).to_owned(), seen(*trashed))).collect()
    }

    #[test]
    fn what_comes_is_reported_and_what_goes_is_withdrawn() {
        let start = Instant::now();
        let mut folder = Folder::new();
        let at = |secs| start + Duration::from_secs(secs);
        let due = |folder: &Folder<()>, secs| {
            let due = folder.due(at(secs));
            due.into_iter().map(|(name, deed)| format!("{deed:?} {name}")).collect::<Vec<_>>()
        };
        folder.look(found(&[("1", false)]), true, at(0), |_| Some(()));
        assert!(due(&folder, 0).is_empty(), "what lay there before says nothing");
        folder.look(found(&[("1", false), ("2", false), ("3", false)]), false, at(1), |_| Some(()));
        assert_eq!(due(&folder, 1), ["Report 2", "Report 3"]);
        assert_eq!(due(&folder, 2), ["Report 2", "Report 3"], "until it is done");
        folder.done("2", Deed::Report);
        folder.done("3", Deed::Report);
        // 3 is marked for deletion and then goes with 2; 1 stays.
        folder.look(found(&[("1", false), ("2", false), ("3", true)]), false, at(3), |_| Some(()));
        folder.look(found(&[("1", false)]), false, at(4), |_| None);
        assert!(due(&folder, 5).is_empty(), "it may be a change of flags");
        folder.look(found(&[("1", false)]), false, at(6), |_| None);
        assert_eq!(due(&folder, 6), ["Withdraw 2"]);
        folder.done("2", Deed::Withdraw);
        folder.forget(at(6));
        assert_eq!(folder.known.len(), 1);
    }

    #[test]
    fn a_change_of_flags_and_a_short_visit_say_nothing() {
        let start = Instant::now();
        let mut folder = Folder::new();
        folder.look(found(&[("1", false)]), true, start, |_| Some(()));
        folder.look(found(&[]), false, start, |_| Some(()));
        folder.look(found(&[("1", false)]), false, start + GONE_TIME, |_| Some(()));
        assert!(folder.due(start + 2 * GONE_TIME).is_empty());
        folder.look(found(&[("1", false), ("2", false)]), false, start, |_| Some(()));
        folder.look(found(&[("1", false)]), false, start, |_| Some(()));
        assert!(folder.due(start + GONE_TIME).is_empty(), "gone before it was reported");
        folder.forget(start + GONE_TIME);
        assert_eq!(folder.known.len(), 1);
    }

    #[test]
    fn open_mails_are_bounded() {
        let mut folder = Folder::new();
        let names: Vec<String> = (0..2 * OPEN_MAX).map(|number| format!("{number:06}")).collect();
        let all: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), false)).collect();
        let now = Instant::now();
        folder.look(found(&all), true, now, |_| Some(()));
        let open = folder.known.values().filter(|known| known.mail.is_some()).count();
        assert_eq!((open, folder.known.len()), (OPEN_MAX, 2 * OPEN_MAX));
        // Of those that are not, a removal says nothing, and they are no news either.
        folder.look(found(&all[1..]), false, now, |_| Some(()));
        assert!(folder.due(now + GONE_TIME).is_empty());
        folder.forget(now + GONE_TIME);
        assert_eq!(folder.known.len(), 2 * OPEN_MAX - 1);
    }
}
