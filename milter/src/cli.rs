//! The command line: `serve`, and `setup` for Postfix.

use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode};

use anyhow::{Context, bail};
use clap::{CommandFactory, Parser, Subcommand};
use novacula_milter::config::{Address, Config};
use novacula_milter::setup::{LISTS, Setup};
use novacula_milter::{listen, server};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info};

/// Where the configuration is looked for when nobody says where.
const SYSTEM_CONFIG: &str = "/etc/novacula/novacula-milter.toml";

/// Puts the verdict of the novacula agent into Postfix and Sendmail.
#[derive(Parser)]
#[command(name = "novacula-milter", version, arg_required_else_help = true)]
struct Cli {
    /// Configuration file; none is needed [default: /etc/novacula/novacula-milter.toml if it exists].
    #[arg(long, global = true, env = "NOVACULA_MILTER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The agent's Unix socket.
    #[arg(long, global = true, env = "NOVACULA_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the milter in the foreground.
    Serve,
    /// Write the milter into an MTA's configuration.
    Setup {
        #[command(subcommand)]
        mta: Mta,
    },
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

#[derive(Subcommand)]
enum Mta {
    /// Postfix, with postconf. Other milters stay as they are.
    Postfix {
        /// Show the commands and change nothing.
        #[arg(long, group = "way")]
        print: bool,
        /// Do it, make the socket's directory, and reload Postfix.
        #[arg(long, group = "way")]
        apply: bool,
        /// Take the milter out again, and reload Postfix.
        #[arg(long, group = "way")]
        undo: bool,
        /// Postfix's configuration directory.
        #[arg(long, value_name = "DIR")]
        config_dir: Option<PathBuf>,
    },
}

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("novacula-milter: failed to {}", format!("{error:#}").escape_debug());
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    match &cli.command {
        Command::Serve => serve(cli),
        Command::Setup { mta: Mta::Postfix { apply, undo, config_dir, .. } } => {
            let change = if *undo { Change::Undo } else { Change::Add };
            postfix(&cli.read_config()?, change, *apply || *undo, config_dir.as_deref())
        }
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(
                *shell,
                &mut command,
                "novacula-milter",
                &mut std::io::stdout(),
            );
            Ok(())
        }
        Command::Man { dir } => manual(dir),
    }
}

impl Cli {
    fn read_config(&self) -> anyhow::Result<Config> {
        let system = Path::new(SYSTEM_CONFIG);
        let path = self.config.as_deref().or_else(|| system.exists().then_some(system));
        let mut config = path.map_or_else(|| Ok(Config::default()), Config::read)?;
        config.agent_socket = self.socket.clone().unwrap_or(config.agent_socket);
        Ok(config)
    }
}

fn serve(cli: &Cli) -> anyhow::Result<()> {
    let config = cli.read_config()?;
    let filter: tracing_subscriber::EnvFilter =
        config.log.parse().context("read the setting log")?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        // First of all: who sees the sockets may stop the program, too.
        let handlers = "start the signal handlers";
        let hangup = signal(SignalKind::hangup()).context(handlers)?;
        let mut terminate = signal(SignalKind::terminate()).context(handlers)?;
        let mut interrupt = signal(SignalKind::interrupt()).context(handlers)?;
        let bound = listen::bind(&config.listener).await?;
        let (reload, reloads) = mpsc::channel(1);
        for listener in &bound {
            info!(listener = listener.name(), agent = %config.agent_socket.display(), "ready");
        }
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            info!("stopping");
        };
        tokio::select! {
            () = server::run(bound, &config, reloads, stop) => {}
            () = reload_on(hangup, cli, reload) => {}
        }
        info!("stopped");
        Ok(())
    })
}

/// Reads the configuration again on every SIGHUP; a mistake in it keeps the old one.
async fn reload_on(mut hangup: Signal, cli: &Cli, reload: mpsc::Sender<Config>) {
    while hangup.recv().await.is_some() {
        match cli.read_config() {
            Ok(config) => {
                if reload.send(config).await.is_err() {
                    return;
                }
                info!("configuration read again");
            }
            Err(error) => {
                error!(reason = %format!("{error:#}").escape_debug(), "the old configuration stays");
            }
        }
    }
    std::future::pending::<()>().await;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Undo,
}

fn postfix(
    config: &Config,
    change: Change,
    apply: bool,
    config_dir: Option<&Path>,
) -> anyhow::Result<()> {
    let dir_flag: Vec<&str> =
        config_dir.and_then(Path::to_str).map(|dir| vec!["-c", dir]).unwrap_or_default();
    let Some(listener) = config.listener.first() else { bail!("find a listener") };
    let ask = |name: &str| output("postconf", &[&dir_flag[..], &["-h", name]].concat());
    let setup = Setup::new(&listener.address.to_string(), Path::new(&ask("queue_directory")?));
    let mut assignments = Vec::new();
    for name in LISTS {
        let now = ask(name)?;
        let then = if change == Change::Add { setup.add(&now) } else { setup.remove(&now) };
        assignments.push(format!("{name} = {then}"));
    }
    if !apply {
        for assignment in &assignments {
            println!("postconf {}-e '{assignment}'", flag_text(&dir_flag));
        }
        println!("postfix {}reload", flag_text(&dir_flag));
        return Ok(());
    }
    if change == Change::Add
        && let Address::Unix(path) = &listener.address
    {
        make_socket_dir(path)?;
    }
    let assignments: Vec<&str> = assignments.iter().map(String::as_str).collect();
    output("postconf", &[&dir_flag[..], &["-e"], &assignments].concat())?;
    match output("postfix", &[&dir_flag[..], &["reload"]].concat()) {
        Ok(_) => println!("done; Postfix has reloaded"),
        Err(_) => println!("done; Postfix does not run, it will take it up when it starts"),
    }
    Ok(())
}

fn flag_text(flag: &[&str]) -> String {
    flag.iter().map(|word| format!("{word} ")).collect()
}

/// The directory of the socket belongs to the user `novacula`, if there is one, and passes its
/// group on to the socket.
fn make_socket_dir(socket: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::{PermissionsExt, chown};
    let Some(dir) = socket.parent() else { return Ok(()) };
    if dir.exists() {
        return Ok(());
    }
    let failed = || format!("make {}", dir.display());
    std::fs::create_dir_all(dir).with_context(failed)?;
    let owner = uzers::get_user_by_name("novacula").map(|user| user.uid());
    let group = uzers::get_group_by_name("postfix").map(|group| group.gid());
    chown(dir, owner, group).with_context(failed)?;
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o2750)).with_context(failed)
}

/// Runs a program and gives what it prints, without the last line end.
fn output(program: &str, args: &[&str]) -> anyhow::Result<String> {
    let ran = Process::new(program)
        .args(args)
        .output()
        .with_context(|| format!("run {program}: is Postfix installed?"))?;
    if !ran.status.success() {
        bail!("run {program}: {}", String::from_utf8_lossy(&ran.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&ran.stdout).trim_end().to_owned())
}

fn manual(dir: &Path) -> anyhow::Result<()> {
    let failed = || format!("write to {}", dir.display());
    std::fs::create_dir_all(dir).with_context(failed)?;
    clap_mangen::generate_to(Cli::command(), dir).with_context(failed)
}
