//! A real Postfix of a test's own: own configuration, queue and data, in a network of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Net;

/// Longest wait for Postfix to be up; it takes about 3 s.
const READY_TIME_MAX: Duration = Duration::from_secs(30);

/// Delivers everything for site.example over LMTP, believes XCLIENT from loopback, and takes no
/// notice of DNS, other users or the system's own Postfix.
const MAIN: &str = r"
compatibility_level = 3.6
queue_directory = @DIR@/queue
data_directory = @DIR@/data
maillog_file = @DIR@/maillog
maillog_file_prefixes = @DIR@
myhostname = mx.site.example
mydestination =
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = site.example
virtual_transport = lmtp:unix:@LMTP@
mynetworks = 127.0.0.0/8
smtpd_authorized_xclient_hosts = 127.0.0.1
inet_protocols = ipv4
inet_interfaces = loopback-only
disable_dns_lookups = yes
smtpd_peername_lookup = no
default_transport = discard:
in_flow_delay = 0
smtputf8_enable = no
";

/// The services; smtpd and cleanup locked into the queue directory as Debian has them.
const MASTER: &str = r"
smtp      inet  n - y - - smtpd
pickup    unix  n - n 1 1 pickup
cleanup   unix  n - y - 0 cleanup
qmgr      unix  n - n 1 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
lmtp      unix  - - n - - lmtp
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
";

/// A running Postfix.
#[derive(Debug)]
pub struct Postfix<'a> {
    net: &'a Net,
    dir: PathBuf,
}

impl<'a> Postfix<'a> {
    /// Writes a configuration that delivers to an LMTP socket, with further lines for main.cf.
    ///
    /// # Panics
    /// When it can't.
    #[must_use]
    pub fn prepare(net: &'a Net, dir: &Path, lmtp: &Path, settings: &str) -> Self {
        let open = |dir: &Path| {
            fs::create_dir_all(dir).expect("a folder");
            fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).expect("permissions");
        };
        // Postfix's own user must get there.
        dir.ancestors().filter(|dir| dir.starts_with(std::env::temp_dir())).for_each(|dir| {
            if dir != std::env::temp_dir() {
                open(dir);
            }
        });
        for name in ["", "queue", "data", "config"] {
            open(&dir.join(name));
        }
        let config = dir.join("config");
        let main = MAIN
            .replace("@DIR@", &dir.display().to_string())
            .replace("@LMTP@", &lmtp.display().to_string());
        fs::write(config.join("main.cf"), main + settings).expect("main.cf");
        fs::write(config.join("master.cf"), MASTER).expect("master.cf");
        let owned = Command::new("chown").arg("postfix").arg(dir.join("data")).status();
        assert!(owned.expect("chown runs").success(), "there is a user postfix");
        Self { net, dir: dir.to_owned() }
    }

    /// Further lines for master.cf, before it starts.
    ///
    /// # Panics
    /// When they can't be written.
    pub fn add_services(&self, lines: &str) {
        fs::write(self.config_dir().join("master.cf"), [MASTER, lines].concat())
            .expect("master.cf");
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&self) {
        let started = self.control("start");
        assert!(started, "Postfix does not start: {}", self.log());
        super::wait_until("Postfix answers", READY_TIME_MAX, || self.swaks(&["--quit", "HELO"]).0);
    }

    /// `postfix start`, `reload` and the like; true when it went well.
    ///
    /// # Panics
    /// When there is no Postfix.
    #[must_use]
    pub fn control(&self, word: &str) -> bool {
        let mut command = self.command("postfix");
        command.arg("-c").arg(self.config_dir()).arg(word).stderr(std::process::Stdio::null());
        command.status().expect("postfix runs").success()
    }

    /// Its configuration directory.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.dir.join("config")
    }

    /// Its queue directory.
    #[must_use]
    pub fn queue_dir(&self) -> PathBuf {
        self.dir.join("queue")
    }

    /// A command in its network, with its configuration.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.net.command(program);
        command.env("MAIL_CONFIG", self.config_dir());
        command
    }

    /// Sends a mail; true when it was taken, and the dialogue.
    ///
    /// # Panics
    /// When there is no swaks.
    #[must_use]
    pub fn swaks(&self, args: &[&str]) -> (bool, String) {
        let mut command = self.command("swaks");
        command.args(["--server", "127.0.0.1", "--helo", "client.example"]);
        let output = command.args(args).output().expect("swaks runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("maillog")).unwrap_or_default()
    }

    /// The queue, as `postqueue -p` lists it.
    ///
    /// # Panics
    /// When it can't be listed.
    #[must_use]
    pub fn queue(&self) -> String {
        let output = self.command("postqueue").arg("-p").output().expect("postqueue runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Postfix<'_> {
    fn drop(&mut self) {
        let _ = self.control("abort");
    }
}
