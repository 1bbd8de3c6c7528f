//! What is seen and what is said: looking changes nothing, a delivery adds one sighting, and of
//! any number of clicks one opinion remains.

use novacula_tests::golden;
use novacula_tests::harness::Place;

fn mail(name: &str) -> String {
    golden("mails").join(name).display().to_string()
}

#[test]
fn a_thousand_looks_change_nothing() {
    let place = Place::new();
    let mut mailbox = Vec::new();
    let boxed = std::fs::read(golden("list.mbox")).unwrap();
    for _ in 0..200 {
        mailbox.extend_from_slice(&boxed);
        mailbox.push(b'\n');
    }
    let mailbox = place.file("old.mbox", &mailbox);
    let _agent = place.serve();
    let looked = place.run(&["check", "--json", &mailbox]);
    assert_eq!(looked.json_lines().len(), 1000);
    assert_eq!(place.held(), (0, 0));
    assert_eq!(place.run(&["explain", &mailbox]).code, 0);
    assert_eq!(place.held(), (0, 0));
}

#[test]
fn a_delivery_is_one_sighting_however_many_copies_come() {
    let place = Place::new();
    let _agent = place.serve();
    let first = place.run(&["check", "--seen", "--json", &mail("04-spam-plain.eml")]).json();
    assert_eq!((&first["spread"], &first["verdict"]), (&1.into(), &"unknown".into()));
    assert_eq!(place.held(), (1, 0));
    // The same mail to others, re-encoded, with headers that delivery added.
    for copy in [
        "05-spam-personalised.eml",
        "06-spam-base64.eml",
        "24-spam-crlf.eml",
        "26-spam-added-headers.eml",
    ] {
        let answer = place.run(&["check", "--seen", "--json", &mail(copy)]).json();
        assert_eq!(answer["spread"], 1, "{copy}");
    }
    assert_eq!(place.held(), (1, 0));
    assert_eq!(place.run(&["check", "--seen", &mail("01-ham-personal.eml")]).code, 1);
    assert_eq!(place.held(), (2, 0));
}

#[test]
fn of_any_number_of_clicks_one_opinion_remains() {
    let place = Place::new();
    let agent = place.serve();
    let spam = mail("04-spam-plain.eml");
    let check = |expected: &str, opinions: u64| {
        let answer = place.run(&["check", "--json", &spam]).json();
        assert_eq!(answer["verdict"], expected);
        assert_eq!(place.held().1, opinions);
        answer
    };
    for act in ["report", "revoke", "report"] {
        assert_eq!(place.run(&[act, &spam]).code, 0);
    }
    let answer = check("spam", 1);
    assert_eq!((&answer["reports"], &answer["revokes"]), (&1.into(), &0.into()));
    // The other forms of the mail are the same mail.
    assert_eq!(place.run(&["revoke", &mail("07-spam-qp.eml")]).code, 0);
    check("allowed", 1);
    assert_eq!(place.run(&["withdraw", &spam]).code, 0);
    let answer = check("unknown", 1);
    assert_eq!(
        (&answer["reports"], &answer["revokes"], &answer["spread"]),
        (&0.into(), &0.into(), &0.into())
    );
    assert_eq!(place.run(&["withdraw", &spam]).code, 3, "there is nothing left to take back");
    // And so it is after a restart.
    let _ = agent.stop();
    let _agent = place.serve();
    check("unknown", 1);
}

#[test]
fn too_little_text_is_never_reported() {
    let place = Place::new();
    let _agent = place.serve();
    for name in ["10-too-short.eml", "11-empty-body.eml", "29-startup-probe.eml"] {
        let said = place.run(&["report", &mail(name)]);
        assert_eq!(said.code, 3, "{name}: {said:?}");
        assert!(said.stdout.contains("nothing was stored"), "{said:?}");
        assert_eq!(place.run(&["check", "--seen", &mail(name)]).code, 3, "{name}");
    }
    assert_eq!(place.held(), (0, 0));
}

#[test]
fn old_mail_is_reported_at_home_only_and_says_so() {
    let place = Place::new();
    let _agent = place.serve();
    let said = place.run(&["report", "--json", &mail("26-spam-added-headers.eml")]).json();
    assert_eq!(said["home_only"], true);
    assert!(said["note"].as_str().unwrap().contains("older than 72 h"), "{said}");
    assert_eq!(place.run(&["check", &mail("04-spam-plain.eml")]).code, 0, "at home it acts");
}

#[test]
fn allowed_senders_pass_and_leave_no_trace() {
    let place = Place::new();
    let _agent = place.serve();
    let news = mail("03-newsletter-html.eml");
    let allowed = place.run(&["explain", "--json", &news]).json();
    assert_ne!(allowed["would_send"], "");
    assert_eq!(place.run(&["report", &news]).code, 0);
    assert_eq!(place.run(&["check", &news]).code, 0);
    let from = std::fs::read_to_string(&news).unwrap();
    let from = from.lines().find(|line| line.starts_with("From:")).unwrap();
    let address = from.rsplit(['<', ' ']).next().unwrap().trim_end_matches('>');
    assert_eq!(place.run(&["allow", address]).code, 0);
    let answer = place.run(&["check", "--seen", "--json", &news]).json();
    assert_eq!(answer["verdict"], "allowed", "the administrator's word beats a report");
    assert_eq!(place.run(&["explain", "--json", &news]).json()["would_send"], "");
    assert_eq!(place.held(), (1, 1), "no sighting of allowed mail");
    assert_eq!(place.run(&["allow", "--remove", address]).stdout, "nobody is allowed yet\n");
    assert_eq!(place.run(&["check", &news]).code, 0);
}

#[test]
fn what_explain_foretells_is_what_is_stored() {
    let place = Place::new();
    let agent = place.serve();
    let spam = mail("04-spam-plain.eml");
    let foretold = place.run(&["explain", "--json", &spam]).json();
    assert_eq!(place.run(&["check", "--seen", &spam]).code, 1);
    let _ = agent.stop();
    let database = rusqlite::Connection::open(place.data_dir().join("catalog.db")).unwrap();
    let signed: Vec<u8> =
        database.query_row("SELECT signed FROM statement", [], |row| row.get(0)).unwrap();
    let hex: String =
        signed[..signed.len() - 64].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(foretold["would_send"], hex);
    assert!(novacula_catalog::Statement::decode_verified(&signed).is_ok());
}
