//! Trust lists: what one site exports another takes over; of a bad list nothing is taken, and nobody
//! but an administrator may.

use novacula_client::{SiteTrust, TrustLine};
use novacula_tests::harness::{Place, Ran};

/// Of a site that has no agent.
const FRIEND: [u8; 32] = [7; 32];
const EARNED: [u8; 32] = [9; 32];

fn hex(key: [u8; 32]) -> String {
    novacula_catalog::SiteId(key).to_string()
}

fn trust(place: &Place, site: &str) -> SiteTrust {
    serde_json::from_value(place.run(&["peers", "--trust", site, "--json"]).json()).unwrap()
}

fn import(place: &Place, lines: &[String]) -> Ran {
    let list = place.file("import.jsonl", lines.join("\n").as_bytes());
    place.run(&["trust", "import", &list, "--json"])
}

fn line(site: &str, vouched: bool, credit: f64) -> String {
    let line = TrustLine { site: site.into(), vouched, weight: None, credit };
    serde_json::to_string(&line).unwrap()
}

#[test]
fn what_one_site_exports_another_takes_over() {
    let (from, to) = (Place::new(), Place::new());
    let _from = from.serve();
    let (friend, earned) = (hex(FRIEND), hex(EARNED));
    {
        let agent = to.serve();
        // The first has it from a list too, and credit that it earned nowhere else.
        let taken = import(&from, &[line(&friend, true, 0.2), line(&earned, false, 0.1)]).json();
        assert_eq!((&taken["vouched"], &taken["credits"]), (&1.into(), &2.into()));
        assert_eq!(trust(&to, &friend).ground, "stranger");

        let list = from.run(&["trust", "export"]).stdout;
        let lines: Vec<TrustLine> =
            list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let own: Vec<&TrustLine> = lines.iter().filter(|line| line.site == friend).collect();
        assert!(own.len() == 1 && own[0].vouched && own[0].weight > Some(0.9), "{list}");
        assert!((own[0].credit - 0.2).abs() < 0.001, "{list}");

        let taken = import(&to, &[list.trim_end().to_owned()]).json();
        assert_eq!((&taken["vouched"], &taken["credits"]), (&1.into(), &2.into()));
        let again = import(&to, &[line(&friend, false, -1.0)]).json();
        assert_eq!((&again["vouched"], &again["credits"]), (&0.into(), &0.into()));
        let _ = agent.stop();
    }
    // All of it is on the disk.
    let _to = to.serve();
    let seen = trust(&to, &friend);
    assert_eq!((seen.weight, seen.ground.as_str()), (1.0, "vouched"), "{seen:?}");
    assert!((seen.credit - 0.2).abs() < 0.001, "neither lowered nor forgotten: {seen:?}");
}

#[test]
fn of_a_bad_list_nothing_is_taken() {
    let place = Place::new();
    let agent = place.serve();
    let friend = hex(FRIEND);
    let good = line(&friend, true, 0.0);
    for (bad, why) in [
        ("{".to_owned(), "EOF"),
        (format!("{{\"site\":\"{friend}\",\"vouched\":true}}"), "credit"),
        (line("abc", true, 0.0), "site"),
        (line(&friend, true, 0.4), "credit must be from -1 to 0.3"),
        (good.replace("null", "1.5"), "weight must be from 0 to 1"),
    ] {
        let ran = import(&place, &[good.clone(), String::new(), bad.clone()]);
        assert_eq!(ran.code, 2, "{bad}: {ran:?}");
        assert!(ran.stderr.contains("line 3: ") && ran.stderr.contains(why), "{bad}: {ran:?}");
        assert_eq!(trust(&place, &friend).ground, "stranger", "{bad}");
    }
    // Who speaks in another's name is no administrator by that.
    let put = format!(
        "PUT /v1/trust HTTP/1.1\r\nhost: x\r\nconnection: close\r\nnovacula-reporter: ann\r\n\
         content-length: {}\r\n\r\n{good}",
        good.len()
    );
    let answer = agent.raw(put.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_eq!(trust(&place, &friend).ground, "stranger");
}

/// A list was once cut to 64 without a word: who was vouched for last counted at home only.
#[test]
fn the_sixty_fifth_vouch_is_refused_and_nothing_of_a_list_that_does_not_fit() {
    let place = Place::new();
    let _agent = place.serve();
    let site = |number: u8| hex([number; 32]);
    let lines = |numbers: std::ops::RangeInclusive<u8>| -> Vec<String> {
        numbers.map(|number| line(&site(number), true, 0.0)).collect()
    };
    let ran = import(&place, &lines(1..=65));
    assert!(ran.code == 2 && ran.stderr.contains("room for 64"), "{ran:?}");
    assert_eq!(trust(&place, &site(1)).ground, "stranger", "nothing of it was taken");
    assert_eq!(import(&place, &lines(1..=64)).code, 0);
    let ran = place.run(&["vouch", &site(65)]);
    assert!(ran.code == 2 && ran.stderr.contains("holds 64 and 0 open invitations"), "{ran:?}");
    assert_eq!(trust(&place, &site(65)).ground, "stranger");
    assert_eq!(place.run(&["vouch", &site(64)]).code, 0, "it is on the list already");
    assert_eq!(place.run(&["vouch", &site(1), "--remove"]).code, 0);
    assert_eq!(place.run(&["vouch", &site(65)]).code, 0);
}
