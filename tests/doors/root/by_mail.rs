//! Report by mail through a real Postfix that authenticates its users (against Dovecot): forwarded
//! attachments are reported for the sender, what can't be used comes back with an answer.

use std::path::PathBuf;
use std::process::Output;

use novacula_tests::harness::{Place, novacula};

use crate::rig::{Daemon, Net, both, contrib, mail, open_to_all, run_with, text, wait_for};

const SPAM: &str = "04-spam-plain.eml";

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
    fn postfix(&self) -> Daemon {
        let place = self.place.path().display().to_string();
        let (config, queue, data) = (self.dir("postfix"), self.dir("queue"), self.dir("pfdata"));
        let chown = |path: &PathBuf, user: &str| {
            let status = std::process::Command::new("chown").arg(user).arg(path).status().unwrap();
            assert!(status.success());
        };
        chown(&data, "postfix");
        let boxes = self.dir("boxes");
        chown(&boxes, "nobody");
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {}\ndata_directory = {}\n\
             maillog_file = {place}/maillog\nmaillog_file_prefixes = {place}\n\
             myhostname = mx.example.org\nmydestination =\ninet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\ndisable_dns_lookups = yes\nsmtpd_peername_lookup = no\n\
             smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = inet:127.0.0.1:10025\n\
             smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\n\
             smtpd_recipient_restrictions = check_recipient_access texthash:{place}/postfix/access\n\
             virtual_mailbox_domains = example.org\nvirtual_mailbox_base = {place}/boxes\n\
             virtual_mailbox_maps = static:people\nvirtual_uid_maps = static:65534\n\
             virtual_gid_maps = static:65534\nvirtual_minimum_uid = 1\n\
             transport_maps = texthash:{place}/postfix/transport\nminimal_backoff_time = 1s\n\
             queue_run_delay = 1s\nmaximal_backoff_time = 2s\n",
            queue.display(),
            data.display()
        );
        std::fs::write(config.join("main.cf"), main).unwrap();
        std::fs::write(config.join("master.cf"), services(&place)).unwrap();
        for table in ["transport", "access"] {
            std::fs::copy(contrib("report-by-mail").join(table), config.join(table)).unwrap();
        }
        let log = self.place.path().join("postfix.out");
        let mut command = self.net.command("postfix");
        command.arg("-c").arg(&config).arg("start-fg");
        let daemon = Daemon::start(&mut command, &log);
        wait_for("postfix", || {
            let probe = run_with(
                self.net.command("swaks").args(["--server", "127.0.0.1:10587", "-q", "EHLO"]),
                b"",
            );
            probe.status.success().then_some(())
        });
        daemon
    }

    /// Sends a mail to spam@ or ham@ with one attached mail, as ann unless nobody logs in.
    fn send(&self, to: &str, attached: Option<&str>, logged_in: bool) -> Output {
        let mut swaks = self.net.command("swaks");
        swaks.args(["--server", "127.0.0.1:10587", "--from", "ann@example.org", "--to", to]);
        if logged_in {
            swaks.args(["--auth", "PLAIN", "--auth-user", "ann", "--auth-password", "secret"]);
        }
        let quoted = String::from_utf8_lossy(&mail(SPAM)).replace('\n', "\n> ");
        match attached {
            Some(name) => {
                let file = self.place.file("attached.eml", &mail(name));
                swaks.args(["--body", "see there", "--attach-type", "message/rfc822"]);
                swaks.args(["--attach", &format!("@{file}")]);
            }
            None => {
                let file = self.place.file("body", format!("look at this:\n> {quoted}").as_bytes());
                swaks.args(["--body", &format!("@{file}")]);
            }
        }
        let sent = run_with(&mut swaks, b"");
        assert_eq!(sent.status.success(), logged_in, "{}\n{}", both(&sent), self.log());
        sent
    }

    fn verdict(&self) -> String {
        let answer = self.place.run_with(&["check", "--json", "-"], &mail(SPAM)).json();
        answer["verdict"].as_str().unwrap().to_owned()
    }

    /// What came back to people, all in one.
    fn answers(&self) -> String {
        std::fs::read_to_string(self.place.path().join("boxes/people")).unwrap_or_default()
    }

    fn log(&self) -> String {
        let read = |name| std::fs::read_to_string(self.place.path().join(name)).unwrap_or_default();
        [read("maillog"), read("postfix.out"), read("dovecot.log"), self.place.log()].concat()
    }
}

/// Debian's services without chroot, and ours of contrib with the paths of this rig.
fn services(place: &str) -> String {
    let stock = std::fs::read_to_string("/usr/share/postfix/master.cf.dist").unwrap();
    // No chroot: its folders are not there.
    let stock: Vec<String> = stock
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            if words.len() > 7 && !line.starts_with(' ') {
                words[4] = "n";
                if words[0] == "smtp" && words[1] == "inet" {
                    words[0] = "127.0.0.1:10587";
                }
                return words.join(" ");
            }
            line.to_owned()
        })
        .collect();
    let ours = std::fs::read_to_string(contrib("report-by-mail").join("master.cf")).unwrap();
    assert!(ours.contains("argv=/usr/bin/novacula") && ours.contains("user=novacula-mail"));
    let ours = ours
        .replace("/usr/bin/novacula", &format!("{place}/novacula --socket {place}/agent.sock"))
        .replace("user=novacula-mail", "user=nobody");
    format!("{}\npostlog unix-dgram n - n - 1 postlogd\n{ours}", stock.join("\n"))
}

#[test]
fn attachments_are_reported_and_the_rest_gets_an_answer() {
    let rig = Rig::new();
    let config = "socket_group = \"nogroup\"\nbelieved_users = [\"nobody\"]\n";
    let config = rig.place.file("novacula.toml", config.as_bytes());
    let agent = rig.place.serve_with(&["--config", &config]);
    let (_dovecot, _postfix) = (rig.dovecot(), rig.postfix());
    rig.send("spam@example.org", Some(SPAM), true);
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for("the report", || (rig.verdict() == "spam").then_some(()));
    }));
    assert!(seen.is_ok(), "{}", rig.log());
    let said = || rig.place.run(&["report", "--list", "--as", "ann", "--json"]).json_lines();
    assert_eq!(said()[0]["act"], "report");
    rig.send("ham@example.org", Some(SPAM), true);
    wait_for("the revoke", || (rig.verdict() == "allowed").then_some(()));
    assert_eq!((said().len(), &said()[0]["act"]), (1, &"revoke".into()), "one act, one opinion");
    assert!(rig.answers().is_empty(), "who is understood is not bothered: {}", rig.answers());

    // An inline forward is answered, and nothing is stored.
    rig.send("spam@example.org", None, true);
    wait_for("the answer", || rig.answers().contains("Thank you for your help").then_some(()));
    let answer = rig.answers().replace(char::is_whitespace, "");
    assert!(answer.contains("forwarditasanattachment"), "{}", rig.answers());
    // Who did not log in is refused at once; where that is not set up, his mail says nothing.
    let refused = rig.send("spam@example.org", Some("30-spam-crypto.eml"), false);
    assert!(text(&refused).contains("554 5.7.1"), "{}", both(&refused));
    let ran = rig.place.run_with(&["forwarded", "report", "--as", ""], &mail(SPAM));
    assert!(ran.code == 0 && ran.stderr.contains("did not log in"), "{ran:?}");
    assert_eq!(said().len(), 1);

    // While the agent is away, Postfix keeps the mail and tries again.
    let _ = agent.stop();
    rig.send("spam@example.org", Some(SPAM), true);
    wait_for("a deferral", || rig.log().contains("status=deferred").then_some(()));
    let _agent = rig.place.serve_with(&["--config", &config]);
    wait_for("the report", || (rig.verdict() == "spam").then_some(()));
}
