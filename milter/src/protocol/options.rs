//! What MTA and filter agree on at the start of a connection: only what is used is asked for, so
//! that an MTA sends nothing in vain and waits for no answer that says nothing.

use std::ops::{BitAnd, BitOr};

/// Oldest protocol version that is spoken: Sendmail 8.12, Postfix 2.3.
pub(super) const VERSION_MIN: u32 = 2;

/// Newest protocol version: Sendmail 8.14, Postfix 2.6.
pub(super) const VERSION_MAX: u32 = 6;

/// What a filter may do to a mail (`SMFIF_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions(pub u32);

impl Actions {
    /// Add header fields.
    pub const ADD_HEADERS: Self = Self(0x01);
    /// Change or delete header fields.
    pub const CHANGE_HEADERS: Self = Self(0x10);
    /// Put a mail into quarantine.
    pub const QUARANTINE: Self = Self(0x20);
    /// Say which macros are wanted.
    pub const SET_MACROS: Self = Self(0x100);

    /// True when all of `other` is among these.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What an MTA need not send, and where it need not wait (`SMFIP_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps(pub u32);

impl Steps {
    /// Do not send HELO.
    pub const NO_HELO: Self = Self(0x02);
    /// Do not wait for an answer to a header field.
    pub const NO_REPLY_HEADER: Self = Self(0x80);
    /// Do not send unknown SMTP commands.
    pub const NO_UNKNOWN: Self = Self(0x100);
    /// Do not send DATA.
    pub const NO_DATA: Self = Self(0x200);
    /// The filter may answer a piece of the body with "skip the rest".
    pub const SKIP: Self = Self(0x400);
    /// Do not wait for an answer to a connection.
    pub const NO_REPLY_CONNECT: Self = Self(0x1000);
    /// Do not wait for an answer to MAIL.
    pub const NO_REPLY_MAIL: Self = Self(0x4000);
    /// Do not wait for an answer to RCPT.
    pub const NO_REPLY_RCPT: Self = Self(0x8000);
    /// Do not wait for an answer to the end of the header.
    pub const NO_REPLY_END_OF_HEADER: Self = Self(0x4_0000);
    /// Header values come with the blanks after the colon, and are sent with them.
    pub const LEADING_SPACE: Self = Self(0x10_0000);

    /// Everything that is asked for where the MTA offers it.
    pub const WANTED: Self = Self(
        Self::NO_HELO.0
            | Self::NO_REPLY_HEADER.0
            | Self::NO_UNKNOWN.0
            | Self::NO_DATA.0
            | Self::SKIP.0
            | Self::NO_REPLY_CONNECT.0
            | Self::NO_REPLY_MAIL.0
            | Self::NO_REPLY_RCPT.0
            | Self::NO_REPLY_END_OF_HEADER.0
            | Self::LEADING_SPACE.0,
    );

    /// True when all of `other` is among these.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Actions {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Actions {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitAnd for Steps {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// What an MTA says that it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its protocol version.
    pub version: u32,
    /// What it lets a filter do.
    pub actions: Actions,
    /// What it can leave out.
    pub steps: Steps,
}

/// What both agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The older of both versions.
    pub version: u32,
    /// What this filter may do.
    pub actions: Actions,
    /// What is left out.
    pub steps: Steps,
}

impl Options {
    /// Of what is wanted, what is offered. None when the MTA's version is too old.
    #[must_use]
    pub fn agree(offer: Offer, wanted: Actions) -> Option<Self> {
        (offer.version >= VERSION_MIN).then(|| Self {
            version: offer.version.min(VERSION_MAX),
            actions: offer.actions & wanted,
            steps: offer.steps & Steps::WANTED,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Actions = Actions(0x11 | 0x100);

    #[track_caller]
    fn check(version: u32, actions: u32, steps: u32, expected: Option<(u32, u32, u32)>) {
        let offer = Offer { version, actions: Actions(actions), steps: Steps(steps) };
        let agreed = Options::agree(offer, WANTED);
        assert_eq!(agreed.map(|got| (got.version, got.actions.0, got.steps.0)), expected);
    }

    #[test]
    fn only_what_is_offered_and_wanted() {
        // Postfix 3.7 and Sendmail 8.17 offer these.
        check(6, 0x1ff, 0x1f_ffff, Some((6, 0x111, 0x14_d782)));
        check(6, 0x1ff, 0x3fff_ffff, Some((6, 0x111, 0x14_d782)));
        check(2, 0x3f, 0x7f, Some((2, 0x11, 0x02)));
        check(9, 0x01, 0, Some((6, 0x01, 0)));
        check(1, 0x3f, 0x7f, None);
        check(0, u32::MAX, u32::MAX, None);
    }
}
