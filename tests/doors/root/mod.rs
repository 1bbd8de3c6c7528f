//! Tests whose programs run in a network namespace of their own.

mod browser;
mod by_mail;
mod circle;
mod claws;
mod dovecot;
mod proxy;
mod roundcube;
mod spamassassin;
mod thunderbird;
