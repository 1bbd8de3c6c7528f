//! The extension in the real Thunderbird, headless. What happens there is told by thunderbird.py;
//! here are the agent, the network and the build of the extension.

use std::process::Command;

use novacula_tests::golden;
use novacula_tests::harness::{Place, novacula};

use crate::rig::{Net, both, contrib, run_with, serve, text};

/// Runs a script of contrib and gives its last line.
fn script(name: &str, args: &[&str]) -> String {
    let output = Command::new(contrib(name)).args(args).output().unwrap();
    assert!(output.status.success(), "{name}: {}", both(&output));
    text(&output).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn junk_reports_not_junk_revokes_and_the_panel_tells() {
    let (place, net) = (Place::new(), Net::new());
    let xpi = place.path().join("novacula.xpi").display().to_string();
    script("thunderbird/build", &[&xpi]);
    let python = script("test-venv", &[]);
    let config = place.file("novacula.toml", b"listen_tcp = \"127.0.0.1:8825\"\nlog = \"debug\"\n");
    let _agent = serve(&net, &place, &config);

    let mut driver = net.command(python);
    driver
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/doors/thunderbird.py"))
        .arg(place.path())
        .arg(novacula())
        .arg(xpi)
        .arg(golden("mails"))
        .env("HOME", place.path())
        .env("NOVACULA_DATA_DIR", place.data_dir())
        .env("NOVACULA_SOCKET", place.socket());
    let output = run_with(&mut driver, b"");
    assert!(output.status.success(), "{}\n{}", both(&output), place.log());
    let saw = text(&output);
    for part in ["junk: report arrived", "not junk: revoke", "hostile page:", "wrong token:"] {
        assert!(saw.contains(part), "{part}: {saw}");
    }
    // The hostile page's requests reached the agent and were refused for their origin.
    let refused = place.log().matches("web pages may not speak to the agent").count();
    assert_eq!(refused, 2, "{}", place.log());
}
