//! The small recipes in contrib: each is run as its README says, by the program it is for. Evolution
//! is not driven; what it would run is, as its README has it.

use std::path::PathBuf;
use std::process::Command;

use novacula_tests::harness::{Daemon as Agent, Place, novacula};

use crate::rig::{both, contrib, mail, open_to_all, run_with, text, wait_for};

const SPAM: &str = "04-spam-plain.eml";
const HAM: &str = "01-ham-personal.eml";

/// A user's home with `novacula` on his path.
struct Home {
    place: Place,
}

impl Home {
    fn new() -> Self {
        let place = Place::new();
        std::fs::create_dir(place.path().join("bin")).unwrap();
        std::os::unix::fs::symlink(novacula(), place.path().join("bin/novacula")).unwrap();
        Self { place }
    }

    /// An agent here that was told of the spam already.
    fn agent(&self) -> Agent<'_> {
        let agent = self.place.serve();
        assert_eq!(self.place.run_with(&["report", "-"], &mail(SPAM)).code, 0);
        agent
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = self.path("bin").display().to_string();
        command
            .env_clear()
            .env("PATH", format!("{path}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"))
            .env("HOME", self.place.path())
            .env("TERM", "xterm")
            .env("LANG", "C.UTF-8")
            .env("NOVACULA_SOCKET", self.place.socket())
            .current_dir(self.place.path());
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn maildir(&self, name: &str) -> PathBuf {
        for part in ["cur", "new", "tmp"] {
            std::fs::create_dir_all(self.path(name).join(part)).unwrap();
        }
        self.path(name)
    }

    fn count(&self, folder: &str) -> usize {
        std::fs::read_dir(self.path(folder).join("new")).map_or(0, Iterator::count)
    }
}

#[test]
fn razors_names() {
    let home = Home::new();
    let _agent = home.agent();
    let razor = |name: &str, args: &[&str], stdin: &[u8]| {
        let output = run_with(home.command(contrib("razor-compat").join(name)).args(args), stdin);
        (output.status.code().unwrap(), text(&output))
    };
    assert_eq!(razor("razor-check", &[], &mail(SPAM)), (0, String::new()));
    assert_eq!(razor("razor-check", &["-d", "-home=/x"], &mail(HAM)).0, 1);
    assert_eq!(razor("razor-check", &["/no/such/file"], b"").0, 2);
    // Of several mails the numbers of those that are spam.
    let mbox = [&b"From a\n"[..], &mail(HAM), b"\nFrom b\n", &mail(SPAM), b"\n"].concat();
    assert_eq!(razor("razor-check", &[], &mbox), (0, "2\n".into()));
    assert_eq!(razor("razor-report", &["-f"], &mail("30-spam-crypto.eml")), (0, String::new()));
    assert_eq!(razor("razor-check", &[], &mail("30-spam-crypto.eml")).0, 0);
    assert_eq!(razor("razor-revoke", &[], &mail("30-spam-crypto.eml")), (0, String::new()));
    assert_eq!(razor("razor-check", &[], &mail("30-spam-crypto.eml")).0, 1);
    assert_eq!(razor("razor-report", &[], &mail("10-too-short.eml")).0, 1);
    drop(_agent);
    assert_eq!(razor("razor-check", &[], &mail(SPAM)).0, 2, "down is not \"not spam\"");
}

#[test]
fn what_razor_was_set_up_with() {
    let home = Home::new();
    let _agent = home.place.serve();
    let missing = home.place.run(&["import", "razor"]);
    assert!(missing.code == 2 && missing.stderr.contains("razor-whitelist"), "{missing:?}");
    std::fs::create_dir(home.path(".razor")).unwrap();
    let list = b"# mine\nfrom Ann@Example.org\nfrom @lists.example\nto me@example.org\n";
    let _ = home.place.file(".razor/razor-whitelist", list);
    let _ = home.place.file(".razor/razor-agent.conf", b"min_cf = ac+10\n");
    let ran = home.place.run(&["import", "razor"]);
    assert_eq!(ran.code, 3, "one line was not taken over: {ran:?}");
    for part in ["allowed: ann@example.org", "threshold_nats = 4.66", "not taken over: to me@"] {
        assert!(ran.stdout.contains(part), "{part}: {ran:?}");
    }
    assert_eq!(home.place.run(&["allow"]).stdout, "@lists.example\nann@example.org\n");
}

#[test]
fn procmail_files_spam() {
    let home = Home::new();
    let agent = home.agent();
    home.maildir("Maildir/.Junk");
    home.maildir("Maildir");
    let rc = format!(
        "HOME={home}\nSHELL=/bin/sh\nDEFAULT=$HOME/Maildir/\nLOGFILE=$HOME/procmail.log\nINCLUDERC={rc}\n",
        home = home.place.path().display(),
        rc = contrib("procmail").join("novacula.rc").display()
    );
    let rc = home.place.file("procmailrc", rc.as_bytes());
    let path = home
        .command("true")
        .get_envs()
        .find(|(name, _)| *name == "PATH")
        .unwrap()
        .1
        .unwrap()
        .to_owned();
    let deliver = |mail: &[u8]| {
        let mut procmail = home.command("procmail");
        procmail.arg("-p").arg(format!("PATH={}", path.display())).arg(&rc);
        let output = run_with(&mut procmail, mail);
        assert!(output.status.success(), "{}", both(&output));
        (home.count("Maildir"), home.count("Maildir/.Junk"))
    };
    assert_eq!(deliver(&mail(SPAM)), (0, 1));
    assert_eq!(deliver(&mail(HAM)), (1, 1));
    drop(agent);
    assert_eq!(deliver(&mail(SPAM)), (2, 1), "without an agent all is delivered");
}

#[test]
fn maildrop_files_spam() {
    let home = Home::new();
    let agent = home.agent();
    home.maildir("Maildir/.Junk");
    home.maildir("Maildir");
    let filter = format!(
        "HOME=\"{}\"\nPATH=\"{}:/usr/bin:/bin\"\nNOVACULA_SOCKET=\"{}\"\nDEFAULT=\"$HOME/Maildir\"\ninclude \"{}\"\n",
        home.place.path().display(),
        home.path("bin").display(),
        home.place.socket().display(),
        contrib("maildrop").join("novacula.mailfilter").display()
    );
    let filter = home.place.file("mailfilter", filter.as_bytes());
    std::fs::set_permissions(&filter, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let deliver = |mail: &[u8]| {
        let output = run_with(home.command("maildrop").arg(&filter), mail);
        assert!(output.status.success(), "{}", both(&output));
        (home.count("Maildir"), home.count("Maildir/.Junk"))
    };
    assert_eq!(deliver(&mail(SPAM)), (0, 1));
    assert_eq!(deliver(&mail(HAM)), (1, 1));
    drop(agent);
    assert_eq!(deliver(&mail(SPAM)), (2, 1), "without an agent all is delivered");
}

#[test]
fn sieve_files_what_was_marked() {
    let home = Home::new();
    let script = home.path("novacula.sieve");
    std::fs::copy(contrib("sieve").join("novacula.sieve"), &script).unwrap();
    // Pigeonhole does nothing for root.
    let id = |what| match text(&Command::new("id").arg(what).output().unwrap()).trim() {
        "0" => "65534".to_owned(),
        id => id.to_owned(),
    };
    open_to_all(home.place.path());
    let config = format!(
        "mail_uid = {}\nmail_gid = {}\nfirst_valid_uid = 0\nfirst_valid_gid = 0\n\
         mail_location = maildir:{}\n",
        id("-u"),
        id("-g"),
        home.maildir("Maildir").display()
    );
    let config = home.place.file("dovecot.conf", config.as_bytes());
    let check = |field: &str, junk: bool| {
        let file = home.place.file("mail", &[field.as_bytes(), &mail(HAM)].concat());
        let output = home
            .command("sieve-test")
            .args(["-c", &config])
            .arg(&script)
            .arg(file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", both(&output));
        assert_eq!(text(&output).contains("Junk"), junk, "{field}: {}", text(&output));
    };
    check("X-Novacula: spam; confidence=97; places=12\n", true);
    check("X-Spam-Novacula: spam; confidence=97\n", true);
    check("X-Novacula: unknown; confidence=1\n", false);
    check("X-Novacula: spammy\n", false);
    check("", false);
}

/// A terminal with neomutt in it.
struct Terminal<'a> {
    home: &'a Home,
    name: String,
}

impl Terminal<'_> {
    fn tmux(&self, args: &[&str]) -> String {
        let mut command = self.home.command("tmux");
        text(&command.args(["-L", &self.name, "-f", "/dev/null"]).args(args).output().unwrap())
    }

    /// Waits until the screen shows it.
    #[track_caller]
    fn shows(&self, part: &str) -> String {
        let mut seen = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(part, || {
                seen = self.tmux(&["capture-pane", "-p"]);
                seen.contains(part).then(|| seen.clone())
            })
        }));
        found.unwrap_or_else(|_| panic!("{part:?} is not on the screen:\n{seen}"))
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn neomutt_in_a_terminal() {
    let home = Home::new();
    let _agent = home.place.serve();
    let mbox = [
        &b"From belinda@meadow-tablets.example Tue Feb 24 03:11:27 2026\n"[..],
        &mail(SPAM),
        b"\n",
    ];
    let mbox = home.place.file("inbox", &mbox.concat());
    let rc = format!(
        "source {}\nset wait_key=yes folder={}\n",
        contrib("mutt").join("novacula.muttrc").display(),
        home.place.path().display()
    );
    let rc = home.place.file("muttrc", rc.as_bytes());
    let name = format!("novacula-{}", std::process::id());
    let terminal = Terminal { home: &home, name };
    let mutt = format!("neomutt -n -F {rc} -f {mbox}; sleep 5");
    terminal.tmux(&["new-session", "-d", "-x", "150", "-y", "30", &mutt]);
    terminal.shows("spring order");
    let says =
        || home.place.run_with(&["check", "--json", "-"], &mail(SPAM)).json()["verdict"].clone();
    for (key, shown, verdict) in [
        ("V", "-: unknown", "unknown"),
        ("S", "reported; this site now says spam", "spam"),
        ("H", "revoked; this site now says not spam", "allowed"),
        ("U", "withdrawn; this site now says nothing of it", "unknown"),
        ("U", "nothing was stored: nobody has said anything", "unknown"),
    ] {
        terminal.keys(&[key]);
        let screen = terminal.shows(shown);
        let lines = screen.lines().filter(|line| line.contains(shown)).count();
        assert_eq!(lines, 1, "one line of feedback: {screen}");
        assert_eq!(says(), verdict);
        terminal.keys(&["Enter"]);
        terminal.shows("spring order");
    }
    // What mutt pipes is the same mail.
    terminal.keys(&["|", "cat > piped", "Enter"]);
    let piped = wait_for("the pipe", || {
        std::fs::read(home.path("piped")).ok().filter(|mail| mail.len() > 500)
    });
    let digests = |mail: &[u8]| home.place.run_with(&["fingerprint", "--json", "-"], mail).json();
    assert_eq!(digests(&piped), digests(&mail(SPAM)));
}

#[test]
fn what_evolution_would_run() {
    let home = Home::new();
    let _agent = home.place.serve();
    let readme = std::fs::read_to_string(contrib("evolution").join("README.md")).unwrap();
    let commands: Vec<&str> =
        readme.split('`').filter(|part| part.starts_with("novacula ")).collect();
    assert_eq!(commands, ["novacula check --seen -", "novacula report -", "novacula revoke -"]);
    // Its filters ask whether the program returned 0.
    let returns = |command: &str| {
        run_with(home.command("sh").args(["-c", command]), &mail(SPAM)).status.code().unwrap()
    };
    assert_eq!(returns(commands[0]), 1, "nobody has said anything");
    assert_eq!(returns(commands[1]), 0);
    assert_eq!(returns(commands[0]), 0, "now it goes to Junk");
    assert_eq!(returns(commands[2]), 0);
    assert_eq!(returns(commands[0]), 1);
}

#[test]
fn each_folder_has_a_short_readme() {
    for name in [
        "claws",
        "dovecot",
        "evolution",
        "maildrop",
        "mutt",
        "procmail",
        "razor-compat",
        "report-by-mail",
        "watch",
        "roundcube",
        "sieve",
        "spamassassin",
        "thunderbird",
    ] {
        let readme = std::fs::read_to_string(contrib(name).join("README.md")).unwrap();
        let lines = readme.lines().filter(|line| !line.trim().is_empty()).count();
        assert!((5..=14).contains(&lines), "{name}: {lines} lines");
        for entry in std::fs::read_dir(contrib(name)).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            assert!(file == "README.md" || readme.contains(&file), "{name}: {file} is not in it");
        }
    }
}
