//! The configuration: flat TOML keys, every one optional. The sample file
//! `contrib/novacula.toml` is the reference; a test holds that it states the defaults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use novacula_catalog::{Rates, STATEMENTS_MAX_DEFAULT, SiteId, Trust};
use serde::{Deserialize, Serialize};

/// Most connections at a time that the socket serves.
const CONNECTIONS_MAX_DEFAULT: usize = 4096;

/// Greatest connections_max: as many file descriptors as a process may usually have.
const CONNECTIONS_MAX: usize = 65_536;

/// All settings.
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
    /// Other sites whose word counts here, by public key, with weights from 0 to 1.
    pub trusted_sites: BTreeMap<String, f64>,
    /// See [`Rates`].
    pub report_if_spam: f64,
    /// See [`Rates`].
    pub report_if_wanted: f64,
    /// See [`Rates`].
    pub report_delay_secs: f64,
    /// See [`Rates`].
    pub trap_nats: f64,
    /// See [`Rates`].
    pub revoke_nats: f64,
    /// See [`Rates`].
    pub prior_nats: f64,
    /// See [`Rates`].
    pub threshold_nats: f64,
    /// See [`Rates`].
    pub window_secs: u64,
    /// See [`Rates`].
    pub bulk_sites: u32,
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
            connections_max: CONNECTIONS_MAX_DEFAULT,
            statements_max: STATEMENTS_MAX_DEFAULT,
            administrators: vec!["root".into()],
            believed_users: Vec::new(),
            authserv_ids: Vec::new(),
            trusted_sites: BTreeMap::new(),
            report_if_spam: rates.report_if_spam,
            report_if_wanted: rates.report_if_wanted,
            report_delay_secs: rates.report_delay_secs,
            trap_nats: rates.trap_nats,
            revoke_nats: rates.revoke_nats,
            prior_nats: rates.prior_nats,
            threshold_nats: rates.threshold_nats,
            window_secs: rates.window_secs,
            bulk_sites: rates.bulk_sites,
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
        self.rates().check()?;
        if !(1..=CONNECTIONS_MAX).contains(&self.connections_max) {
            return Err(format!("connections_max: must lie between 1 and {CONNECTIONS_MAX}"));
        }
        if self.statements_max == 0 {
            return Err("statements_max: must be at least 1".into());
        }
        for (site, weight) in &self.trusted_sites {
            site.parse::<SiteId>()
                .map_err(|error| format!("trusted_sites: {site:?}: failed to {error}"))?;
            if !(0.0..=1.0).contains(weight) {
                return Err(format!("trusted_sites: {site} = {weight}: must lie between 0 and 1"));
            }
        }
        self.log
            .parse::<tracing_subscriber::EnvFilter>()
            .map(|_| ())
            .map_err(|error| format!("log = {:?}: {error}", self.log))
    }

    /// The verdict's rates.
    #[must_use]
    pub fn rates(&self) -> Rates {
        Rates {
            report_if_spam: self.report_if_spam,
            report_if_wanted: self.report_if_wanted,
            report_delay_secs: self.report_delay_secs,
            trap_nats: self.trap_nats,
            revoke_nats: self.revoke_nats,
            prior_nats: self.prior_nats,
            threshold_nats: self.threshold_nats,
            window_secs: self.window_secs,
            bulk_sites: self.bulk_sites,
        }
    }

    /// The trust that the site `home` starts from.
    #[must_use]
    pub fn trust(&self, home: SiteId) -> Trust {
        let sites = self.trusted_sites.iter();
        Trust::group(home, sites.filter_map(|(site, weight)| Some((site.parse().ok()?, *weight))))
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
    fn check(text: &str, part: Option<&str>) {
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
        check("[trusted_sites]\nabc = 1.0", Some("abc"));
        check("log = \"=,=\"", Some("log"));
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
