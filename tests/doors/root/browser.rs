//! A hostile page in an ordinary browser on the person's own machine: it may not speak to the agent,
//! not even blindly.

use novacula_tests::harness::Place;

use crate::rig::{Daemon, Net, both, run_with, serve, text, wait_for};

#[test]
fn a_hostile_page_is_refused() {
    let (place, net) = (Place::new(), Net::new());
    let config = place.file("novacula.toml", b"listen_tcp = \"127.0.0.1:8825\"\nlog = \"debug\"\n");
    let _agent = serve(&net, &place, &config);
    let mut pages = net.command("python3");
    pages.args(["-m", "http.server", "--bind", "127.0.0.1", "9000", "--directory"]);
    pages.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/doors"));
    let _pages = Daemon::start(&mut pages, &place.path().join("pages.log"));
    let profile = format!("--user-data-dir={}", place.path().join("profile").display());
    let shown = wait_for("the page", || {
        let mut chromium = net.command("chromium");
        chromium
            .args(["--headless", "--no-sandbox", "--disable-gpu", &profile, "--dump-dom"])
            .args(["--virtual-time-budget=5000", "http://127.0.0.1:9000/hostile.html"])
            .env("HOME", place.path());
        let output = run_with(&mut chromium, b"");
        assert!(output.status.success(), "{}", both(&output));
        Some(text(&output)).filter(|shown| shown.contains("<title>"))
    });
    // The browser hides the answer to the first, which was a refusal.
    assert!(shown.contains("<title>opaque refused</title>"), "{shown}");
    let log = place.log();
    assert_eq!(log.matches("web pages may not speak to the agent").count(), 2, "{log}");
    assert_eq!(place.held(), (0, 0));
}
