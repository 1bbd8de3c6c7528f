//! What a site keeps of its correspondents: a hash that only the agent can read, and days. It
//! never leaves the site.

/// A correspondent, as the store knows him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Keyed hash of what the agent knows.
    pub hash: u64,
    /// What the hash stands for: 1 an address written to, 2 a mail sent, 3 an address that wrote.
    pub kind: u8,
    /// Days since 1970 on which it was first and last met.
    pub first_day: u32,
    /// The last of them.
    pub last_day: u32,
}

impl Trace {
    /// Days that it is kept after the last: over a year for whom somebody wrote to, a month for a
    /// mail that may be answered; a sender who wrote on one day only may be a spammer's
    /// invention. These are conventions, not measured.
    #[must_use]
    pub fn days_kept(&self) -> u32 {
        match self.kind {
            1 => 400,
            2 => 30,
            _ if self.first_day == self.last_day => 14,
            _ => 90,
        }
    }
}
