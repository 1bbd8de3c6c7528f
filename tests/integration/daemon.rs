//! The daemon: start, stop, reload, and what must never be lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use novacula_tests::harness::{Place, Ran, Signal};
use novacula_tests::{golden, is_full};

fn spam() -> String {
    golden("mails/04-spam-plain.eml").display().to_string()
}

#[test]
fn it_works_without_any_configuration() {
    let place = Place::new();
    let agent = place.serve();
    let mode = fs::metadata(place.socket()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o660);
    let identity = fs::metadata(place.data_dir().join("identity")).unwrap().permissions().mode();
    assert_eq!(identity & 0o777, 0o600);
    assert_eq!(fs::metadata(place.data_dir()).unwrap().permissions().mode() & 0o777, 0o700);
    let site = place.run(&["identity"]).stdout;
    assert!(agent.stop().as_secs() < 5);
    assert!(!place.socket().exists(), "the socket goes with the agent");
    let _again = place.serve();
    assert_eq!(place.run(&["identity"]).stdout, site, "the site stays the same");
}

#[test]
fn the_socket_of_a_dead_agent_is_replaced_and_a_living_one_respected() {
    let place = Place::new();
    place.serve().kill();
    assert!(place.socket().exists(), "a crash leaves it");
    let agent = place.serve();
    let second = place.run(&["serve"]);
    assert_eq!(second.code, 2);
    assert!(second.stderr.contains("another agent is using it"), "{}", second.stderr);
    let elsewhere = place.path().join("other").display().to_string();
    let second = place.run(&[
        "serve",
        "--data-dir",
        &elsewhere,
        "--socket",
        &place.socket().display().to_string(),
    ]);
    assert_eq!(second.code, 2);
    assert!(second.stderr.contains("another process is listening"), "{}", second.stderr);
    assert_eq!(place.run(&["status"]).code, 0, "the first is unharmed");
    drop(agent);
    fs::remove_file(place.socket()).unwrap();
    fs::write(place.socket(), "precious").unwrap();
    let refused = place.run(&["serve"]);
    assert!(refused.stderr.contains("no socket is in its place"), "{}", refused.stderr);
    assert_eq!(fs::read(place.socket()).unwrap(), b"precious");
}

#[test]
fn a_wrong_configuration_is_named_and_a_reload_keeps_the_old_one() {
    let place = Place::new();
    let config = place.file("novacula.toml", b"log = \"info\"\nthreshhold_nats = 5.0\n");
    let refused = place.run(&["serve", "--config", &config]);
    assert_eq!(refused.code, 2);
    for part in [config.as_str(), "line 2", "threshhold_nats"] {
        assert!(refused.stderr.contains(part), "{part:?} is not in {}", refused.stderr);
    }
    let _ = place.file("novacula.toml", b"log = \"info\"\n");
    let agent = place.serve_with(&["--config", &config]);
    let wait_for = |text: &str| {
        for _ in 0..400 {
            if place.log().contains(text) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{text:?} never came: {}", place.log());
    };
    let _ = place.file("novacula.toml", b"threshold_nats = \"high\"\n");
    agent.signal(Signal::HUP);
    wait_for("the configuration stays as it was");
    let explained =
        |place: &Place| place.run(&["explain", "--json", &spam()]).json()["threshold_nats"].clone();
    assert_eq!(explained(&place), 4.25);
    let _ = place.file("novacula.toml", b"threshold_nats = 6.5\n");
    agent.signal(Signal::HUP);
    wait_for("configuration read again");
    assert_eq!(explained(&place), 6.5);
}

#[test]
fn without_an_agent_every_question_says_so() {
    let place = Place::new();
    for command in [
        &["check", &spam()][..],
        &["report", &spam()],
        &["status"],
        &["allow"],
        &["explain", &spam()],
    ] {
        let Ran { code, stderr, .. } = place.run(command);
        assert_eq!(code, 2, "{command:?}");
        assert!(
            stderr.contains("no agent answers") && stderr.contains("novacula serve"),
            "{stderr}"
        );
    }
}

/// How long a report takes here and now from the start of its process, in microseconds.
fn report_us(place: &Place) -> u64 {
    let _agent = place.serve();
    let began = std::time::Instant::now();
    assert_eq!(place.run(&["report", &spam()]).code, 0);
    u64::try_from(began.elapsed().as_micros()).unwrap()
}

/// The agent is killed at a random moment while a report is on its way. What was acknowledged
/// must be there after the restart, once; what was not may be there, but not twice.
#[test]
fn a_report_survives_a_kill_at_any_moment() {
    let place = Place::new();
    let rounds: u64 = if is_full() { 100 } else { 25 };
    let mut acknowledged = Vec::new();
    let window_us = 2 * report_us(&place);
    for round in 0..rounds {
        let agent = place.serve();
        let body: String =
            (0..40).map(|word| format!("word{} ", letters(round * 41 + word))).collect();
        let mail = place.file(&format!("{round}.eml"), format!("\n{body}\n").as_bytes());
        let quiet = |args: &[&str]| {
            let null = std::process::Stdio::null;
            place.command(args).stdout(null()).stderr(null()).spawn().unwrap()
        };
        let mut sightings = quiet(&["check", "--seen", &golden("mails").display().to_string()]);
        let mut report = quiet(&["report", &mail]);
        let micros = novacula_catalog::Network::named(&format!("kill {round}")).0 % window_us;
        std::thread::sleep(std::time::Duration::from_micros(micros));
        agent.kill();
        if report.wait().unwrap().success() {
            acknowledged.push(round);
        }
        let _ = sightings.wait();
    }
    let acknowledged_count = acknowledged.len() as u64;
    assert!(
        0 < acknowledged_count && acknowledged_count < rounds,
        "{acknowledged_count} of {rounds}: the moments are not random"
    );
    let _agent = place.serve();
    let opinions = place.held().1;
    assert!((acknowledged_count..=rounds).contains(&opinions), "{opinions} opinions");
    for round in 0..rounds {
        let mail = place.path().join(format!("{round}.eml")).display().to_string();
        let answer = place.run(&["check", "--json", &mail]).json();
        let reports = answer["reports"].as_u64().unwrap();
        assert!(reports <= 1, "report {round} was doubled");
        assert!(reports == 1 || !acknowledged.contains(&round), "report {round} was lost");
    }
}

/// A word that no other number gives.
fn letters(number: u64) -> String {
    let digits = number.to_string();
    digits.bytes().map(|digit| char::from(b'a' + (digit - b'0'))).collect()
}

#[test]
fn a_damaged_database_is_set_aside_and_a_newer_one_left_alone() {
    type Damage<'a> = (&'a str, &'a dyn Fn(&std::path::Path));
    let damage: [Damage<'_>; 3] = [
        ("emptied", &|path| fs::write(path, b"").unwrap()),
        ("overwritten", &|path| fs::write(path, vec![0x5a; 8192]).unwrap()),
        ("truncated", &|path| {
            let whole = fs::read(path).unwrap();
            fs::write(path, &whole[..whole.len() / 2 + 100]).unwrap();
        }),
    ];
    for (what, damage) in damage {
        let place = Place::new();
        let agent = place.serve();
        assert_eq!(place.run(&["report", &golden("mails").display().to_string()]).code, 3);
        let _ = agent.stop();
        let database = place.data_dir().join("catalog.db");
        damage(&database);
        let _agent = place.serve();
        assert!(place.log().contains("set aside"), "{what}: {}", place.log());
        let aside = fs::read_dir(place.data_dir())
            .unwrap()
            .any(|entry| entry.unwrap().file_name().to_string_lossy().contains("damaged-"));
        assert!(aside, "{what}");
        assert_eq!(place.run(&["report", &spam()]).code, 0, "{what}: it works again");
    }
    let place = Place::new();
    let _ = place.serve().stop();
    let database = place.data_dir().join("catalog.db");
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = fs::read(&database).unwrap();
    let refused = place.run(&["serve"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("a newer release"), "{}", refused.stderr);
    assert_eq!(fs::read(&database).unwrap(), before, "left untouched");
}

#[test]
fn an_identity_that_others_may_read_is_refused() {
    let place = Place::new();
    let _ = place.serve().stop();
    let identity = place.data_dir().join("identity");
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = place.run(&["serve"]);
    assert!(refused.stderr.contains("chmod 600"), "{}", refused.stderr);
}
