//! A real Sendmail of a test's own, run from the unpacked packages (as a package it would push
//! out Postfix): own configuration and queue, in a network of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Net;

/// Longest wait for Sendmail to be up.
const READY_TIME_MAX: Duration = Duration::from_secs(30);

/// The configuration in its own language: all mail goes over LMTP.
const CONFIG: &str = r"
VERSIONID(`test')
OSTYPE(`linux')
LOCAL_DOMAIN(`site.example')
define(`QUEUE_DIR', `@DIR@/queue')
define(`STATUS_FILE', `@DIR@/statistics')
define(`HELP_FILE', `@DIR@/helpfile')
define(`ALIAS_FILE', `')
define(`confPID_FILE', `@DIR@/pid')
define(`confRUN_AS_USER', `root')
define(`confDOMAIN_NAME', `mx.site.example')
define(`confTO_IDENT', `0')
define(`confSERVICE_SWITCH_FILE', `@DIR@/service.switch')
define(`confBIND_OPTS', `')
define(`confLOG_LEVEL', `14')
define(`confDELIVERY_MODE', `i')
define(`confTO_MCI_OPTION', `')
FEATURE(`accept_unresolvable_domains')
FEATURE(`nocanonify')
FEATURE(`no_default_msa')
DAEMON_OPTIONS(`Family=inet, Name=MTA, Addr=127.0.0.1, Port=25')
@MILTER@
define(`confLOCAL_MAILER', `keep')
MAILER(`smtp')
MAILER_DEFINITIONS
Mkeep, P=[IPC], F=lsDFMmnqSXz5@|, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP/HdrToSMTP, E=\r\n, T=DNS/RFC822/SMTP, A=FILE @LMTP@
";

/// A running Sendmail.
#[derive(Debug)]
pub struct Sendmail<'a> {
    net: &'a Net,
    daemon: Child,
    dir: PathBuf,
}

impl<'a> Sendmail<'a> {
    /// Starts it with a line that names the milter, delivering to an LMTP socket beside `dir`;
    /// `unpacked` is where the packages lie. It takes no socket below /tmp for safe, so it finds
    /// the parent of `dir` as /mnt.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(net: &'a Net, dir: &Path, unpacked: &Path, lmtp: &str, milter: &str) -> Self {
        fs::create_dir_all(dir.join("queue")).expect("a folder");
        fs::set_permissions(dir.join("queue"), PermissionsExt::from_mode(0o700)).expect("its mode");
        fs::write(dir.join("service.switch"), "hosts files\naliases files\n").expect("the file");
        let config = CONFIG
            .replace("@DIR@", &dir.display().to_string())
            .replace("@LMTP@", &format!("/mnt/{lmtp}"))
            .replace("@MILTER@", milter);
        fs::write(dir.join("sendmail.mc"), config).expect("the file");
        let language = unpacked.join("usr/share/sendmail/cf");
        let built = Command::new("m4")
            .arg(format!("-D_CF_DIR_={}/", language.display()))
            .arg(language.join("m4/cf.m4"))
            .arg(dir.join("sendmail.mc"))
            .output()
            .expect("m4 runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        fs::write(dir.join("sendmail.cf"), built.stdout).expect("the file");
        // It must know its own full name without DNS, or it sleeps for a minute.
        fs::write(dir.join("hosts"), "127.0.0.1 mx.site.example localhost\n").expect("the file");
        let script = "mount --bind \"$1/hosts\" /etc/hosts && mount --bind \"$1/..\" /mnt && exec \"$2\" -C \"$1/sendmail.cf\" -bD -X \"$1/traffic\"";
        let log = fs::File::create(dir.join("log")).expect("the file");
        let mut command = net.command("unshare");
        let daemon = command
            .args(["--mount", "sh", "-euc", script, "sh"])
            .arg(dir)
            .arg(unpacked.join("usr/libexec/sendmail/sendmail"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the file"))
            .stderr(log)
            .spawn()
            .expect("sendmail starts");
        let mut sendmail = Self { net, daemon, dir: dir.to_owned() };
        super::wait_until("Sendmail answers", READY_TIME_MAX, || {
            let ended = sendmail.daemon.try_wait().expect("it is ours");
            assert!(ended.is_none(), "Sendmail ended: {ended:?} {}", sendmail.log());
            sendmail.swaks(&["--quit", "HELO"]).0
        });
        sendmail
    }

    /// Sends a mail; true when it was taken, and the dialogue.
    ///
    /// # Panics
    /// When there is no swaks.
    #[must_use]
    pub fn swaks(&self, args: &[&str]) -> (bool, String) {
        let mut command = self.net.command("swaks");
        command.args(["--server", "127.0.0.1", "--helo", "client.example"]);
        let output = command.args(args).output().expect("swaks runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Files in its queue whose names begin so.
    ///
    /// # Panics
    /// When there is no queue.
    #[must_use]
    pub fn queued(&self, prefix: &str) -> Vec<String> {
        let names = fs::read_dir(self.dir.join("queue")).expect("the queue").flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(prefix)).collect()
    }

    /// What it has said.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Sendmail<'_> {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
