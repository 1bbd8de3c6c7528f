//! The golden mails: their fingerprints are a promise (another fingerprint needs a new
//! `FINGERPRINT_VERSION`), and every form of one mail is the same mail.

use std::collections::BTreeMap;
use std::fmt::Write;

use novacula_agent::{Canonical, Fingerprint, Message, digests};
use novacula_catalog::{Engine, Probe, SALT_SECS, Time};
use novacula_tests::golden;

fn mails() -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(golden("mails")).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "eml"))
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect()
}

fn of(mail: &[u8]) -> (Canonical, Fingerprint) {
    let canonical = Canonical::of(&Message::parse(mail));
    let fingerprint = Fingerprint::of(&canonical);
    (canonical, fingerprint)
}

/// To be written anew with `NOVACULA_BLESS=1` when the fingerprint version changes.
#[test]
fn fingerprints_are_a_promise() {
    let mut text = String::new();
    for (name, mail) in mails() {
        let (canonical, fingerprint) = of(&mail);
        let digests = digests(&canonical, &fingerprint);
        let _ = writeln!(
            text,
            "{name}\t{}\t{}",
            digests.characters,
            digests.nilsimsa.unwrap_or_default()
        );
        for (engine, value) in digests.digests {
            let _ = writeln!(text, "\t{engine}\t{value}");
        }
    }
    let path = golden("fingerprints.txt");
    if std::env::var_os("NOVACULA_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn every_form_of_a_mail_is_the_same_mail() {
    let mails = mails();
    let (_, original) = of(&mails["04-spam-plain.eml"]);
    for form in [
        "06-spam-base64.eml",
        "07-spam-qp.eml",
        "24-spam-crlf.eml",
        "25-spam-mbox-line.eml",
        "26-spam-added-headers.eml",
    ] {
        assert_eq!(of(&mails[form]).1, original, "{form}");
    }
    let exact = |fingerprint: &Fingerprint| fingerprint.digests()[0];
    for form in ["05-spam-personalised.eml", "08-spam-html-hidden.eml"] {
        let (_, other) = of(&mails[form]);
        assert_eq!(exact(&other), exact(&original), "{form}");
        assert_eq!(other.nilsimsa(), original.nilsimsa(), "{form}");
    }
}

#[test]
fn what_matches_the_spam_and_what_does_not() {
    let mails = mails();
    let now = Time(2900 * SALT_SECS + SALT_SECS / 2);
    let probe = |name: &str| {
        let (_, fingerprint) = of(&mails[name]);
        (Probe::new(fingerprint.digests(), fingerprint.nilsimsa(), now), fingerprint)
    };
    let (_, spam) = probe("04-spam-plain.eml");
    let site = novacula_catalog::SiteId([1; 32]);
    let mut sender = novacula_catalog::Site::new(site, novacula_catalog::Network::HOME, 0);
    let stated = Probe::new(spam.digests(), spam.nilsimsa(), now);
    let witness = sender.sight(&[], &stated, Default::default(), 1, now).unwrap();
    let witness = std::sync::Arc::new(witness);
    for name in mails.keys() {
        let found = novacula_catalog::compare(&probe(name).0, &witness).map(|found| found.engine);
        let number: u32 = name[..2].parse().unwrap();
        let expected = match number {
            4..=8 | 24..=26 => Some(Engine::Exact),
            9 => Some(Engine::Text),
            _ => None,
        };
        assert_eq!(found, expected, "{name}");
    }
}

/// A mail's witness at another site, and the engine by which one mail matches another.
fn match_of(asker: &[u8], other: &[u8]) -> Option<Engine> {
    let now = Time(2900 * SALT_SECS + SALT_SECS / 2);
    let probe = |mail: &[u8]| {
        let (_, fingerprint) = of(mail);
        Probe::new(fingerprint.digests(), fingerprint.nilsimsa(), now)
    };
    let site = novacula_catalog::SiteId([1; 32]);
    let mut sender = novacula_catalog::Site::new(site, novacula_catalog::Network::HOME, 0);
    let witness = sender.sight(&[], &probe(other), Default::default(), 1, now)?;
    novacula_catalog::compare(&probe(asker), &witness.into()).map(|found| found.engine)
}

/// Forms that are a fifth of the text or more make one mail of two, for the fingerprint: the footer
/// of a mailing service, a platform's receipts, the usual words of codes, a firm's disclaimer below
/// short letters. That is what the site's own learning is for (`forms_that_come_back_are_learnt`).
const FORMS: [&str; 4] = ["newsletter-esp", "receipt-platform", "code", "business"];

/// Nothing else that modern wanted mail has in common - links and pages of one firm, patches and
/// their quotes, lists' footers, notices of MTAs - makes one mail of two.
#[test]
fn unrelated_wanted_mails_are_not_one_mail() {
    let mails = mails();
    let wanted: Vec<&String> = mails
        .keys()
        .filter(|name| name[..2].parse::<u32>().unwrap() >= 31 || name.contains("-ham-"))
        .filter(|name| !name.contains("-spam-"))
        // 01's text as a reply.
        .filter(|name| *name != "02-ham-reply.eml")
        .collect();
    assert!(wanted.len() > 20);
    for one in &wanted {
        for other in wanted.iter().filter(|other| *other != one) {
            let of_form =
                |form: &&str| one[3..].starts_with(*form) && other[3..].starts_with(*form);
            let expected = FORMS.iter().any(of_form);
            let found = match_of(&mails[*one], &mails[*other]);
            assert_eq!(found.is_some(), expected, "{one} and {other}: {found:?}");
        }
    }
}

#[test]
fn forms_that_come_back_are_learnt() {
    learnt("33-receipt-platform-one.eml", "34-receipt-platform-two.eml");
    learnt("31-newsletter-esp-one.eml", "32-newsletter-esp-two.eml");
    learnt("35-code-bank.eml", "36-code-games.eml");
    learnt("46-business-seals.eml", "47-business-visit.eml");
}

/// A site that had mail of this form on three days takes another of the same form for another mail.
#[track_caller]
fn learnt(other: &str, own: &str) {
    const DAY_SECS: u64 = 24 * 3600;
    let mails = mails();
    let (_, ours) = of(&mails[other]);
    let (_, theirs) = of(&mails[own]);
    let start = Time(2900 * SALT_SECS + SALT_SECS / 2);
    let mut familiar = novacula_agent::Familiar::new([1; 32], Vec::new());
    let site = novacula_catalog::SiteId([1; 32]);
    let mut sender = novacula_catalog::Site::new(site, novacula_catalog::Network::HOME, 0);
    let mut common_after = |days: u64| {
        let now = Time(start.0 + days * DAY_SECS);
        let stated = Probe::new(ours.digests(), ours.nilsimsa(), now);
        let witness = sender.sight(&[], &stated, Default::default(), 1, now).unwrap().into();
        let probe = Probe::with_common(theirs.digests(), theirs.nilsimsa(), now, |digest| {
            familiar.is_common(digest, now)
        });
        let common = novacula_catalog::compare(&probe, &witness).unwrap().common;
        familiar.accepted(theirs.digests(), now);
        common
    };
    assert!(!common_after(0) && !common_after(2) && !common_after(5));
    assert!(common_after(6), "the form came on three days");
}

#[test]
fn what_is_gated() {
    for (name, mail) in mails() {
        let (_, fingerprint) = of(&mail);
        let message = Message::parse(&mail);
        let gated = !fingerprint.is_evidence() || message.is_constant();
        let expected =
            ["10-", "11-", "29-", "45-", "49-"].iter().any(|start| name.starts_with(start));
        assert_eq!(gated, expected, "{name}");
    }
}

#[test]
fn the_original_in_a_bounce_is_not_its_text() {
    let mails = mails();
    for name in ["19-dsn-bounce.eml", "20-ham-attached-message.eml"] {
        let (canonical, _) = of(&mails[name]);
        let (spam, _) = of(&mails["04-spam-plain.eml"]);
        let shared = spam.text.split(' ').collect::<Vec<_>>();
        let run = shared.windows(6).any(|words| canonical.text.contains(&words.join(" ")));
        assert!(!run, "{name}: {}", canonical.text);
    }
}
