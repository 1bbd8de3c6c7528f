//! What the SMTP dialogue tells of a mail beside its text: connection data and transaction data
//! apart, and the administrator's rules about them. Addresses are compared here and never leave
//! the site; the agent gets counts and facts.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::facts::FilterHeader;

/// Bytes of a mail that every session may keep, whatever others keep: enough for the text of
/// most mails (half of DEV's are shorter than 5 KB).
const OWN_ROOM: usize = 16 << 10;

/// Room is taken from what all sessions share in steps of this many bytes.
const ROOM_STEP: usize = 64 << 10;

/// Most that a mail's header may take, in bytes: as much as the agent reads of one.
const HEADER_LEN_MAX: usize = 512 << 10;

/// Most recipients whose addresses are kept; beyond they are only counted.
const RECIPIENTS_KEPT_MAX: usize = 100;

/// Longest address that is looked at, in bytes (RFC 5321, 4.5.3.1: 64 + 1 + 255).
const ADDRESS_LEN_MAX: usize = 320;

/// The field that the verdict is written into.
pub const HEADER_NAME: &str = "X-Novacula";

/// What an administrator says about whose mail is looked at, and how.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Clients whose mail is this site's own.
    pub local_networks: Vec<IpNet>,
    /// Addresses, or `@domain`s, that no wanted mail knows; lower case.
    pub traps: Vec<String>,
    /// The other filter's field that is believed.
    pub filter_header: Option<FilterHeader>,
    /// Longest part of a mail that is kept, in bytes.
    pub mail_len_max: usize,
}

impl Rules {
    fn is_local(&self, client: Option<IpAddr>) -> bool {
        client.is_some_and(|client| self.local_networks.iter().any(|net| net.contains(&client)))
    }

    fn is_trap(&self, address: &str) -> bool {
        let domain = address.rsplit_once('@').map(|(_, domain)| domain);
        self.traps.iter().any(|trap| match trap.strip_prefix('@') {
            Some(trap) => domain == Some(trap),
            None => address == trap,
        })
    }
}

/// What stays as long as one SMTP client is connected.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The client's address, where it has one.
    pub client: Option<IpAddr>,
}

/// One mail, from MAIL to its end.
#[derive(Debug)]
pub struct Transaction {
    /// The MTA's queue id, where it told.
    pub queue_id: String,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The envelope's sender, lower case, without brackets; empty for a bounce.
    pub sender: String,
    /// The first recipients, likewise.
    pub recipients: Vec<String>,
    /// How many recipients there are.
    pub recipient_count: u32,
    /// The mail is this site's own: an authenticated submitter, or a local network.
    pub own: bool,
    /// A recipient is a trap.
    pub trap: bool,
    /// Fields that bear our name, which only we may write.
    pub forged: u32,
    /// What the other filter's fields said, where one is believed.
    pub filter: Vec<String>,
    /// The Message-ID, for mail of our own.
    pub message_id: Option<String>,
    /// The mail, as far as it is kept.
    pub mail: Kept,
}

impl Transaction {
    /// A transaction begins.
    #[must_use]
    pub fn begin(
        rules: &Rules,
        connection: &Connection,
        sender: &[u8],
        submitter: bool,
        room: &Arc<Semaphore>,
    ) -> Self {
        Self {
            queue_id: String::new(),
            client: connection.client,
            sender: address(sender),
            recipients: Vec::new(),
            recipient_count: 0,
            own: submitter || rules.is_local(connection.client),
            trap: false,
            forged: 0,
            filter: Vec::new(),
            message_id: None,
            mail: Kept::new(rules.mail_len_max, Arc::clone(room)),
        }
    }

    /// A recipient.
    pub fn add_recipient(&mut self, rules: &Rules, recipient: &[u8]) {
        let address = address(recipient);
        self.trap |= rules.is_trap(&address);
        self.recipient_count = self.recipient_count.saturating_add(1);
        if self.recipients.len() < RECIPIENTS_KEPT_MAX {
            self.recipients.push(address);
        }
    }

    /// A header field. `blank` is what the MTA took away after the colon.
    pub fn add_header(&mut self, rules: &Rules, name: &[u8], blank: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(HEADER_NAME.as_bytes()) {
            self.forged = self.forged.saturating_add(1);
            return;
        }
        let believed = rules.filter_header.as_ref();
        if believed.is_some_and(|field| name.eq_ignore_ascii_case(field.name().as_bytes())) {
            self.filter.push(String::from_utf8_lossy(value).into_owned());
        }
        if self.own && name.eq_ignore_ascii_case(b"message-id") {
            self.message_id = Some(String::from_utf8_lossy(value).trim().to_owned());
        }
        let len = name.len() + 1 + blank.len() + value.len() + 2;
        if self.mail.bytes.len() + len <= HEADER_LEN_MAX {
            for part in [name, b":", blank, value, b"\r\n"] {
                self.mail.push(part);
            }
        }
    }
}

/// An address as the envelope has it: without brackets, lower case, bounded.
fn address(text: &[u8]) -> String {
    let text = text.strip_prefix(b"<").unwrap_or(text);
    let text = text.strip_suffix(b">").unwrap_or(text);
    let text = &text[..text.len().min(ADDRESS_LEN_MAX)];
    String::from_utf8_lossy(text).to_lowercase()
}

/// The bytes of a mail that are kept: at most so many, and beyond the first only while there is
/// room in what all sessions share. At a bound the rest is left away, and that is told.
#[derive(Debug)]
pub struct Kept {
    bytes: Vec<u8>,
    len_max: usize,
    cut: bool,
    room: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

impl Kept {
    fn new(len_max: usize, room: Arc<Semaphore>) -> Self {
        Self { bytes: Vec::new(), len_max, cut: false, room, taken: None }
    }

    /// Appends as much as there is room for; false when nothing more is kept.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        if self.cut {
            return false;
        }
        let wanted = (self.bytes.len() + bytes.len()).min(self.len_max);
        if wanted > self.bytes.capacity() {
            self.grow(wanted);
        }
        let fits = wanted.min(self.bytes.capacity()).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..fits.min(bytes.len())]);
        self.cut = fits < bytes.len();
        !self.cut
    }

    /// Makes room for `wanted` bytes, or as many as there are.
    fn grow(&mut self, wanted: usize) {
        if wanted <= OWN_ROOM {
            // Small mails are many: a few sizes only.
            let size = wanted.next_power_of_two().min(OWN_ROOM);
            self.bytes.reserve_exact(size - self.bytes.len());
            return;
        }
        let target = wanted.next_multiple_of(ROOM_STEP);
        let held = self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = u32::try_from(target.saturating_sub(held)).unwrap_or(u32::MAX);
        match Arc::clone(&self.room).try_acquire_many_owned(missing) {
            Ok(more) => match &mut self.taken {
                Some(taken) => taken.merge(more),
                None => self.taken = Some(more),
            },
            // What is there already stays; at least a session's own room.
            Err(_) if self.bytes.capacity() < OWN_ROOM => {
                self.bytes.reserve_exact(OWN_ROOM - self.bytes.len());
                return;
            }
            Err(_) => return,
        }
        self.bytes.reserve_exact(target - self.bytes.len());
    }

    /// True when not all of the mail is here.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Takes the bytes out, and the room they hold.
    #[must_use]
    pub fn take(&mut self) -> (Vec<u8>, Option<OwnedSemaphorePermit>) {
        (std::mem::take(&mut self.bytes), self.taken.take())
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            local_networks: vec!["127.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            traps: vec!["trap@a.example".into(), "@trap.example".into()],
            filter_header: None,
            mail_len_max: 1 << 20,
        }
    }

    #[track_caller]
    fn own(client: Option<&str>, submitter: bool, expected: bool) {
        let connection = Connection { client: client.map(|text| text.parse().unwrap()) };
        let room = Arc::new(Semaphore::new(0));
        let begun = Transaction::begin(&rules(), &connection, b"<a@b>", submitter, &room);
        assert_eq!(begun.own, expected, "{client:?}");
    }

    #[test]
    fn whose_mail_is_our_own() {
        own(Some("127.0.0.1"), false, true);
        own(Some("2001:db8::5"), false, true);
        own(Some("192.0.2.1"), false, false);
        own(Some("192.0.2.1"), true, true);
        own(None, false, false);
    }

    #[track_caller]
    fn trap(recipient: &str, expected: bool) {
        let room = Arc::new(Semaphore::new(0));
        let connection = Connection::default();
        let mut transaction = Transaction::begin(&rules(), &connection, b"<>", false, &room);
        transaction.add_recipient(&rules(), b"<ann@a.example>");
        transaction.add_recipient(&rules(), recipient.as_bytes());
        assert_eq!(transaction.trap, expected, "{recipient}");
        assert_eq!(transaction.recipient_count, 2);
    }

    #[test]
    fn traps_by_address_and_domain() {
        trap("<Trap@A.example>", true);
        trap("<anybody@trap.example>", true);
        trap("<trap@b.example>", false);
        trap("<x@sub.trap.example>", false);
        trap("<xtrap@a.example>", false);
        trap("<>", false);
        trap("", false);
    }

    #[track_caller]
    fn keep(len_max: usize, room: usize, pieces: &[usize], expected: (usize, bool, usize)) {
        let shared = Arc::new(Semaphore::new(room));
        let mut kept = Kept::new(len_max, Arc::clone(&shared));
        for piece in pieces {
            kept.push(&vec![b'x'; *piece]);
        }
        let got = (kept.bytes().len(), kept.is_cut(), room - shared.available_permits());
        assert_eq!(got, expected, "{pieces:?}");
        drop(kept);
        assert_eq!(shared.available_permits(), room, "all room is given back");
    }

    #[test]
    fn a_mail_is_kept_within_its_bounds() {
        keep(1 << 20, 1 << 20, &[10, 20], (30, false, 0));
        keep(1 << 20, 1 << 20, &[OWN_ROOM], (OWN_ROOM, false, 0));
        keep(1 << 20, 1 << 20, &[OWN_ROOM, 1], (OWN_ROOM + 1, false, ROOM_STEP));
        keep(1 << 20, 1 << 20, &[70_000, 70_000], (140_000, false, 3 * ROOM_STEP));
        keep(100, 1 << 20, &[99, 1], (100, false, 0));
        keep(100, 1 << 20, &[99, 5], (100, true, 0));
        keep(1 << 20, 0, &[10, 100_000], (OWN_ROOM, true, 0));
        keep(1 << 20, ROOM_STEP, &[60_000, 60_000], (ROOM_STEP, true, ROOM_STEP));
        keep(100_000, 1 << 20, &[200_000], (100_000, true, 2 * ROOM_STEP));
    }
}
