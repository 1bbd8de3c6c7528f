//! Roundcube with its plugin markasjunk, on Dovecot: an HTTP client logs in and presses Junk and
//! Not Junk as the page's script does. Roundcube is Debian's; our file lies where the README puts
//! it, seen by this test alone.

use std::process::Command;

use crate::rig::{Daemon, both, contrib, mail, run_with, text, wait_for};

use super::dovecot;

const SPAM: &str = "04-spam-plain.eml";

/// Logs in as a user and presses a button at the first mail of a folder, then moves it where the
/// page's script would: `PLACE USER BUTTON FOLDER`. Prints what Roundcube answered.
const CLIENT: &str = r#"
import http.cookiejar, json, re, sys, urllib.parse, urllib.request
user, button, folder = sys.argv[1:]
web = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
def ask(query, fields=None, remote=None):
    request = urllib.request.Request("http://127.0.0.1:8081/?" + query)
    if remote:
        request.add_header("X-Roundcube-Request", remote)
    data = urllib.parse.urlencode(fields).encode() if fields else None
    return web.open(request, data, 20).read().decode()
def token(page):
    return re.search(r'"request_token":"([^"]+)"', page)[1]
login = {"_token": token(ask("_task=login")), "_task": "login", "_action": "login", "_timezone": "UTC",
         "_url": "", "_user": user, "_pass": "secret"}
page = ask("_task=login", login)
if button == "login":
    sys.exit(0 if '"task":"mail"' in page else page)
page = ask("_task=mail&_mbox=" + folder)
assert "plugin.markasjunk." + button in page, "there is no such button"
mark = token(page)
listed = ask(f"_task=mail&_action=list&_mbox={folder}&_remote=1", None, mark)
uid = re.search(r"add_message_row\((\d+)", json.loads(listed)["exec"])[1]
fields = {"_uid": uid, "_mbox": folder, "_remote": "1"}
answer = ask("_task=mail&_action=plugin.markasjunk." + button, fields, mark)
print(answer)
target = re.search(r'markasjunk_move\(\\?"(\w+)', answer)[1]
fields["_target_mbox"] = target
ask("_task=mail&_action=move", fields, mark)
"#;

/// Settings that Debian's package has in /etc, for a database and folders of the test's own.
const SETTINGS: &str = r"<?php
$config['db_dsnw'] = 'sqlite:///@DIR@/db?mode=0600';
$config['imap_host'] = '127.0.0.1:10143';
$config['log_dir'] = '@DIR@';
$config['temp_dir'] = '@DIR@';
$config['des_key'] = 'no secret at all, 24 by.';
$config['junk_mbox'] = 'Junk';
$config['plugins'] = ['markasjunk'];
";

fn run(command: &mut Command) {
    let output = run_with(command, b"");
    assert!(output.status.success(), "{command:?}: {}", both(&output));
}

/// Roundcube for the web server's user, in the rig's network.
fn roundcube(rig: &dovecot::Rig) -> Daemon {
    let dir = rig.dir("roundcube");
    run(Command::new("chown").arg("www-data").arg(&dir));
    let settings = SETTINGS.replace("@DIR@", &dir.display().to_string());
    let settings = rig.place.file("roundcube.inc.php", settings.as_bytes());
    let ours = contrib("roundcube").join("config.inc.php").display().to_string();
    for (from, to) in [
        (settings, "/etc/roundcube/config.inc.php"),
        (ours, "/etc/roundcube/plugins/markasjunk/config.inc.php"),
    ] {
        // By way of the place: the build's folder need not be open to the web server.
        let copy = dir.join(to.replace('/', "-")).display().to_string();
        std::fs::copy(from, &copy).unwrap();
        run(rig.net.command("mount").args(["--bind", &copy, to]));
    }
    let mut php = rig.net.command("setpriv");
    php.args(["--reuid=www-data", "--regid=nogroup", "--clear-groups"])
        .args(["php", "-S", "127.0.0.1:8081", "-t", "/var/lib/roundcube/public_html"])
        .env("PATH", format!("{}:/usr/bin:/bin", rig.place.path().display()))
        .env("NOVACULA_SOCKET", rig.place.socket());
    let daemon = Daemon::start(&mut php, &dir.join("php.log"));
    let mut last = String::new();
    let up = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for("roundcube", || {
            let output = client(rig, &["ann", "login", ""]);
            last = both(&output);
            output.status.success().then_some(())
        });
    }));
    assert!(up.is_ok(), "{last}\n{}", log(rig));
    daemon
}

fn client(rig: &dovecot::Rig, args: &[&str]) -> std::process::Output {
    run_with(rig.net.command("python3").args(["-c", CLIENT]).args(args), b"")
}

fn log(rig: &dovecot::Rig) -> String {
    let read = |name: &str| {
        std::fs::read_to_string(rig.place.path().join("roundcube").join(name)).unwrap_or_default()
    };
    format!("{}\n{}\n{}", read("php.log"), read("errors.log"), rig.log())
}

/// Junk and Not Junk, pressed by ann; what the agent then says, and in whose name it was told.
fn pressed(rig: &dovecot::Rig) {
    rig.ask("ann", &["append"], &mail(SPAM));
    let _roundcube = roundcube(rig);
    let press = |button: &str, folder: &str| {
        let output = client(rig, &["ann", button, folder]);
        assert!(output.status.success(), "{}\n{}", both(&output), log(rig));
        text(&output)
    };
    let said = || {
        let lines = rig.place.run(&["report", "--list", "--as", "ann", "--json"]).json_lines();
        lines.iter().map(|one| one["act"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(rig.verdict(), ("unknown".into(), 0));
    let answer = press("junk", "INBOX");
    assert!(answer.contains("confirmation"), "{answer}");
    assert_eq!(rig.verdict(), ("spam".into(), 1), "{answer}\n{}", log(rig));
    assert_eq!(said(), ["report"]);
    press("not_junk", "Junk");
    assert_eq!(rig.verdict(), ("allowed".into(), 0), "{}", log(rig));
    assert_eq!(said(), ["revoke"]);
    let kept = rig.ask("ann", &["fetch", "INBOX"], b"");
    assert!(text(&kept).contains("blue and white tablets"), "it is back in INBOX");
}

/// An agent that both the web server and Dovecot may speak through.
fn agent(rig: &dovecot::Rig) -> novacula_tests::harness::Daemon<'_> {
    let config = "socket_group = \"nogroup\"\nbelieved_users = [\"www-data\", \"nobody\"]\n";
    let config = rig.place.file("novacula.toml", config.as_bytes());
    rig.place.serve_with(&["--config", &config])
}

#[test]
fn its_buttons_report_and_revoke() {
    let rig = dovecot::Rig::new();
    let _agent = agent(&rig);
    let _dovecot = rig.dovecot_with("");
    pressed(&rig);
}

#[test]
fn with_dovecots_recipe_it_is_still_one_report() {
    let rig = dovecot::Rig::new();
    let _agent = agent(&rig);
    let _dovecot = rig.dovecot();
    pressed(&rig);
    let log = rig.place.log();
    assert_eq!(log.matches("reporter=ann").count(), 4, "each act came by both ways: {log}");
}
