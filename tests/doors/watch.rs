//! `novacula watch` on real Maildirs: what is put into Junk is reported, what is moved out is
//! taken back, and a trap's mailbox reports whatever comes.

use std::fs;
use std::path::{Path, PathBuf};

use novacula_tests::harness::Place;

use crate::rig::{Daemon, mail, wait_for};

const SPAM: &str = "04-spam-plain.eml";

fn maildir(place: &Place, name: &str) -> PathBuf {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(place.path().join(name).join(part)).unwrap();
    }
    place.path().join(name)
}

/// Puts a mail into a Maildir as a program does: whole or not at all.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let (hidden, file) = (folder.join("tmp").join(name), folder.join("cur").join(name));
    fs::write(&hidden, bytes).unwrap();
    fs::rename(hidden, &file).unwrap();
    file
}

fn watch(place: &Place, args: &[&str]) -> Daemon {
    let log = place.path().join("watch.log");
    let daemon = Daemon::start(&mut place.command(&[&["watch"], args].concat()), &log);
    wait_for("the watcher", || said(place).contains("watching").then_some(()));
    daemon
}

fn said(place: &Place) -> String {
    fs::read_to_string(place.path().join("watch.log")).unwrap_or_default()
}

fn verdict(place: &Place, name: &str) -> String {
    let answer = place.run_with(&["check", "--json", "-"], &mail(name)).json();
    answer["verdict"].as_str().unwrap().to_owned()
}

#[test]
fn in_reports_out_takes_back_and_tidying_up_says_nothing() {
    let place = Place::new();
    let agent = place.serve();
    let (junk, inbox) = (maildir(&place, "Maildir/.Junk"), maildir(&place, "Maildir"));
    put(&junk, "1.old:2,S", &mail("30-spam-crypto.eml"));
    let _watcher = watch(&place, &["Maildir/.Junk"]);
    let file = put(&junk, "2.spam:2,", &mail(SPAM));
    wait_for("the report", || (verdict(&place, SPAM) == "spam").then_some(()));
    assert_eq!(verdict(&place, "30-spam-crypto.eml"), "unknown", "it lay there before");
    // A change of flags is a rename, and says nothing.
    let seen = junk.join("cur/2.spam:2,S");
    fs::rename(file, &seen).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(verdict(&place, SPAM), "spam", "{}", said(&place));
    // The person moves it back to the inbox.
    fs::rename(&seen, inbox.join("cur/2.spam:2,S")).unwrap();
    wait_for("the undo", || (verdict(&place, SPAM) == "unknown").then_some(()));
    // While the agent is away nothing is lost.
    let _ = agent.stop();
    put(&junk, "3.spam:2,", &mail(SPAM));
    wait_for("a complaint", || said(&place).contains("trying again").then_some(()));
    let _agent = place.serve();
    wait_for("the report", || (verdict(&place, SPAM) == "spam").then_some(()));
    // Junk is emptied: that is no undo.
    let trashed = junk.join("cur/3.spam:2,ST");
    fs::rename(junk.join("cur/3.spam:2,"), &trashed).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    fs::remove_file(trashed).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(verdict(&place, SPAM), "spam", "{}", said(&place));
}

#[test]
fn a_traps_mailbox_reports_whatever_comes() {
    let place = Place::new();
    let _agent = place.serve();
    let trap = maildir(&place, "trap");
    fs::write(trap.join("new/1.first"), mail("30-spam-crypto.eml")).unwrap();
    let _watcher = watch(&place, &["--trap", "--existing", "trap"]);
    wait_for("the first", || (verdict(&place, "30-spam-crypto.eml") == "spam").then_some(()));
    let file = put(&trap, "2.next:2,", &mail(SPAM));
    wait_for("the next", || (verdict(&place, SPAM) == "spam").then_some(()));
    let own = place.run(&["report", "--list", "--json"]).json_lines();
    assert!(own.len() == 2 && own.iter().all(|one| one["act"] == "trap-report"), "{own:?}");
    fs::remove_file(file).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(verdict(&place, SPAM), "spam", "what a trap got stays so");
}

#[test]
fn what_is_no_maildir_is_named() {
    let place = Place::new();
    let ran = place.run(&["watch", "nowhere"]);
    assert!(ran.code == 2 && ran.stderr.contains("must be a Maildir"), "{ran:?}");
}
