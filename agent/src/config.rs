//! The configuration: TOML keys, every one optional. The sample file
//! `contrib/novacula.toml` is the reference; a test holds that it states the defaults.

mod network;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use novacula_catalog::node::PrefixBits;
use novacula_catalog::{Rates, STATEMENTS_MAX_DEFAULT, SiteId};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use network::DEFAULT_LISTEN;
pub use network::GroupConfig;
pub(crate) use network::NetworkConfig;

/// Before what `log` says: libp2p has a warning for each stream that a stranger opens beyond a bound.
const QUIET: &str = "libp2p=error";

/// Most connections at a time that the socket serves.
const CONNECTIONS_MAX_DEFAULT: usize = 4096;

/// Most opinions of one user in an hour: one every four seconds, more than a person gives.
const OPINIONS_PER_HOUR_MAX_DEFAULT: u32 = 1000;

/// Greatest connections_max: as many file descriptors as a process may usually have.
const CONNECTIONS_MAX: usize = 65_536;

/// Longest wait for peers unless said otherwise, in milliseconds (DESIGN 4.2).
const DEADLINE_MS_DEFAULT: u64 = 150;

/// Longest wait for peers that may be set, in milliseconds (DESIGN 4.2: mail is never held
/// longer).
const DEADLINE_MS_MAX: u64 = 500;

/// Most connections with peers: 95 KiB each over QUIC (measured).
const PEER_CONNECTIONS_MAX_DEFAULT: u32 = 1_000;

/// All settings: flat keys, but for what belongs to the private group alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where identity and database are kept.
    pub data_dir: PathBuf,
    /// The Unix socket.
    pub socket: PathBuf,
    /// Group that may use the socket, if it exists.
    pub socket_group: String,
    /// `error`, `warn`, `info`, `debug` or a tracing filter.
    pub log: String,
    /// `text` or `json`.
    pub log_format: LogFormat,
    /// Where mail clients connect over TCP, on loopback; empty: nowhere.
    pub listen_tcp: String,
    /// Names by which the TCP door is asked for, beside loopback's own.
    pub tcp_hosts: Vec<String>,
    /// Web origins that may use the TCP door, beside extensions of a mail client.
    pub tcp_origins: Vec<String>,
    /// Domain whose mailboxes are this host's users.
    pub user_domain: String,
    /// Most opinions of one user in an hour; 0: any number.
    pub opinions_per_hour_max: u32,
    /// Most connections at a time.
    pub connections_max: usize,
    /// Most statements held in memory.
    pub statements_max: usize,
    /// Users who administer the site.
    pub administrators: Vec<String>,
    /// Users who may speak for others (milter, dovecot, the MTA).
    pub believed_users: Vec<String>,
    /// Verifiers whose Authentication-Results are believed.
    pub authserv_ids: Vec<String>,
    /// Hosts whose SpamAssassin wraps spam.
    pub spamassassin_hosts: Vec<String>,
    /// Other sites whose word counts here, by public key, with weights from 0 to 1.
    pub trusted_sites: BTreeMap<String, f64>,
    /// Take part in a network of peers.
    pub network: bool,
    /// Addresses to listen on for peers.
    pub network_listen: Vec<String>,
    /// Addresses to tell peers; empty: those listened on.
    pub network_announce: Vec<String>,
    /// Addresses to begin with.
    pub bootstrap: Vec<String>,
    /// Names whose TXT records at `_dnsaddr.NAME` give addresses to begin with.
    pub dns_seeds: Vec<String>,
    /// Look for peers in the local network.
    pub mdns: bool,
    /// This host is behind a NAT.
    pub behind_nat: bool,
    /// Help hosts behind a NAT to be reached.
    pub relay: bool,
    /// Longest that a check waits for peers, in milliseconds.
    pub deadline_ms: u64,
    /// How soon peers are asked again about a mail that keeps coming, in seconds.
    pub recheck_secs: u64,
    /// A private network's key, 64 hexadecimal digits.
    pub group_key: String,
    /// A private network's sites, by public key.
    pub group_sites: Vec<String>,
    /// Members of the private network whose reports it takes to call a mail spam.
    pub group_reports_min: u32,
    /// Bits of an IPv4 address that name a network.
    pub network_prefix_v4: u8,
    /// Bits of an IPv6 address that name a network.
    pub network_prefix_v6: u8,
    /// Most connections with peers.
    pub peer_connections_max: u32,
    /// A file in which every frame sent is written down.
    pub network_record: PathBuf,
    /// See [`Rates`].
    pub report_if_spam: f64,
    /// See [`Rates`].
    pub report_if_wanted: f64,
    /// See [`Rates`].
    pub supposed_copies: f64,
    /// See [`Rates`].
    pub report_delay_secs: f64,
    /// See [`Rates`].
    pub trap_nats: f64,
    /// See [`Rates`].
    pub revoke_nats: f64,
    /// See [`Rates`].
    pub filter_spam_nats: f64,
    /// See [`Rates`].
    pub filter_ham_nats: f64,
    /// See [`Rates`].
    pub prior_nats: f64,
    /// See [`Rates`].
    pub threshold_nats: f64,
    /// See [`Rates`].
    pub window_secs: u64,
    /// See [`Rates`].
    pub bulk_sites: u32,
    /// A private group beside the network.
    pub group: GroupConfig,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        let rates = Rates::default();
        Self {
            data_dir: default_data_dir(),
            socket: default_socket(),
            socket_group: "novacula".into(),
            log: "info".into(),
            log_format: LogFormat::Text,
            listen_tcp: String::new(),
            tcp_hosts: Vec::new(),
            tcp_origins: Vec::new(),
            user_domain: String::new(),
            opinions_per_hour_max: OPINIONS_PER_HOUR_MAX_DEFAULT,
            connections_max: CONNECTIONS_MAX_DEFAULT,
            statements_max: STATEMENTS_MAX_DEFAULT,
            administrators: vec!["root".into()],
            believed_users: Vec::new(),
            authserv_ids: Vec::new(),
            spamassassin_hosts: Vec::new(),
            trusted_sites: BTreeMap::new(),
            network: false,
            network_listen: DEFAULT_LISTEN.map(String::from).to_vec(),
            network_announce: Vec::new(),
            bootstrap: Vec::new(),
            dns_seeds: Vec::new(),
            mdns: false,
            behind_nat: false,
            relay: true,
            deadline_ms: DEADLINE_MS_DEFAULT,
            recheck_secs: 60,
            group_key: String::new(),
            group_sites: Vec::new(),
            group_reports_min: rates.named_reports_min,
            network_prefix_v4: PrefixBits::default().v4,
            network_prefix_v6: PrefixBits::default().v6,
            peer_connections_max: PEER_CONNECTIONS_MAX_DEFAULT,
            network_record: PathBuf::new(),
            report_if_spam: rates.report_if_spam,
            report_if_wanted: rates.report_if_wanted,
            supposed_copies: rates.supposed_copies,
            report_delay_secs: rates.report_delay_secs,
            trap_nats: rates.trap_nats,
            revoke_nats: rates.revoke_nats,
            filter_spam_nats: rates.filter_spam_nats,
            filter_ham_nats: rates.filter_ham_nats,
            prior_nats: rates.prior_nats,
            threshold_nats: rates.threshold_nats,
            window_secs: rates.window_secs,
            bulk_sites: rates.bulk_sites,
            group: GroupConfig::default(),
        }
    }
}

/// What can be wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("read the configuration {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not TOML, or has an unknown key, or a value of the wrong type.
    #[error("read the configuration {path}: {reason}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and key.
        reason: String,
    },
    /// A value is out of range.
    #[error("read the configuration {path}: {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the key.
        reason: String,
    },
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`], naming file, line and key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        let config: Self = toml::from_str(&text).map_err(|error| ConfigError::Toml {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        config.check().map_err(|reason| ConfigError::Value { path: path.to_owned(), reason })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if self.group_reports_min == 0 {
            return Err("group_reports_min: must be at least 1".into());
        }
        self.rates().check()?;
        if !(1..=CONNECTIONS_MAX).contains(&self.connections_max) {
            return Err(format!("connections_max: must lie between 1 and {CONNECTIONS_MAX}"));
        }
        if self.statements_max == 0 {
            return Err("statements_max: must be at least 1".into());
        }
        self.tcp_address()?;
        for (site, weight) in &self.trusted_sites {
            site.parse::<SiteId>()
                .map_err(|error| format!("trusted_sites: {site:?}: failed to {error}"))?;
            if !(0.0..=1.0).contains(weight) {
                return Err(format!("trusted_sites: {site} = {weight}: must lie between 0 and 1"));
            }
        }
        self.check_network()?;
        self.log_filter().map(|_| ())
    }

    /// What is logged.
    ///
    /// # Errors
    /// When the setting is no filter.
    pub fn log_filter(&self) -> Result<EnvFilter, String> {
        let filter = format!("{QUIET},{}", self.log).parse();
        filter.map_err(|error| format!("log = {:?}: {error}", self.log))
    }

    /// Where the TCP door is, if it is open. Beyond this host a proxy with TLS must stand before it.
    ///
    /// # Errors
    /// When it is no address, or one that others reach.
    pub fn tcp_address(&self) -> Result<Option<SocketAddr>, String> {
        if self.listen_tcp.is_empty() {
            return Ok(None);
        }
        let said = &self.listen_tcp;
        let address: SocketAddr = said.parse().map_err(|_| {
            format!("listen_tcp = {said:?}: must be address:port, as in 127.0.0.1:8825")
        })?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "listen_tcp = {said:?}: must be a loopback address; for others put a proxy with TLS before it (contrib/thunderbird/nginx.conf)"
            ));
        }
        Ok(Some(address))
    }

    /// The verdict's rates.
    #[must_use]
    pub fn rates(&self) -> Rates {
        Rates {
            report_if_spam: self.report_if_spam,
            report_if_wanted: self.report_if_wanted,
            supposed_copies: self.supposed_copies,
            report_delay_secs: self.report_delay_secs,
            trap_nats: self.trap_nats,
            revoke_nats: self.revoke_nats,
            filter_spam_nats: self.filter_spam_nats,
            filter_ham_nats: self.filter_ham_nats,
            prior_nats: self.prior_nats,
            threshold_nats: self.threshold_nats,
            window_secs: self.window_secs,
            bulk_sites: self.bulk_sites,
            named_reports_min: self.group_reports_min,
        }
    }
}

/// True when this process runs as root: then it is the system's agent.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn home_dir() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

fn default_data_dir() -> PathBuf {
    if is_root() {
        return "/var/lib/novacula".into();
    }
    let xdg = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    xdg.unwrap_or_else(|| home_dir().join(".local/share")).join("novacula")
}

/// Where the system's agent listens.
pub const SYSTEM_SOCKET: &str = "/run/novacula/agent.sock";

fn default_socket() -> PathBuf {
    if is_root() {
        return SYSTEM_SOCKET.into();
    }
    let xdg = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    xdg.map_or_else(default_data_dir, |dir| dir.join("novacula")).join("agent.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    pub(super) fn check(text: &str, part: Option<&str>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        match (Config::read(file.path()), part) {
            (Ok(_), None) => {}
            (Err(error), Some(part)) => {
                let text = error.to_string();
                assert!(text.contains(part), "{text}");
                assert!(text.contains(&*file.path().to_string_lossy()), "{text}");
            }
            (other, _) => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("", None);
        check("threshold_nats = 5.0\nlog = \"debug\"", None);
        check("log = \"info\"\nthreshhold = 5", Some("line 2"));
        check("threshhold = 5", Some("threshhold"));
        check("socket = 5", Some("line 1"));
        check("report_if_spam = 1.5", Some("report_if_spam"));
        check("connections_max = 0", Some("connections_max"));
        check("listen_tcp = \"127.0.0.1:0\"", None);
        check("listen_tcp = \"localhost\"", Some("address:port"));
        check("listen_tcp = \"0.0.0.0:8825\"", Some("loopback"));
        check("[trusted_sites]\nabc = 1.0", Some("abc"));
        check("log = \"=,=\"", Some("log"));
        check("deadline_ms = 501", Some("deadline_ms"));
        check("bootstrap = [\"mx.example.org\", \"192.0.2.7:99\"]", None);
        check("bootstrap = [\"a b\"]", Some("bootstrap"));
        check("group_key = \"abc\"", Some("group_key"));
        check("group_reports_min = 0", Some("group_reports_min"));
        check(&format!("group_key = \"{}\"", "5f".repeat(32)), None);
        check("group_sites = [\"abc\"]", Some("group_sites"));
    }

    #[test]
    fn libp2p_says_what_is_wrong_and_more_only_when_asked() {
        let filter = |log: &str| Config { log: log.into(), ..Config::default() }.log_filter();
        let named = |log: &str| filter(log).unwrap().to_string();
        assert!(named("info").contains("libp2p=error") && named("info").contains("info"));
        let asked = named("info,libp2p=warn");
        assert!(asked.contains("libp2p=warn") && !asked.contains("libp2p=error"), "{asked}");
        assert!(filter("=,=").unwrap_err().starts_with("log = \"=,=\""));
    }

    #[test]
    fn the_sample_file_states_the_defaults() {
        let text = include_str!("../../contrib/novacula.toml");
        let stated: toml::Table = toml::from_str(text).unwrap();
        let defaults = toml::Table::try_from(Config::default()).unwrap();
        assert_eq!(
            stated.keys().collect::<Vec<_>>(),
            defaults.keys().collect::<Vec<_>>(),
            "every key, and no other"
        );
        for (key, value) in &stated {
            // Paths depend on the user; the sample shows root's.
            if key != "data_dir" && key != "socket" {
                assert_eq!(Some(value), defaults.get(key), "{key}");
            }
        }
    }
}
