//! The command line's contract: inputs, exit codes, JSON.

use novacula_tests::golden;
use novacula_tests::harness::Place;

fn path(name: &str) -> String {
    golden(name).display().to_string()
}

#[test]
fn exit_codes_of_check() {
    let place = Place::new();
    let _agent = place.serve();
    let (spam, ham, short) = (
        path("mails/04-spam-plain.eml"),
        path("mails/01-ham-personal.eml"),
        path("mails/10-too-short.eml"),
    );
    assert_eq!(place.run(&["report", &spam]).code, 0);
    let check = |mails: &[&str], code: i32| {
        let ran = place.run(&[&["check"], mails].concat());
        assert_eq!(ran.code, code, "{mails:?}: {ran:?}");
    };
    check(&[&spam], 0);
    check(&[&ham], 1);
    check(&[&short], 3);
    check(&[&ham, &short], 3);
    check(&[&ham, &short, &spam], 0);
    check(&[&spam, "/nonexistent/mail"], 2);
    check(&[], 2);
}

#[test]
fn mails_come_from_files_folders_mailboxes_and_standard_input() {
    let place = Place::new();
    let _agent = place.serve();
    let count = |name: &str| place.run(&["check", "--json", &path(name)]).json_lines().len();
    assert_eq!(count("list.mbox"), 5);
    assert_eq!(count("Maildir"), 3);
    assert!(count("mails") >= 30);
    let mail = std::fs::read(path("mails/04-spam-plain.eml")).unwrap();
    let piped = place.run_with(&["check", "--json", "-"], &mail).json();
    assert_eq!((&piped["path"], &piped["verdict"]), (&"-".into(), &"unknown".into()));
    for field in
        ["confidence", "spread", "reports", "revokes", "first_seen", "last_seen", "evidence"]
    {
        assert!(piped.get(field).is_some(), "{field}");
    }
}

#[test]
fn what_is_no_mail_is_named() {
    let place = Place::new();
    let _agent = place.serve();
    std::fs::create_dir(place.path().join("empty")).unwrap();
    let check = |args: &[&str], part: &str| {
        let ran = place.run(args);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(part), "{part:?} is not in {}", ran.stderr);
    };
    check(&["check", "empty"], "there is no mail in this folder");
    check(&["check", "nothing.eml"], "nothing.eml");
    check(&["check", "-"], "standard input: it is empty");
    check(&["allow", "nonsense"], "nonsense");
    check(&["replay", "--index", "nothing.tsv"], "nothing.tsv");
    check(&["replay", "--index", &path("outbreak/index.tsv"), "--seeds", "9-1"], "9-1");
    check(&["replay", "--index", &path("outbreak/index.tsv"), "--root", "empty"], "--root");
    let long = place.file("long.eml", &vec![b'x'; (25 << 20) + 2]);
    check(&["check", &long], "longer than 25 MiB");
    // Anything else is a mail, and gets a verdict.
    let noise = place.file("noise", &[0u8, 255, 10, 13, 27, 7].repeat(999));
    assert_eq!(place.run(&["check", &noise]).code, 3);
}

#[test]
fn names_from_strangers_do_not_reach_the_terminal_raw() {
    let place = Place::new();
    let _agent = place.serve();
    let ran = place.run(&["check", "evil\u{1b}[31m.eml"]);
    assert!(!ran.stderr.contains('\u{1b}') && ran.code == 2, "{ran:?}");
    let mail = place.file(
        "esc.eml",
        format!("Subject: x\n\n\u{1b}]0;owned\u{7} {}", "some words to read ".repeat(9)).as_bytes(),
    );
    assert!(!place.run(&["explain", &mail]).stdout.contains('\u{1b}'));
}

#[test]
fn manual_pages_and_completions_are_made() {
    let place = Place::new();
    assert_eq!(place.run(&["man", "man"]).code, 0);
    let page = std::fs::read_to_string(place.path().join("man/novacula-check.1")).unwrap();
    assert!(page.contains("seen"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.run(&["completions", shell]).stdout.contains("withdraw"), "{shell}");
    }
}

#[test]
fn the_replay_of_our_own_outbreak() {
    let place = Place::new();
    let index = path("outbreak/index.tsv");
    let report = place.run(&["replay", "--json", "--index", &index, "--seeds", "1-20"]).json();
    let number = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("{name}"));
    assert_eq!(number("ham_called_spam"), 0.0);
    assert!(number("efficiency") > 0.9, "{}", number("efficiency"));
    for name in [
        "recall",
        "oracle_recall",
        "messages_per_second",
        "bytes_per_message",
        "recall_min",
        "recall_max",
    ] {
        assert!(number(name) >= 0.0);
    }
    for window in ["2h", "6h", "24h", "72h"] {
        let found = report["spread_found"][window].as_f64().unwrap();
        let oracle = report["oracle_spread"][window].as_f64().unwrap();
        assert!(found > 0.9 * oracle, "{window}: {found} of {oracle}");
    }
    let groups = report["groups"].as_array().unwrap();
    let mails: u64 = groups.iter().map(|group| group["n"].as_u64().unwrap()).sum();
    assert_eq!(mails, 46);
    for name in [
        "spam",
        "bulk",
        "contested",
        "unknown",
        "allowed",
        "no_evidence",
        "oracle_spam",
        "oracle_bulk",
    ] {
        assert!(groups[0].get(name).is_some(), "{name}");
    }
    assert!(report["curve"].as_array().unwrap().len() > 10);
    let again = place.run(&["replay", "--json", "--index", &index, "--seeds", "1-20"]).json();
    assert_eq!(report["groups"], again["groups"], "every draw comes from the seed");
    let table = place.run(&["replay", "--index", &index, "--seeds", "1"]).stdout;
    assert!(table.contains("efficiency"), "{table}");
    // Sites that nobody trusts are not heard.
    let trust = place.file("trust.tsv", b"a.example\t0\nb.example\t0\nc.example\t0\n");
    let alone = place
        .run(&["replay", "--json", "--index", &index, "--trust", &trust, "--seeds", "1-20"])
        .json();
    assert!(alone["recall"].as_f64().unwrap() < number("recall"));
}
