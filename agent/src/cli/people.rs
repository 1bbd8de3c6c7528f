//! Commands about the site's people: their own opinions, and mail clients that speak for them.

use novacula_client::{Client, Envelope, TokenInfo};

use super::mail::{out, printable, to_json};
use super::{EXIT_OK, Global, runtime};

/// `novacula report --list`: what one has said, the latest first.
pub(super) fn list(global: &Global, reporter: Option<&str>) -> anyhow::Result<u8> {
    let mut client = Client::new(&global.socket()?);
    let envelope = Envelope { reporter: reporter.map(str::to_owned), ..Envelope::default() };
    let said = runtime()?.block_on(client.opinions(&envelope))?;
    if global.json {
        for opinion in &said {
            out(&to_json(opinion)?);
        }
        return Ok(EXIT_OK);
    }
    if said.is_empty() {
        out("you have said nothing of any mail");
    }
    for opinion in &said {
        let received = opinion.received.as_deref().unwrap_or("(not known)");
        let reach = if opinion.home_only { "; to undo it acts at this site only" } else { "" };
        out(&printable(&format!(
            "{}  {:11}  mail {} received {received}{reach}",
            opinion.acted, opinion.act, opinion.id
        )));
    }
    Ok(EXIT_OK)
}

/// `novacula pair`: a code for a mail client.
pub(super) fn pair(global: &Global, user: Option<&str>) -> anyhow::Result<u8> {
    let mut client = Client::new(&global.socket()?);
    let pairing = runtime()?.block_on(client.pair(user.unwrap_or_default()))?;
    if global.json {
        out(&to_json(&pairing)?);
        return Ok(EXIT_OK);
    }
    out(&printable(&pairing.code));
    eprintln!(
        "novacula: type this into the mail client within {} minutes; it then speaks for {}",
        pairing.secs / 60,
        printable(&pairing.user)
    );
    Ok(EXIT_OK)
}

/// `novacula pair --list` and `--remove`: the mail clients.
pub(super) fn tokens(global: &Global, remove: Option<&str>) -> anyhow::Result<u8> {
    let mut client = Client::new(&global.socket()?);
    let tokens = runtime()?.block_on(client.tokens(remove))?;
    if tokens.is_empty() && !global.json {
        out("no mail client is paired");
    }
    for token in &tokens {
        let TokenInfo { id, user, label, made } = token;
        out(&match global.json {
            true => to_json(token)?,
            false => printable(&format!("{id}  {user}  paired {made}  {label}")),
        });
    }
    Ok(EXIT_OK)
}
