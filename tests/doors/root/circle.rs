//! The full circle: a person reports in a mail client at site A, the same campaign is spam in
//! SpamAssassin at B and in the milter at C, and after the person's undo it is not. Three agents,
//! peers of each other over libp2p.

use std::time::Duration;

use novacula_tests::harness::{Daemon, Place};
use novacula_tests::rig::{Mta, wait_until};

use super::{dovecot, spamassassin};
use crate::rig::mail;

const SPAM: &str = "04-spam-plain.eml";

/// Longest wait for what one site said to be known at another.
const KNOWN_TIME_MAX: Duration = Duration::from_secs(20);

/// An agent that Dovecot's and spamd's user may use, as a peer with an address of its own.
fn agent<'a>(place: &'a Place, n: usize, first: Option<&str>) -> Daemon<'a> {
    let bootstrap = first.map(|first| format!("{first:?}")).unwrap_or_default();
    let config = format!(
        "socket_group = \"nogroup\"\n\
         believed_users = [\"nobody\"]\n\
         network = true\n\
         network_listen = [\"/ip4/127.0.7.{n}/udp/0/quic-v1\", \"/ip4/127.0.7.{n}/tcp/0\"]\n\
         network_prefix_v4 = 32\n\
         deadline_ms = 500\n\
         recheck_secs = 1\n\
         group_key = \"{}\"\n\
         bootstrap = [{bootstrap}]\n",
        "c1".repeat(32)
    );
    place.serve_in(None, &config)
}

fn status(place: &Place) -> serde_json::Value {
    place.run(&["status", "--json"]).json()
}

/// The milter's header field at site C.
fn in_the_milter(socket: &std::path::Path) -> String {
    let mail = String::from_utf8(mail(SPAM)).unwrap();
    let outcome = Mta::open(socket, "192.0.2.7").mail("a@b.example", &["carl@c.example"], &mail);
    outcome.added[0].1.clone()
}

#[test]
fn a_click_at_one_site_is_known_at_the_others_and_so_is_its_undo() {
    let (a, b, c) = (dovecot::Rig::new(), spamassassin::Rig::networked(), Place::new());
    let begun = agent(&a.place, 1, None);
    let address = status(&a.place)["peers"]["addresses"][0].as_str().unwrap().to_owned();
    let _others = [agent(&b.place, 2, Some(&address)), agent(&c, 3, Some(&address))];
    let socket = c.path().join("milter.sock");
    let listener = format!("[[listener]]\naddress = \"unix:{}\"\ngroup = \"\"\n", socket.display());
    let _milter = c.milter(&socket, &listener);
    let _dovecot = a.dovecot();
    wait_until("the three have met", Duration::from_secs(30), || {
        [&a.place, &b.place, &c].iter().all(|place| status(place)["peers"]["placed"] == 3)
    });

    // The mail lies in ann's INBOX; nobody has said anything.
    a.ask("ann", &["append"], &mail(SPAM));
    assert!(b.check(&mail(SPAM)).contains("verdict unknown"));
    let verdict = in_the_milter(&socket);
    assert!(verdict.starts_with("unknown;"), "{verdict}");
    // The milter's mail has the fingerprint of the mail that lies in her box.
    let stored = a.ask("ann", &["fetch", "INBOX"], b"").stdout;
    let digests = a.place.run_with(&["fingerprint", "--json", "-"], &stored).json();
    let first = digests["digests"][0][1].as_str().unwrap().to_owned();
    assert_eq!(verdict.split("id=").nth(1), Some(first.as_str()), "{verdict}");

    // She moves it to Junk.
    a.ask("ann", &["move", "INBOX", "Junk"], b"");
    wait_until("SpamAssassin at B knows", KNOWN_TIME_MAX, || {
        let report = b.check(&mail(SPAM));
        report.contains("verdict spam") && report.contains("NOVACULA_CHECK")
    });
    wait_until("the milter at C knows", KNOWN_TIME_MAX, || {
        in_the_milter(&socket).starts_with("spam;")
    });

    // It was a mistake: she moves it back.
    a.ask("ann", &["move", "Junk", "INBOX"], b"");
    wait_until("SpamAssassin at B knows of the undo", KNOWN_TIME_MAX, || {
        let report = b.check(&mail(SPAM));
        !report.contains("verdict spam") && !report.contains("NOVACULA_CHECK")
    });
    wait_until("the milter at C knows of the undo", KNOWN_TIME_MAX, || {
        !in_the_milter(&socket).starts_with("spam;")
    });
    drop(begun);
}
