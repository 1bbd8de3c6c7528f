//! What a filter answers. All answers to one command are put into one buffer and sent at once:
//! an MTA that gets them one by one over TCP waits tens of milliseconds for each.

use super::options::Options;

/// One packet to the MTA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `O`: what was agreed on, and which macros are wanted at which stage (libmilter's number).
    Negotiate(Options, &'static [(u32, &'static str)]),
    /// `c`: go on.
    Continue,
    /// `a`: accept, and send no more of this mail.
    Accept,
    /// `s`: send no more of the body.
    Skip,
    /// `p`: still at work.
    Progress,
    /// `h`: add a header field at the end.
    AddHeader(&'static str, String),
    /// `m`: delete the n-th field of this name, from 1.
    DeleteHeader(&'static str, u32),
    /// `q`: put the mail into quarantine.
    Quarantine(String),
    /// `y`: refuse with this SMTP reply: three digits, enhanced status, text.
    Refuse(String),
    /// `t`: refuse for now, with the MTA's own words.
    Tempfail,
    /// `d`: take the mail and throw it away.
    Discard,
}

impl Reply {
    /// Appends the packet. `leading_space`: header values are sent with the blank after the colon.
    pub fn encode(&self, leading_space: bool, out: &mut Vec<u8>) {
        let blank = if leading_space { " " } else { "" };
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        match self {
            Self::Negotiate(options, macros) => {
                out.push(b'O');
                for number in [options.version, options.actions.0, options.steps.0] {
                    out.extend_from_slice(&number.to_be_bytes());
                }
                for (stage, names) in *macros {
                    out.extend_from_slice(&stage.to_be_bytes());
                    text(out, &[names]);
                }
            }
            Self::Continue => out.push(b'c'),
            Self::Accept => out.push(b'a'),
            Self::Skip => out.push(b's'),
            Self::Progress => out.push(b'p'),
            Self::AddHeader(name, value) => {
                out.push(b'h');
                text(out, &[name]);
                text(out, &[blank, value]);
            }
            Self::DeleteHeader(name, index) => {
                out.push(b'm');
                out.extend_from_slice(&index.to_be_bytes());
                text(out, &[name]);
                text(out, &[]);
            }
            Self::Quarantine(reason) => {
                out.push(b'q');
                text(out, &[reason]);
            }
            Self::Refuse(reply) => {
                out.push(b'y');
                text(out, &[reply]);
            }
            Self::Tempfail => out.push(b't'),
            Self::Discard => out.push(b'd'),
        }
        let len = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&len.to_be_bytes());
    }
}

/// Appends text with its NUL. What would end it early, or begin another line of SMTP or of a
/// header, is left out whatever the caller thought.
fn text(out: &mut Vec<u8>, parts: &[&str]) {
    let bytes = parts.iter().flat_map(|part| part.bytes());
    out.extend(bytes.filter(|byte| !matches!(byte, 0 | b'\r' | b'\n')));
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Actions, Steps};

    #[track_caller]
    fn check(reply: &Reply, leading_space: bool, expected: &[u8]) {
        let mut out = b"before".to_vec();
        reply.encode(leading_space, &mut out);
        assert_eq!(&out[6..], expected, "{reply:?}");
    }

    #[test]
    fn bytes_of_every_reply() {
        check(&Reply::Continue, false, b"\0\0\0\x01c");
        check(&Reply::Accept, false, b"\0\0\0\x01a");
        check(&Reply::Skip, false, b"\0\0\0\x01s");
        check(&Reply::Progress, false, b"\0\0\0\x01p");
        check(&Reply::Tempfail, false, b"\0\0\0\x01t");
        check(&Reply::Discard, false, b"\0\0\0\x01d");
        check(&Reply::AddHeader("X", "y".into()), false, b"\0\0\0\x05hX\0y\0");
        check(&Reply::AddHeader("X", "y".into()), true, b"\0\0\0\x06hX\0 y\0");
        check(&Reply::DeleteHeader("X", 3), true, b"\0\0\0\x08m\0\0\0\x03X\0\0");
        check(&Reply::Quarantine("why".into()), true, b"\0\0\0\x05qwhy\0");
        check(&Reply::Refuse("550 5.7.1 no".into()), true, b"\0\0\0\x0ey550 5.7.1 no\0");
        let options = Options { version: 6, actions: Actions(1), steps: Steps(2) };
        check(
            &Reply::Negotiate(options, &[(2, "i")]),
            true,
            b"\0\0\0\x13O\0\0\0\x06\0\0\0\x01\0\0\0\x02\0\0\0\x02i\0",
        );
    }

    #[test]
    fn nothing_can_be_injected() {
        check(&Reply::Refuse("550 a\r\n250 b\0c".into()), false, b"\0\0\0\x0dy550 a250 bc\0");
    }
}
