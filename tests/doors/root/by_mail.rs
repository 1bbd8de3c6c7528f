//! Report by mail through a real Postfix that authenticates its users (against Dovecot): forwarded
//! attachments are reported for the sender, what can't be used comes back with an answer.

use std::path::PathBuf;

use novacula_tests::harness::{Place, novacula};
use novacula_tests::rig::Postfix;

use crate::rig::{Daemon, Net, contrib, mail, open_to_all, wait_for};

const SPAM: &str = "04-spam-plain.eml";

/// The user `nobody`, who owns people's boxes here.
const NOBODY: u32 = 65534;

/// Users log in; mail for people is filed; what goes to spam@ and ham@ is in contrib's tables.
const SETTINGS: &str = r"
myhostname = mx.example.org
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:10025
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access @TABLES@/access
virtual_transport = virtual
virtual_mailbox_domains = example.org
virtual_mailbox_base = @BOXES@
virtual_mailbox_maps = static:people
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
transport_maps = @TABLES@/transport
minimal_backoff_time = 1s
queue_run_delay = 1s
maximal_backoff_time = 2s
";

struct Rig {
    place: Place,
    net: Net,
}

impl Rig {
    fn new() -> Self {
        let rig = Self { place: Place::new(), net: Net::new() };
        open_to_all(rig.place.path());
        std::fs::copy(novacula(), rig.place.path().join("novacula")).unwrap();
        rig
    }

    fn dir(&self, name: &str) -> PathBuf {
        let dir = self.place.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        open_to_all(&dir);
        dir
    }

    /// Dovecot knows every user by the same password, and keeps no mail here.
    fn dovecot(&self) -> Daemon {
        let place = self.place.path().display();
        let config = format!(
            "protocols =\nlisten = 127.0.0.1\nssl = no\ndisable_plaintext_auth = no\n\
             base_dir = {place}/run\nstate_dir = {place}/run\nlog_path = {place}/dovecot.log\n\
             auth_mechanisms = plain login\npassdb {{\n driver = static\n args = password=secret\n}}\n\
             userdb {{\n driver = static\n args = uid=nobody gid=nogroup home=/nonexistent\n}}\n\
             service auth {{\n inet_listener {{\n address = 127.0.0.1\n port = 10025\n }}\n}}\n"
        );
        let config = self.place.file("dovecot.conf", config.as_bytes());
        let log = self.place.path().join("dovecot.out");
        Daemon::start(self.net.command("dovecot").args(["-F", "-c", &config]), &log)
    }

    /// Postfix with the lines of contrib; mail for people ends in one file each.
    fn postfix(&self) -> Postfix<'_> {
        let dir = self.dir("postfix");
        let boxes = self.dir("boxes").display().to_string();
        std::os::unix::fs::chown(&boxes, Some(NOBODY), None).unwrap();
        let settings = SETTINGS
            .replace("@BOXES@", &boxes)
            .replace("@TABLES@", &format!("texthash:{}", contrib("report-by-mail").display()));
        let postfix = Postfix::prepare(&self.net, &dir, &dir, &settings);
        postfix.add_services(&services(&self.place.path().display().to_string()));
        postfix.start();
        postfix
    }

    /// Sends a mail to spam@ or ham@ with one attached mail, as ann unless nobody logs in.
    fn send(&self, postfix: &Postfix<'_>, to: &str, attached: Option<&str>, user: &str) -> String {
        let mut args = vec!["--from", "ann@example.org", "--to", to];
        if !user.is_empty() {
            args.extend(["--auth", "PLAIN", "--auth-user", user, "--auth-password", "secret"]);
        }
        let quoted = String::from_utf8_lossy(&mail(SPAM)).replace('\n', "\n> ");
        let file = match attached {
            Some(name) => self.place.file("attached.eml", &mail(name)),
            None => self.place.file("body", format!("look at this:\n> {quoted}").as_bytes()),
        };
        let file = format!("@{file}");
        match attached {
            Some(_) => args.extend(["--body", "see there", "--attach-type", "message/rfc822"]),
            None => args.extend(["--body", &file]),
        }
        if attached.is_some() {
            args.extend(["--attach", &file]);
        }
        let (taken, dialogue) = postfix.swaks(&args);
        assert_eq!(taken, !user.is_empty(), "{dialogue}\n{}", self.log(postfix));
        dialogue
    }

    fn verdict(&self) -> String {
        let answer = self.place.run_with(&["check", "--json", "-"], &mail(SPAM)).json();
        answer["verdict"].as_str().unwrap().to_owned()
    }

    /// What came back to people, all in one.
    fn answers(&self) -> String {
        std::fs::read_to_string(self.place.path().join("boxes/people")).unwrap_or_default()
    }

    fn log(&self, postfix: &Postfix<'_>) -> String {
        let dovecot = std::fs::read_to_string(self.place.path().join("dovecot.log"));
        [postfix.log(), dovecot.unwrap_or_default(), self.place.log()].concat()
    }
}

/// Our services of contrib, with the paths of this rig.
fn services(place: &str) -> String {
    let ours = std::fs::read_to_string(contrib("report-by-mail").join("master.cf")).unwrap();
    assert!(ours.contains("argv=/usr/bin/novacula") && ours.contains("user=novacula-mail"));
    let ours = ours
        .replace("/usr/bin/novacula", &format!("{place}/novacula --socket {place}/agent.sock"))
        .replace("user=novacula-mail", "user=nobody");
    format!("virtual unix - n n - - virtual\n{ours}")
}

#[test]
fn attachments_are_reported_and_the_rest_gets_an_answer() {
    let rig = Rig::new();
    let config = "socket_group = \"nogroup\"\nbelieved_users = [\"nobody\"]\n";
    let config = rig.place.file("novacula.toml", config.as_bytes());
    let agent = rig.place.serve_with(&["--config", &config]);
    let (_dovecot, postfix) = (rig.dovecot(), rig.postfix());
    let send = |to, attached| rig.send(&postfix, to, attached, "ann");
    let _ = send("spam@example.org", Some(SPAM));
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for("the report", || (rig.verdict() == "spam").then_some(()));
    }));
    assert!(seen.is_ok(), "{}", rig.log(&postfix));
    let said = || rig.place.run(&["report", "--list", "--as", "ann", "--json"]).json_lines();
    assert_eq!(said()[0]["act"], "report");
    let _ = send("ham@example.org", Some(SPAM));
    wait_for("the revoke", || (rig.verdict() == "allowed").then_some(()));
    assert_eq!((said().len(), &said()[0]["act"]), (1, &"revoke".into()), "one act, one opinion");
    assert!(rig.answers().is_empty(), "who is understood is not bothered: {}", rig.answers());

    // An inline forward is answered, and nothing is stored.
    let _ = send("spam@example.org", None);
    wait_for("the answer", || rig.answers().contains("Thank you for your help").then_some(()));
    let answer = rig.answers().replace(char::is_whitespace, "");
    assert!(answer.contains("forwarditasanattachment"), "{}", rig.answers());
    // Who did not log in is refused at once; where that is not set up, his mail says nothing.
    let refused = rig.send(&postfix, "spam@example.org", Some("30-spam-crypto.eml"), "");
    assert!(refused.contains("554 5.7.1"), "{refused}");
    let ran = rig.place.run_with(&["forwarded", "report", "--as", ""], &mail(SPAM));
    assert!(ran.code == 0 && ran.stderr.contains("did not log in"), "{ran:?}");
    assert_eq!(said().len(), 1);

    // While the agent is away, Postfix keeps the mail and tries again.
    let _ = agent.stop();
    let _ = send("spam@example.org", Some(SPAM));
    wait_for("a deferral", || rig.log(&postfix).contains("status=deferred").then_some(()));
    let _agent = rig.place.serve_with(&["--config", &config]);
    wait_for("the report", || (rig.verdict() == "spam").then_some(()));
}
