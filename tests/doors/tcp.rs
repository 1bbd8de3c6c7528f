//! The TCP door: who is let in, whom a token speaks for, and that one act is one report whichever
//! door it came through.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use novacula_tests::harness::{Daemon as Agent, Place, Ran};

use crate::rig::{mail, wait_for};

const SPAM: &str = "04-spam-plain.eml";

/// An agent with the door open.
struct Door<'a> {
    place: &'a Place,
    port: u16,
    _agent: Agent<'a>,
}

impl<'a> Door<'a> {
    fn open(place: &'a Place, more: &str) -> Self {
        let config = format!("listen_tcp = \"127.0.0.1:0\"\nuser_domain = \"example.org\"\n{more}");
        let config = place.file("novacula.toml", config.as_bytes());
        let agent = place.serve_with(&["--config", &config]);
        let port = wait_for("the TCP door", || {
            let log = place.log();
            let line = log.lines().rfind(|line| line.contains("mail clients may connect"))?;
            line.rsplit(':').next()?.trim().parse().ok()
        });
        Self { place, port, _agent: agent }
    }

    /// Sends a request and gives status and body.
    fn ask(&self, method: &str, path: &str, fields: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let host =
            if fields.contains("host:") { String::new() } else { "host: 127.0.0.1\r\n".into() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{host}connection: close\r\ncontent-length: {}\r\n{fields}\r\n",
            body.len()
        );
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, body.to_owned())
    }

    /// Pairs a client with a user and gives its Authorization field.
    fn pair(&self, user: &str) -> String {
        let code = self.place.run(&["pair", user]).stdout.trim().to_owned();
        let body = format!("{{\"code\": \"{code}\", \"label\": \"a mail client\"}}");
        let (status, answer) = self.ask("POST", "/v1/token", "", body.as_bytes());
        assert_eq!(status, 200, "{answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        format!("authorization: Bearer {}\r\n", answer["token"].as_str().unwrap())
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.place.run_with(args, &mail(SPAM))
    }
}

#[test]
fn nobody_comes_in_without_a_token_and_no_web_page_at_all() {
    let place = Place::new();
    let door = Door::open(&place, "");
    let token = door.pair("ann@example.org");
    let check = |path: &str, fields: &str, status: u16, part: &str| {
        let answer = door.ask("POST", path, fields, &mail(SPAM));
        assert!(answer.0 == status && answer.1.contains(part), "{path} {fields}: {answer:?}");
    };
    check("/v1/report", "", 401, "novacula pair");
    check("/v1/report", "authorization: Bearer 00\r\n", 401, "pair this mail client again");
    check("/v1/check", &token, 200, "unknown");
    // A page that the user happens to open, and one whose name was made to lead here.
    check("/v1/report", &format!("{token}origin: https://evil.example\r\n"), 403, "web pages");
    check("/v1/report", &format!("{token}host: evil.example\r\n"), 421, "host name");
    let (status, _) = door.ask("OPTIONS", "/v1/report", "origin: https://evil.example\r\n", b"");
    assert_eq!(status, 403);
    check("/v1/check", &format!("{token}origin: moz-extension://5b1f\r\n"), 200, "unknown");
    // It speaks for ann and may nothing else.
    for (field, status) in [
        ("novacula-reporter: bob", 403),
        ("novacula-source: trap", 403),
        ("novacula-delivery: now", 403),
    ] {
        check("/v1/report", &format!("{token}{field}\r\n"), status, "believed_users");
    }
    check("/v1/allow", &token, 404, "no such path");
    assert_eq!(door.ask("GET", "/metrics", &token, b"").0, 404);
    assert_eq!(place.held(), (0, 0));
    // The bounds are those of the Unix socket.
    let huge = format!("{token}transfer-encoding: chunked\r\n");
    let mut stream = TcpStream::connect(("127.0.0.1", door.port)).unwrap();
    let head = format!(
        "POST /v1/check HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n{huge}\r\n"
    );
    stream.write_all(head.replace("transfer-encoding: chunked\r\n", "").as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[test]
fn one_person_is_one_reporter_at_every_door() {
    let place = Place::new();
    let door = Door::open(&place, "");
    let token = door.pair("Ann@Example.org");
    let (status, answer) = door.ask("POST", "/v1/report", &token, &mail(SPAM));
    assert!(status == 200 && answer.contains("durable"), "{answer}");
    // Dovecot's script and the command line report the same act.
    for user in ["ann", "ann@example.org", "ANN@EXAMPLE.ORG"] {
        assert_eq!(door.run(&["report", "--as", user, "-"]).code, 0);
    }
    let reports = door.run(&["check", "--json", "-"]).json()["reports"].clone();
    assert_eq!((reports, place.held()), (1.into(), (1, 1)));
    let (_, list) = door.ask("GET", "/v1/opinions", &token, b"");
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    assert_eq!((list.len(), &list[0]["act"]), (1, &"report".into()));
    // One undo at any door takes it back; what others said stays.
    assert_eq!(door.run(&["report", "--as", "bob@elsewhere.example", "-"]).code, 0);
    assert_eq!(door.run(&["withdraw", "--as", "ann", "-"]).code, 0);
    assert_eq!(
        door.ask("POST", "/v1/withdraw", &token, &mail(SPAM)).1.matches("nothing-to").count(),
        1
    );
    assert_eq!(door.run(&["check", "-"]).code, 0, "bob still says spam");
}

#[test]
fn ones_own_words_are_listed() {
    let place = Place::new();
    let _agent = place.serve();
    let list = |args: &[&str]| place.run(&[&["report", "--list"], args].concat());
    assert_eq!(list(&[]).stdout, "you have said nothing of any mail\n");
    for (act, name) in [("report", SPAM), ("revoke", "01-ham-personal.eml")] {
        assert_eq!(place.run_with(&[act, "-"], &mail(name)).code, 0);
    }
    assert_eq!(
        place.run_with(&["report", "--as", "bob", "-"], &mail("30-spam-crypto.eml")).code,
        0
    );
    let own = list(&[]).stdout;
    assert!(
        own.lines().count() == 2 && own.contains("report ") && own.contains("revoke "),
        "{own}"
    );
    let of_bob = list(&["--as", "bob", "--json"]).json();
    let checked = place.run_with(&["check", "--json", "-"], &mail("30-spam-crypto.eml")).json();
    assert_eq!((&of_bob["act"], &of_bob["id"]), (&"report".into(), &checked["id"]));
    // After a restart it is all still known.
    let _ = _agent.stop();
    let _agent = place.serve();
    assert_eq!(list(&[]).stdout, own);
}

#[test]
fn clients_are_paired_listed_and_removed() {
    let place = Place::new();
    let door = Door::open(&place, "");
    let wrong = door.ask("POST", "/v1/token", "", b"{\"code\": \"ann:AAAA-AAAA\"}");
    assert!(wrong.0 == 403 && wrong.1.contains("wrong, used or too old"), "{wrong:?}");
    let broken = door.ask("POST", "/v1/token", "", b"code=ann");
    assert_eq!(broken.0, 400, "{broken:?}");
    let token = door.pair("ann");
    let listed = place.run(&["pair", "--list"]).stdout;
    assert!(listed.contains("  ann  ") && listed.contains("a mail client"), "{listed}");
    let secret = token.trim().rsplit(' ').next().unwrap();
    assert!(!listed.contains(secret));
    let Door { place: _, port: _, _agent } = door;
    let _ = _agent.stop();
    let on_disk = std::fs::read(place.data_dir().join("catalog.db")).unwrap();
    assert!(!on_disk.windows(secret.len()).any(|part| part == secret.as_bytes()), "only its hash");
    assert!(!place.log().contains(secret));
    // It is known after a restart, and not once it was removed.
    let door = Door::open(&place, "");
    assert_eq!(door.ask("POST", "/v1/check", &token, &mail(SPAM)).0, 200);
    let id = listed.split_whitespace().next().unwrap();
    assert_eq!(place.run(&["pair", "--remove", id]).stdout, "no mail client is paired\n");
    assert_eq!(place.run(&["pair", "--remove", id]).code, 2);
    assert_eq!(door.ask("POST", "/v1/check", &token, &mail(SPAM)).0, 401);
}

#[test]
fn nobody_floods_the_site_with_opinions() {
    let place = Place::new();
    let door = Door::open(&place, "opinions_per_hour_max = 3\n");
    let token = door.pair("ann");
    let mut codes: Vec<u16> =
        (0..5).map(|_| door.ask("POST", "/v1/report", &token, &mail(SPAM)).0).collect();
    codes.dedup();
    // The hour may turn meanwhile.
    assert!(codes == [200, 429] || codes == [200, 429, 200] || codes == [200], "{codes:?}");
    assert_eq!(door.run(&["report", "--as", "bob", "-"]).code, 0, "others go on");
}

#[test]
fn only_loopback_is_listened_on() {
    let place = Place::new();
    let config = place.file("novacula.toml", b"listen_tcp = \"0.0.0.0:8825\"\n");
    let ran = place.run(&["serve", "--config", &config]);
    assert!(ran.code == 2 && ran.stderr.contains("must be a loopback address"), "{ran:?}");
}
