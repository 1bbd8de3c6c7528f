//! The plugin in the real SpamAssassin: spamassassin, spamd and spamc. The agent is the real one,
//! then absent, then one that hangs or talks nonsense.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use novacula_catalog::{Copies, Fact, Facts, Filter, Kind, Statement};
use novacula_tests::harness::Place;
use novacula_tests::rig::Mta;

use crate::rig::{Daemon, Net, both, contrib, fresh, mail, open_to_all, run_with, text, wait_for};

const SPAM: &str = "04-spam-plain.eml";

/// How long the plugin waits for the agent here, in seconds.
const TIMEOUT_SECS: u64 = 2;

/// SpamAssassin with its own settings, in a network of its own.
pub(super) struct Rig {
    pub(super) place: Place,
    net: Net,
}

impl Rig {
    fn new() -> Self {
        // The question goes out when the rule is met.
        Self::with("dns_available no")
    }

    /// The question goes out with the network tests, as on most hosts.
    pub(super) fn networked() -> Self {
        Self::with("dns_available yes\ndns_server 127.0.0.1:9")
    }

    fn with(dns: &str) -> Self {
        let rig = Self { place: Place::new(), net: Net::new() };
        open_to_all(rig.place.path());
        let site = rig.site();
        std::fs::create_dir(&site).unwrap();
        let own = |name: &str, bytes: &[u8]| std::fs::write(site.join(name), bytes).unwrap();
        for name in ["Novacula.pm", "novacula.pre", "novacula.cf"] {
            own(name, &std::fs::read(contrib("spamassassin").join(name)).unwrap());
        }
        // No Razor, Pyzor or SpamCop; Bayes for -r and -k, which crash without it.
        let plugins = ["Check", "HTTPSMismatch", "Bayes", "AutoLearnThreshold", "HeaderEval"];
        let plugins =
            plugins.map(|name| format!("loadplugin Mail::SpamAssassin::Plugin::{name}\n"));
        own("init.pre", plugins.concat().as_bytes());
        let local = format!(
            "{dns}\nuse_bayes 1\nbayes_auto_learn 0\nbayes_path {site}/bayes\n\
             bayes_file_mode 0777\nnovacula_socket {socket}\nnovacula_timeout {TIMEOUT_SECS}\n\
             lock_method flock\nutil_rb_tld example org\n\
             body TABLETS /blue and white tablets/i\nscore TABLETS 3\n\
             add_header spam Flag _YESNOCAPS_\nclear_report_template\nreport verdict _NOVACULA_\n\
             report cf _NOVACULACF_ places _NOVACULAPLACES_ reports _NOVACULAREPORTS_\n\
             report _SUMMARY_\n",
            site = site.display(),
            socket = rig.place.socket().display()
        );
        own("local.cf", local.as_bytes());
        rig
    }

    fn site(&self) -> PathBuf {
        self.place.path().join("site")
    }

    /// An agent that nobody's processes (spamd's children) may use and speak through.
    fn agent(&self) -> novacula_tests::harness::Daemon<'_> {
        let config = "socket_group = \"nogroup\"\nbelieved_users = [\"nobody\"]\n";
        let config = self.place.file("novacula.toml", config.as_bytes());
        self.place.serve_with(&["--config", &config])
    }

    /// `spamassassin` or `spamd` with these settings.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.net.command(program);
        let site = self.site();
        command
            .arg("--siteconfigpath")
            .arg(&site)
            .arg("--configpath")
            .arg(&site)
            .args(args)
            .env("HOME", self.place.path());
        command
    }

    fn run(&self, args: &[&str], mail: &[u8]) -> Output {
        let prefs = self.place.file("user_prefs", b"");
        let args = [&["-p", &prefs], args].concat();
        run_with(&mut self.command("spamassassin", &args), mail)
    }

    /// Runs `spamassassin -t` on the mail.
    pub(super) fn check(&self, mail: &[u8]) -> String {
        let output = self.run(&["-t"], mail);
        assert!(output.status.success(), "{}", both(&output));
        text(&output)
    }

    /// spamd on a socket of this rig.
    fn spamd(&self) -> Daemon {
        let socket = self.spamd_socket();
        let args = [
            "--socketpath",
            &socket,
            "--socketmode=0666",
            "-u",
            "nobody",
            "-x",
            "--max-children=5",
            "--allow-tell",
            "--syslog=stderr",
        ];
        let log = self.place.path().join("spamd.log");
        let spamd = Daemon::start(&mut self.command("spamd", &args), &log);
        wait_for("spamd", || self.spamc(&["-K"], b"").status.success().then_some(()));
        spamd
    }

    fn spamd_socket(&self) -> String {
        self.place.path().join("spamd.sock").display().to_string()
    }

    fn spamc(&self, args: &[&str], mail: &[u8]) -> Output {
        let mut command = self.net.command("spamc");
        run_with(command.arg("-U").arg(self.spamd_socket()).args(args), mail)
    }
}

#[test]
fn it_is_clean_to_lint() {
    let rig = Rig::new();
    let _agent = rig.agent();
    let output = rig.run(&["--lint"], b"");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", both(&output));
    // Among the whole rule set that Debian ships, too.
    let mut command = rig.net.command("spamassassin");
    command.arg("--siteconfigpath").arg(rig.site()).args([
        "-p",
        &rig.place.file("user_prefs", b""),
        "--lint",
    ]);
    let output = run_with(command.env("HOME", rig.place.path()), b"");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", both(&output));
    assert_eq!(rig.place.held(), (0, 0), "a lint run is no sighting");
    let output = Command::new("podchecker").arg(rig.site().join("Novacula.pm")).output();
    assert!(output.unwrap().status.success(), "the manual is broken");
}

#[test]
fn check_report_check_revoke() {
    let rig = Rig::networked();
    let _agent = rig.agent();
    let before = rig.check(&mail(SPAM));
    assert!(before.contains("verdict unknown; confidence="), "{before}");
    assert!(!before.contains("NOVACULA_"), "{before}");
    assert_eq!(rig.place.held(), (0, 0), "an old mail is looked at, not delivered");

    let said = rig.run(&["-r"], &mail(SPAM));
    assert!(said.status.success(), "{}", both(&said));
    assert_eq!(rig.place.held(), (1, 1), "{}", both(&said));
    let after = rig.check(&mail(SPAM));
    for part in [
        "verdict spam; confidence=",
        "places 1 reports 1",
        "1.8 NOVACULA_CHECK",
        "2.4 NOVACULA_CF_75_100",
        "X-Spam-Novacula: spam; confidence=",
        "X-Spam-Flag: YES",
    ] {
        assert!(after.contains(part), "{part:?} is not in {after}");
    }
    assert_eq!(rig.place.run(&["check", "--json", &rig.place.file("m", &mail(SPAM))]).code, 0);

    let said = rig.run(&["-k"], &mail(SPAM));
    assert!(said.status.success(), "{}", both(&said));
    assert_eq!(rig.place.held(), (1, 1), "one opinion, of the same user: {}", both(&said));
    let revoked = rig.check(&mail(SPAM));
    assert!(revoked.contains("verdict allowed") && !revoked.contains("NOVACULA_"), "{revoked}");
}

#[test]
fn a_delivery_is_stated_with_what_the_other_rules_thought() {
    let rig = Rig::new();
    let agent = rig.agent();
    // TABLETS gives 3 of 5 points: grey. Our own points are not counted.
    assert_eq!(rig.run(&["-r"], &mail(SPAM)).status.code(), Some(0));
    let seen = rig.check(&fresh(SPAM));
    assert!(seen.contains("verdict spam") && seen.contains("places=1"), "{seen}");
    assert_eq!(rig.place.held(), (2, 1), "{}", rig.place.log());
    let ham = rig.check(&fresh("01-ham-personal.eml"));
    assert!(ham.contains("verdict unknown"), "{ham}");
    assert_eq!(rig.place.held(), (3, 1));
    let _ = agent.stop();
    let filters: Vec<Filter> =
        sightings(&rig.place).iter().map(|(_, facts)| facts.filter).collect();
    assert_eq!(filters, [Filter::Grey, Filter::Ham]);
}

#[test]
fn what_is_said_of_a_wrapped_mail_concerns_the_mail_inside() {
    let rig = Rig::new();
    // What SpamAssassin delivers of a mail with so many points needed. Its own report is the text
    // of what it calls spam, and the mail a part (report_safe is 1 where nothing is set).
    let delivered = |points: i32, mail: &[u8]| {
        let version =
            "--cf=add_header all Checker-Version SpamAssassin _VERSION_ on mx.example.net";
        let output = rig.run(&[version, &format!("--cf=required_score {points}")], mail);
        assert!(output.status.success(), "{}", both(&output));
        output.stdout
    };
    let wrapped = delivered(-100, &mail(SPAM));
    let newsletter = "03-newsletter-html.eml";
    // A stranger's mail of the same form, with somebody else's mail inside: SpamAssassin takes its
    // flag away.
    let forged = delivered(100, &delivered(-100, &mail(newsletter)));
    for (mail, marks) in [
        (&wrapped, ["x-spam-type=original", "X-Spam-Flag: YES"]),
        (&forged, ["x-spam-type=original"; 2]),
    ] {
        let text = String::from_utf8_lossy(mail);
        assert!(marks.iter().all(|mark| text.contains(mark)), "{text}");
    }
    let said = |config: &str| {
        let config = rig.place.file("novacula.toml", config.as_bytes());
        let agent = rig.place.serve_with(&["--config", &config]);
        let code = |args: &[&str], mail: &[u8]| {
            rig.place.run(&[args, &[&rig.place.file("m", mail)]].concat()).code
        };
        assert_eq!(code(&["report"], &wrapped), 0);
        assert_eq!(code(&["report"], &forged), 0);
        let codes = (code(&["check"], &mail(SPAM)), code(&["check"], &mail(newsletter)));
        // SpamAssassin's report is alike in both: taken as it is, they are one mail.
        let _ = (code(&["withdraw"], &wrapped), code(&["withdraw"], &forged));
        drop(agent);
        codes
    };
    assert_eq!(said("spamassassin_hosts = [\"mx.example.net\"]\n"), (0, 1));
    assert_eq!(said(""), (1, 1), "nobody is believed by default");
}

/// What an agent that has stopped had stated as seen, in order.
fn sightings(place: &Place) -> Vec<(Copies, Facts)> {
    let database = rusqlite::Connection::open(place.data_dir().join("catalog.db")).unwrap();
    let mut select =
        database.prepare("SELECT signed FROM statement WHERE class = 0 ORDER BY mail").unwrap();
    let signed = select.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let decoded = signed.map(|signed| Statement::decode(&signed.unwrap()).unwrap());
    decoded
        .map(|statement| match statement.kind {
            Kind::Sighting { copies, facts } => (copies, facts),
            Kind::Opinion { .. } => unreachable!(),
        })
        .collect()
}

/// Signs the mail on standard input for a domain with the key in a file.
const SIGN: &str = r#"
use Mail::DKIM::Signer;
my ($key, $domain) = @ARGV;
my $signer = Mail::DKIM::Signer->new(Algorithm => 'rsa-sha256', Method => 'relaxed/relaxed',
    Domain => $domain, Selector => 'one', KeyFile => $key);
my $mail = do { local $/; <STDIN> };
(my $wire = $mail) =~ s/\n/\r\n/g;
$signer->PRINT($wire); $signer->CLOSE;
(my $field = $signer->signature->as_string) =~ s/\r\n/\n/g;
print "$field\n$mail";
"#;

/// Answers every TXT query with the key, as DNS does for the signer's domain.
const DNS: &str = r#"
import socket, sys
text = ("v=DKIM1; k=rsa; p=" + sys.argv[1]).encode()
parts = b"".join(bytes([len(text[at:at + 200])]) + text[at:at + 200] for at in range(0, len(text), 200))
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 5053))
print("listens", flush=True)
while True:
    query, whence = server.recvfrom(4096)
    end = query.index(0, 12) + 5
    ours = query[end - 4:end - 2] == b"\0\x10" and b"_domainkey" in query
    answer = b"\xc0\x0c\0\x10\0\x01\0\0\x0e\x10" + len(parts).to_bytes(2, "big") + parts
    head = query[:2] + (b"\x85\x80" if ours else b"\x85\x83") + b"\0\x01" + bytes([0, int(ours)]) + b"\0" * 4
    server.sendto(head + query[12:end] + (answer if ours else b""), whence)
"#;

#[test]
fn client_and_authentication_go_along() {
    let rig = Rig::with("dns_available yes\ndns_server 127.0.0.1:5053");
    let dkim = "loadplugin Mail::SpamAssassin::Plugin::DKIM\n";
    std::fs::write(rig.site().join("dkim.pre"), dkim).unwrap();
    std::fs::write(rig.site().join("dkim.cf"), "full SIGNED eval:check_dkim_valid()\n").unwrap();
    let key = rig.place.path().join("key").display().to_string();
    let openssl = |args: &[&str]| {
        let output = run_with(Command::new("openssl").args(args), b"");
        assert!(output.status.success(), "{}", both(&output));
        text(&output)
    };
    let _ = openssl(&["genrsa", "-out", &key, "2048"]);
    let public = openssl(&["rsa", "-in", &key, "-pubout"]);
    let public: String = public.lines().filter(|line| !line.starts_with('-')).collect();
    let log = rig.place.path().join("dns.log");
    let _dns = Daemon::start(rig.net.command("python3").args(["-c", DNS, &public]), &log);
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_for("the name server", || said().contains("listens").then_some(()));
    let sign = |mail: &[u8], domain: &str| {
        let output = run_with(Command::new("perl").args(["-e", SIGN, &key, domain]), mail);
        assert!(output.status.success(), "{}", both(&output));
        output.stdout
    };
    let agent = rig.agent();
    // Signed by the author's domain; by another; not at all.
    for (name, domain) in [
        (SPAM, Some("meadow-tablets.example")),
        ("30-spam-crypto.eml", Some("elsewhere.example")),
        ("01-ham-personal.eml", None),
    ] {
        let mail = fresh(name);
        let mail = domain.map_or(mail.clone(), |domain| sign(&mail, domain));
        let report = rig.check(&mail);
        assert_eq!(report.contains("SIGNED"), domain.is_some(), "{name}: {report}");
    }
    let _ = agent.stop();
    let stated = sightings(&rig.place);
    let authenticated: Vec<Fact> = stated.iter().map(|(_, facts)| facts.authenticated).collect();
    assert_eq!(authenticated, [Fact::Yes, Fact::Unknown, Fact::Unknown]);
    // Only with the client's address can the agent say that the sender is a stranger.
    assert!(stated.iter().all(|(_, facts)| facts.sender_known == Fact::No), "{stated:?}");
    // It is the address of the relay that handed the mail over.
    let heard = impostor(&rig, b"HTTP/1.1 500 Oh\r\n\r\n{}", false);
    let _ = rig.check(&fresh(SPAM));
    let heard = heard.recv().unwrap();
    assert!(heard.contains("\r\nNovacula-Client: 192.0.2.33\r\n"), "{heard}");
}

#[test]
fn what_the_milter_stated_is_the_same_copy() {
    let rig = Rig::new();
    let agent = rig.agent();
    let socket = rig.place.path().join("milter.sock");
    let listener = format!("[[listener]]\naddress = \"unix:{}\"\ngroup = \"\"\n", socket.display());
    let milter = rig.place.milter(&socket, &listener);
    let mail = fresh(SPAM);
    let through_the_milter = |recipient: &str| {
        let mail = String::from_utf8(mail.clone()).unwrap();
        let outcome = Mta::open(&socket, "192.0.2.33").mail("a@b.example", &[recipient], &mail);
        assert!(outcome.added[0].1.starts_with("unknown;"), "{:?}", outcome.added);
    };
    through_the_milter("gpell@example.org");
    let _ = rig.check(&mail);
    assert_eq!(rig.place.held(), (1, 0));
    // The same mail to somebody else is a second copy, once more stated by both.
    through_the_milter("olga@example.org");
    let _ = rig.check(&mail);
    // Another Message-Id that only SpamAssassin met (it came by another way) is a third and fourth.
    for id in ["one", "two"] {
        let other = String::from_utf8(mail.clone()).unwrap();
        let field = other.lines().find(|line| line.starts_with("Message-I")).unwrap().to_owned();
        let other = other.replace(&field, &format!("Message-ID: <{id}@meadow-tablets.example>"));
        let _ = rig.check(other.as_bytes());
    }
    assert_eq!(rig.place.held(), (1, 0));
    drop(milter);
    let _ = agent.stop();
    let [(copies, facts)] = sightings(&rig.place)[..] else { panic!("one statement") };
    assert_eq!(copies, Copies::Four);
    // Who brought it is known to both, what the rules thought to SpamAssassin alone.
    assert_eq!((facts.sender_known, facts.filter), (Fact::No, Filter::Grey));
}

#[test]
fn spamd_and_spamc() {
    let rig = Rig::new();
    let _agent = rig.agent();
    let _spamd = rig.spamd();
    assert_eq!(rig.place.held(), (0, 0), "spamd's own start-up mail is no sighting");
    let tell = |what: &str, user: &str| rig.spamc(&["-C", what, "-u", user], &mail(SPAM));
    let check = || text(&rig.spamc(&["-R"], &mail(SPAM)));
    assert!(check().contains("verdict unknown"));
    let said = tell("report", "ann");
    assert_eq!(text(&said), "Message successfully reported/revoked\n", "{}", both(&said));
    let after = check();
    assert!(after.contains("1.8 NOVACULA_CHECK") && after.contains("reports 1"), "{after}");
    // It is ann's report: another's "not spam" leaves the site split, her own takes hers back.
    let as_bob = rig.spamc(&["-C", "revoke", "-u", "bob"], &mail(SPAM));
    assert!(as_bob.status.success(), "{}", both(&as_bob));
    assert!(!check().contains("NOVACULA_CHECK"), "one says spam, one says not");
    assert!(tell("report", "bob").status.success());
    assert!(check().contains("NOVACULA_CHECK"));
    let log = rig.place.log();
    assert!(log.contains("reporter=ann") && log.contains("reporter=bob"), "{log}");
}

#[test]
fn many_spamc_at_once() {
    let rig = Rig::networked();
    let _agent = rig.agent();
    assert!(rig.run(&["-r"], &mail(SPAM)).status.success());
    let spamd = rig.spamd();
    let count = 200;
    let answers: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|_| {
                scope.spawn(|| text(&rig.spamc(&["-R", "-n", "60", "-t", "120"], &mail(SPAM))))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for answer in answers {
        assert!(answer.contains("NOVACULA_CHECK"), "{answer}");
    }
    drop(spamd);
}

/// Serves each connection at the agent's place as `answer` says, until the test ends; tells what
/// it heard first.
fn impostor(rig: &Rig, answer: &'static [u8], then_hang: bool) -> mpsc::Receiver<String> {
    let listener = UnixListener::bind(rig.place.socket()).unwrap();
    let (tell, heard) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut first = [0; 65536];
            let len = stream.read(&mut first).unwrap_or(0);
            let _ = tell.try_send(String::from_utf8_lossy(&first[..len]).into_owned());
            let _ = stream.write_all(answer);
            if then_hang {
                held.push(stream);
            }
        }
    });
    heard
}

/// Seconds a check takes with this agent, and that the mail is scored without us.
fn scored_without_us(rig: &Rig, mail: &[u8]) -> Duration {
    let started = Instant::now();
    let output = rig.check(mail);
    let took = started.elapsed();
    assert!(output.contains("TABLETS") && output.contains("verdict unchecked"), "{output}");
    assert!(!output.contains("NOVACULA_"), "{output}");
    took
}

#[test]
fn without_an_agent_mail_is_scored_without_us() {
    let rig = Rig::networked();
    // What SpamAssassin itself takes, on this machine at this moment.
    let alone = scored_without_us(&rig, &fresh(SPAM));
    let failed = rig.run(&["-r"], &mail(SPAM));
    assert!(both(&failed).contains("no agent answers"), "{}", both(&failed));
    let limit = alone * 2 + Duration::from_secs(TIMEOUT_SECS + 1);
    let _heard = impostor(&rig, b"", true);
    // A hanging one costs the timeout, a mail larger than the socket's buffer included.
    let long = [fresh(SPAM), b"more of the same text\n".repeat(20_000)].concat();
    for mail in [fresh(SPAM), long] {
        let took = scored_without_us(&rig, &mail);
        assert!(took >= Duration::from_secs(TIMEOUT_SECS), "it was not waited for: {took:?}");
        assert!(took < limit, "{took:?}, without an agent {alone:?}");
    }
}

#[test]
fn nonsense_is_not_believed() {
    for (answer, then_hang) in [
        (&b"\x00\x01\x02 220 welcome\r\n"[..], false),
        (b"", false),
        (b"HTTP/1.1 200 OK\r\n\r\n[1, 2]", false),
        (b"HTTP/1.1 200 OK\r\n\r\n{\"verdict\": \"spam\"}", false),
        (b"HTTP/1.1 200 OK\r\n\r\n{\"verdict\": {\"a\": 1}, \"confidence\": \"x\"}", false),
        (b"HTTP/1.1 500 Oh\r\n\r\n{\"error\": \"no\\u001b[2J\"}", false),
        (&[b'x'; 1 << 20], true),
    ] {
        let rig = Rig::new();
        let _heard = impostor(&rig, answer, then_hang);
        let took = scored_without_us(&rig, &fresh(SPAM));
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
}
