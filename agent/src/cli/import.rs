//! `novacula import razor`: takes over what a user of Razor has set up. Reading is pure; only
//! the allowlist is changed, and what can't be taken over is named.

use std::path::{Path, PathBuf};

use anyhow::Context;
use novacula_agent::Config;
use novacula_client::Client;

use super::mail::{out, printable};
use super::{EXIT_OK, EXIT_UNSURE, Global, runtime};

/// Confidence from which a mail is spam here: what Razor's `ac` is there.
const SPAM_CONFIDENCE: f64 = 50.0;

/// Confidence that can still be asked for; 0 and 100 are never and always.
const CONFIDENCE_RANGE: (f64, f64) = (1.0, 99.0);

/// Longest file that is read, in bytes.
const FILE_LEN_MAX: u64 = 4 << 20;

/// What the files of Razor say.
#[derive(Debug, Default, PartialEq)]
struct Found {
    /// Senders that always pass.
    allowed: Vec<String>,
    /// Lines that mean nothing here, with the reason.
    left: Vec<String>,
    /// `min_cf` as it was written, and as a confidence here.
    min_cf: Option<(String, f64)>,
}

pub(super) fn razor(global: &Global, home: Option<&Path>) -> anyhow::Result<u8> {
    let default = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".razor"));
    let dir = home.map(Path::to_owned).or_else(default).context("use ~/.razor: HOME is not set")?;
    let (list, conf) = (dir.join("razor-whitelist"), dir.join("razor-agent.conf"));
    if !list.exists() && !conf.exists() {
        anyhow::bail!(
            "read {}: there is neither razor-whitelist nor razor-agent.conf; name the folder with --home",
            dir.display()
        );
    }
    let mut found = read(&text_of(&list)?, &text_of(&conf)?);
    let mut client = Client::new(&global.socket()?);
    let runtime = runtime()?;
    for sender in &found.allowed {
        match runtime.block_on(client.allow(Some(sender), false)) {
            Ok(_) => out(&printable(&format!("allowed: {sender}"))),
            Err(novacula_client::ClientError::Refused(why)) => {
                found.left.push(format!("from {sender}: {why}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let Some((written, confidence)) = &found.min_cf {
        let config = global.config()?;
        out(&printable(&min_cf_note(written, *confidence, &config)));
    }
    for line in &found.left {
        out(&printable(&format!("not taken over: {line}")));
    }
    Ok(if found.left.is_empty() { EXIT_OK } else { EXIT_UNSURE })
}

/// Which setting gives what `min_cf` gave.
fn min_cf_note(written: &str, confidence: f64, config: &Config) -> String {
    // Confidence is 100 / (1 + e^(threshold - odds)).
    let threshold = config.threshold_nats + (confidence / (100.0 - confidence)).ln();
    format!(
        "min_cf = {written}: is confidence {confidence:.0} and above here; for the whole site, set threshold_nats = {threshold:.2} in its configuration"
    )
}

fn text_of(path: &Path) -> anyhow::Result<String> {
    use std::io::Read;
    let failed = || format!("read {}", path.display());
    if !path.exists() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(failed)?;
    file.take(FILE_LEN_MAX).read_to_end(&mut bytes).with_context(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read(whitelist: &str, conf: &str) -> Found {
    let mut found = Found::default();
    for line in whitelist.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once(char::is_whitespace) {
            Some((rule, sender)) if rule.eq_ignore_ascii_case("from") => {
                found.allowed.push(sender.trim().to_ascii_lowercase());
            }
            Some((rule, _)) if rule.eq_ignore_ascii_case("to") => {
                found.left.push(format!("{line}: only senders can be allowed"));
            }
            Some((rule, _)) if rule.eq_ignore_ascii_case("sha1") => {
                found.left.push(format!("{line}: say `novacula revoke` of such a mail"));
            }
            _ => found.left.push(format!("{line}: is no rule that is known here")),
        }
    }
    for line in conf.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        if key.trim() != "min_cf" {
            continue;
        }
        let value = value.split('#').next().unwrap_or_default().trim();
        match confidence(value) {
            Some(confidence) => found.min_cf = Some((value.to_owned(), confidence)),
            None => found.left.push(format!("min_cf = {value}: is neither a number nor ac+n")),
        }
    }
    found
}

/// `ac`, `ac+n`, `ac-n` or a number; `ac` is what the network advises.
fn confidence(value: &str) -> Option<f64> {
    let compact: String = value.chars().filter(|c| !c.is_whitespace()).collect();
    let number: f64 = match compact.strip_prefix("ac") {
        Some("") => SPAM_CONFIDENCE,
        Some(rest) => SPAM_CONFIDENCE + rest.parse::<f64>().ok()?,
        None => compact.parse().ok()?,
    };
    number.is_finite().then(|| number.clamp(CONFIDENCE_RANGE.0, CONFIDENCE_RANGE.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_razor_had() {
        let found = read(
            "# mine\nfrom Ann@Example.org\nfrom @lists.example.org\nto me@example.org\nsha1 ab12\nnonsense\n\n",
            "logfile = razor-agent.log\nmin_cf   = ac + 10  # careful\n",
        );
        assert_eq!(found.allowed, ["ann@example.org", "@lists.example.org"]);
        assert_eq!(found.left.len(), 3, "{found:?}");
        assert_eq!(found.min_cf, Some(("ac + 10".into(), 60.0)));
    }

    #[test]
    fn min_cf_as_a_threshold() {
        let check = |value: &str, expected: Option<f64>| assert_eq!(confidence(value), expected);
        check("ac", Some(50.0));
        check("ac+n", None);
        check("ac-30", Some(20.0));
        check("75", Some(75.0));
        check("1000", Some(99.0));
        check("inf", None);
        let note = min_cf_note("ac", 50.0, &Config::default());
        assert!(note.ends_with("threshold_nats = 4.25 in its configuration"), "{note}");
        let note = min_cf_note("75", 75.0, &Config::default());
        assert!(note.contains("threshold_nats = 5.35"), "{note}");
    }
}
