//! Clients that keep no rule: bounded memory, a clean close, and others unharmed.

use std::time::{Duration, Instant};

use novacula_tests::harness::Daemon;
use novacula_tests::rig::Mta;

use crate::site::{HAM, Site, text};

/// Memory that the milter may take, in KiB.
const RSS_KIB_MAX: u64 = 100 << 10;

struct Rig<'a> {
    site: &'a Site,
    milter: Daemon<'a>,
}

impl<'a> Rig<'a> {
    fn new(site: &'a Site) -> Self {
        Self { site, milter: site.milter("", "group = \"\"") }
    }

    fn open(&self) -> Mta {
        Mta::open(&self.site.socket(), "192.0.2.7")
    }

    /// An honest session gets its verdict, at once, and memory is bounded.
    #[track_caller]
    fn is_unharmed(&self) {
        let started = Instant::now();
        let outcome = self.open().mail("a@b.example", &["ann@site.example"], &text(HAM));
        assert_eq!(outcome.last, 'c');
        assert!(outcome.added[0].1.starts_with("unknown; confidence="), "{outcome:?}");
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        let rss = self.milter.rss_kib();
        assert!(rss < RSS_KIB_MAX, "{rss} KiB");
    }
}

#[test]
fn lengths_that_can_not_be() {
    let site = Site::new();
    let _agent = site.place.serve();
    let rig = Rig::new(&site);
    for head in [[0; 4], [0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0, 0x10, 0, 1]] {
        for negotiated in [false, true] {
            let mut mta = if negotiated { rig.open() } else { Mta::connect(&site.socket()) };
            let started = Instant::now();
            mta.raw(&head).unwrap();
            assert!(mta.is_closed(), "{head:?}");
            assert!(started.elapsed() < Duration::from_secs(1));
        }
    }
    rig.is_unharmed();
}

#[test]
fn commands_in_no_order() {
    let site = Site::new();
    let _agent = site.place.serve();
    let rig = Rig::new(&site);
    // What no MTA sends before the negotiation, or twice, or at a wrong time, or at all.
    for packet in [
        &b"Mabc\0"[..],
        b"E",
        b"B",
        b"Lx\0y\0",
        b"C",
        b"?",
        b"\0",
        b"O\0\0",
        b"O\0\0\0\x01\0\0\0\0\0\0\0\0",
    ] {
        let mut mta = Mta::connect(&site.socket());
        mta.send(packet[0], &packet[1..]).unwrap();
        assert!(mta.is_closed(), "{packet:?} before the negotiation");
    }
    let offer = [0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff];
    for packet in [&b"E"[..], b"Bx", b"N", b"Lx\0y\0", b"R<x>\0", b"?", b"Lx", b"M<x>"] {
        let mut mta = rig.open();
        mta.send(packet[0], &packet[1..]).unwrap();
        assert!(mta.is_closed(), "{packet:?} between mails");
    }
    let mut mta = rig.open();
    mta.send(b'O', &offer).unwrap();
    assert!(mta.is_closed(), "a second negotiation");
    let mut mta = rig.open();
    mta.envelope("a@b.example", &["ann@site.example"]);
    mta.send(b'M', b"<c@d.example>\0").unwrap();
    assert!(mta.is_closed(), "a second sender");
    rig.is_unharmed();
    let log = rig.milter.log();
    assert!(log.contains("connection closed") && log.contains("at a wrong time"), "{log}");
}

#[test]
fn cut_off_and_given_up_in_the_middle() {
    let site = Site::new();
    let _agent = site.place.serve();
    let rig = Rig::new(&site);
    for cut in 0..5 {
        let mut mta = rig.open();
        mta.envelope("a@b.example", &["ann@site.example"]);
        match cut {
            0 => mta.raw(&[0, 0]).unwrap(),
            1 => mta.raw(&[0, 0, 0, 9, b'L', b'x']).unwrap(),
            2 => mta.header("Subject", "x"),
            _ => mta.send(b'A', b"").unwrap(),
        }
        drop(mta);
    }
    // A session goes on after it gave a mail up.
    let mut mta = rig.open();
    mta.envelope("a@b.example", &["ann@site.example"]);
    mta.header("Subject", "given up");
    mta.send(b'A', b"").unwrap();
    let outcome = mta.mail("a@b.example", &["ann@site.example"], &text(HAM));
    assert!(outcome.added[0].1.starts_with("unknown;"));
    rig.is_unharmed();
}

#[test]
fn a_byte_at_a_time() {
    let site = Site::new();
    let _agent = site.place.serve();
    let rig = Rig::new(&site);
    let mut slow = Mta::connect(&site.socket());
    for byte in [0, 0, 0, 13, b'O', 0, 0, 0, 6, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff] {
        slow.raw(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(slow.answer().unwrap().0, b'O', "slow is not wrong");
    let mut stuck = Mta::connect(&site.socket());
    stuck.raw(&[0, 0]).unwrap();
    rig.is_unharmed();
    let started = Instant::now();
    assert!(stuck.is_closed(), "a packet takes 10 s at most");
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[test]
fn five_hundred_connections_that_say_nothing() {
    let site = Site::new();
    let _agent = site.place.serve();
    let rig = Rig::new(&site);
    let silent: Vec<Mta> = (0..500).map(|_| Mta::connect(&site.socket())).collect();
    let halfway: Vec<Mta> = (0..500)
        .map(|_| {
            let mut mta = rig.open();
            mta.envelope("a@b.example", &["ann@site.example"]);
            mta
        })
        .collect();
    rig.is_unharmed();
    let started = Instant::now();
    for mut mta in silent {
        assert!(mta.is_closed(), "who does not negotiate goes");
    }
    assert!(started.elapsed() < Duration::from_secs(20));
    drop(halfway);
    rig.is_unharmed();
}

#[test]
fn more_of_a_mail_than_anybody_needs() {
    let site = Site::new();
    let _agent = site.place.serve();
    let rig = Rig::new(&site);
    // A field of 1 MB: the longest packet.
    let mut mta = rig.open();
    mta.envelope("a@b.example", &["ann@site.example"]);
    mta.header("X-Long", &"x".repeat((1 << 20) - 20));
    mta.header("Subject", "still a mail");
    mta.end_of_header();
    assert_eq!(mta.end().last, 'c');
    // 10,000 fields, and as many forged ones, all of which go.
    let mut mta = rig.open();
    mta.envelope("a@b.example", &["ann@site.example"]);
    for number in 0..10_000 {
        mta.header(&format!("X-{number}"), "value");
        mta.header("X-Novacula", "forged");
    }
    mta.end_of_header();
    let outcome = mta.end();
    assert_eq!((outcome.last, outcome.deleted.len()), ('c', 10_000));
    let indices: Vec<u32> = outcome.deleted.iter().map(|(_, index)| *index).collect();
    assert!(indices.is_sorted_by(|one, two| one > two), "from the last to the first");
    // 100 MB, from clients who heed the skip and one who does not: version 2 has none.
    let mut old = Mta::connect(&site.socket());
    let agreed = old.negotiate(2, 0x3f, 0x7f);
    assert_eq!(agreed, [2, 0x11, 0x02]);
    old.client("192.0.2.7");
    old.envelope("a@b.example", &["ann@site.example"]);
    old.header("Subject", "long");
    old.end_of_header();
    let piece = [b'x'; 65_535];
    for _ in 0..1600 {
        old.send(b'B', &piece).unwrap();
        assert_eq!(old.answer().unwrap().0, b'c');
    }
    assert_eq!(old.end().last, 'c');
    rig.is_unharmed();
    let long =
        format!("{}{}", text(HAM), "a line of some length that is repeated\n".repeat(2 << 20));
    let outcome = rig.open().mail("a@b.example", &["ann@site.example"], &long);
    assert_eq!(outcome.last, 'c');
    rig.is_unharmed();
}

#[test]
fn many_long_mails_at_a_time() {
    let site = Site::new();
    let _agent = site.place.serve();
    let rig = Rig::new(&site);
    // 100 mails of which each wants 2 MiB: more than all may take together.
    let mut mtas: Vec<Mta> = (0..100).map(|_| rig.open()).collect();
    for mta in &mut mtas {
        mta.envelope("a@b.example", &["ann@site.example"]);
        mta.header("Subject", "long");
        mta.end_of_header();
    }
    let piece = [b'x'; 65_535];
    for _ in 0..32 {
        for mta in &mut mtas {
            mta.send(b'B', &piece).unwrap();
            assert!(matches!(mta.answer().unwrap().0, b'c' | b's'));
        }
    }
    let rss = rig.milter.rss_kib();
    assert!(rss < RSS_KIB_MAX, "{rss} KiB");
    for mta in &mut mtas {
        assert_eq!(mta.end().last, 'c', "and every one passes");
    }
    rig.is_unharmed();
}
