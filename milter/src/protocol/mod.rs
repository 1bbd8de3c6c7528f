//! The milter protocol, versions 2 to 6, as bytes: what an MTA sends ([`Command`]), what a filter
//! answers ([`Reply`]), what both agree on ([`Options`]), and the frames these travel in
//! ([`Frames`]). Nothing here knows what a mail is or what is done with it.
//!
//! There is no specification beside the code of Sendmail's libmilter (`include/libmilter/mfdef.h`);
//! the numbers and letters below are its own. A packet is a length (4 bytes, big-endian, of what
//! follows), a letter, and the letter's data.

mod command;
mod frames;
mod options;
mod reply;

pub use command::{Command, CommandError, Macros};
pub use frames::{FrameError, Frames, PACKET_LEN_MAX};
pub use options::{Actions, Offer, Options, Steps};
pub use reply::Reply;
