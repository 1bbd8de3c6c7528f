//! The MTA's side of the milter protocol, written anew from the numbers of Sendmail's
//! `mfdef.h`, so that a mistake in the milter's own codec can't hide.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest wait for an answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// What a filter may do, as Postfix 3.7 and Sendmail 8.17 offer it.
const ACTIONS: u32 = 0x1ff;

/// What an MTA can leave out, likewise.
const STEPS: u32 = 0x1f_ffff;

/// Steps after which no answer comes.
const NO_REPLY_HEADER: u32 = 0x80;
const NO_REPLY_CONNECT: u32 = 0x1000;
const NO_REPLY_MAIL: u32 = 0x4000;
const NO_REPLY_RCPT: u32 = 0x8000;
const NO_REPLY_END_OF_HEADER: u32 = 0x4_0000;

/// The answers to the end of a mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Fields that were added: name, value.
    pub added: Vec<(String, String)>,
    /// Fields that were deleted: name, index.
    pub deleted: Vec<(String, u32)>,
    /// Why it is to be held.
    pub quarantined: Option<String>,
    /// How often the milter said that it is still at work.
    pub progress: u32,
    /// `c` continue, `a` accept, `y` with its text, `t` tempfail, `d` discard.
    pub last: char,
    /// The text of `y`.
    pub text: String,
}

/// A stream of either sort.
trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

/// A connection to a milter.
pub struct Mta {
    stream: Box<dyn Duplex>,
    steps: u32,
}

impl Mta {
    /// Connects and says nothing.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the milter listens");
        stream.set_read_timeout(Some(ANSWER_TIME_MAX)).expect("a timeout");
        stream.set_write_timeout(Some(ANSWER_TIME_MAX)).expect("a timeout");
        Self { stream: Box::new(stream), steps: 0 }
    }

    /// Connects over TCP and says nothing.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn connect_tcp(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the milter listens");
        stream.set_read_timeout(Some(ANSWER_TIME_MAX)).expect("a timeout");
        Self { stream: Box::new(stream), steps: 0 }
    }

    /// Connects, negotiates version 6 and says which client came.
    ///
    /// # Panics
    /// When the milter does not answer as it should.
    #[must_use]
    pub fn open(path: &Path, client: &str) -> Self {
        let mut mta = Self::connect(path);
        mta.begin(client);
        mta
    }

    /// Negotiates version 6 and says which client came.
    ///
    /// # Panics
    /// When the milter does not answer as it should.
    pub fn begin(&mut self, client: &str) {
        let _ = self.negotiate(6, ACTIONS, STEPS);
        self.client(client);
    }

    /// Negotiates; gives version, actions and steps of the answer.
    ///
    /// # Panics
    /// When the milter does not answer as it should.
    pub fn negotiate(&mut self, version: u32, actions: u32, steps: u32) -> [u32; 3] {
        let offer: Vec<u8> =
            [version, actions, steps].iter().flat_map(|n| n.to_be_bytes()).collect();
        self.send(b'O', &offer).expect("it takes the offer");
        let (letter, data) = self.answer().expect("an answer");
        assert_eq!(letter, b'O');
        let agreed = [0, 4, 8].map(|at| number(&data[at..]));
        self.steps = agreed[2];
        agreed
    }

    /// A client connects.
    ///
    /// # Panics
    /// When the milter does not answer as it should.
    pub fn client(&mut self, address: &str) {
        let mut data = format!("[{address}]\0").into_bytes();
        data.push(if address.contains(':') { b'6' } else { b'4' });
        data.extend_from_slice(&25_u16.to_be_bytes());
        data.extend_from_slice(format!("{address}\0").as_bytes());
        self.send(b'C', &data).expect("it takes the client");
        self.confirm(NO_REPLY_CONNECT);
    }

    /// An envelope.
    ///
    /// # Panics
    /// When the milter does not answer as it should.
    pub fn envelope(&mut self, sender: &str, recipients: &[&str]) {
        self.send(b'M', format!("<{sender}>\0").as_bytes()).expect("it takes the sender");
        self.confirm(NO_REPLY_MAIL);
        for recipient in recipients {
            self.send(b'R', format!("<{recipient}>\0").as_bytes()).expect("it takes a recipient");
            self.confirm(NO_REPLY_RCPT);
        }
    }

    /// A header field.
    ///
    /// # Panics
    /// When the milter does not answer as it should.
    pub fn header(&mut self, name: &str, value: &str) {
        self.send(b'L', format!("{name}\0{value}\0").as_bytes()).expect("it takes a field");
        self.confirm(NO_REPLY_HEADER);
    }

    /// A mail as an MTA sends it, and what becomes of it.
    ///
    /// # Panics
    /// When the milter does not answer as it should.
    pub fn mail(&mut self, sender: &str, recipients: &[&str], mail: &str) -> Outcome {
        self.envelope(sender, recipients);
        let (header, body) = mail.split_once("\n\n").unwrap_or((mail, ""));
        let unfolded = header.replace("\n ", "\u{1}").replace("\n\t", "\u{2}");
        for line in unfolded.lines() {
            let (name, value) = line.split_once(':').expect("a field");
            let value = value.replace('\u{1}', "\n ").replace('\u{2}', "\n\t");
            self.header(name, &value);
        }
        self.end_of_header();
        for piece in body.replace('\n', "\r\n").as_bytes().chunks(65_535) {
            self.send(b'B', piece).expect("it takes the body");
            if self.answer().expect("an answer").0 == b's' {
                break;
            }
        }
        self.end()
    }

    /// The end of the header.
    ///
    /// # Panics
    /// When the milter does not answer as it should.
    pub fn end_of_header(&mut self) {
        self.send(b'N', b"").expect("it takes the header's end");
        self.confirm(NO_REPLY_END_OF_HEADER);
    }

    /// The end of a mail.
    ///
    /// # Panics
    /// When the milter does not answer as it should.
    pub fn end(&mut self) -> Outcome {
        self.send(b'E', b"").expect("it takes the end");
        let mut outcome = Outcome::default();
        loop {
            let (letter, data) = self.answer().expect("an answer");
            let texts = |data: &[u8]| -> Vec<String> {
                let parts = data.split(|byte| *byte == 0);
                parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
            };
            match letter {
                b'p' => outcome.progress += 1,
                b'h' => {
                    let texts = texts(&data);
                    outcome.added.push((texts[0].clone(), texts[1].trim().to_owned()));
                }
                b'm' => outcome.deleted.push((texts(&data[4..])[0].clone(), number(&data))),
                b'q' => outcome.quarantined = Some(texts(&data)[0].clone()),
                letter => {
                    outcome.last = char::from(letter);
                    outcome.text = texts(&data)[0].clone();
                    return outcome;
                }
            }
        }
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// What the system said.
    pub fn send(&mut self, letter: u8, data: &[u8]) -> io::Result<()> {
        let len = u32::try_from(data.len() + 1).unwrap_or(u32::MAX);
        let packet = [&len.to_be_bytes()[..], &[letter], data].concat();
        self.stream.write_all(&packet)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// What the system said.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next answer's letter and data.
    ///
    /// # Errors
    /// What the system said; the end of the stream too.
    pub fn answer(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let mut data = vec![0; number(&head) as usize - 1];
        self.stream.read_exact(&mut data)?;
        Ok((head[4], data))
    }

    /// True when the milter closes without a further byte.
    #[must_use]
    pub fn is_closed(&mut self) -> bool {
        let read = self.stream.read(&mut [0; 1]);
        read.map_or_else(|error| error.kind() == io::ErrorKind::ConnectionReset, |len| len == 0)
    }

    fn confirm(&mut self, silent: u32) {
        if self.steps & silent == 0 {
            assert_eq!(self.answer().expect("an answer").0, b'c');
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |four| u32::from_be_bytes(*four))
}
