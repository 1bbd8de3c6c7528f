//! What the rigs share: daemons that end with their test, fresh mail. Their private network is that
//! of all rigs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use novacula_tests::golden;
use novacula_tests::harness::{Place, novacula};
pub(crate) use novacula_tests::rig::Net;
use rustix::process::{Pid, Signal, kill_process_group};

/// Longest wait for a program to come up or a thing to happen.
const WAIT_TIME_MAX: Duration = Duration::from_secs(30);

/// A program with its children, ended with its value.
pub(crate) struct Daemon {
    child: Child,
}

impl Daemon {
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        use std::os::unix::process::CommandExt;
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        Self { child }
    }

    /// True while it runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        let _ = kill_process_group(group, Signal::TERM);
        let until = Instant::now() + Duration::from_secs(3);
        while self.runs() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// An agent in the private network, with its settings in the file `config`.
pub(crate) fn serve(net: &Net, place: &Place, config: &str) -> Daemon {
    let mut agent = net.command(novacula());
    agent
        .args(["serve", "--config", config])
        .env("NOVACULA_DATA_DIR", place.data_dir())
        .env("NOVACULA_SOCKET", place.socket());
    let agent = Daemon::start(&mut agent, &place.path().join("log"));
    wait_for("the agent", || place.socket().exists().then_some(()));
    agent
}

/// Waits until `there` gives something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + WAIT_TIME_MAX;
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(Instant::now() < until, "{what}: not within {WAIT_TIME_MAX:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a command with bytes on its standard input.
pub(crate) fn run_with(command: &mut Command, stdin: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut pipe = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    // Written beside the reading: both pipes may fill up. Who ends early does not read it all.
    let writing = std::thread::spawn(move || {
        let _ = pipe.write_all(&bytes);
    });
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    output
}

/// Standard output as text.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Both outputs as text, for a test that failed.
pub(crate) fn both(output: &Output) -> String {
    format!("{}\n{}\n{}", output.status, text(output), String::from_utf8_lossy(&output.stderr))
}

/// A golden mail.
pub(crate) fn mail(name: &str) -> Vec<u8> {
    std::fs::read(golden("mails").join(name)).unwrap()
}

/// A golden mail as it arrives now: with a Received field of this minute on top.
pub(crate) fn fresh(name: &str) -> Vec<u8> {
    let date = Command::new("date").args(["-R", "-u"]).output().unwrap();
    let received = format!(
        "Received: from mail.sender.example (mail.sender.example [192.0.2.33])\n\
         \tby mx.example.org (Postfix) with ESMTP id 4C7ZQ\n\tfor <gpell@example.org>; {}",
        text(&date)
    );
    [received.into_bytes(), mail(name)].concat()
}

/// A file of the repository's contrib.
pub(crate) fn contrib(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib").join(name).canonicalize().unwrap()
}

/// Lets every user into a folder.
pub(crate) fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap();
}
