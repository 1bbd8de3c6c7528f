//! Wanted bulk through a real Postfix: a newsletter with List-Unsubscribe whose sender a configured
//! verifier authenticated and who has written here for days is `bulk` where one reader elsewhere
//! reports it. The same bytes without that field, or with a stranger's, are spam.

use novacula_agent::{Canonical, Fingerprint, Message};
use novacula_catalog::store::{Disk, Save};
use novacula_catalog::{Facts, Identity, Network, Opinion, Probe, Time, Trace};
use novacula_tests::rig::{Net, Postfix};

use crate::site::{Site, from, text, words};

const NEWSLETTER: &str = "31-newsletter-esp-one.eml";
const PASS: &str =
    "Authentication-Results: mx.site.example; dkim=pass header.d=lantern-garden.example\n";

fn with_field(site: &Site, field: &str) -> String {
    site.place.file("newsletter.eml", format!("{field}{}", text(NEWSLETTER)).as_bytes())
}

fn verdict(site: &Site, postfix: &Postfix<'_>, field: &str) -> String {
    let path = with_field(site, field);
    let args = from("192.0.2.9", "news@lantern-garden.example", &["ann@site.example"], &path);
    let (taken, dialogue) = postfix.swaks(&words(&args));
    assert!(taken, "{dialogue}");
    site.lmtp.one().verdict()
}

/// Three other sites saw the newsletter, and somebody at one of them reports it. Gives the
/// configuration that trusts them.
fn reported_elsewhere(site: &Site) -> String {
    let own = Identity::load_or_create(&site.place.data_dir().join("identity")).unwrap();
    let message = Message::parse(text(NEWSLETTER).as_bytes());
    let fingerprint = Fingerprint::of(&Canonical::of(&message));
    let now = Time::now();
    let probe = Probe::new(fingerprint.digests(), fingerprint.nilsimsa(), now);
    let (disk, loaded) = Disk::open(&site.place.data_dir(), own.site(), now).unwrap();
    let mut trusted = "[trusted_sites]\n".to_owned();
    for number in 1..=3u8 {
        let identity = Identity::from_seed(&[number; 32]);
        let network = Network(u64::from(number) + 70);
        let mut there = novacula_catalog::Site::new(identity.site(), network, 1);
        let seen = there.sight(&[], &probe, Facts::default(), 1, now).unwrap();
        let said = (number == 1).then(|| there.opine(&[], &probe, Opinion::Report, now, now));
        for witness in [Some(seen), said].into_iter().flatten() {
            let signed = witness.statement.sign(&identity);
            disk.save_soon(Save::Statement(Box::new(witness), signed));
        }
        trusted += &format!("{} = 1.0\n", identity.site());
    }
    // The mail that came before did so days ago.
    for trace in loaded.traces {
        disk.save_soon(Save::Trace(Trace { first_day: trace.first_day - 5, ..trace }));
    }
    trusted
}

#[test]
fn an_authenticated_newsletter_of_a_known_sender_is_bulk_and_not_spam() {
    let (site, net) = (Site::new(), Net::new());
    let verifier = "authserv_ids = [\"mx.site.example\"]\n";
    let config = site.place.file("novacula.toml", verifier.as_bytes());
    let agent = site.place.serve_with(&["--config", &config]);
    let _milter = site.milter("", "");
    let postfix = site.postfix(&net);
    assert!(verdict(&site, &postfix, PASS).starts_with("unknown;"), "the first of its sender");
    let _ = agent.stop();

    let trusted = reported_elsewhere(&site);
    let config = site.place.file("novacula.toml", format!("{verifier}{trusted}").as_bytes());
    let _agent = site.place.serve_with(&["--config", &config]);
    let known = verdict(&site, &postfix, PASS);
    assert!(known.starts_with("bulk;") && known.contains("reports=1"), "{known}");
    let forged = verdict(&site, &postfix, "");
    assert!(forged.starts_with("spam;"), "nobody vouches for its sender: {forged}");
    let elsewhere = PASS.replace("mx.site.example", "mx.evil.example");
    let foreign = verdict(&site, &postfix, &elsewhere);
    assert!(foreign.starts_with("spam;"), "not our verifier: {foreign}");
    let stranger = PASS.replace("lantern-garden", "mailservice");
    let unaligned = verdict(&site, &postfix, &stranger);
    assert!(unaligned.starts_with("spam;"), "signed by somebody else: {unaligned}");
}
