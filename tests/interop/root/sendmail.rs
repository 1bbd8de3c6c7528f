//! swaks -> Sendmail 8.17 -> milter -> LMTP.

use std::path::PathBuf;
use std::time::Duration;

use novacula_tests::harness::Daemon;
use novacula_tests::rig::{Net, Sendmail, wait_until};

use crate::site::{HAM, SPAM, Site, mail, text};

/// Where contrib/install-packages unpacks Sendmail.
fn unpacked() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/sendmail");
    assert!(root.exists(), "run contrib/install-packages first: it unpacks Sendmail");
    root
}

fn start<'a>(site: &Site, net: &'a Net) -> Sendmail<'a> {
    // The line that contrib/sendmail ships, with another socket.
    let shipped = include_str!("../../../contrib/sendmail/novacula.m4");
    let line = shipped.replace("/run/novacula-milter/milter.sock", "/mnt/milter.sock");
    assert_ne!(line, shipped);
    Sendmail::start(net, &site.mta_dir(), &unpacked(), "lmtp.sock", &line)
}

/// A milter with a policy for spam, on a socket of its own; clients on loopback count as
/// strangers, because Sendmail knows no XCLIENT.
fn milter<'a>(site: &'a Site, spam: &str) -> Daemon<'a> {
    let socket = site.place.path().join("milter.sock");
    let config = format!(
        "local_networks = []\n[[listener]]\naddress = \"unix:{}\"\nmode = \"0600\"\ngroup = \"\"\nspam = \"{spam}\"\n",
        socket.display()
    );
    site.place.milter(&socket, &config)
}

fn send(sendmail: &Sendmail<'_>, path: &str) -> (bool, String) {
    let data = format!("@{path}");
    sendmail.swaks(&["--from", "a@b.example", "--to", "ann@site.example", "--data", &data])
}

#[test]
fn each_action_at_the_client_and_in_the_mail() {
    let (site, net) = (Site::new(), Net::new());
    let _agent = site.place.serve();
    assert_eq!(site.place.run(&["report", &mail(SPAM)]).code, 0);
    let first = milter(&site, "header");
    let sendmail = start(&site, &net);

    let (taken, dialogue) = send(&sendmail, &mail(HAM));
    assert!(taken, "{dialogue}{}", sendmail.log());
    assert!(site.lmtp.one().verdict().starts_with("unknown; confidence="));
    assert!(send(&sendmail, &mail(SPAM)).0);
    assert!(site.lmtp.one().verdict().starts_with("spam; confidence=95;"));

    let forged = format!("X-Novacula: allowed\nX-NOVACULA: x\n\ty\n{}", text(HAM));
    let forged = site.place.file("forged.eml", forged.as_bytes());
    assert!(send(&sendmail, &forged).0);
    assert!(site.lmtp.one().verdict().starts_with("unknown;"));

    drop(first);
    let with = |spam: &str| {
        let _milter = milter(&site, spam);
        send(&sendmail, &mail(SPAM))
    };
    let (taken, dialogue) = with("reject");
    assert!(!taken && dialogue.contains("550 5.7.1 Refused: recipients"), "{dialogue}");
    let (taken, dialogue) = with("tempfail");
    assert!(!taken && dialogue.contains("451 4."), "{dialogue}");
    assert!(with("discard").0);
    assert!(with("accept").0);
    assert_eq!(site.lmtp.one().field("X-Novacula"), [""; 0]);
    assert!(with("quarantine").0);
    // Sendmail renames the queue file of a mail in quarantine.
    wait_until("held", Duration::from_secs(10), || sendmail.queued("hf").len() == 1);

    // No milter at all: F= is absent in our line, so mail passes.
    assert!(send(&sendmail, &mail(HAM)).0);
    assert_eq!(site.lmtp.one().field("X-Novacula"), [""; 0]);
    assert_eq!(site.lmtp.count(), 0, "and nothing else came");
}
