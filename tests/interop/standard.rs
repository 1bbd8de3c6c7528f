//! The standard flow by miltertest (OpenDKIM's), whose side of the protocol others wrote.

use std::process::Command;

use novacula_tests::harness::{Signal, built};
use novacula_tests::rig::Mta;

use crate::site::{SPAM, Site, mail, text};

/// Runs a script with the milter's socket and a mail's body as globals.
fn run(site: &Site, script: &str, body: &str) {
    let path = format!("{}/interop/{script}", env!("CARGO_MANIFEST_DIR"));
    let socket = format!("socket=unix:{}", site.socket().display());
    let body = format!("body={body}");
    let output =
        Command::new("miltertest").args(["-D", &socket, "-D", &body, "-s", &path]).output();
    let output = output.expect("miltertest runs: contrib/install-packages installs it");
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&text));
}

#[test]
fn two_mails_over_one_connection() {
    let site = Site::new();
    let _agent = site.place.serve();
    let _milter = site.milter("", "group = \"\"");
    run(&site, "standard.lua", "");
}

#[test]
fn a_refused_mail() {
    let site = Site::new();
    let _agent = site.place.serve();
    assert_eq!(site.place.run(&["report", &mail(SPAM)]).code, 0);
    let _milter = site.milter("", "group = \"\"\nspam = \"reject\"");
    let spam = text(SPAM);
    let body = spam.split_once("\n\n").unwrap().1.replace('\n', "\r\n");
    run(&site, "refused.lua", &site.place.file("body", body.as_bytes()));
}

#[test]
fn unix_inet_and_inet6_side_by_side_each_with_a_policy() {
    let site = Site::new();
    let _agent = site.place.serve();
    assert_eq!(site.place.run(&["report", &mail(SPAM)]).code, 0);
    let ports = "[[listener]]\naddress = \"inet:127.0.0.1:0\"\nspam = \"tempfail\"\n\
                 [[listener]]\naddress = \"inet6:[::1]:0\"\nspam = \"discard\"";
    let milter = site.milter("", &format!("group = \"\"\nspam = \"reject\"\n{ports}"));
    let of = |mta: &mut Mta| {
        mta.begin("2001:db8::7");
        mta.mail("a@b.example", &["ann@site.example"], &text(SPAM)).last
    };
    let log = milter.log();
    let port = |sort: &str| {
        let address = log.split(&format!("listener=\"{sort}:")).nth(1).unwrap();
        address.split('"').next().unwrap().to_owned()
    };
    assert_eq!(of(&mut Mta::connect(&site.socket())), 'y');
    assert_eq!(of(&mut Mta::connect_tcp(&port("inet"))), 't');
    assert_eq!(of(&mut Mta::connect_tcp(&port("inet6"))), 'd');
    let _ = milter.stop();
    assert!(!site.socket().exists(), "the socket goes with the milter");
}

#[test]
fn a_restart_finishes_the_mail_at_hand() {
    let site = Site::new();
    let _agent = site.place.serve();
    let milter = site.milter("", "group = \"\"");
    let mut mta = Mta::open(&site.socket(), "192.0.2.7");
    let mut idle = Mta::open(&site.socket(), "192.0.2.7");
    mta.envelope("a@b.example", &["ann@site.example"]);
    let stopping = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| milter.stop());
        // Between mails it closes, within one it goes on.
        assert!(idle.is_closed());
        mta.header("Subject", "the meeting of the garden club");
        mta.end_of_header();
        assert_eq!(mta.end().last, 'c');
        stopping.join().unwrap()
    });
    assert!(stopping.as_secs() < 5, "{stopping:?}");
}

#[test]
fn a_mistake_in_the_configuration_is_named() {
    let site = Site::new();
    let config = site.place.file("milter.toml", b"deadline_ms = 5\ndeadline = 5\n");
    let output = Command::new(built("novacula-milter"))
        .args(["serve", "--config", &config])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains(&config) && said.contains("deadline") && said.contains("line 2"),
        "{said}"
    );
}

#[test]
fn an_mta_that_waits_long_is_told_so() {
    let site = Site::new();
    let agent = site.place.serve();
    let _milter = site.milter("deadline_ms = 6000", "group = \"\"");
    let mut mta = Mta::open(&site.socket(), "192.0.2.7");
    agent.signal(Signal::STOP);
    let outcome = mta.mail("a@b.example", &["ann@site.example"], &text(SPAM));
    agent.signal(Signal::CONT);
    assert_eq!((outcome.last, outcome.progress), ('c', 1));
    assert_eq!(outcome.added[0].1, "unknown; unchecked=agent-late");
}
