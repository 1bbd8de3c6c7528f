//! swaks -> Postfix -> milter -> LMTP: what the client sees, and what is delivered.

use std::time::Duration;

use novacula_catalog::store::{Disk, Save};
use novacula_catalog::{Copies, Facts, Filter, Identity, Kind, Network, Probe, Time};
use novacula_client::Verdict;
use novacula_tests::harness::{Daemon, Signal};
use novacula_tests::rig::{Net, Postfix, wait_until};

use crate::site::{HAM, SPAM, Site, from, mail, stranger, text, words};

/// Writes a new configuration and has the milter read it.
fn reload(site: &Site, milter: &Daemon<'_>, settings: &str, listener: &str) {
    let read = |log: &str| log.matches("configuration read again").count();
    let before = read(&milter.log());
    let _ = site.place.file("milter.toml", site.config(settings, listener).as_bytes());
    milter.signal(Signal::HUP);
    wait_until("reloaded", Duration::from_secs(5), || read(&milter.log()) > before);
}

fn send(postfix: &Postfix<'_>, args: &[String]) -> (bool, String) {
    postfix.swaks(&words(args))
}

#[test]
fn each_action_at_the_client_and_in_the_mail() {
    let (site, net) = (Site::new(), Net::new());
    let _agent = site.place.serve();
    let milter = site.milter("", "");
    let postfix = site.postfix(&net);
    assert_eq!(site.place.run(&["report", &mail(SPAM)]).code, 0);
    let spam = stranger(&mail(SPAM));

    // An ordinary mail is marked as checked, whatever the policy.
    let (taken, dialogue) = send(&postfix, &stranger(&mail(HAM)));
    assert!(taken, "{dialogue}\n{}", postfix.log());
    let verdict = site.lmtp.one().verdict();
    assert!(verdict.starts_with("unknown; confidence="), "{verdict}");
    assert!(verdict.contains("; window=24h; id="), "{verdict}");

    // Monitoring is the default.
    assert!(send(&postfix, &spam).0);
    let verdict = site.lmtp.one().verdict();
    assert!(verdict.starts_with("spam; confidence=95; places=1; reports=1;"), "{verdict}");

    reload(&site, &milter, "", "spam = \"reject\"");
    let (taken, dialogue) = send(&postfix, &spam);
    assert!(!taken);
    assert!(dialogue.contains("550 5.7.1 Refused: recipients at several places"), "{dialogue}");
    assert!(dialogue.contains("write to postmaster at this site and name "), "{dialogue}");

    reload(&site, &milter, "", "spam = \"tempfail\"");
    let (taken, dialogue) = send(&postfix, &spam);
    assert!(!taken && dialogue.contains("451 4.7.1"), "{dialogue}");

    reload(&site, &milter, "", "spam = \"discard\"");
    assert!(send(&postfix, &spam).0);

    reload(&site, &milter, "", "spam = \"accept\"");
    assert!(send(&postfix, &spam).0);
    assert_eq!(site.lmtp.one().field("X-Novacula"), [""; 0], "accepted without a field");

    reload(&site, &milter, "", "spam = \"reject\"\nspam_confidence_min = 96");
    assert!(send(&postfix, &spam).0, "under the confidence that is asked for it passes");
    assert!(site.lmtp.one().verdict().starts_with("spam; confidence=95;"));

    reload(&site, &milter, "", "spam = \"quarantine\"");
    let (taken, dialogue) = send(&postfix, &spam);
    assert!(taken, "the client does not hear of it: {dialogue}");
    wait_until("held", Duration::from_secs(10), || postfix.queue().contains('!'));
    assert_eq!(site.lmtp.count(), 0, "nothing else was delivered");

    // A mistake keeps the old configuration.
    let _ = site.place.file("milter.toml", b"spam = 5");
    milter.signal(Signal::HUP);
    wait_until("refused", Duration::from_secs(5), || {
        milter.log().contains("the old configuration stays")
    });
    assert!(send(&postfix, &stranger(&mail(HAM))).0);
    assert!(site.lmtp.one().verdict().starts_with("unknown"));
}

#[test]
fn forged_fields_are_gone() {
    let (site, net) = (Site::new(), Net::new());
    let _agent = site.place.serve();
    let _milter = site.milter("", "");
    let postfix = site.postfix(&net);
    let forged = format!(
        "X-Novacula: allowed\nx-novacula: allowed; confidence=0\nReceived: by a.example; Mon, 2 Mar 2026 10:00:00 +0000\nX-NOVACULA:\n\tfolded\n{}",
        text(HAM).replacen("Subject:", "X-Novacula: one in the middle\nSubject:", 1)
    );
    let path = site.place.file("forged.eml", forged.as_bytes());
    let (taken, dialogue) = send(&postfix, &stranger(&path));
    assert!(taken, "{dialogue}");
    let delivered = site.lmtp.one();
    assert!(delivered.verdict().starts_with("unknown; confidence="), "{}", delivered.text);
    assert_eq!(delivered.field("Received").len(), 2, "nothing else was taken out");
    assert_eq!(delivered.field("Subject").len(), 1);
}

#[test]
fn own_mail_passes_unmarked_and_whom_it_goes_to_is_known() {
    let (site, net) = (Site::new(), Net::new());
    let agent_config = site.place.file("novacula.toml", b"authserv_ids = [\"mx.site.example\"]\n");
    let _agent = site.place.serve_with(&["--config", &agent_config]);
    let _milter = site.milter("", "");
    let postfix = site.postfix(&net);
    let spam_of = |header: &str| {
        let spam = text(SPAM).replace("belinda@meadow-tablets.example", "ruth@far.example");
        site.place.file("answer.eml", format!("{header}{spam}").as_bytes())
    };
    assert_eq!(site.place.run(&["status", "--json"]).json()["checks"], 0);

    // Somebody here writes to Ruth, over SMTP from this host ...
    let own = ["--from", "ann@site.example", "--to", "ruth@far.example,bob@site.example"];
    let data = format!("@{}", mail(HAM));
    assert!(postfix.swaks(&[&own[..], &["--data", &data]].concat()).0);
    // ... and with the program sendmail.
    let mut sendmail = postfix.command("sendmail");
    sendmail.arg("-C").arg(postfix.config_dir()).args(["-f", "ann@site.example"]);
    sendmail.arg("carl@site.example").stdin(std::fs::File::open(mail(HAM)).unwrap());
    assert!(sendmail.status().unwrap().success());
    for own in site.lmtp.take(2) {
        assert_eq!(own.field("X-Novacula"), [""; 0], "own mail is not marked");
    }
    assert_eq!(site.place.run(&["status", "--json"]).json()["checks"], 0, "and not checked");
    let metrics = || site.place.run(&["status", "--json"]).json();
    wait_until("told", Duration::from_secs(10), || {
        metrics()["milters"][0]["state"]["mails"]["own"] == 2
    });

    // What Ruth writes is wanted if it is from her, or answers.
    let verdict = |path: &str| {
        let args = from("192.0.2.9", "ruth@far.example", &["ann@site.example"], path);
        let (taken, dialogue) = send(&postfix, &args);
        assert!(taken, "{dialogue}");
        site.lmtp.one().verdict()
    };
    let stranger = verdict(&spam_of(""));
    assert!(stranger.starts_with("unknown;"), "anybody can write her name: {stranger}");
    let results = "Authentication-Results: mx.site.example; dkim=pass header.d=far.example\n";
    let authenticated = verdict(&spam_of(results));
    assert!(authenticated.starts_with("allowed;"), "{authenticated}");
    let elsewhere = "Authentication-Results: evil.example; dkim=pass header.d=far.example\n";
    assert!(verdict(&spam_of(elsewhere)).starts_with("unknown;"), "not our verifier");
    let id =
        text(HAM).lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap().to_owned();
    let answer = verdict(&spam_of(&format!("In-Reply-To: {id}\n")));
    assert!(answer.starts_with("allowed;"), "{answer}");
}

#[test]
fn what_the_mta_and_the_other_filter_know_goes_along() {
    let (site, net) = (Site::new(), Net::new());
    let agent = site.place.serve();
    let _milter =
        site.milter("filter_header = \"X-Spam-Status\"\ntraps = [\"bait@site.example\"]", "");
    let postfix = site.postfix(&net);
    let marked = format!("X-Spam-Status: Yes, score=9.1 required=5.0 tests=A,B\n{}", text(HAM));
    let path = site.place.file("marked.eml", marked.as_bytes());
    let recipients: Vec<String> = (0..5).map(|n| format!("user{n}@site.example")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    assert!(send(&postfix, &from("192.0.2.7", "a@b.example", &recipients, &path)).0);
    let _ = site.lmtp.take(1);

    // Mail to a trap is reported at once.
    let bait = from("192.0.2.7", "a@b.example", &["bait@site.example"], &mail(SPAM));
    assert!(send(&postfix, &bait).0);
    assert!(site.lmtp.one().verdict().starts_with("unknown;"), "nobody knew it then");
    wait_until("reported", Duration::from_secs(10), || site.place.held().1 == 1);
    assert!(send(&postfix, &stranger(&mail("05-spam-personalised.eml"))).0);
    assert!(site.lmtp.one().verdict().starts_with("spam;"));
    assert!(site.place.log().contains("location=mx"), "{}", site.place.log());

    let _ = agent.stop();
    let identity = Identity::load_or_create(&site.place.data_dir().join("identity")).unwrap();
    let (_, loaded) = Disk::open(&site.place.data_dir(), identity.site(), Time::now()).unwrap();
    let sightings: Vec<(Copies, Facts)> = loaded
        .witnesses
        .iter()
        .filter_map(|witness| match witness.statement.kind {
            Kind::Sighting { copies, facts } => Some((copies, facts)),
            Kind::Opinion { .. } => None,
        })
        .collect();
    let of_filter = sightings.iter().find(|(_, facts)| facts.filter == Filter::Spam).unwrap();
    assert_eq!(of_filter.0, Copies::of(5), "one copy for each recipient: {sightings:?}");
}

/// A statement of another site about a golden mail, in this site's database.
fn seen_elsewhere(site: &Site, name: &str) -> String {
    let other = Identity::from_seed(&[9; 32]);
    let own = Identity::load_or_create(&site.place.data_dir().join("identity")).unwrap();
    let message = novacula_agent::Message::parse(text(name).as_bytes());
    let fingerprint = novacula_agent::Fingerprint::of(&novacula_agent::Canonical::of(&message));
    let now = Time::now();
    let probe = Probe::new(fingerprint.digests(), fingerprint.nilsimsa(), now);
    let mut there = novacula_catalog::Site::new(other.site(), Network(77), 1);
    let witness = there.sight(&[], &probe, Facts::default(), 1, now).unwrap();
    let signed = witness.statement.sign(&other);
    let (disk, _) = Disk::open(&site.place.data_dir(), own.site(), now).unwrap();
    disk.save_soon(Save::Statement(Box::new(witness), signed));
    format!("[trusted_sites]\n{} = 1.0\n", other.site())
}

#[test]
fn an_outbreak_that_nobody_has_judged_waits_once() {
    let (site, net) = (Site::new(), Net::new());
    let _ = site.place.serve().stop();
    let trusted = seen_elsewhere(&site, SPAM);
    let agent_config = site.place.file("novacula.toml", trusted.as_bytes());
    let _agent = site.place.serve_with(&["--config", &agent_config]);
    let _milter = site.milter("", "delay_secs = 2");
    let postfix = site.postfix(&net);
    let (taken, dialogue) = send(&postfix, &stranger(&mail(SPAM)));
    assert!(!taken, "seen at two places within a quarter of an hour: it waits");
    assert!(dialogue.contains("451 4.7.1 Try again in 1 minutes"), "{dialogue}");
    assert!(send(&postfix, &stranger(&mail(HAM))).0, "other mail does not");
    assert!(site.lmtp.one().verdict().starts_with("unknown;"));
    std::thread::sleep(Duration::from_secs(2));
    let (taken, dialogue) = send(&postfix, &stranger(&mail(SPAM)));
    assert!(taken, "{dialogue}");
    let verdict = site.lmtp.one().verdict();
    assert!(
        verdict.starts_with(Verdict::Unknown.name()) && verdict.contains("places=2"),
        "{verdict}"
    );
}

#[test]
fn status_metrics_and_doctor_show_when_postfix_last_connected() {
    let (site, net) = (Site::new(), Net::new());
    let agent = site.place.serve();
    let milter = site.milter("", "");
    let last = || {
        let status = site.place.run(&["status", "--json"]).json();
        status["milters"][0]["state"]["listeners"][0]["last_secs"].as_u64()
    };
    wait_until("the milter told", Duration::from_secs(10), || {
        site.place.run(&["status", "--json"]).json()["milters"][0].is_object()
    });
    assert_eq!(last(), None);
    let doctor = site.place.run(&["doctor"]);
    assert!(doctor.stdout.contains("no MTA has connected"), "{}", doctor.stdout);
    assert_eq!(doctor.code, 1);
    let postfix = site.postfix(&net);
    assert!(send(&postfix, &stranger(&mail(HAM))).0);
    wait_until("the connection is told", Duration::from_secs(10), || last().is_some());
    let doctor = site.place.run(&["doctor"]);
    assert_eq!(doctor.code, 0, "{}", doctor.stdout);
    assert!(doctor.stdout.contains("an MTA last connected"), "{}", doctor.stdout);
    let metrics = agent.raw(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let connected = metrics
        .lines()
        .find(|line| line.starts_with("novacula_milter_last_connection_timestamp_seconds{"))
        .unwrap();
    assert!(connected.contains("milter=\"mx\"") && !connected.ends_with(" 0"), "{connected}");
    milter.kill();
    assert!(send(&postfix, &stranger(&mail(HAM))).0, "Postfix hides a dead milter");
    let delivered = site.lmtp.take(2);
    assert!(delivered.iter().any(|mail| mail.field("X-Novacula").is_empty()));
    wait_until("doctor sees it", Duration::from_secs(40), || site.place.run(&["doctor"]).code == 1);
}
