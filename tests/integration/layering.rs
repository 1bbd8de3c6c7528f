//! The layout is a test: which crate may be named in which file, and how long files and
//! functions may be.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources() -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut folders =
        ["catalog", "agent", "milter", "tests"].map(|name| root().join(name)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                out.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(out.len() > 40, "only {} sources found", out.len());
    out
}

/// A crate and the paths whose files may name it.
const DOORS: &[(&str, &[&str])] = &[
    ("mail_parser", &["agent/src/message"]),
    ("html5gum", &["agent/src/canonical/html.rs"]),
    ("linkify", &["agent/src/canonical/links.rs"]),
    ("idna", &["agent/src/canonical/links.rs"]),
    ("xxhash_rust", &["agent/src/fingerprint/", "agent/src/canonical/"]),
    ("unicode_normalization", &["agent/src/canonical/fold.rs"]),
    ("unicode_security", &["agent/src/canonical/fold.rs"]),
    ("rusqlite", &["catalog/src/store/", "tests/integration/", "tests/doors/", "tests/peers/"]),
    (
        "fastrand",
        &[
            "catalog/net/src/",
            "catalog/src/node/",
            "tests/peers/",
            "tests/simulation/",
            "tests/src/wire.rs",
        ],
    ),
    ("ed25519_dalek", &["catalog/src/identity.rs"]),
    ("axum", &["agent/src/server"]),
    ("hyper", &["agent/src/server", "agent/client/src/client.rs"]),
    ("prometheus_client", &["agent/src/metrics.rs"]),
    ("clap", &["agent/src/cli/", "milter/src/cli.rs", "tests/bench/", "tests/simulation/sim.rs"]),
    ("notify", &["agent/src/cli/watch.rs"]),
    ("indicatif", &["agent/src/cli/"]),
    (
        "uzers",
        &[
            "agent/src/server/",
            "agent/src/cli/doctor.rs",
            "agent/client/src/socket.rs",
            "milter/src/cli.rs",
        ],
    ),
    ("listenfd", &["milter/src/listen.rs"]),
    (
        "libp2p",
        &["catalog/net/src/", "tests/peers/", "tests/src/wire.rs", "tests/bench/wireload.rs"],
    ),
    (
        "novacula_net",
        &[
            "agent/src/agent/",
            "agent/src/config",
            "agent/src/metrics.rs",
            "tests/src/wire.rs",
            "tests/peers/",
        ],
    ),
    ("novacula_catalog", &["agent/src/", "catalog/net/src/", "tests/"]),
    ("novacula_agent", &["agent/src/", "tests/"]),
];

#[test]
fn one_door_for_each_dependency() {
    for (name, source) in sources() {
        if name.ends_with("layering.rs") {
            continue;
        }
        for (door, allowed) in DOORS {
            let names = source.contains(&format!("{door}::"));
            let may = allowed.iter().any(|path| name.starts_with(path));
            assert!(!names || may, "{name} names {door}, whose door is {allowed:?}");
        }
    }
}

#[test]
fn only_agent_and_replay_join_mail_and_catalog() {
    for (name, source) in sources() {
        let joins = source.contains("Catalog::") || source.contains("judge(");
        let may = ["catalog/", "agent/src/agent", "agent/src/replay/", "tests/"];
        assert!(!joins || may.iter().any(|path| name.starts_with(path)), "{name}");
    }
}

#[test]
fn engines_know_of_the_catalog_only_what_a_digest_is() {
    let known = ["Digest", "Engine", "Nilsimsa", "NILSIMSA_OF_TWO_BITS", "KEYS_MAX"];
    for (name, source) in
        sources().iter().filter(|(name, _)| name.starts_with("agent/src/fingerprint"))
    {
        for rest in source.split("novacula_catalog::").skip(1) {
            let names = match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap_or_default(),
                None => rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap(),
            };
            for used in names.split(',').map(str::trim).filter(|used| !used.is_empty()) {
                assert!(known.contains(&used), "{name} uses {used} of the catalog");
            }
        }
    }
}

#[test]
fn the_milter_knows_neither_peers_nor_sql() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = std::process::Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"])
        .args(["-p", "novacula-milter"])
        .current_dir(root())
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("novacula-client"), "{tree}");
    for far in ["novacula-catalog", "novacula-agent", "rusqlite", "libp2p", "libsqlite3-sys"] {
        assert!(!tree.contains(far), "the milter depends on {far}");
    }
}

#[test]
fn files_have_at_most_500_lines_and_functions_70() {
    for (name, source) in sources() {
        let lines: Vec<&str> = source.lines().collect();
        assert!(lines.len() <= 500, "{name} has {} lines", lines.len());
        for (at, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_fn = line.trim_start().split("fn ").next().is_some_and(|before| {
                before.split_whitespace().all(|word| {
                    matches!(word, "pub" | "const" | "async") || word.starts_with("pub(")
                })
            }) && line.contains("fn ");
            if !is_fn || line.ends_with(';') {
                continue;
            }
            let end = format!("{}}}", " ".repeat(indent));
            let length = lines[at..].iter().position(|line| **line == end).unwrap_or(0) + 1;
            assert!(length <= 70, "{name}:{} has {length} lines", at + 1);
        }
    }
}

#[test]
fn every_module_says_what_it_is() {
    for (name, source) in sources() {
        assert!(source.starts_with("//!"), "{name} has no opening paragraph");
    }
}
