//! The headline: one campaign through three real Postfix, three milters and three agents that are
//! peers. At the fourth delivery it is bulk while nobody has spoken, and spam after one report.

use std::time::Duration;

use novacula_tests::harness::Daemon;
use novacula_tests::rig::{Net, Postfix, wait_until};

use crate::site::{HAM, SPAM, Site, mail, stranger, words};

/// Each site has an address of its own on loopback, and counts as a network of its own.
fn agent<'a>(site: &'a Site, n: usize, first: Option<&str>) -> Daemon<'a> {
    let bootstrap = first.map(|first| format!("{first:?}")).unwrap_or_default();
    let config = format!(
        "network = true\n\
         network_listen = [\"/ip4/127.0.8.{n}/udp/0/quic-v1\", \"/ip4/127.0.8.{n}/tcp/0\"]\n\
         network_prefix_v4 = 32\n\
         deadline_ms = 500\n\
         group_key = \"{}\"\n\
         bootstrap = [{bootstrap}]\n",
        "a7".repeat(32)
    );
    site.place.serve_in(None, &config)
}

/// How many members of the network this agent knows and has placed.
fn placed(site: &Site) -> u64 {
    let status = site.place.run(&["status", "--json"]).json();
    status["peers"]["placed"].as_u64().unwrap_or(0)
}

/// Delivers a mail and gives the verdict in its header.
fn deliver(site: &Site, postfix: &Postfix<'_>, name: &str) -> String {
    let (taken, dialogue) = postfix.swaks(&words(&stranger(&mail(name))));
    assert!(taken, "{dialogue}");
    site.lmtp.one().verdict()
}

#[test]
fn the_fourth_delivery_is_bulk_and_after_one_report_spam() {
    let sites: Vec<Site> = (0..3).map(|_| Site::new()).collect();
    let nets: Vec<Net> = (0..3).map(|_| Net::new()).collect();
    let first = agent(&sites[0], 1, None);
    let address = || {
        let status = sites[0].place.run(&["status", "--json"]).json();
        status["peers"]["addresses"][0].as_str().map(str::to_owned)
    };
    wait_until("the first has an address", Duration::from_secs(30), || address().is_some());
    let address = address().unwrap();
    let _others = [agent(&sites[1], 2, Some(&address)), agent(&sites[2], 3, Some(&address))];
    let _milters: Vec<Daemon<'_>> = sites.iter().map(|site| site.milter("", "")).collect();
    let mtas: Vec<Postfix<'_>> =
        sites.iter().zip(&nets).map(|(site, net)| site.postfix(net)).collect();
    wait_until("the three have met", Duration::from_secs(30), || {
        sites.iter().all(|site| placed(site) == 3)
    });
    let at = |n: usize, name: &str| deliver(&sites[n], &mtas[n], name);

    // The campaign is personalised and encoded in several ways.
    let verdict = at(0, SPAM);
    assert!(verdict.starts_with("unknown;") && verdict.contains("places=1;"), "{verdict}");
    let verdict = at(1, "05-spam-personalised.eml");
    assert!(verdict.starts_with("unknown;") && verdict.contains("places=2;"), "{verdict}");
    let _ = at(2, "06-spam-base64.eml");
    let verdict = at(0, "07-spam-qp.eml");
    assert!(verdict.starts_with("bulk;"), "nobody has spoken: {verdict}");
    assert!(verdict.contains("places=3; reports=0;"), "{verdict}");

    // One person at one other site.
    assert_eq!(sites[1].place.run(&["report", &mail(SPAM)]).code, 0);
    wait_until("the report is known", Duration::from_secs(10), || {
        sites[2].place.run(&["check", "--json", &mail(SPAM)]).json()["reports"] == 1
    });
    let verdict = at(2, "09-spam-homoglyph.eml");
    assert!(verdict.starts_with("spam;"), "after one report: {verdict}");
    assert!(verdict.contains("places=3; reports=1;"), "{verdict}");

    let verdict = at(2, HAM);
    assert!(verdict.starts_with("unknown;"), "an ordinary mail: {verdict}");
    drop(first);
}
