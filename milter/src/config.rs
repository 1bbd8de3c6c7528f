//! The configuration: flat TOML keys, every one optional, and one table for each listener. The
//! sample file `contrib/novacula-milter.toml` is the reference; a test holds that it states the
//! defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use crate::envelope::Rules;
use crate::facts::FilterHeader;
use crate::policy::{Action, Policy};

/// Longest text for a refused sender, in bytes: an SMTP reply line has 512 (RFC 5321, 4.5.3.1.5).
const REJECT_TEXT_LEN_MAX: usize = 300;

/// Where Postfix keeps its queue on Debian; a listener in it works for chrooted programs too.
const POSTFIX_QUEUE: &str = "/var/spool/postfix";

/// All settings.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The agent's socket.
    pub agent_socket: PathBuf,
    /// This host's name towards the agent.
    pub name: String,
    /// A tracing filter.
    pub log: String,
    /// Longest wait for a verdict, in milliseconds.
    pub deadline_ms: u64,
    /// Longest part of a mail that is looked at, in bytes.
    pub mail_len_max: usize,
    /// What all mails together may take, in bytes.
    pub mails_len_max: usize,
    /// Most connections at a time.
    pub sessions_max: usize,
    /// Clients whose mail is this site's own.
    pub local_networks: Vec<IpNet>,
    /// Addresses and `@domain`s that no wanted mail knows.
    pub traps: Vec<String>,
    /// The other filter's field that is believed; none: `""`.
    #[serde(deserialize_with = "filter_header")]
    pub filter_header: Option<FilterHeader>,
    /// Where MTAs connect.
    pub listener: Vec<Listener>,
}

/// Where MTAs connect, and what is done with mail that comes there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    /// `unix:/path`, `inet:ADDRESS:PORT` or `inet6:[ADDRESS]:PORT`.
    pub address: Address,
    /// Mode of a Unix socket, octal.
    pub mode: String,
    /// User that a Unix socket belongs to; none: ours.
    pub owner: String,
    /// Group that a Unix socket belongs to; none: ours, or the directory's.
    pub group: String,
    /// See [`Policy`].
    pub spam: Action,
    /// See [`Policy`].
    pub bulk: Action,
    /// See [`Policy`].
    pub contested: Action,
    /// See [`Policy`].
    pub spam_confidence_min: u8,
    /// How long an outbreak that nobody has judged waits, in seconds; 0: never.
    pub delay_secs: u64,
    /// See [`Policy`].
    pub reject_text: String,
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Inet(SocketAddr),
}

impl std::fmt::Display for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
            Self::Inet(address @ SocketAddr::V4(_)) => write!(out, "inet:{address}"),
            Self::Inet(address @ SocketAddr::V6(_)) => write!(out, "inet6:{address}"),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?}: must be unix:/path, inet:ADDRESS:PORT or inet6:[ADDRESS]:PORT, with the address in figures"
            )
        };
        match text.split_once(':') {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("inet", rest)) => match rest.parse() {
                Ok(address @ SocketAddr::V4(_)) => Ok(Self::Inet(address)),
                _ => Err(wrong()),
            },
            Some(("inet6", rest)) => match rest.parse() {
                Ok(address @ SocketAddr::V6(_)) => Ok(Self::Inet(address)),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

fn filter_header<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<FilterHeader>, D::Error> {
    use serde::de::{Error, IntoDeserializer, value::StrDeserializer};
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    let name: StrDeserializer<'_, D::Error> = text.as_str().into_deserializer();
    FilterHeader::deserialize(name).map(Some).map_err(D::Error::custom)
}

impl Default for Config {
    fn default() -> Self {
        let loopback = ["127.0.0.0/8", "::1/128"];
        Self {
            agent_socket: "/run/novacula/agent.sock".into(),
            name: host_name(),
            log: "info".into(),
            deadline_ms: 1000,
            mail_len_max: 2 << 20,
            mails_len_max: 48 << 20,
            sessions_max: 2000,
            local_networks: loopback.iter().filter_map(|net| net.parse().ok()).collect(),
            traps: Vec::new(),
            filter_header: None,
            listener: vec![Listener::default()],
        }
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            address: Address::Unix(format!("{POSTFIX_QUEUE}/novacula/milter.sock").into()),
            mode: "0660".into(),
            owner: String::new(),
            group: "postfix".into(),
            spam: Action::Header,
            bulk: Action::Header,
            contested: Action::Header,
            spam_confidence_min: 50,
            delay_secs: 0,
            reject_text: "Refused: recipients at several places call this mail spam. If they err, write to postmaster at this site and name {id}".into(),
        }
    }
}

/// The kernel's name of this host.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
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
    /// Not TOML, an unknown key, a value that can't be.
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
    /// [`ConfigError`], naming file and key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        let wrong = |reason: String| ConfigError::Value { path: path.to_owned(), reason };
        let mut config: Self =
            toml::from_str(&text).map_err(|error| wrong(error.to_string().trim_end().into()))?;
        config.check().map_err(wrong)?;
        config.traps.iter_mut().for_each(|trap| *trap = trap.to_lowercase());
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let within = |key: &str, value: u64, min: u64, max: u64| match (min..=max).contains(&value)
        {
            true => Ok(()),
            false => Err(format!("{key} = {value}: must lie between {min} and {max}")),
        };
        within("deadline_ms", self.deadline_ms, 1, 25_000)?;
        within("mail_len_max", self.mail_len_max as u64, 16 << 10, 24 << 20)?;
        within("mails_len_max", self.mails_len_max as u64, 1 << 20, 1 << 32)?;
        within("sessions_max", self.sessions_max as u64, 1, 60_000)?;
        within("name", self.name.len() as u64, 1, 255)?;
        if let Some(trap) = self.traps.iter().find(|trap| !trap.contains('@')) {
            return Err(format!("traps: {trap:?}: must be an address or an @domain"));
        }
        if self.listener.is_empty() {
            return Err("listener: at least one [[listener]] is needed".into());
        }
        self.listener.iter().try_for_each(Listener::check)?;
        self.log
            .parse::<tracing_subscriber::EnvFilter>()
            .map(|_| ())
            .map_err(|error| format!("log = {:?}: {error}", self.log))
    }

    /// The longest wait for a verdict.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    /// What a session needs to know.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            local_networks: self.local_networks.clone(),
            traps: self.traps.clone(),
            filter_header: self.filter_header,
            mail_len_max: self.mail_len_max,
        }
    }
}

impl Listener {
    fn check(&self) -> Result<(), String> {
        let of = |text: String| format!("listener {}: {text}", self.address);
        self.mode().map_err(of)?;
        if self.spam_confidence_min > 100 {
            return Err(of("spam_confidence_min: must lie between 0 and 100".into()));
        }
        if self.delay_secs > 24 * 3600 {
            return Err(of("delay_secs: must be at most 86400, a day".into()));
        }
        let text = &self.reject_text;
        let plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'%');
        if text.is_empty() || text.len() > REJECT_TEXT_LEN_MAX || !plain {
            return Err(of(format!(
                "reject_text: must be 1 to {REJECT_TEXT_LEN_MAX} characters of ASCII without %"
            )));
        }
        Ok(())
    }

    /// The mode as a number.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn mode(&self) -> Result<u32, String> {
        u32::from_str_radix(&self.mode, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .ok_or(format!("mode = {:?}: must be octal, such as \"0660\"", self.mode))
    }

    /// What is done with mail that comes here.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            spam: self.spam,
            bulk: self.bulk,
            contested: self.contested,
            spam_confidence_min: self.spam_confidence_min,
            delay: (self.delay_secs > 0).then(|| Duration::from_secs(self.delay_secs)),
            reject_text: self.reject_text.clone(),
        }
    }
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
        check("[[listener]]\naddress = \"inet6:[::1]:7000\"\nspam = \"reject\"", None);
        check("filter_header = \"X-Spam-Status\"\ntraps = [\"@a.example\"]", None);
        check("filter_header = \"\"", None);
        check("deadline = 5", Some("deadline"));
        check("deadline_ms = 0", Some("deadline_ms"));
        check("traps = [\"x\"]", Some("traps"));
        check("local_networks = [\"127.0.0.1/99\"]", Some("local_networks"));
        check("filter_header = \"Subject\"", Some("filter_header"));
        check("listener = []", Some("listener"));
        check("[[listener]]\naddress = \"inet:mail.example:25\"", Some("in figures"));
        check("[[listener]]\naddress = \"unix:relative\"", Some("unix:/path"));
        check("[[listener]]\nspam = \"delete\"", Some("delete"));
        check("[[listener]]\nmode = \"0999\"", Some("mode"));
        check("[[listener]]\nreject_text = \"50 % off\"", Some("reject_text"));
        check("[[listener]]\nreject_text = \"a\\nb\"", Some("reject_text"));
        check("[[listener]]\nthreshold = 5", Some("threshold"));
        check("log = \"=,=\"", Some("log"));
    }

    #[test]
    fn the_sample_file_states_the_defaults() {
        let text = include_str!("../../contrib/novacula-milter.toml");
        let stated: Config = toml::from_str(text).unwrap();
        let name = host_name();
        assert_eq!(Config { name, ..stated }, Config::default());
        let table: toml::Table = toml::from_str(text).unwrap();
        assert_eq!(table.len(), 11, "every key");
        assert_eq!(table["listener"][0].as_table().unwrap().len(), 10, "every key of a listener");
    }

    #[test]
    fn addresses_read_as_they_are_written() {
        for text in ["unix:/a/b", "inet:127.0.0.1:7000", "inet6:[::1]:7000"] {
            assert_eq!(Address::try_from(text.to_owned()).unwrap().to_string(), text);
        }
    }
}
