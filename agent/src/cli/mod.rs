//! The command line (DESIGN 3.4). One file for each family of commands; this one holds the
//! arguments and the exit codes.

mod doctor;
mod forwarded;
mod hosts;
mod import;
mod input;
mod local;
mod mail;
mod network_legs;
mod peers;
mod people;
mod replay;
mod serve;
mod trust;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use novacula_agent::{Config, SYSTEM_SOCKET};
use novacula_catalog::VOUCHES_MAX;
use novacula_client::Envelope;

/// Everything is well, or (check) the mail is spam.
const EXIT_OK: u8 = 0;
/// Check: bulk, allowed or unknown.
const EXIT_PASS: u8 = 1;
/// Something is wrong.
const EXIT_ERROR: u8 = 2;
/// Check: contested or no evidence. Opinions: nothing was stored.
const EXIT_UNSURE: u8 = 3;

/// Where the configuration is looked for when nobody says where.
const SYSTEM_CONFIG: &str = "/etc/novacula/novacula.toml";

/// Peer-to-peer spam detection: who else saw this mail, and what did people say of it?
#[derive(Parser)]
#[command(name = "novacula", version, arg_required_else_help = true)]
#[command(
    after_help = "check exits 0 for spam; 1 for bulk, allowed or unknown; 3 for contested or no-evidence, or when the network is on and nobody could be asked; 2 for an error. doctor exits 1 if something is to be mended."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(clap::Args)]
struct Global {
    /// Configuration file; none is needed [default: /etc/novacula/novacula.toml if it exists].
    #[arg(long, global = true, env = "NOVACULA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The agent's Unix socket.
    #[arg(long, global = true, env = "NOVACULA_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Where the agent keeps identity and database.
    #[arg(long, global = true, env = "NOVACULA_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent in the foreground.
    Serve,
    /// Ask whether mails are spam.
    Check {
        #[command(flatten)]
        mails: Mails,
        /// The mails are being delivered now: count them as seen.
        #[arg(long)]
        seen: bool,
    },
    /// Say that mails are spam.
    Report {
        /// Mail files, mbox files, Maildirs, folders, or - for standard input.
        #[arg(required_unless_present = "list", value_name = "MAIL")]
        paths: Vec<PathBuf>,
        /// They came to an address that no wanted mail knows.
        #[arg(long)]
        trap: bool,
        /// Show what you have said of mails, reported or not.
        #[arg(long, conflicts_with_all = ["paths", "trap"])]
        list: bool,
        #[command(flatten)]
        who: Who,
    },
    /// Say that mails are not spam.
    Revoke {
        #[command(flatten)]
        mails: Mails,
        #[command(flatten)]
        who: Who,
    },
    /// Take back what you said of mails.
    Withdraw {
        #[command(flatten)]
        mails: Mails,
        #[command(flatten)]
        who: Who,
        /// As an administrator: take back what anybody said.
        #[arg(long)]
        all: bool,
    },
    /// Print the digests of mails; needs no agent.
    Fingerprint {
        #[command(flatten)]
        mails: Mails,
    },
    /// Show all about mails: the text that counts, what would be sent, the judgement's terms.
    Explain {
        #[command(flatten)]
        mails: Mails,
    },
    /// Replay a corpus as a network of sites and measure what it would have caught.
    Replay(replay::Args),
    /// Show how the agent is.
    Status,
    /// Test every leg and say what to mend.
    Doctor,
    /// Show this site's public key; invite another site, or let further hosts speak for this one.
    Identity {
        /// Print a code with which any site can join through this host; nobody here vouches for
        /// it by that.
        #[arg(long)]
        invite: bool,
        /// The code leads into the private group beside the network; its key or list is told apart.
        #[arg(long, requires = "invite")]
        group: bool,
        #[command(subcommand)]
        of: Option<hosts::Of>,
    },
    /// Join a network of peers, for good.
    Join {
        /// mx.example.org, mx.example.org:25725, a multiaddress, or an invitation of
        /// another site: `novacula identity invite` or `--invite`.
        #[arg(value_name = "ADDRESS|INVITE")]
        place: String,
        /// Join the private group beside the network, which [group] of the configuration names.
        #[arg(long)]
        group: bool,
    },
    /// Show the hosts of the network of peers; or what sites' words weigh here, and why.
    Peers {
        /// What sites weigh and why: one, or all.
        #[arg(long, value_name = "SITE", num_args = 0..=1)]
        trust: Option<Option<String>>,
    },
    /// Make another site's word count here; none: list whose does.
    Vouch {
        /// The site's public key, as `novacula identity` prints it there.
        site: Option<String>,
        /// Make it count no longer.
        #[arg(long, requires = "site")]
        remove: bool,
    },
    /// Hand what this site thinks of others to another site, or take over what that one thinks.
    #[command(subcommand)]
    Trust(TrustList),
    /// List, add or remove senders that always pass.
    Allow {
        /// ann@example.org, @example.org, or a list's List-Id. None: list them.
        pattern: Option<String>,
        /// Allow it no longer.
        #[arg(long, requires = "pattern")]
        remove: bool,
    },
    /// Let a mail client speak for a user: print the code that it asks for.
    Pair {
        /// Whose mail client it is, by the name of the mailbox [default: you].
        user: Option<String>,
        /// Show the mail clients that are paired.
        #[arg(long, conflicts_with_all = ["user", "remove"])]
        list: bool,
        /// A mail client may speak no longer; --list shows its ID.
        #[arg(long, conflicts_with = "user", value_name = "ID")]
        remove: Option<String>,
    },
    /// Take over what another program was set up with.
    Import {
        #[command(subcommand)]
        from: Import,
    },
    /// Take a mail that somebody forwarded to spam@ or ham@, from an MTA's pipe; exit codes are
    /// those of sysexits, and what the person should know goes to standard error.
    Forwarded {
        /// What the forwarded mails are.
        act: forwarded::Act,
        /// Who sent it, as the MTA authenticated him; empty if it did not: then it is thrown away.
        #[arg(long = "as", value_name = "USER")]
        sender: String,
    },
    /// Watch Junk folders (Maildirs): report what is put there, take it back when it is moved out.
    Watch(watch::Args),
    /// Print the completions of a shell.
    #[command(hide = true)]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Man {
        /// The folder.
        dir: PathBuf,
    },
}

/// Which mails.
#[derive(clap::Args)]
struct Mails {
    /// Mail files, mbox files, Maildirs, folders, or - for standard input.
    #[arg(required = true, value_name = "MAIL")]
    paths: Vec<PathBuf>,
}

/// What is done with a trust list.
#[derive(Subcommand)]
enum TrustList {
    /// Print whom this site vouches for and what sites earned here, one JSON object a line.
    Export,
    /// Take over vouches and credits that another site printed. Nothing is taken back or lowered;
    /// of a file with a bad line nothing is taken. For administrators.
    Import {
        /// What `novacula trust export` printed there. Read it before: it is as good as its writer.
        file: PathBuf,
    },
}

/// Whose set-up is taken over.
#[derive(Subcommand)]
enum Import {
    /// Razor's razor-whitelist and the min_cf of its razor-agent.conf.
    Razor {
        /// Razor's folder [default: ~/.razor].
        #[arg(long, value_name = "DIR")]
        home: Option<PathBuf>,
    },
}

/// Who speaks.
#[derive(clap::Args)]
struct Who {
    /// Speak for this mailbox user; for users named in believed_users of the agent.
    #[arg(long = "as", value_name = "USER")]
    reporter: Option<String>,
}

/// Runs the command.
pub(crate) fn main() -> ExitCode {
    novacula_agent::quiet_parser_panics();
    let cli = Cli::parse();
    ExitCode::from(run(&cli).unwrap_or_else(|error| {
        eprintln!("novacula: {}", mail::printable(&failed_to(&error)));
        EXIT_ERROR
    }))
}

/// What is wrong where a site vouches for more than a list holds: by releases that cut it without a
/// word, or by two hosts of one site at once.
fn too_many_vouches(count: usize) -> String {
    format!(
        "this site vouches for {count} sites, and only {VOUCHES_MAX} of them are told to others; take some back: novacula vouch SITE --remove"
    )
}

/// Errors are fragments that fit "failed to ...", but for those that are sentences already.
fn failed_to(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let fragment = [
        "read ", "use ", "open ", "write ", "listen ", "accept ", "draw ", "store ", "start ",
        "allow ", "remove ", "watch ", "certify ", "invite ",
    ];
    if fragment.iter().any(|verb| text.starts_with(verb)) {
        return format!("failed to {text}");
    }
    text
}

fn run(cli: &Cli) -> anyhow::Result<u8> {
    let global = &cli.global;
    match &cli.command {
        Command::Serve => serve::run(global),
        Command::Check { mails, seen } => mail::check(global, mails, *seen),
        Command::Report { list: true, who, .. } => people::list(global, who.reporter.as_deref()),
        Command::Report { paths, trap, who, .. } => {
            mail::opine(global, "report", paths, who.speaks(*trap, false))
        }
        Command::Revoke { mails, who } => {
            mail::opine(global, "revoke", &mails.paths, who.speaks(false, false))
        }
        Command::Withdraw { mails, all, who } => {
            mail::opine(global, "withdraw", &mails.paths, who.speaks(false, *all))
        }
        Command::Pair { list: true, .. } => people::tokens(global, None),
        Command::Pair { remove: Some(id), .. } => people::tokens(global, Some(id)),
        Command::Pair { user, .. } => people::pair(global, user.as_deref()),
        Command::Fingerprint { mails } => mail::fingerprint(global, mails),
        Command::Explain { mails } => mail::explain(global, mails),
        Command::Replay(args) => replay::run(global, args),
        Command::Status => local::status(global),
        Command::Doctor => doctor::run(global),
        Command::Identity { of: Some(of), .. } => hosts::run(global, of),
        Command::Identity { invite, group, .. } => peers::identity(global, *invite, *group),
        Command::Join { place, group } => peers::join(global, place, *group),
        Command::Peers { trust: None } => peers::peers(global),
        Command::Peers { trust: Some(site) } => trust::show(global, site.as_deref()),
        Command::Trust(TrustList::Export) => trust::export(global),
        Command::Trust(TrustList::Import { file }) => trust::import(global, file),
        Command::Vouch { site, remove } => peers::vouch(global, site.as_deref(), *remove),
        Command::Allow { pattern, remove } => local::allow(global, pattern.as_deref(), *remove),
        Command::Import { from: Import::Razor { home } } => import::razor(global, home.as_deref()),
        Command::Forwarded { act, sender } => forwarded::run(global, *act, sender),
        Command::Watch(args) => watch::run(global, args),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(*shell, &mut command, "novacula", &mut std::io::stdout());
            Ok(EXIT_OK)
        }
        Command::Man { dir } => manual(dir),
    }
}

fn manual(dir: &Path) -> anyhow::Result<u8> {
    std::fs::create_dir_all(dir).with_context(|| format!("write to {}", dir.display()))?;
    clap_mangen::generate_to(Cli::command(), dir)
        .with_context(|| format!("write to {}", dir.display()))?;
    Ok(EXIT_OK)
}

impl Who {
    /// What the agent is told beside a mail.
    fn speaks(&self, trap: bool, all: bool) -> Envelope {
        Envelope { reporter: self.reporter.clone(), trap, all, ..Envelope::default() }
    }
}

impl Global {
    /// The configuration file, where one was named or the system has one.
    fn config_path(&self) -> Option<PathBuf> {
        let system = PathBuf::from(SYSTEM_CONFIG);
        self.config.clone().or_else(|| system.exists().then_some(system))
    }

    /// The configuration with the command line's paths over it.
    fn config(&self) -> anyhow::Result<Config> {
        let mut config = match self.config_path() {
            Some(path) => Config::read(&path)?,
            None => Config::default(),
        };
        config.data_dir = self.data_dir.clone().unwrap_or(config.data_dir);
        // A data directory of its own means an agent of its own.
        let beside = self.data_dir.as_ref().map(|dir| dir.join("agent.sock"));
        config.socket = self.socket.clone().or(beside).unwrap_or(config.socket);
        Ok(config)
    }

    /// The socket to ask: a user without an agent of his own asks the system's.
    fn socket(&self) -> anyhow::Result<PathBuf> {
        let socket = self.config()?.socket;
        let named = self.socket.is_some() || self.data_dir.is_some() || self.config.is_some();
        if !named && !socket.exists() {
            return Ok(SYSTEM_SOCKET.into());
        }
        Ok(socket)
    }
}

/// A runtime for a command that only asks.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")
}
