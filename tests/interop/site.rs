//! One mail site: an agent and a milter, and a folder for the MTA and what it delivers.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use novacula_tests::golden;
use novacula_tests::harness::{Daemon, Place};
use novacula_tests::rig::{Lmtp, Net, Postfix};

/// A spam, a personal mail, and mails of one's own making.
pub(crate) const SPAM: &str = "04-spam-plain.eml";
pub(crate) const HAM: &str = "01-ham-personal.eml";

/// A golden mail's path.
pub(crate) fn mail(name: &str) -> String {
    golden("mails").join(name).display().to_string()
}

/// A golden mail's text.
pub(crate) fn text(name: &str) -> String {
    std::fs::read_to_string(mail(name)).unwrap()
}

/// The folder and its socket names.
pub(crate) struct Site {
    pub(crate) place: Place,
    pub(crate) lmtp: Lmtp,
}

impl Site {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        // MTAs run as other users.
        std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let lmtp = Lmtp::listen(&place.path().join("lmtp.sock"));
        Self { place, lmtp }
    }

    pub(crate) fn mta_dir(&self) -> PathBuf {
        self.place.path().join("mta")
    }

    /// The milter's socket, inside Postfix's queue directory.
    pub(crate) fn socket(&self) -> PathBuf {
        self.mta_dir().join("queue/novacula/milter.sock")
    }

    /// A milter's configuration: settings of the whole, then of its listener.
    pub(crate) fn config(&self, settings: &str, listener: &str) -> String {
        let socket = self.socket();
        let socket = socket.display();
        format!(
            "name = \"mx\"\n{settings}\n[[listener]]\naddress = \"unix:{socket}\"\n{listener}\n"
        )
    }

    pub(crate) fn milter(&self, settings: &str, listener: &str) -> Daemon<'_> {
        let daemon = self.place.milter(&self.socket(), &self.config(settings, listener));
        // As `setup` makes it: in Postfix's queue directory, for its group.
        let dir = self.socket().parent().map(Path::to_owned).unwrap();
        std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap();
        daemon
    }

    /// A Postfix that passes mail when the milter is absent.
    pub(crate) fn postfix<'a>(&self, net: &'a Net) -> Postfix<'a> {
        self.postfix_with(net, "")
    }

    pub(crate) fn postfix_with<'a>(&self, net: &'a Net, settings: &str) -> Postfix<'a> {
        // The lines that contrib/postfix ships.
        let milters = format!("{}{settings}", include_str!("../../contrib/postfix/main.cf"));
        let postfix = Postfix::prepare(net, &self.mta_dir(), self.lmtp.path(), &milters);
        postfix.start();
        postfix
    }
}

/// Arguments of swaks for a mail from a stranger.
pub(crate) fn stranger(data: &str) -> Vec<String> {
    from("192.0.2.7", "sender@stranger.example", &["ann@site.example"], data)
}

/// Arguments of swaks for a mail from a client.
pub(crate) fn from(client: &str, sender: &str, recipients: &[&str], data: &str) -> Vec<String> {
    let xclient = format!("ADDR={client} NAME=client.example");
    let (to, data) = (recipients.join(","), format!("@{data}"));
    ["--xclient", &xclient, "--from", sender, "--to", &to, "--data", &data]
        .map(str::to_owned)
        .to_vec()
}

/// Borrowed, as commands want them.
pub(crate) fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}
