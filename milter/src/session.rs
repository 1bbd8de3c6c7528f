//! One connection of an MTA as a state machine: a command in, a step out. It knows the protocol's
//! order and what is collected of a mail; it never waits, and never decides what becomes of a
//! mail. All transitions stand in one match.
//!
//! Main item: [`Session::handle`]. What no MTA would send in this order ends the connection: a
//! filter that guesses there can only guess wrong.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::envelope::{Connection, Rules, Transaction};
use crate::protocol::{Actions, Command, Macros, Offer, Options, Reply, Steps};

/// Macros that are wanted, by libmilter's number of the stage: at MAIL who submits, at the end of
/// the mail its queue id (Postfix has none before), at connection, RCPT and end of header none.
const MACROS: &[(u32, &str)] = &[(0, ""), (2, "i {auth_authen}"), (3, ""), (5, "i"), (6, "")];

/// Longest queue id that is kept, in bytes.
const QUEUE_ID_LEN_MAX: usize = 64;

/// What the driver does next.
#[derive(Debug)]
pub enum Step {
    /// Nothing: no answer is expected.
    Silent,
    /// Answers.
    Reply(Reply),
    /// Accepts a mail of this site's own, and remembers to whom it goes.
    Own(Box<Transaction>),
    /// Asks for the verdict, then answers with what becomes of the mail.
    Judge(Box<Transaction>),
    /// Closes in order.
    Close,
}

/// What no MTA would send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A command at the wrong time.
    #[error("follow the MTA: {command} at a wrong time ({stage})")]
    Order {
        /// The command.
        command: &'static str,
        /// Where the session stood.
        stage: &'static str,
    },
    /// It speaks version 1, or none.
    #[error("follow the MTA: it speaks version {0} of the milter protocol; 2 is the least")]
    Version(u32),
}

#[derive(Debug)]
enum Stage {
    Start,
    Negotiated,
    Connected(Connection),
    Envelope(Connection, Box<Transaction>),
    Header(Connection, Box<Transaction>),
    Body(Connection, Box<Transaction>),
}

impl Stage {
    fn name(&self) -> &'static str {
        match self {
            Self::Start => "before the negotiation",
            Self::Negotiated => "before a connection",
            Self::Connected(_) => "between mails",
            Self::Envelope(..) => "in an envelope",
            Self::Header(..) => "in a header",
            Self::Body(..) => "in a body",
        }
    }

    /// A mail that is given up leaves its connection.
    fn given_up(self) -> Self {
        match self {
            Self::Envelope(connection, _)
            | Self::Header(connection, _)
            | Self::Body(connection, _) => Self::Connected(connection),
            other => other,
        }
    }
}

/// Where one connection stands.
#[derive(Debug)]
pub struct Session {
    rules: Arc<Rules>,
    room: Arc<Semaphore>,
    wanted: Actions,
    options: Options,
    stage: Stage,
    submitter: bool,
    queue_id: String,
}

impl Session {
    /// A new connection. `room` is what all sessions share for mails, in bytes.
    #[must_use]
    pub fn new(rules: Arc<Rules>, room: Arc<Semaphore>, quarantine: bool) -> Self {
        let basic = Actions::ADD_HEADERS | Actions::CHANGE_HEADERS | Actions::SET_MACROS;
        let wanted = if quarantine { basic | Actions::QUARANTINE } else { basic };
        let (options, stage) = (Options::default(), Stage::Start);
        Self { rules, room, wanted, options, stage, submitter: false, queue_id: String::new() }
    }

    /// What was agreed on.
    #[must_use]
    pub fn options(&self) -> Options {
        self.options
    }

    /// True within a mail.
    #[must_use]
    pub fn is_within_mail(&self) -> bool {
        matches!(self.stage, Stage::Envelope(..) | Stage::Header(..) | Stage::Body(..))
    }

    /// True when the MTA has said what it can.
    #[must_use]
    pub fn is_negotiated(&self) -> bool {
        !matches!(self.stage, Stage::Start)
    }

    /// Takes a command.
    ///
    /// # Errors
    /// [`ProtocolError`]; the connection is of no use then.
    pub fn handle(&mut self, command: Command) -> Result<Step, ProtocolError> {
        let no_reply = |steps: Steps| match self.options.steps.has(steps) {
            true => Step::Silent,
            false => Step::Reply(Reply::Continue),
        };
        let stage = std::mem::replace(&mut self.stage, Stage::Start);
        let (next, step) = match (stage, command) {
            (_, Command::Quit) => (Stage::Start, Step::Close),
            (Stage::Start, Command::Negotiate(offer)) => self.negotiate(offer)?,
            (stage @ Stage::Start, command) | (stage, command @ Command::Negotiate(_)) => {
                return Err(out_of_order(&stage, &command));
            }
            (_, Command::QuitNewConnection) => (Stage::Negotiated, Step::Silent),
            (stage, Command::Macros(letter, macros)) => {
                self.note(letter, &macros);
                (stage, Step::Silent)
            }
            (stage, Command::Helo | Command::Data | Command::Unknown) => {
                (stage, Step::Reply(Reply::Continue))
            }
            (stage, Command::Abort) => (stage.given_up(), Step::Silent),
            (Stage::Negotiated, Command::Connect { address, .. }) => (
                Stage::Connected(Connection { client: address }),
                no_reply(Steps::NO_REPLY_CONNECT),
            ),
            (Stage::Connected(connection), Command::Mail(sender)) => {
                let (rules, submitter) = (&self.rules, std::mem::take(&mut self.submitter));
                let begun = Transaction::begin(rules, &connection, &sender, submitter, &self.room);
                let step = no_reply(Steps::NO_REPLY_MAIL);
                (Stage::Envelope(connection, Box::new(begun)), step)
            }
            (Stage::Envelope(connection, mut transaction), Command::Rcpt(recipient)) => {
                transaction.add_recipient(&self.rules, &recipient);
                let step = no_reply(Steps::NO_REPLY_RCPT);
                (Stage::Envelope(connection, transaction), step)
            }
            (
                Stage::Envelope(connection, mut transaction)
                | Stage::Header(connection, mut transaction),
                Command::Header(name, value),
            ) => {
                let blank: &[u8] = if self.leading_space() { b"" } else { b" " };
                transaction.add_header(&self.rules, &name, blank, &value);
                let step = no_reply(Steps::NO_REPLY_HEADER);
                (Stage::Header(connection, transaction), step)
            }
            (
                Stage::Envelope(connection, mut transaction)
                | Stage::Header(connection, mut transaction),
                Command::EndOfHeader,
            ) => {
                transaction.mail.push(b"\r\n");
                (Stage::Body(connection, transaction), no_reply(Steps::NO_REPLY_END_OF_HEADER))
            }
            (Stage::Body(connection, transaction), Command::Body(piece)) => {
                self.body(connection, transaction, &piece, false)
            }
            (Stage::Body(connection, transaction), Command::EndOfMail(piece)) => {
                self.body(connection, transaction, &piece, true)
            }
            (stage, command) => return Err(out_of_order(&stage, &command)),
        };
        self.stage = next;
        Ok(step)
    }

    /// Whether header values go with the blank after the colon.
    #[must_use]
    pub fn leading_space(&self) -> bool {
        self.options.steps.has(Steps::LEADING_SPACE)
    }

    fn negotiate(&mut self, offer: Offer) -> Result<(Stage, Step), ProtocolError> {
        let agreed = Options::agree(offer, self.wanted);
        self.options = agreed.ok_or(ProtocolError::Version(offer.version))?;
        let symbols = self.options.actions.has(Actions::SET_MACROS);
        let macros = if symbols { MACROS } else { &[] };
        Ok((Stage::Negotiated, Step::Reply(Reply::Negotiate(self.options, macros))))
    }

    /// A piece of a body, which may be the last.
    fn body(
        &mut self,
        connection: Connection,
        mut transaction: Box<Transaction>,
        piece: &[u8],
        is_last: bool,
    ) -> (Stage, Step) {
        if transaction.own {
            return (Stage::Connected(connection), Step::Own(transaction));
        }
        let more = transaction.mail.push(piece);
        if is_last {
            transaction.queue_id = std::mem::take(&mut self.queue_id);
            return (Stage::Connected(connection), Step::Judge(transaction));
        }
        let skip = !more && self.options.steps.has(Steps::SKIP);
        let reply = if skip { Reply::Skip } else { Reply::Continue };
        (Stage::Body(connection, transaction), Step::Reply(reply))
    }

    /// Macros count for the command that follows: of MAIL whether somebody logged in, of the last
    /// one that has it the queue id.
    fn note(&mut self, letter: u8, macros: &Macros) {
        let value = |wanted: &[u8]| {
            let found = macros.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value).filter(|value| !value.is_empty())
        };
        if letter == b'M' {
            self.submitter = value(b"{auth_authen}").is_some();
            self.queue_id.clear();
        }
        if let Some(id) = value(b"i") {
            let id = &id[..id.len().min(QUEUE_ID_LEN_MAX)];
            self.queue_id = String::from_utf8_lossy(id).into_owned();
        }
    }
}

fn out_of_order(stage: &Stage, command: &Command) -> ProtocolError {
    ProtocolError::Order { command: command.name(), stage: stage.name() }
}
