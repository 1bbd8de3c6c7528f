//! Commands about mails: check, report, revoke, withdraw, fingerprint, explain.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use indicatif::ProgressBar;
use novacula_agent::{Canonical, Fingerprint, MAIL_LEN_MAX, Message, digests};
use novacula_client::{
    Asked, Check, Client, Digests, Envelope, Explanation, OpinionOutcome, Term, Verdict,
};
use serde_json::{Value, json};

use super::input::each_mail;
use super::{EXIT_ERROR, EXIT_OK, EXIT_PASS, EXIT_UNSURE, Global, Mails, runtime};

/// Mails from which a summary and a progress bar are shown.
const MANY: usize = 20;

/// Places named in a line; JSON has them all.
const PLACES_SHOWN: usize = 6;

/// What became of each of several mails, for the summary and the exit code.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<&'static str, usize>,
    errors: usize,
    /// The network is on and nobody could be asked.
    alone: bool,
}

impl Tally {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn has(&self, what: &str) -> bool {
        self.counts.contains_key(what)
    }

    /// Shares of each outcome, where there were many.
    fn show(&self, global: &Global) {
        let all: usize = self.counts.values().sum::<usize>() + self.errors;
        if all < MANY || global.json {
            return;
        }
        eprintln!("{all} mails:");
        for (what, count) in self
            .counts
            .iter()
            .map(|(what, count)| (*what, *count))
            .chain((self.errors > 0).then_some(("error", self.errors)))
        {
            eprintln!("  {what:12} {count:>8} {:>7.2} %", 100.0 * count as f64 / all as f64);
        }
    }
}

/// What is asked of one mail.
type Ask<'a> = &'a mut dyn FnMut(&str, Vec<u8>, &mut Tally) -> anyhow::Result<()>;

/// Runs `ask` for every mail; an error of one is shown and the next is taken, but when the agent
/// is gone all others would fail alike.
fn for_each(global: &Global, paths: &[PathBuf], ask: Ask<'_>) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let bar = progress();
    each_mail(paths, &mut |name, mail| {
        bar.inc(1);
        let asked = mail.and_then(|mail| {
            if mail.len() > MAIL_LEN_MAX {
                anyhow::bail!(
                    "read {name}: the mail is longer than {} MiB; nothing was looked at",
                    MAIL_LEN_MAX >> 20
                );
            }
            ask(name, mail, &mut tally)
        });
        let Err(error) = asked else { return Ok(()) };
        tally.errors += 1;
        if is_gone(&error) {
            return Err(error);
        }
        let error = printable(&super::failed_to(&error));
        bar.suspend(|| match global.json {
            true => show_json(&json!({"path": name, "error": error})),
            false => eprintln!("novacula: {name}: {error}"),
        });
        Ok(())
    })?;
    bar.finish_and_clear();
    tally.show(global);
    Ok(tally)
}

fn is_gone(error: &anyhow::Error) -> bool {
    use novacula_client::ClientError::{Denied, NotRunning};
    matches!(error.downcast_ref(), Some(NotRunning(_) | Denied(_)))
}

/// A bar where a person watches and the answers go elsewhere or scroll by.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() || std::io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

pub(super) fn check(global: &Global, mails: &Mails, seen: bool) -> anyhow::Result<u8> {
    let runtime = runtime()?;
    let mut client = Client::new(&global.socket()?);
    let envelope = Envelope { delivery: seen, ..Envelope::default() };
    let tally = for_each(global, &mails.paths, &mut |name, mail, tally| {
        let answer = runtime.block_on(client.check(mail.into(), &envelope))?;
        tally.count(answer.verdict.name());
        tally.alone |= answer.asked == Asked::Alone;
        show_check(global, name, &answer)
    })?;
    let any = |verdicts: &[Verdict]| verdicts.iter().any(|verdict| tally.has(verdict.name()));
    Ok(match &tally {
        tally if tally.errors > 0 => EXIT_ERROR,
        _ if any(&[Verdict::Spam]) => EXIT_OK,
        _ if any(&[Verdict::Contested, Verdict::NoEvidence]) => EXIT_UNSURE,
        tally if tally.alone => EXIT_UNSURE,
        _ => EXIT_PASS,
    })
}

fn show_check(global: &Global, name: &str, answer: &Check) -> anyhow::Result<()> {
    if global.json {
        let mut object = json!({ "path": name });
        merge(&mut object, serde_json::to_value(answer)?);
        show_json(&object);
        return Ok(());
    }
    let mut why = match answer.evidence.is_empty() {
        true => "never seen".to_owned(),
        false => answer.evidence.join("; "),
    };
    // A lone site's own name says nothing.
    if answer.places.len() > 1 {
        why.push_str(&format!("; at {}", shown_places(answer)));
    }
    if answer.asked == Asked::Alone {
        why.push_str("; no peer could be asked");
    }
    out(&format!(
        "{}: {} (confidence {}): {}",
        printable(name),
        answer.verdict.name(),
        answer.confidence,
        printable(&why)
    ));
    Ok(())
}

/// The sites, by the first eight digits of their keys, with what they say.
fn shown_places(answer: &Check) -> String {
    let mut shown: Vec<String> = answer
        .places
        .iter()
        .take(PLACES_SHOWN)
        .map(|place| {
            let site: String = place.site.chars().take(8).collect();
            match place.says.as_str() {
                "sighting" => site,
                says => format!("{site} ({says})"),
            }
        })
        .collect();
    if answer.places.len() > PLACES_SHOWN {
        shown.push("and others".into());
    }
    shown.join(", ")
}

pub(super) fn opine(
    global: &Global,
    act: &str,
    paths: &[PathBuf],
    envelope: Envelope,
) -> anyhow::Result<u8> {
    let runtime = runtime()?;
    let mut client = Client::new(&global.socket()?);
    let tally = for_each(global, paths, &mut |name, mail, tally| {
        let reply = runtime.block_on(client.opine(act, mail.into(), &envelope))?;
        tally.count(match reply.outcome {
            OpinionOutcome::Durable => "durable",
            OpinionOutcome::NoEvidence => "no-evidence",
            OpinionOutcome::NothingToWithdraw => "nothing",
        });
        if global.json {
            let mut object = json!({ "path": name });
            merge(&mut object, serde_json::to_value(&reply)?);
            show_json(&object);
        } else {
            let stored = reply.outcome == OpinionOutcome::Durable;
            let prefix = if stored { "" } else { "nothing was stored: " };
            out(&format!("{}: {prefix}{}", printable(name), reply.note));
        }
        Ok(())
    })?;
    Ok(match &tally {
        tally if tally.errors > 0 => EXIT_ERROR,
        tally if tally.has("no-evidence") || tally.has("nothing") => EXIT_UNSURE,
        _ => EXIT_OK,
    })
}

pub(super) fn fingerprint(global: &Global, mails: &Mails) -> anyhow::Result<u8> {
    let tally = for_each(global, &mails.paths, &mut |name, mail, tally| {
        let canonical = Canonical::of(&Message::parse(&mail));
        let found = digests(&canonical, &Fingerprint::of(&canonical));
        tally.count("fingerprinted");
        if global.json {
            let mut object = json!({ "path": name });
            merge(&mut object, serde_json::to_value(&found)?);
            show_json(&object);
        } else {
            out(&format!("{}: {} canonical characters", printable(name), found.characters));
            out(&digest_lines(&found));
        }
        Ok(())
    })?;
    Ok(if tally.errors > 0 { EXIT_ERROR } else { EXIT_OK })
}

fn digest_lines(found: &Digests) -> String {
    let lines = found.digests.iter().map(|(engine, value)| format!("  {engine:14} {value}"));
    let nilsimsa = found.nilsimsa.iter().map(|value| format!("  {:14} {value}", "nilsimsa"));
    let lines: Vec<String> = lines.chain(nilsimsa).collect();
    if lines.is_empty() { "  no digests: too little text".into() } else { lines.join("\n") }
}

pub(super) fn explain(global: &Global, mails: &Mails) -> anyhow::Result<u8> {
    let runtime = runtime()?;
    let mut client = Client::new(&global.socket()?);
    let tally = for_each(global, &mails.paths, &mut |name, mail, tally| {
        let all = runtime.block_on(client.explain(mail.into(), &Envelope::default()))?;
        tally.count(all.check.verdict.name());
        if global.json {
            let mut object = json!({ "path": name });
            merge(&mut object, serde_json::to_value(&all)?);
            show_json(&object);
            return Ok(());
        }
        show_check(global, name, &all.check)?;
        out(&explanation(&all));
        Ok(())
    })?;
    Ok(if tally.errors > 0 { EXIT_ERROR } else { EXIT_OK })
}

fn explanation(all: &Explanation) -> String {
    let mut lines = vec![format!("\ncanonical text, {} characters:", all.fingerprint.characters)];
    lines.push(format!("  {}", printable(&all.canonical)));
    lines.push("\nlinks:".into());
    lines.extend(all.links.iter().map(|link| format!("  {}", printable(link))));
    lines.push("\ndigests:".into());
    lines.push(digest_lines(&all.fingerprint));
    lines.push("\na sighting would send (hexadecimal, before signature and encryption):".into());
    let sent = if all.would_send.is_empty() { "nothing" } else { &all.would_send };
    lines.push(format!("  {sent}"));
    lines.push("\nand ask its peers for these keys (for 72 h after the weekly change of salt twice as many):".into());
    if all.would_ask.is_empty() {
        lines.push("  none".into());
    }
    lines.extend(all.would_ask.chunks(4).map(|keys| format!("  {}", keys.join(" "))));
    lines.push("\njudgement, log odds of spam in nats:".into());
    lines.extend(sum_lines(&all.terms, all.odds_nats, all.threshold_nats));
    if let Some(group) = &all.group {
        lines.push("\nby the word of the private group's members alone:".into());
        lines.extend(sum_lines(&group.terms, group.odds_nats, group.threshold_nats));
    }
    lines.push(format!(
        "  people are taken to report wanted mail with probability {:.5} (set or learnt)\n",
        all.report_if_wanted
    ));
    if !all.common.is_empty() {
        lines.push("common in this site's own mail, so that no match rests on it:".into());
        lines.extend(all.common.iter().map(|digest| format!("  {digest}")));
    }
    lines.join("\n")
}

/// A sum, term by term.
fn sum_lines(terms: &[Term], odds_nats: f64, threshold_nats: f64) -> Vec<String> {
    let line = |term: &Term| {
        let site: String = term.site.chars().take(16).collect();
        format!("  {:+8.3}  {:12} {site:16}  {}", term.nats, term.what, term_words(term))
    };
    let sum = format!("  {odds_nats:+8.3}  sum; spam from {threshold_nats:+.3} on");
    terms.iter().map(line).chain([sum]).collect()
}

/// What a term rests on.
fn term_words(term: &Term) -> String {
    match term.what.as_str() {
        "prior" => "before any evidence".into(),
        "filters" => "what other sites' content filters thought".into(),
        "cap" => "sites of one network, of one branch, and newcomers count together; those whom \
                  others introduce, and in a large network those vouched for here, convict only what \
                  many places have seen"
            .into(),
        _ => format!("{:.2} copies, trust {:.2} ({})", term.copies, term.trust, term.ground),
    }
}

/// Puts the fields of one object behind those of another.
fn merge(object: &mut Value, fields: Value) {
    if let (Value::Object(object), Value::Object(fields)) = (object, fields) {
        object.extend(fields);
    }
}

fn show_json(value: &Value) {
    out(&value.to_string());
}

/// Text from mail on a terminal: no control characters.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Prints a line; a reader that has gone away ends the command quietly.
pub(super) fn out(text: &str) {
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(i32::from(EXIT_ERROR));
    }
}

/// What a failed conversion to JSON would say; kept here so that commands can use `?`.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> anyhow::Result<String> {
    serde_json::to_string(value).context("write JSON")
}
