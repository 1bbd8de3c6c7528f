//! What an MTA sends. Parsing checks every bound and never fails on what it does not know: it
//! says so, and the session decides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;

use super::options::{Actions, Offer, Steps};

/// Most macros that are read of one packet; MTAs send about ten.
const MACROS_MAX: usize = 128;

/// Names and values.
pub type Macros = Vec<(Bytes, Bytes)>;

/// One packet from the MTA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `O`: what the MTA can do.
    Negotiate(Offer),
    /// `D`: values for the command that follows (its letter first).
    Macros(u8, Macros),
    /// `C`: a client connected. No address: it is unknown, or a Unix socket.
    Connect {
        /// The client's name, or its address in brackets.
        name: Bytes,
        /// The client's address.
        address: Option<IpAddr>,
    },
    /// `H`: HELO or EHLO.
    Helo,
    /// `M`: the envelope's sender, with its angle brackets.
    Mail(Bytes),
    /// `R`: a recipient, with its angle brackets.
    Rcpt(Bytes),
    /// `T`: DATA.
    Data,
    /// `L`: a header field; a value has line ends as the MTA sent them.
    Header(Bytes, Bytes),
    /// `N`: the header is over.
    EndOfHeader,
    /// `B`: a piece of the body.
    Body(Bytes),
    /// `E`: the mail is over; what a last piece of the body may come with.
    EndOfMail(Bytes),
    /// `A`: the transaction is given up.
    Abort,
    /// `Q`: the connection ends.
    Quit,
    /// `K`: the SMTP connection ends, another one follows on this socket.
    QuitNewConnection,
    /// `U`: an SMTP command that the MTA does not know.
    Unknown,
}

/// A packet that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such letter.
    #[error("read a packet: no milter command has the letter {}", char::from(*.0).escape_default())]
    Letter(u8),
    /// The data of a known letter are too short or lack an end.
    #[error("read a packet: the data of {} are cut off", char::from(*.0))]
    Data(u8),
}

impl Command {
    /// Reads a packet's letter and data.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn parse(letter: u8, data: Bytes) -> Result<Self, CommandError> {
        let cut = CommandError::Data(letter);
        Ok(match letter {
            b'O' => Self::Negotiate(offer(&data).ok_or(cut)?),
            b'D' => macros(&data).ok_or(cut)?,
            b'C' => connect(data).ok_or(cut)?,
            b'H' => Self::Helo,
            b'M' => Self::Mail(first(&data).ok_or(cut)?),
            b'R' => Self::Rcpt(first(&data).ok_or(cut)?),
            b'T' => Self::Data,
            b'L' => {
                let name = first(&data).ok_or(cut.clone())?;
                let value = first(&data.slice(name.len() + 1..)).ok_or(cut)?;
                Self::Header(name, value)
            }
            b'N' => Self::EndOfHeader,
            b'B' => Self::Body(data),
            b'E' => Self::EndOfMail(data),
            b'A' => Self::Abort,
            b'Q' => Self::Quit,
            b'K' => Self::QuitNewConnection,
            b'U' => Self::Unknown,
            _ => return Err(CommandError::Letter(letter)),
        })
    }

    /// The name that the log gives it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Negotiate(_) => "negotiation",
            Self::Macros(..) => "macros",
            Self::Connect { .. } => "connect",
            Self::Helo => "helo",
            Self::Mail(_) => "mail",
            Self::Rcpt(_) => "rcpt",
            Self::Data => "data",
            Self::Header(..) => "header",
            Self::EndOfHeader => "end of header",
            Self::Body(_) => "body",
            Self::EndOfMail(_) => "end of mail",
            Self::Abort => "abort",
            Self::Quit => "quit",
            Self::QuitNewConnection => "quit for a new connection",
            Self::Unknown => "unknown",
        }
    }
}

/// What stands before the first NUL.
fn first(data: &Bytes) -> Option<Bytes> {
    let end = data.iter().position(|byte| *byte == 0)?;
    Some(data.slice(..end))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

fn offer(data: &[u8]) -> Option<Offer> {
    Some(Offer {
        version: u32_at(data, 0)?,
        actions: Actions(u32_at(data, 4)?),
        // Version 1 knew no steps; it is refused for its version.
        steps: Steps(u32_at(data, 8).unwrap_or(0)),
    })
}

fn macros(data: &Bytes) -> Option<Command> {
    let (letter, mut rest) = (*data.first()?, data.slice(1..));
    let mut macros = Macros::new();
    while !rest.is_empty() && macros.len() < MACROS_MAX {
        let name = first(&rest)?;
        rest = rest.slice(name.len() + 1..);
        let value = first(&rest)?;
        rest = rest.slice(value.len() + 1..);
        macros.push((name, value));
    }
    Some(Command::Macros(letter, macros))
}

fn connect(data: Bytes) -> Option<Command> {
    let name = first(&data)?;
    let rest = data.slice(name.len() + 1..);
    let family = *rest.first()?;
    let address = match family {
        b'4' | b'6' => {
            let text = first(&rest.get(3..).map(|text| rest.slice_ref(text))?)?;
            address(&text)
        }
        _ => None,
    };
    Some(Command::Connect { name, address })
}

/// An address as MTAs write it: Sendmail and Postfix put `IPv6:` before those of version 6.
/// A version-4 address inside a version-6 one is the version-4 one.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => &text[5..],
        _ => text,
    };
    if let Ok(four) = bare.parse::<Ipv4Addr>() {
        return Some(four.into());
    }
    Some(IpAddr::from(bare.parse::<Ipv6Addr>().ok()?).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(letter: u8, data: &[u8], expected: Result<Command, CommandError>) {
        assert_eq!(Command::parse(letter, Bytes::copy_from_slice(data)), expected);
    }

    fn connected(name: &'static str, address: Option<&str>) -> Result<Command, CommandError> {
        let address = address.map(|text| text.parse().unwrap());
        Ok(Command::Connect { name: Bytes::from_static(name.as_bytes()), address })
    }

    #[test]
    fn clients() {
        check(
            b'C',
            b"a.example\x004\x04\x19192.0.2.1\0",
            connected("a.example", Some("192.0.2.1")),
        );
        check(b'C', b"a\x006\0\0IPv6:2001:db8::1\0", connected("a", Some("2001:db8::1")));
        check(b'C', b"a\x006\0\x002001:db8::1\0", connected("a", Some("2001:db8::1")));
        check(b'C', b"a\x006\0\0IPv6:::ffff:192.0.2.1\0", connected("a", Some("192.0.2.1")));
        check(b'C', b"a\x00L\0\0/a/socket\0", connected("a", None));
        check(b'C', b"[x]\x00U", connected("[x]", None));
        check(b'C', b"a\x004\0\0nonsense\0", connected("a", None));
        check(b'C', b"a\x00", Err(CommandError::Data(b'C')));
        check(b'C', b"a\x004\0", Err(CommandError::Data(b'C')));
        check(b'C', b"a\x004\0\x00192.0.2.1", Err(CommandError::Data(b'C')));
    }

    #[test]
    fn envelopes_and_headers() {
        let bytes = Bytes::from_static;
        check(b'M', b"<ann@a.example>\0SIZE=5\0", Ok(Command::Mail(bytes(b"<ann@a.example>"))));
        check(b'R', b"<>\0", Ok(Command::Rcpt(bytes(b"<>"))));
        check(b'R', b"<>", Err(CommandError::Data(b'R')));
        check(b'L', b"To\0 a\n\tb\0", Ok(Command::Header(bytes(b"To"), bytes(b" a\n\tb"))));
        check(b'L', b"To\0\0", Ok(Command::Header(bytes(b"To"), bytes(b""))));
        check(b'L', b"To\0a", Err(CommandError::Data(b'L')));
        check(b'L', b"", Err(CommandError::Data(b'L')));
        check(b'E', b"", Ok(Command::EndOfMail(Bytes::new())));
        check(b'z', b"", Err(CommandError::Letter(b'z')));
    }

    #[test]
    fn macros_come_in_pairs() {
        let bytes = Bytes::from_static;
        let read = vec![(bytes(b"i"), bytes(b"Q1")), (bytes(b"{auth_authen}"), bytes(b""))];
        check(b'D', b"Mi\0Q1\0{auth_authen}\0\0", Ok(Command::Macros(b'M', read)));
        check(b'D', b"M", Ok(Command::Macros(b'M', vec![])));
        check(b'D', b"Mi\0", Err(CommandError::Data(b'D')));
        check(b'D', b"", Err(CommandError::Data(b'D')));
        let many: Vec<u8> = b"M".iter().copied().chain(b"a\0b\0".repeat(10_000)).collect();
        let Ok(Command::Macros(_, read)) = Command::parse(b'D', many.into()) else { panic!() };
        assert_eq!(read.len(), MACROS_MAX);
    }

    proptest::proptest! {
        #[test]
        fn no_packet_is_a_panic(letter: u8, data: Vec<u8>) {
            let _ = Command::parse(letter, data.into());
        }
    }
}
