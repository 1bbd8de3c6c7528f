//! Where MTAs deliver to: an LMTP server (RFC 2033) on a Unix socket that keeps every mail.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for a mail; an MTA under load takes some seconds.
const DELIVERY_TIME_MAX: Duration = Duration::from_secs(60);

/// A mail as it was delivered.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The envelope's recipients.
    pub recipients: Vec<String>,
    /// Its bytes.
    pub text: String,
    /// When it came.
    pub at: Instant,
}

impl Delivered {
    /// The values of a header field, in order, unfolded.
    #[must_use]
    pub fn field(&self, name: &str) -> Vec<String> {
        let header = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let unfolded = header.replace("\r\n\t", " ").replace("\r\n ", " ");
        let of = |line: &str| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        unfolded.split("\r\n").filter_map(of).collect()
    }

    /// The one value of our own header field.
    ///
    /// # Panics
    /// Where there is none, or more than one.
    #[must_use]
    pub fn verdict(&self) -> String {
        let fields = self.field("X-Novacula");
        assert_eq!(fields.len(), 1, "{fields:?} in\n{}", self.text);
        fields[0].clone()
    }
}

/// The server. It ends with its socket's folder and the test.
#[derive(Debug)]
pub struct Lmtp {
    path: PathBuf,
    mails: Arc<Mutex<Vec<Delivered>>>,
}

impl Lmtp {
    /// Listens at a path; everybody may connect.
    ///
    /// # Panics
    /// When it can't.
    #[must_use]
    pub fn listen(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let everybody = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(path, everybody).expect("permissions");
        let mails = Arc::<Mutex<Vec<Delivered>>>::default();
        let kept = Arc::clone(&mails);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(&stream, &kept));
            }
        });
        Self { path: path.to_owned(), mails }
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All that was delivered.
    #[must_use]
    pub fn mails(&self) -> Vec<Delivered> {
        self.kept().clone()
    }

    /// How many mails were delivered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept().len()
    }

    /// Waits for so many mails and takes them out.
    ///
    /// # Panics
    /// When they do not come.
    #[must_use]
    pub fn take(&self, count: usize) -> Vec<Delivered> {
        super::wait_until(&format!("{count} mails"), DELIVERY_TIME_MAX, || self.count() >= count);
        std::mem::take(&mut *self.kept())
    }

    /// Waits for one mail and takes it out.
    ///
    /// # Panics
    /// When it does not come, or not alone.
    #[must_use]
    pub fn one(&self) -> Delivered {
        let mut mails = self.take(1);
        assert_eq!(mails.len(), 1, "{mails:?}");
        mails.remove(0)
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Delivered>> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(stream: &UnixStream, kept: &Mutex<Vec<Delivered>>) -> Option<()> {
    let mut write = stream;
    let mut lines = BufReader::new(stream);
    let mut recipients = Vec::new();
    write.write_all(b"220 test LMTP\r\n").ok()?;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "LHLO" => "250-test\r\n250-8BITMIME\r\n250 PIPELINING\r\n".to_owned(),
            "RCPT" => {
                let address = line.split(['<', '>']).nth(1).unwrap_or_default();
                recipients.push(address.to_owned());
                "250 ok\r\n".to_owned()
            }
            "DATA" => {
                write.write_all(b"354 go\r\n").ok()?;
                let text = data(&mut lines)?;
                let recipients = std::mem::take(&mut recipients);
                let answers = "250 kept\r\n".repeat(recipients.len());
                let mail = Delivered { recipients, text, at: Instant::now() };
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
                answers
            }
            "QUIT" => {
                let _ = write.write_all(b"221 bye\r\n");
                return None;
            }
            "RSET" | "MAIL" => {
                recipients.clear();
                "250 ok\r\n".to_owned()
            }
            _ => "250 ok\r\n".to_owned(),
        };
        write.write_all(answer.as_bytes()).ok()?;
    }
}

fn data(lines: &mut impl BufRead) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let start = text.len();
        if lines.read_until(b'\n', &mut text).ok()? == 0 {
            return None;
        }
        if &text[start..] == b".\r\n" {
            text.truncate(start);
            return Some(String::from_utf8_lossy(&text).into_owned());
        }
        if text[start] == b'.' {
            text.remove(start);
        }
    }
}
