//! Tests whose programs run in a network namespace of their own.

mod dovecot;
mod spamassassin;
mod thunderbird;
