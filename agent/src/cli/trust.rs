//! Commands about what sites' words weigh here.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Context;
use novacula_client::{Client, SiteTrust, TrustLine, TrustReply};

use super::mail::{out, printable, to_json};
use super::{EXIT_OK, Global, runtime};

/// Characters of a site's key that a table shows: enough to tell any two sites apart.
const SHORT: usize = 16;

pub(super) fn show(global: &Global, site: Option<&str>) -> anyhow::Result<u8> {
    let mut client = Client::new(&global.socket()?);
    let reply = runtime()?.block_on(client.trust(site))?;
    if global.json {
        reply.sites.iter().try_for_each(|one| to_json(one).map(|line| out(&line)))?;
        return Ok(EXIT_OK);
    }
    match site {
        Some(_) => reply.sites.iter().for_each(|one| out(&printable(&story(one)))),
        None => table(&reply),
    }
    Ok(EXIT_OK)
}

/// Writes a trust list: all sites that this one knows, but itself.
pub(super) fn export(global: &Global) -> anyhow::Result<u8> {
    let mut client = Client::new(&global.socket()?);
    let (reply, identity) = runtime()?.block_on(async {
        Ok::<_, anyhow::Error>((client.trust(None).await?, client.identity().await?))
    })?;
    let vouched: HashSet<&String> = identity.vouched.iter().collect();
    for one in reply.sites.iter().filter(|one| one.site != identity.site) {
        out(&to_json(&TrustLine {
            site: one.site.clone(),
            vouched: vouched.contains(&one.site),
            weight: Some(one.weight),
            credit: one.credit,
        })?);
    }
    Ok(EXIT_OK)
}

/// Takes over a trust list of another site.
pub(super) fn import(global: &Global, file: &Path) -> anyhow::Result<u8> {
    let list = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let mut client = Client::new(&global.socket()?);
    let taken = runtime()?.block_on(client.import_trust(list))?;
    match global.json {
        true => out(&to_json(&taken)?),
        false => out(&format!(
            "{} sites newly vouched for, {} credits taken over",
            taken.vouched, taken.credits
        )),
    }
    Ok(EXIT_OK)
}

fn short(key: &str) -> String {
    key.chars().take(SHORT).collect()
}

fn table(reply: &TrustReply) {
    out("weight  ground       standing  credit  depth  branch            site");
    for one in &reply.sites {
        let depth = one.depth.map_or_else(|| "-".to_owned(), |depth| depth.to_string());
        out(&printable(&format!(
            "{:6.2}  {:11}  {:8.2}  {:+6.2}  {depth:>5}  {:16}  {}",
            one.weight,
            one.ground,
            one.standing,
            one.credit,
            short(&one.branch),
            one.site
        )));
    }
    match reply.counting {
        0 => out("nobody's word counts here but your own: novacula vouch SITE, for whom you know"),
        1 => out("1 site counts by itself, beside your own"),
        count => out(&format!("{count} sites count by themselves, beside your own")),
    }
}

/// One site's weight, so that it can be argued with.
fn story(one: &SiteTrust) -> String {
    let mut lines = vec![
        one.site.clone(),
        format!("  weight    {:.2}, {}", one.weight, why(&one.ground)),
        format!("  standing  {:.2}{}", one.standing, way(one)),
        format!("  credit    {:+.2}, by being right or wrong about mail here", one.credit),
        format!(
            "  habits    {:.1} reports, {:.1} revokes in the last days; its revokes {}",
            one.reports,
            one.revokes,
            if one.revokes_count { "count" } else { "are too many to count" }
        ),
    ];
    for by in &one.introducers {
        let counts = if by.gives > 0.0 { "" } else { ", for it does not count here itself" };
        lines.push(format!("  vouched for by {}, which gives {:.2}{counts}", by.site, by.gives));
    }
    lines.join("\n")
}

fn way(one: &SiteTrust) -> String {
    let branch = short(&one.branch);
    match one.depth {
        Some(depth) if depth > 1 => format!(", {depth} vouches away, most of it through {branch}"),
        _ => String::new(),
    }
}

fn why(ground: &str) -> &str {
    match ground {
        "home" => "this site itself",
        "configured" => "the configuration names it, or its group does",
        "vouched" => "an administrator here vouched for it",
        "introduced" => "others vouched for it, whose vouches count here",
        "newcomer" => "too few vouch for it, or it was wrong too often: all such weigh half a site",
        "stranger" => "no vouch leads to it",
        "equivocator" => "it gave one number to two statements, which is proved",
        other => other,
    }
}
