//! A real agent and a real milter: the built binaries on a data directory and sockets of their
//! own, stopped and cleaned up when they go out of scope.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};

use crate::rig::Net;

pub use rustix::process::Signal;

/// Longest wait for a daemon to be ready; it takes some tens of milliseconds.
const READY_TIME_MAX: Duration = Duration::from_secs(20);

/// The `novacula` binary that was built with these tests.
///
/// # Panics
/// When it is not where cargo puts it.
#[must_use]
pub fn novacula() -> PathBuf {
    built("novacula")
}

/// A binary that was built with these tests, or beside this program.
///
/// # Panics
/// When it is not where cargo puts it.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a program has a path");
    let mut folders = test.ancestors().skip(1).take(2).map(|dir| dir.join(name));
    folders.find(|path| path.exists()).expect("build the workspace first: cargo build --workspace")
}

/// An agent's place, running or not.
#[derive(Debug)]
pub struct Place {
    dir: tempfile::TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// An empty place.
    ///
    /// # Panics
    /// When there is no room for a temporary folder.
    #[must_use]
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    /// The folder; the data directory is in it.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The agent's data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The agent's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path().join("agent.sock")
    }

    /// A command of this place.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(novacula());
        command
            .args(args)
            .env_clear()
            .env("NOVACULA_DATA_DIR", self.data_dir())
            .env("NOVACULA_SOCKET", self.socket())
            .env("HOME", self.path())
            .current_dir(self.path());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).stdin(Stdio::null()).output();
        Ran::of(output.expect("novacula starts"))
    }

    /// Runs a command with a mail on standard input.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn run_with(&self, args: &[&str], stdin: &[u8]) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("novacula starts");
        // A command that refuses early does not read it all.
        let _ = child.stdin.take().expect("it is piped").write_all(stdin);
        Ran::of(child.wait_with_output().expect("novacula ends"))
    }

    /// Starts an agent here and waits until it answers.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn serve(&self) -> Daemon<'_> {
        self.serve_with(&[])
    }

    /// Starts an agent with further arguments.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn serve_with(&self, args: &[&str]) -> Daemon<'_> {
        self.start(self.command(&[&["serve"], args].concat()), self.socket(), "log")
    }

    /// Starts an agent here with this configuration, in a network of its own if one is named.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn serve_in(&self, net: Option<&Net>, config: &str) -> Daemon<'_> {
        let command = match net {
            Some(net) => net.command_outside(novacula()),
            None => Command::new(novacula()),
        };
        self.serve_by(command, config)
    }

    /// Starts an agent in a network of its own that has name servers of its own: `resolv` is its
    /// /etc/resolv.conf.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn serve_resolving(&self, net: &Net, config: &str, resolv: &str) -> Daemon<'_> {
        let mut command = net.command_outside("unshare");
        let script = r#"mount --bind "$1" /etc/resolv.conf; shift; exec "$@""#;
        command.args(["--mount", "sh", "-ec", script, "sh", resolv]).arg(novacula());
        self.serve_by(command, config)
    }

    fn serve_by(&self, mut command: Command, config: &str) -> Daemon<'_> {
        let config = self.file("novacula.toml", config.as_bytes());
        command
            .args(["serve", "--config", &config])
            .env("NOVACULA_DATA_DIR", self.data_dir())
            .env("NOVACULA_SOCKET", self.socket())
            .env("HOME", self.path())
            .current_dir(self.path());
        self.start(command, self.socket(), "log")
    }

    /// Starts a milter that asks the agent here, with this configuration; `socket` is where it
    /// listens by it.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn milter(&self, socket: &Path, config: &str) -> Daemon<'_> {
        let config = self.file("milter.toml", config.as_bytes());
        let mut command = Command::new(built("novacula-milter"));
        command.args(["serve", "--config", &config]).env("NOVACULA_SOCKET", self.socket());
        self.start(command, socket.to_owned(), "milter.log")
    }

    fn start(&self, mut command: Command, socket: PathBuf, log: &'static str) -> Daemon<'_> {
        let file = fs::File::options().create(true).append(true).open(self.path().join(log));
        let child = command
            .stdin(Stdio::null())
            .stderr(file.expect("a log file"))
            .spawn()
            .expect("the daemon starts");
        let mut daemon = Daemon { place: self, child, socket, log };
        let started = Instant::now();
        while UnixStream::connect(&daemon.socket).is_err() {
            if let Ok(Some(status)) = daemon.child.try_wait() {
                panic!("the daemon ended at start: {status}\n{}", daemon.log());
            }
            assert!(started.elapsed() < READY_TIME_MAX, "no daemon after {READY_TIME_MAX:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    /// What the agents here have logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// Writes a file here and gives its path.
    ///
    /// # Panics
    /// When it can't be written.
    #[must_use]
    pub fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path.display().to_string()
    }

    /// Statements and opinions that the agent here holds.
    ///
    /// # Panics
    /// When no agent answers.
    #[must_use]
    pub fn held(&self) -> (u64, u64) {
        let status = self.run(&["status", "--json"]).json();
        let count = |name: &str| status[name].as_u64().expect("a count");
        (count("statements"), count("opinions"))
    }
}

/// A running agent or milter.
#[derive(Debug)]
pub struct Daemon<'a> {
    place: &'a Place,
    child: Child,
    socket: PathBuf,
    log: &'static str,
}

impl Daemon<'_> {
    /// What it and its predecessors have logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.place.path().join(self.log)).unwrap_or_default()
    }

    /// Kills it at once, as a crash would.
    ///
    /// # Panics
    /// When it can't be killed.
    pub fn kill(mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it ends");
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
    }

    /// Stops it in order and gives how long that took.
    ///
    /// # Panics
    /// When it ends with an error.
    #[must_use]
    pub fn stop(mut self) -> Duration {
        let started = Instant::now();
        self.signal(Signal::TERM);
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}\n{}", self.log());
        started.elapsed()
    }

    /// Sends raw bytes to its socket and gives the whole answer.
    ///
    /// # Panics
    /// When nothing answers.
    #[must_use]
    pub fn raw(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.socket).expect("it listens");
        stream.set_read_timeout(Some(READY_TIME_MAX)).expect("a timeout");
        // It may refuse before it has read all.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Processor time that it has taken, in milliseconds.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn cpu_ms(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        // Fields 14 and 15, user and system time in clock ticks of 10 ms; 2 is in brackets.
        let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = after.split_whitespace().skip(11).take(2);
        ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
    }

    /// Resident memory in KiB.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a size");
        line.split_whitespace().nth(1).and_then(|size| size.parse().ok()).expect("a number")
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Its output as one JSON object.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Its output, one JSON object a line.
    ///
    /// # Panics
    /// When a line is none.
    #[must_use]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}
