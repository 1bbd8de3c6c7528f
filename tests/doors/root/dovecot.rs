//! Dovecot with imapsieve, spoken to by an IMAP client: what a person moves is reported and
//! revoked, and a mail that came over LMTP has the fingerprint that it had before.

use std::path::PathBuf;
use std::process::Output;

use novacula_tests::harness::{Daemon as Agent, Place, novacula};

use crate::rig::{Daemon, Net, both, contrib, fresh, mail, open_to_all, run_with, text, wait_for};

const SPAM: &str = "04-spam-plain.eml";

/// An IMAP client in a few lines: `m` is a session in which the mail lies in INBOX.
const CLIENT: &str = r#"
import imaplib, sys
def session(user):
    m = imaplib.IMAP4("127.0.0.1", 10143)
    m.login(user, "secret")
    for box in ("Junk", "Trash", "Work"):
        m.create(box)
    return m
def move(m, source, target):
    ok(m.select(source)); ok(m.uid("MOVE", "1:*", target))
def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]
m = session(sys.argv[1])
if sys.argv[2] == "append":
    ok(m.append("INBOX", None, None, sys.stdin.buffer.read().replace(b"\n", b"\r\n")))
elif sys.argv[2] == "move":
    move(m, sys.argv[3], sys.argv[4])
elif sys.argv[2] == "fetch":
    ok(m.select(sys.argv[3], readonly=True))
    sys.stdout.buffer.write(ok(m.fetch("1", "(BODY.PEEK[])"))[0][1])
m.logout()
"#;

/// A Dovecot with its agent's place, in a network of its own.
pub(super) struct Rig {
    pub(super) place: Place,
    pub(super) net: Net,
}

impl Rig {
    pub(super) fn new() -> Self {
        let rig = Self { place: Place::new(), net: Net::new() };
        open_to_all(rig.place.path());
        let sieve = rig.dir("sieve");
        for name in ["report.sieve", "revoke.sieve", "novacula-sieve"] {
            std::fs::copy(contrib("dovecot").join(name), sieve.join(name)).unwrap();
        }
        // Mailbox users need not be able to see into the build's folder.
        std::fs::copy(novacula(), rig.place.path().join("novacula")).unwrap();
        // Dovecot hands its programs no environment.
        let wrapper = format!(
            "#!/bin/sh\nexport NOVACULA={place}/novacula NOVACULA_SOCKET={place}/agent.sock\n\
             exec {contrib}/novacula-sieve \"$@\" >>{place}/sieve.log 2>&1\n",
            place = rig.place.path().display(),
            contrib = sieve.display()
        );
        let bin = rig.dir("bin").join("novacula-sieve");
        std::fs::write(&bin, wrapper).unwrap();
        open_to_all(&bin);
        let _ = rig.place.file("sieve.log", b"");
        for open in ["home", "sieve.log"] {
            use std::os::unix::fs::PermissionsExt;
            let path = rig.place.path().join(open);
            if open == "home" {
                std::fs::create_dir(&path).unwrap();
            }
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        }
        rig
    }

    pub(super) fn dir(&self, name: &str) -> PathBuf {
        let dir = self.place.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        open_to_all(&dir);
        dir
    }

    fn agent(&self) -> Agent<'_> {
        let config = "socket_group = \"nogroup\"\nbelieved_users = [\"nobody\"]\n";
        let config = self.place.file("novacula.toml", config.as_bytes());
        self.place.serve_with(&["--config", &config])
    }

    /// With the settings of contrib.
    pub(super) fn dovecot(&self) -> Daemon {
        let ours = std::fs::read_to_string(contrib("dovecot").join("novacula.conf")).unwrap();
        let place = self.place.path().display().to_string();
        assert!(ours.contains("sieve_pipe_bin_dir = /usr/lib/novacula/sieve"));
        let ours = ours
            .replace(
                "sieve_pipe_bin_dir = /usr/lib/novacula/sieve",
                &format!("sieve_pipe_bin_dir = {place}/bin"),
            )
            .replace("/usr/lib/novacula/sieve/", &format!("{place}/sieve/"));
        self.dovecot_with(&ours)
    }

    /// With these settings, in paths of this rig.
    pub(super) fn dovecot_with(&self, ours: &str) -> Daemon {
        let place = self.place.path().display().to_string();
        let config = format!(
            "protocols = imap lmtp\nlisten = 127.0.0.1\nssl = no\ndisable_plaintext_auth = no\n\
             base_dir = {place}/run\nstate_dir = {place}/run\nlog_path = {place}/dovecot.log\n\
             first_valid_uid = 1\nmail_location = maildir:~/Maildir\n\
             passdb {{\n driver = static\n args = password=secret\n}}\n\
             userdb {{\n driver = static\n args = uid=nobody gid=nogroup home={place}/home/%u allow_all_users=yes\n}}\n\
             namespace inbox {{\n inbox = yes\n}}\nlmtp_save_to_detail_mailbox = no\n\
             service imap-login {{\n inet_listener imap {{\n port = 10143\n }}\n inet_listener imaps {{\n port = 0\n }}\n}}\n\
             service lmtp {{\n inet_listener lmtp {{\n address = 127.0.0.1\n port = 10024\n }}\n}}\n\
             {ours}"
        );
        let config = self.place.file("dovecot.conf", config.as_bytes());
        let mut command = self.net.command("dovecot");
        let log = self.place.path().join("dovecot.out");
        let daemon = Daemon::start(command.args(["-F", "-c", &config]), &log);
        wait_for("dovecot", || {
            let probe = self.client("nobody-yet", &["probe"], b"");
            probe.status.success().then_some(())
        });
        daemon
    }

    fn client(&self, user: &str, args: &[&str], stdin: &[u8]) -> Output {
        let mut command = self.net.command("python3");
        run_with(command.args(["-c", CLIENT, user]).args(args), stdin)
    }

    #[track_caller]
    pub(super) fn ask(&self, user: &str, args: &[&str], stdin: &[u8]) -> Output {
        let output = self.client(user, args, stdin);
        assert!(output.status.success(), "{}\n{}", both(&output), self.log());
        output
    }

    pub(super) fn log(&self) -> String {
        let read = |name| std::fs::read_to_string(self.place.path().join(name)).unwrap_or_default();
        format!("{}{}{}", read("dovecot.log"), read("sieve.log"), self.place.log())
    }

    /// What the agent says of the mail, and how many report it.
    pub(super) fn verdict(&self) -> (String, u64) {
        let answer = self.place.run_with(&["check", "--json", "-"], &mail(SPAM)).json();
        (answer["verdict"].as_str().unwrap().into(), answer["reports"].as_u64().unwrap())
    }
}

#[test]
fn moving_to_junk_reports_and_moving_out_revokes() {
    let rig = Rig::new();
    let _agent = rig.agent();
    let _dovecot = rig.dovecot();
    rig.ask("ann", &["append"], &mail(SPAM));
    assert_eq!(rig.verdict(), ("unknown".into(), 0), "lying in INBOX says nothing");
    rig.ask("ann", &["move", "INBOX", "Work"], b"");
    assert_eq!(rig.verdict(), ("unknown".into(), 0), "nor does filing");
    rig.ask("ann", &["move", "Work", "Junk"], b"");
    assert_eq!(rig.verdict(), ("spam".into(), 1), "{}", rig.log());
    rig.ask("ann", &["move", "Junk", "Trash"], b"");
    assert_eq!(rig.verdict(), ("spam".into(), 1), "Trash is silent");
    rig.ask("ann", &["move", "Trash", "Junk"], b"");
    rig.ask("ann", &["move", "Junk", "INBOX"], b"");
    assert_eq!(rig.verdict(), ("allowed".into(), 0), "{}", rig.log());
    // It was ann who said so, and the command line knows her by the same name.
    let said = rig.place.run(&["report", "--list", "--as", "ann", "--json"]).json_lines();
    assert_eq!((said.len(), &said[0]["act"]), (1, &"revoke".into()));
    assert_eq!(rig.place.run_with(&["withdraw", "--as", "ann", "-"], &mail(SPAM)).code, 0);
    assert_eq!(rig.verdict(), ("unknown".into(), 0));
}

#[test]
fn without_an_agent_the_move_goes_through() {
    let rig = Rig::new();
    let _dovecot = rig.dovecot();
    rig.ask("ann", &["append"], &mail(SPAM));
    rig.ask("ann", &["move", "INBOX", "Junk"], b"");
    let kept = rig.ask("ann", &["fetch", "Junk"], b"");
    assert!(text(&kept).contains("blue and white tablets"));
    assert!(rig.log().contains("no agent answers"), "and the log says so: {}", rig.log());
}

#[test]
fn what_lmtp_stored_has_the_same_fingerprint() {
    let rig = Rig::new();
    let _dovecot = rig.dovecot();
    let file = rig.place.file("mail.eml", &fresh(SPAM));
    let mut swaks = rig.net.command("swaks");
    swaks.args(["--protocol", "LMTP", "--server", "127.0.0.1:10024", "--to", "ann"]);
    swaks.args(["--from", "belinda@meadow-tablets.example", "--data", &format!("@{file}")]);
    let sent = run_with(&mut swaks, b"");
    assert!(sent.status.success(), "{}\n{}", both(&sent), rig.log());
    let stored = rig.ask("ann", &["fetch", "INBOX"], b"").stdout;
    let head = String::from_utf8_lossy(&stored[..stored.len().min(400)]).into_owned();
    assert!(head.contains("Return-Path") && head.contains("Delivered-To"), "{head}");
    let digests = |mail: &[u8]| rig.place.run_with(&["fingerprint", "--json", "-"], mail).json();
    assert_eq!(digests(&stored), digests(&mail(SPAM)));
}
