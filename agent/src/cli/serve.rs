//! `novacula serve`: the daemon. It stays in the foreground, as service managers want it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use novacula_agent::{Agent, Config, LogFormat, server};
use novacula_catalog::Time;
use novacula_client::socket::{Access, bind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::{EXIT_OK, Global};

/// Longest wait for what is still under way when all is said and stored.
const STOP_TIME_MAX: Duration = Duration::from_secs(1);

type Filter = tracing_subscriber::reload::Handle<EnvFilter, tracing_subscriber::Registry>;

pub(super) fn run(global: &Global) -> anyhow::Result<u8> {
    let config = global.config()?;
    let filter = start_log(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let ended = runtime.block_on(async {
        // First of all: who sees the socket may stop the program, too.
        let hangup = signal(SignalKind::hangup()).context("start the signal handlers")?;
        let mut terminate = signal(SignalKind::terminate()).context("start the signal handlers")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("start the signal handlers")?;
        let agent = Arc::new(Agent::open(&config, Time::now())?);
        let access = Access { mode: 0o660, owner: "", group: &config.socket_group };
        let (listener, refused) = bind(&config.socket, &access)?;
        if let Some(reason) = refused {
            warn!(reason, "the socket keeps its group: others than this user may not use it");
        }
        agent.connect(Time::now());
        let tcp = match config.tcp_address().map_err(anyhow::Error::msg)? {
            Some(address) => Some(open_tcp(address).await?),
            None => None,
        };
        let site = agent.status().await.site;
        let (reload, reloads) = mpsc::channel(1);
        let reloading = tokio::spawn(reload_on(hangup, global.config_paths(), filter, reload));
        info!(site, socket = %config.socket.display(), data_dir = %config.data_dir.display(), "ready");
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            info!("stopping");
        };
        server::serve(listener, tcp, Arc::clone(&agent), &config, reloads, stop).await;
        agent.disconnect().await;
        reloading.abort();
        // Ours: the listener was bound by this process and none other could bind meanwhile.
        let _ = std::fs::remove_file(&config.socket);
        info!("stopped");
        Ok(EXIT_OK)
    });
    // What still runs then only waits for others (a name server, a disk): a refusal at the start
    // must end the program, too.
    runtime.shutdown_timeout(STOP_TIME_MAX);
    ended
}

/// The door for mail clients.
async fn open_tcp(address: std::net::SocketAddr) -> anyhow::Result<tokio::net::TcpListener> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}; name another port in listen_tcp"))?;
    info!(address = %listener.local_addr().context("listen on TCP")?, "mail clients may connect");
    Ok(listener)
}

fn start_log(config: &Config) -> anyhow::Result<Filter> {
    let filter = config.log_filter().map_err(anyhow::Error::msg)?;
    let (filter, handle) = tracing_subscriber::reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    match config.log_format {
        LogFormat::Text => registry.with(lines.with_ansi(false)).init(),
        LogFormat::Json => registry.with(lines.json()).init(),
    }
    Ok(handle)
}

/// Reads the configuration again on every SIGHUP; a mistake in it keeps the old one.
async fn reload_on(
    mut hangup: Signal,
    read: impl Fn() -> anyhow::Result<Config>,
    filter: Filter,
    reload: mpsc::Sender<Config>,
) {
    while hangup.recv().await.is_some() {
        match read() {
            Err(error) => error!("the configuration stays as it was: failed to {error:#}"),
            Ok(config) => {
                // The text was checked when it was read.
                if let Ok(fresh) = config.log_filter() {
                    let _ = filter.reload(fresh);
                }
                if reload.send(config).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Global {
    /// How to read the configuration again, later and elsewhere.
    fn config_paths(&self) -> impl Fn() -> anyhow::Result<Config> + Send + 'static {
        let again = Self {
            config: self.config.clone(),
            socket: self.socket.clone(),
            data_dir: self.data_dir.clone(),
            json: self.json,
        };
        move || again.config()
    }
}
