//! The units of contrib/systemd by systemd's own tools, which need no running systemd.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use novacula_tests::harness::built;
use novacula_tests::rig::{Mta, wait_until};

use crate::site::{HAM, Site, text};

/// Exposure, from 0 (none) to 10.
const EXPOSURE_MAX: f64 = 2.0;

fn units() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../contrib/systemd");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "service")).collect()
}

#[test]
fn services_are_hardened() {
    for unit in units() {
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(&unit)
            .output()
            .expect("systemd-analyze runs: contrib/install-packages installs it");
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.contains("Overall exposure level")).unwrap();
        let score = line.split_whitespace().find_map(|word| word.parse::<f64>().ok()).unwrap();
        assert!(score <= EXPOSURE_MAX, "{}: {score}", unit.display());
    }
}

#[test]
fn a_socket_that_is_handed_over_stays_over_a_restart() {
    let site = Site::new();
    let _agent = site.place.serve();
    let path = site.place.path().join("handed.sock");
    let config = format!("[[listener]]\naddress = \"unix:{}\"\ngroup = \"\"\n", path.display());
    let config = site.place.file("milter.toml", config.as_bytes());
    let mut manager = Command::new("systemd-socket-activate")
        .arg("-l")
        .arg(&path)
        .arg(format!("--setenv=NOVACULA_SOCKET={}", site.place.socket().display()))
        .arg(built("novacula-milter"))
        .args(["serve", "--config", &config])
        .stderr(Stdio::null())
        .spawn()
        .expect("systemd-socket-activate runs");
    wait_until("it listens", Duration::from_secs(10), || UnixStream::connect(&path).is_ok());
    let outcome = Mta::open(&path, "192.0.2.7").mail("a@b.example", &["c@d.example"], &text(HAM));
    assert!(outcome.added[0].1.starts_with("unknown; confidence="), "{outcome:?}");
    // It becomes the milter itself: end it as systemd would.
    let pid = rustix::process::Pid::from_child(&manager);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(manager.wait().unwrap().success());
    assert!(path.exists(), "what was handed over is not ours to remove");
}
