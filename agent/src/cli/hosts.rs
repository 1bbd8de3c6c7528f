//! `novacula identity host | certify | adopt | invite | accept`. The first three are about further
//! hosts of a site and work on files of the data directory only: no agent needs to run, and the
//! site's key never leaves its machine. The others ask the agent ([`peers`]).

use novacula_agent::hosts::{adopt, certify, host_key};
use novacula_catalog::node::NodeId;
use novacula_catalog::{SiteId, Time};
use serde_json::json;

use super::mail::{out, printable};
use super::{EXIT_OK, Global, peers};

/// Seconds of a day.
const DAY_SECS: u64 = 24 * 3600;
/// How long a host may speak without being certified anew, in days (a year, a convention).
const DAYS: u64 = 365;

/// What is done about the hosts of a site, or to bring in another.
#[derive(clap::Subcommand)]
pub(super) enum Of {
    /// Print this host's public key, made where there is none.
    Host,
    /// On the machine with the site's key: let a host speak for the site; prints its certificate.
    Certify {
        /// The host's public key, as `novacula identity host` prints it there.
        host: SiteId,
        /// For how many days; certified again it keeps its numbers.
        #[arg(long, default_value_t = DAYS, value_parser = clap::value_parser!(u64).range(1..=3650))]
        days: u64,
    },
    /// On the further host: take the certificate in. It holds from the agent's next start on.
    Adopt {
        /// The line that `novacula identity certify` printed.
        certificate: String,
    },
    /// Invite one other site: prints a code for `novacula identity accept` there, by which each
    /// vouches for the other. Whoever has the code is that site: send it as you would a password.
    Invite {
        /// For whom, in your own words; `novacula vouch` shows it.
        #[arg(long, default_value = "")]
        note: String,
        /// For how many days it is good, 1 to 30 [default: 7].
        #[arg(long)]
        days: Option<u64>,
        /// Into the private group beside the network; its key or list is told apart.
        #[arg(long)]
        group: bool,
        /// Show the invitations of this site.
        #[arg(long, conflicts_with_all = ["note", "days", "remove", "group"])]
        list: bool,
        /// Take one back that nobody has accepted; --list shows its ID.
        #[arg(long, value_name = "ID", conflicts_with_all = ["note", "days", "group"])]
        remove: Option<String>,
    },
    /// Accept an invitation: joins at the site that gave it; each vouches for the other then.
    Accept {
        /// What `novacula identity invite` printed there.
        code: String,
        /// It was made with --group: join the private group beside the network.
        #[arg(long)]
        group: bool,
    },
}

pub(super) fn run(global: &Global, of: &Of) -> anyhow::Result<u8> {
    let dir = global.config()?.data_dir;
    let now = Time::now();
    let (shown, text) = match of {
        Of::Invite { list: true, .. } => return peers::invites(global, None),
        Of::Invite { remove: Some(id), .. } => return peers::invites(global, Some(id)),
        Of::Invite { note, days, group, .. } => return peers::invite(global, note, *days, *group),
        Of::Accept { code, group } => return peers::accept(global, code, *group),
        Of::Host => {
            let host = NodeId::of(&host_key(&dir)?).to_string();
            (json!({ "host": host }), host)
        }
        Of::Certify { host, days } => {
            let until = Time(now.0 + days * DAY_SECS);
            let (line, lane) = certify(&dir, NodeId(host.0), until)?;
            let shown = json!({ "certificate": line, "lane": lane, "until": until.rfc3339() });
            (shown, line)
        }
        Of::Adopt { certificate } => {
            let site = adopt(&dir, certificate, now)?.to_string();
            let text = format!("from its next start on this host speaks for the site {site}");
            (json!({ "site": site }), text)
        }
    };
    out(&printable(&if global.json { shown.to_string() } else { text }));
    Ok(EXIT_OK)
}
