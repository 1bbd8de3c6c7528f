//! On the development corpus: nothing panics, every form of a mail is the same mail, and the
//! figures of docs/measurements.md hold.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use novacula_agent::{Canonical, Fingerprint, Message, StopList, stoppable};
use novacula_tests::harness::Place;
use novacula_tests::mutations::Draws;
use novacula_tests::privacy::{Confirmation, Dictionary, Reading};
use novacula_tests::{Half, dev_corpus, half, is_full, percentile, read_index, read_mail};

fn fingerprint(mail: &[u8]) -> Fingerprint {
    Fingerprint::of(&Canonical::of(&Message::parse(mail)))
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { out.push(path) }
        }
    }
    out.sort();
    out
}

/// Lines of the log that tell of a panic, even one that was caught.
fn panics(place: &Place) -> Vec<String> {
    let log = place.log();
    log.lines().filter(|line| line.contains("panicked")).map(str::to_owned).collect()
}

#[test]
fn every_mail_gets_a_verdict_through_the_agent() {
    let dev = dev_corpus();
    let place = Place::new();
    let agent = place.serve();
    let folder = |name: &str| dev.join(name).display().to_string();
    let torture = place.run(&["check", "--json", &folder("torture")]);
    assert_eq!(torture.json_lines().len(), 546, "{}", torture.stderr);
    assert_ne!(torture.code, 2, "{}", torture.stderr);
    let real = place.run(&["check", "--json", &folder("lists"), &folder("spamassassin")]);
    assert_ne!(real.code, 2, "{}", real.stderr);
    let verdicts = real.json_lines();
    assert_eq!(verdicts.len(), 16_494);
    let gated = verdicts.iter().filter(|of| of["verdict"] == "no-evidence").count();
    assert!(gated as f64 <= 0.02 * verdicts.len() as f64, "{gated} without evidence");
    assert_eq!(place.held(), (0, 0), "looking changes nothing");
    // Not a line of the log may show a panic that somebody caught.
    assert_eq!(panics(&place), Vec::<String>::new());
    assert!(agent.rss_kib() < 256 << 10, "{} KiB", agent.rss_kib());
}

#[test]
fn opinions_and_explanations_of_real_mail() {
    let dev = dev_corpus();
    let rows = read_index(&dev.join("index.tsv")).unwrap();
    let step = if is_full() { 40 } else { 160 };
    let some: Vec<String> = rows
        .iter()
        .step_by(step)
        .map(|row| dev.join(&row.path).display().to_string())
        .chain(
            files_under(&dev.join("torture"))
                .iter()
                .step_by(4)
                .map(|path| path.display().to_string()),
        )
        .collect();
    let place = Place::new();
    let _agent = place.serve();
    for act in ["report", "revoke", "withdraw", "explain", "fingerprint"] {
        let args: Vec<&str> = [act].into_iter().chain(some.iter().map(String::as_str)).collect();
        let ran = place.run(&args);
        assert!(ran.code == 0 || (ran.code == 3 && act != "explain"), "{act}: {}", ran.stderr);
    }
    assert_eq!(panics(&place), Vec::<String>::new());
}

#[test]
fn no_mail_takes_long() {
    for path in files_under(&dev_corpus().join("torture")) {
        let mail = std::fs::read(&path).unwrap();
        let started = Instant::now();
        let _ = fingerprint(&mail);
        let took = started.elapsed();
        assert!(took < Duration::from_secs(2), "{} took {took:?}", path.display());
    }
}

/// The mail with CRLF for LF.
fn crlf(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + mail.len() / 30);
    let mut last = 0;
    for byte in mail {
        if *byte == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(*byte);
        last = *byte;
    }
    out
}

fn lf(mail: &[u8]) -> Vec<u8> {
    let mut out = mail.to_vec();
    let mut at = 0;
    out.retain(|byte| {
        at += 1;
        !(*byte == b'\r' && mail.get(at) == Some(&b'\n'))
    });
    out
}

#[test]
fn what_delivery_adds_changes_nothing() {
    let dev = dev_corpus();
    let rows = read_index(&dev.join("index.tsv")).unwrap();
    let step = if is_full() { 1 } else { 4 };
    let added: &[u8] = b"Return-Path: <a@b.example>\nDelivered-To: c@d.example\nX-Mozilla-Status: 0001\nX-Mozilla-Status2: 00800000\nReceived: from x.example by y.example; Thu, 01 Jan 2026 00:00:00 +0000\nX-Spam-Status: No, score=1.0\n";
    for row in rows.iter().step_by(step) {
        let mail = read_mail(&dev, row).unwrap();
        let plain = lf(&mail);
        let original = fingerprint(&plain);
        for (what, form) in [
            ("CRLF", crlf(&plain)),
            (
                "mbox line",
                [b"From a@b.example Thu Jan  1 00:00:00 2026\n".as_slice(), plain.as_slice()]
                    .concat(),
            ),
            ("added fields", [added, plain.as_slice()].concat()),
            (
                "all of them",
                crlf(&[b"From - Thu Jan  1\n".as_slice(), added, plain.as_slice()].concat()),
            ),
        ] {
            assert_eq!(fingerprint(&form), original, "{what}: {}", row.path);
        }
    }
}

/// A mail of one text part with its body encoded anew, when it is one that can be: a text in
/// 7bit or 8bit whose header has no encoding that would have to be kept.
fn reencoded(mail: &[u8], encoding: &str) -> Option<Vec<u8>> {
    let plain = lf(mail);
    let split = plain.windows(2).position(|pair| pair == b"\n\n")?;
    let (header, body) = (std::str::from_utf8(&plain[..split]).ok()?, &plain[split + 2..]);
    let lower = header.to_lowercase();
    let field = |name: &str| lower.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let kind = field("content-type:");
    let encoded = field("content-transfer-encoding:");
    let text = kind.is_empty() || kind.contains("text/");
    let bare = encoded.is_empty() || encoded.contains("7bit") || encoded.contains("8bit");
    if !text || !bare || header.starts_with("From ") {
        return None;
    }
    let kept = header
        .lines()
        .filter(|line| !line.to_lowercase().starts_with("content-transfer-encoding:"));
    let mut out = kept.collect::<Vec<_>>().join("\n").into_bytes();
    out.extend(format!("\nContent-Transfer-Encoding: {encoding}\n\n").into_bytes());
    out.extend(if encoding == "base64" { base64(body) } else { quoted_printable(body) });
    Some(out)
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    for (group, three) in bytes.chunks(3).enumerate() {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            out.push(if digit <= three.len() { DIGITS[value as usize] } else { b'=' });
        }
        if group % 18 == 17 {
            out.push(b'\n');
        }
    }
    out.push(b'\n');
    out
}

fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let mut width = 0;
        for byte in line {
            let coded = match byte {
                b'\n' => vec![b'\n'],
                b'!'..=b'<' | b'>'..=b'~' => vec![*byte],
                _ => format!("={byte:02X}").into_bytes(),
            };
            if width + coded.len() > 72 && *byte != b'\n' {
                out.extend(b"=\n");
                width = 0;
            }
            width += coded.len();
            out.extend(coded);
        }
    }
    out
}

#[test]
fn another_encoding_changes_nothing() {
    let dev = dev_corpus();
    let rows = read_index(&dev.join("index.tsv")).unwrap();
    let step = if is_full() { 1 } else { 4 };
    let mut tried = 0;
    for row in rows.iter().step_by(step) {
        let mail = read_mail(&dev, row).unwrap();
        let original = fingerprint(&lf(&mail));
        for encoding in ["base64", "quoted-printable"] {
            let Some(form) = reencoded(&mail, encoding) else { continue };
            tried += 1;
            assert_eq!(fingerprint(&form), original, "{encoding}: {}", row.path);
        }
    }
    assert!(tried > rows.len() / step / 2, "only {tried} could be tried");
}

/// The figures that the README quotes, as bounds.
#[test]
fn a_replay_of_the_simulated_outbreaks() {
    let dev = dev_corpus();
    let place = Place::new();
    let index = dev.join("sim.tsv").display().to_string();
    let seeds = if is_full() { "1-20" } else { "1-3" };
    let report = place.run(&["replay", "--json", "--index", &index, "--seeds", seeds]).json();
    let number = |name: &str| report[name].as_f64().unwrap();
    assert!(number("efficiency") >= 0.95, "{}", number("efficiency"));
    assert!(number("ham_called_spam") <= 0.002, "{}", number("ham_called_spam"));
    let found = report["spread_found"]["24h"].as_f64().unwrap();
    let oracle = report["oracle_spread"]["24h"].as_f64().unwrap();
    assert!(found / oracle >= 0.98, "{found} of {oracle}");
    for at in report["equal_share"].as_array().unwrap() {
        let ratio = at["efficiency"].as_f64().unwrap();
        assert!(ratio >= 0.95, "{at}");
        for level in at["levels"].as_array().unwrap() {
            assert!(level["efficiency"].as_f64().unwrap() >= 0.9, "{at}");
        }
    }
    assert_eq!(report["groups"].as_array().unwrap().len(), 6, "every level and the newsletters");
}

#[test]
fn a_replay_of_the_real_mail() {
    let dev = dev_corpus();
    let place = Place::new();
    let index = dev.join("index.tsv").display().to_string();
    let seeds = if is_full() { "1-20" } else { "1-2" };
    let report = place.run(&["replay", "--json", "--index", &index, "--seeds", seeds]).json();
    let groups = report["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 5, "lists and spamassassin, ham, spam and bounces");
    assert!(report["ham_called_spam"].as_f64().unwrap() <= 0.0005, "{}", report["ham_called_spam"]);
}

/// `tests/bench/twins.rs` prints the figures; these are the bounds that must hold.
#[test]
fn spam_has_twins_and_held_out_ham_matches_none() {
    let dev = dev_corpus();
    let program = novacula_tests::harness::novacula().with_file_name("twins");
    let index = dev.join("index.tsv");
    let output = std::process::Command::new(program)
        .args(["--index".as_ref(), index.as_os_str(), "--root".as_ref(), dev.as_os_str()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let last = |corpus: &str, row: &str| -> (f64, f64) {
        let of = text.split("\n\n").find(|block| block.trim_start().starts_with(corpus)).unwrap();
        let line = of.lines().find(|line| line.starts_with(row)).unwrap();
        let cells: Vec<&str> = line.trim_end_matches('%').split_whitespace().collect();
        (cells[cells.len() - 2].parse().unwrap(), cells[cells.len() - 1].parse().unwrap())
    };
    assert!(last("spamassassin", "spam with a twin").1 >= 75.0, "{text}");
    assert_eq!(last("spamassassin", "ham held out").0, 0.0, "{text}");
    assert!(last("lists", "spam with a twin").1 >= 72.0, "{text}");
    assert!(last("lists", "ham held out").1 <= 0.03, "{text}");
}

#[test]
fn a_dictionary_reads_little_of_what_is_sent() {
    let dev = dev_corpus();
    let (mut dictionary, mut ham, mut stopped) = (Dictionary::default(), Vec::new(), Vec::new());
    let step = if is_full() { 1 } else { 4 };
    for (number, row) in read_index(&dev.join("index.tsv")).unwrap().into_iter().enumerate() {
        let tuning = half(&row) == Half::Tuning;
        // Stop list and dictionary are of different mail; every fourth to be read will do.
        if tuning || (row.label == "ham" && number % step == 0) {
            let canonical = Canonical::of(&Message::parse(&read_mail(&dev, &row).unwrap()));
            match tuning {
                true if percentile(&row) >= 50 => dictionary.learn(&canonical),
                true if row.label == "ham" => stopped.extend(stoppable(&canonical)),
                true => {}
                false => ham.push(canonical),
            }
        }
    }
    let stop = StopList::of(stopped);
    let mut reading = Reading::default();
    ham.iter().for_each(|canonical| reading.read(canonical, &stop, &dictionary));
    assert!(reading.mails > 500 && dictionary.len() > 100_000, "{reading:?}");
    assert!(reading.of_shingles() <= 0.01, "{:.4} of {reading:?}", reading.of_shingles());
    // Who has the text itself is told, by design: docs/privacy.md says so.
    let mut confirmation = Confirmation::default();
    ham.iter().for_each(|canonical| confirmation.ask(canonical, 0, &mut Draws::new(1)));
    assert_eq!(confirmation.confirmed, confirmation.mails);
    assert!(confirmation.overheard(10_000) < 0.05 && confirmation.overheard(6) > 0.99);
}
