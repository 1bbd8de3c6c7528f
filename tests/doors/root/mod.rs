//! Tests whose programs run in a network namespace of their own.

mod by_mail;
mod circle;
mod dovecot;
mod proxy;
mod roundcube;
mod spamassassin;
mod thunderbird;
