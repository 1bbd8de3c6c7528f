//! `novacula-milter setup postfix` on a real configuration, beside another milter.

use std::process::Command;

use novacula_tests::harness::built;
use novacula_tests::rig::Net;

use crate::site::{HAM, Site, mail, stranger, words};

#[test]
fn postfix_is_set_up_and_back() {
    let (site, net) = (Site::new(), Net::new());
    let _agent = site.place.serve();
    // Another milter that is not there, whose absence must go on to do no harm.
    let other = "{ unix:other.sock, default_action=accept }";
    let settings = format!("smtpd_milters = {other}\nnon_smtpd_milters =\n");
    let postfix =
        novacula_tests::rig::Postfix::prepare(&net, &site.mta_dir(), site.lmtp.path(), &settings);
    postfix.start();
    let config = site.place.file("milter.toml", site.config("", "").as_bytes());
    let config_dir = postfix.config_dir().display().to_string();
    let setup = |how: &str| {
        let mut command = postfix.command(&built("novacula-milter").display().to_string());
        command.args(["--config", &config, "setup", "postfix", how, "--config-dir", &config_dir]);
        let output = command.output().unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}{err}");
        out.into_owned()
    };
    let value = |name: &str| {
        let output =
            Command::new("postconf").args(["-c", &config_dir, "-h", name]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let before = std::fs::read_to_string(postfix.config_dir().join("main.cf")).unwrap();
    let printed = setup("--print");
    assert!(
        printed.contains("postconf -c ") && printed.contains("default_action=accept"),
        "{printed}"
    );
    let after = std::fs::read_to_string(postfix.config_dir().join("main.cf")).unwrap();
    assert_eq!(before, after, "--print changes nothing");

    setup("--apply");
    let shipped = include_str!("../../../contrib/postfix/main.cf");
    for line in shipped.lines().filter(|line| line.starts_with("non_smtpd_milters")) {
        assert_eq!(line, format!("non_smtpd_milters = {}", value("non_smtpd_milters")));
    }
    setup("--apply");
    let milters = value("smtpd_milters");
    assert!(milters.starts_with(other), "ours comes after the others: {milters}");
    assert_eq!(milters.matches("unix:novacula/milter.sock").count(), 1, "{milters}");
    let _milter = site.milter("", "");
    let (taken, dialogue) = postfix.swaks(&words(&stranger(&mail(HAM))));
    assert!(taken, "{dialogue}");
    assert!(site.lmtp.one().verdict().starts_with("unknown;"));

    setup("--undo");
    assert_eq!((value("smtpd_milters").as_str(), value("non_smtpd_milters").as_str()), (other, ""));
    assert!(postfix.swaks(&words(&stranger(&mail(HAM)))).0);
    assert_eq!(site.lmtp.one().field("X-Novacula"), [""; 0]);
}
