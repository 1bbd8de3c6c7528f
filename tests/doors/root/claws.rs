//! Claws Mail on a screen that nobody sees: a person selects a mail and presses the keys of the
//! recipe.

use std::process::Command;

use novacula_tests::harness::{Place, novacula};

use crate::rig::{Daemon, Net, both, contrib, mail, run_with, text, wait_for};

const SPAM: &str = "04-spam-plain.eml";

/// What Claws asks for at its first start, answered: an account, and a folder with an INBOX.
const FILES: [(&str, &str); 3] = [
    ("clawsrc", "[Common]\nconfig_version=4\n"),
    (
        "accountrc",
        "[Account: 1]\naccount_name=ann\nis_default=1\nname=Ann\naddress=ann@example.org\n\
         protocol=5\nconfig_version=4\n",
    ),
    (
        "folderlist.xml",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<folderlist>\n\
         <folder type=\"mh\" name=\"Mail\" path=\"@HOME@/Mail\">\n\
         <folderitem type=\"inbox\" name=\"inbox\" path=\"inbox\" />\n</folder>\n</folderlist>\n",
    ),
];

/// In the title of its main window.
const MAIN: &str = "Claws Mail";

struct Rig {
    place: Place,
    net: Net,
    display: String,
    _screen: Daemon,
}

impl Rig {
    fn new() -> Self {
        let (place, net) = (Place::new(), Net::new());
        let home = place.path().display().to_string();
        std::fs::create_dir_all(place.path().join("Mail/inbox")).unwrap();
        std::fs::write(place.path().join("Mail/inbox/1"), mail(SPAM)).unwrap();
        std::fs::create_dir(place.path().join("rc")).unwrap();
        std::fs::create_dir(place.path().join("bin")).unwrap();
        std::os::unix::fs::symlink(novacula(), place.path().join("bin/novacula")).unwrap();
        for (name, content) in FILES {
            let _ = place.file(&format!("rc/{name}"), content.replace("@HOME@", &home).as_bytes());
        }
        for name in ["actionsrc", "menurc"] {
            let ours = std::fs::read(contrib("claws").join(name)).unwrap();
            let _ = place.file(&format!("rc/{name}"), &ours);
        }
        let log = place.path().join("xvfb.log");
        let mut screen = net.command("Xvfb");
        screen.args(["-displayfd", "1", "-screen", "0", "1000x700x24", "-nolisten", "tcp"]);
        let screen = Daemon::start(&mut screen, &log);
        let display = wait_for("a screen", || {
            let told = std::fs::read_to_string(&log).unwrap_or_default();
            let number = told.lines().find_map(|line| line.parse::<u32>().ok());
            number.map(|number| format!(":{number}"))
        });
        Self { place, net, display, _screen: screen }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.net.command(program);
        let bin = self.place.path().join("bin").display().to_string();
        command
            .env("HOME", self.place.path())
            .env("PATH", format!("{bin}:/usr/bin:/bin"))
            .env("DISPLAY", &self.display)
            .env("LANG", "C.UTF-8")
            .env("NO_AT_BRIDGE", "1")
            .env("NOVACULA_SOCKET", self.place.socket());
        command
    }

    fn claws(&self, args: &[&str]) -> Command {
        let mut command = self.command("claws-mail");
        command.arg("--alternate-config-dir").arg(self.place.path().join("rc")).args(args);
        command
    }

    /// Presses keys in the window with this name; true when there is one.
    fn press(&self, name: &str, keys: &str) -> bool {
        let search = ["search", "--onlyvisible", "--name", name];
        let found = text(&run_with(self.command("xdotool").args(search), b""));
        let Some(window) = found.lines().last() else { return false };
        let args = ["windowfocus", "--sync", window, "key", keys];
        run_with(self.command("xdotool").args(args), b"").status.success()
    }

    /// Presses them until the agent has heard of it.
    fn press_until(&self, keys: &str, verdict: &str) {
        let mut last = String::new();
        wait_for(&format!("{verdict} after {keys}"), || {
            let pressed = self.press(MAIN, keys);
            std::thread::sleep(std::time::Duration::from_millis(500));
            // What the command said is in a window of its own, which is in the way.
            self.press("Action's input", "Escape");
            let ran = self.place.run_with(&["check", "--json", "-"], &mail(SPAM));
            last = format!("{pressed}: {}", ran.stdout);
            (ran.json()["verdict"] == verdict).then_some(())
        });
    }
}

#[test]
fn its_keys_report_revoke_and_take_back() {
    let rig = Rig::new();
    let _agent = rig.place.serve();
    let log = rig.place.path().join("claws.log");
    let _claws = Daemon::start(&mut rig.claws(&[]), &log);
    wait_for("its window", || rig.press(MAIN, "Escape").then_some(()));
    let selected = run_with(&mut rig.claws(&["--select", "#mh/Mail/inbox/1"]), b"");
    assert!(selected.status.success(), "{}", both(&selected));
    rig.press_until("ctrl+alt+j", "spam");
    rig.press_until("ctrl+alt+h", "allowed");
    rig.press_until("ctrl+alt+w", "unknown");
}
