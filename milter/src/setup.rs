//! Writes the milter into Postfix's configuration and takes it out again, beside other milters
//! that stand there. Only `postconf` reads and writes main.cf.
//!
//! Main item: [`Setup`]. What is worked out is pure text; a caller prints or applies it.

use std::path::Path;

/// The settings that list milters: for mail over SMTP, and for mail made on this host, whose
/// recipients are this site's correspondents.
pub const LISTS: [&str; 2] = ["smtpd_milters", "non_smtpd_milters"];

/// How long Postfix waits to be connected, for an answer to a command, and to a whole mail. The
/// milter answers within its deadline; Postfix's own 30, 30 and 300 s would hold mail when its
/// host is gone.
const TIMES: &str = "connect_timeout=10s, command_timeout=10s, content_timeout=30s";

/// What Postfix is told.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `unix:...` or `inet:...` as Postfix writes it.
    endpoint: String,
}

impl Setup {
    /// For a milter at this address (as the milter's configuration has it), by the queue
    /// directory that Postfix's programs may be locked into.
    #[must_use]
    pub fn new(address: &str, queue_directory: &Path) -> Self {
        let endpoint = match address.strip_prefix("unix:") {
            // A path relative to the queue directory is right inside and outside of a chroot.
            Some(path) => match Path::new(path).strip_prefix(queue_directory) {
                Ok(inside) => format!("unix:{}", inside.display()),
                Err(_) => address.to_owned(),
            },
            None => address.replacen("inet6:", "inet:", 1),
        };
        Self { endpoint }
    }

    /// The entry for the lists of milters.
    #[must_use]
    pub fn entry(&self) -> String {
        format!("{{ {}, {TIMES}, default_action=accept }}", self.endpoint)
    }

    /// A list of milters with ours at its end, after those whose fields ours reads.
    #[must_use]
    pub fn add(&self, list: &str) -> String {
        let mut entries = self.others(list);
        let ours = self.entry();
        entries.push(&ours);
        entries.join(", ")
    }

    /// A list of milters without ours.
    #[must_use]
    pub fn remove(&self, list: &str) -> String {
        self.others(list).join(", ")
    }

    fn others<'a>(&self, list: &'a str) -> Vec<&'a str> {
        let mut entries = split(list);
        entries.retain(|entry| {
            let inner = entry.trim_start_matches('{').trim_start();
            let endpoint = inner.split([',', ' ', '\t', '}']).next().unwrap_or_default();
            endpoint != self.endpoint
        });
        entries
    }
}

/// A list of milters into its entries: separated by blanks or commas, but not within braces.
fn split(list: &str) -> Vec<&str> {
    let (mut entries, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 && (letter == ',' || letter.is_whitespace()) => {
                entries.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    entries.push(&list[start..]);
    entries.retain(|entry| !entry.is_empty());
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "{ unix:novacula/milter.sock, connect_timeout=10s, command_timeout=10s, content_timeout=30s, default_action=accept }";

    #[track_caller]
    fn check(before: &str, others: &str) {
        let queue = Path::new("/var/spool/postfix");
        let setup = Setup::new("unix:/var/spool/postfix/novacula/milter.sock", queue);
        let with = setup.add(before);
        let expected = if others.is_empty() { OURS.into() } else { format!("{others}, {OURS}") };
        assert_eq!(with, expected);
        assert_eq!(setup.add(&with), with, "twice is once");
        assert_eq!(setup.remove(&with), others, "undone");
    }

    #[test]
    fn beside_others_and_back() {
        check("", "");
        check("inet:127.0.0.1:8891", "inet:127.0.0.1:8891");
        check("unix:a  unix:b,unix:c", "unix:a, unix:b, unix:c");
        check(
            "{ unix:a, default_action=tempfail } unix:b",
            "{ unix:a, default_action=tempfail }, unix:b",
        );
        check(&format!("unix:a, {OURS}"), "unix:a");
        check("unix:novacula/milter.sock unix:a", "unix:a");
    }

    #[test]
    fn endpoints() {
        let queue = Path::new("/q");
        let endpoint = |address: &str| Setup::new(address, queue).endpoint;
        assert_eq!(endpoint("unix:/q/a/b"), "unix:a/b");
        assert_eq!(endpoint("unix:/run/b"), "unix:/run/b");
        assert_eq!(endpoint("inet:127.0.0.1:7000"), "inet:127.0.0.1:7000");
        assert_eq!(endpoint("inet6:[::1]:7000"), "inet:[::1]:7000");
    }
}
