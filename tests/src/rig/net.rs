//! A network of a test's own: namespaces with nothing but a loopback device. Needs root.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Namespaces for network, processes and mounts. All that runs in them ends with this value, or
/// with the test's process, whichever is first.
#[derive(Debug)]
pub struct Net {
    holder: Child,
    inside: u32,
}

impl Net {
    /// An empty network.
    ///
    /// # Panics
    /// Without root.
    #[must_use]
    pub fn new() -> Self {
        // It reads a pipe that only we hold: when we are gone it ends, and with it all inside.
        let script = "ip link set lo up; echo ready; exec cat >/dev/null";
        let mut holder = Command::new("unshare")
            .args(["--net", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child"])
            .args(["sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("it is piped");
        let _ = BufReader::new(stdout).read_line(&mut line);
        assert_eq!(line, "ready\n", "no namespace of our own: is this root?");
        let children = format!("/proc/{0}/task/{0}/children", holder.id());
        let children = std::fs::read_to_string(children).expect("it has a child");
        let inside = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
        Self { holder, inside: inside.expect("its process number") }
    }

    /// The process that holds it open, for `ip link ... netns`.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.inside
    }

    /// A command that runs in its network only, and is this process's own child: a signal to it
    /// reaches the program.
    #[must_use]
    pub fn command_outside(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.inside)).arg("--").arg(program);
        command
    }

    /// A command that runs in it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        let inside = self.inside.to_string();
        command.args(["--net", "--pid", "--mount", "--target", &inside, "--"]).arg(program);
        command
    }
}

impl Default for Net {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
