//! `novacula forwarded`: report by mail. An MTA pipes what comes to spam@ or ham@ here; the mails
//! in it, forwarded as attachments, are reported for the sender whom the MTA authenticated.
//!
//! Key decision: the exit codes are those of sysexits, because MTAs know them: what could not be
//! used is bounced with our text, and an absent agent means that the MTA tries again. No mail is
//! written here. Who was not authenticated gets no answer, because he may be anybody: his mail is
//! thrown away, and an MTA that is set up well refuses it before.

use std::io::Read;

use anyhow::Context;
use novacula_agent::{ATTACHED_MAX, MAIL_LEN_MAX, attached_mails};
use novacula_client::{Client, ClientError, Envelope, OpinionOutcome};

use super::mail::{out, printable};
use super::{EXIT_OK, Global, runtime};

/// The mail can't be used (sysexits.h).
const EX_DATAERR: u8 = 65;
/// Try again later.
const EX_TEMPFAIL: u8 = 75;

/// Longest name of a user, in bytes, as the agent's.
const NAME_LEN_MAX: usize = 254;

const INLINE: &str = "Thank you for your help. Your mail could not be used, because the mail that \
you mean stands inside yours as a quotation: your program changed it, and its own words and yours \
would be taken for the sender's. Please forward it as an attachment (Thunderbird: Message, Forward \
As, Attachment; Outlook: Ctrl+Alt+F; Apple Mail: Message, Forward as Attachment), or move it to Junk.";

const UNKNOWN: &str = "thrown away: its sender did not log in, so that nobody can tell who he is";

/// What forwarded mails are.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum Act {
    /// Spam.
    Report,
    /// Not spam.
    Revoke,
}

pub(super) fn run(global: &Global, act: Act, sender: &str) -> anyhow::Result<u8> {
    let refuse = |code: u8, text: &str| {
        eprintln!("{text}");
        Ok(code)
    };
    let is_name = !sender.is_empty() && sender.len() <= NAME_LEN_MAX;
    if !is_name || !sender.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse(EXIT_OK, UNKNOWN);
    }
    let mut mail = Vec::new();
    let read = std::io::stdin().lock().take(MAIL_LEN_MAX as u64).read_to_end(&mut mail);
    read.context("read standard input")?;
    let originals = attached_mails(&mail);
    if originals.is_empty() {
        return refuse(EX_DATAERR, INLINE);
    }
    let (word, envelope) = (
        match act {
            Act::Report => "report",
            Act::Revoke => "revoke",
        },
        Envelope { reporter: Some(sender.to_owned()), ..Envelope::default() },
    );
    let runtime = runtime()?;
    let mut client = Client::new(&global.socket()?);
    let mut unused = Vec::new();
    for (number, original) in (1..).zip(&originals) {
        match runtime.block_on(client.opine(word, original.clone().into(), &envelope)) {
            Ok(reply) if reply.outcome == OpinionOutcome::Durable => {
                out(&printable(&format!("attachment {number}: {}", reply.note)));
            }
            Ok(reply) => unused.push(format!("attachment {number}: {}", reply.note)),
            // One act counts once: what was reported before may be reported again.
            Err(ClientError::Refused(why)) => {
                return refuse(EX_TEMPFAIL, &printable(&format!("the agent refused: {why}")));
            }
            Err(error) => return refuse(EX_TEMPFAIL, &printable(&error.to_string())),
        }
    }
    if originals.len() == ATTACHED_MAX {
        unused.push(format!("no more than {ATTACHED_MAX} attached mails are taken at a time"));
    }
    match unused.is_empty() {
        true => Ok(EXIT_OK),
        false => {
            let text = format!(
                "Thank you for your help. A part of your mail could not be used: {}",
                unused.join("; ")
            );
            refuse(EX_DATAERR, &printable(&text))
        }
    }
}
