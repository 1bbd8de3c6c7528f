//! What only root can set up: MTAs in networks of their own.

mod bulk;
mod faults;
mod headline;
mod postfix;
mod sendmail;
mod setup;
