//! The agent as the milter sees it: connections that are kept, a deadline for every question, and
//! a breaker, so that an agent that hangs costs a few mails a second each and not every mail.
//!
//! Key decision: while the breaker is open no mail asks. A probe of the milter's own finds out
//! when the agent answers again.

use std::path::{Path, PathBuf};

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use novacula_client::{Check, Client, ClientError, Envelope, MilterState, Sent};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use crate::maillog;
use crate::policy::{Answer, Unchecked};

/// Most questions to the agent at a time; further ones wait within their deadline. An agent on
/// two cores answers some thousands a second, so these never stand long.
const ASKING_MAX: usize = 64;

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 3;

/// First and longest pause between probes.
const PROBE_PAUSE_MIN: Duration = Duration::from_millis(100);
const PROBE_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Failures in a row, and whether mail may ask. Pure; open after [`FAILURES_MAX`] of them.
#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    open: bool,
}

impl Breaker {
    /// Notes how it went; true when the state has changed.
    fn note(&mut self, answered: bool) -> bool {
        let was = self.open;
        self.failures = if answered { 0 } else { self.failures.saturating_add(1) };
        self.open = self.failures >= FAILURES_MAX || (was && !answered);
        self.open != was
    }
}

/// The door to the agent.
#[derive(Debug)]
pub struct Agent {
    socket: PathBuf,
    kept: Mutex<Vec<Client>>,
    places: Semaphore,
    breaker: Mutex<Breaker>,
}

impl Agent {
    /// The agent at this socket. Nothing is connected before the first question.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            kept: Mutex::new(Vec::new()),
            places: Semaphore::new(ASKING_MAX),
            breaker: Mutex::new(Breaker::default()),
        }
    }

    /// The verdict on a mail, or why there is none at the deadline.
    pub async fn check(&self, mail: Bytes, envelope: &Envelope, deadline: Instant) -> Answer {
        if self.is_open() {
            return Err(Unchecked::Absent);
        }
        let asked = self.ask(deadline, async |client| client.check(mail, envelope).await).await;
        self.note(asked)
    }

    /// Reports a mail that came to a trap.
    ///
    /// # Errors
    /// What kept it from being stored.
    pub async fn report_trap(&self, mail: Bytes, deadline: Instant) -> Result<(), String> {
        let envelope = Envelope { trap: true, ..Envelope::default() };
        let asked =
            self.ask(deadline, async |client| client.opine("report", mail, &envelope).await).await;
        said(asked).map(|_| ())
    }

    /// Tells to whom this site's people write.
    ///
    /// # Errors
    /// What kept it from being noted.
    pub async fn sent(&self, sent: &Sent, deadline: Instant) -> Result<(), String> {
        said(self.ask(deadline, async |client| client.sent(sent).await).await)
    }

    /// Tells how the milter is.
    ///
    /// # Errors
    /// What the agent said.
    pub async fn tell(&self, state: &MilterState, deadline: Instant) -> Result<(), String> {
        said(self.ask(deadline, async |client| client.milter(state).await).await)
    }

    /// True while no mail asks.
    pub fn is_open(&self) -> bool {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner).open
    }

    /// Waits until the breaker is open, and probes until the agent answers. Runs as long as the
    /// milter.
    pub async fn probe(&self, patience: Duration) {
        let mut pause = PROBE_PAUSE_MIN;
        loop {
            sleep(pause).await;
            if !self.is_open() {
                pause = PROBE_PAUSE_MIN;
                continue;
            }
            let deadline = Instant::now() + patience;
            let answered =
                matches!(self.ask(deadline, async |client| client.status().await).await, Ok(Ok(_)));
            self.count(answered, "");
            pause = (pause * 2).min(PROBE_PAUSE_MAX);
        }
    }

    /// Asks over a kept connection, or a new one. The outer error is the deadline's.
    async fn ask<T>(
        &self,
        deadline: Instant,
        question: impl AsyncFnOnce(&mut Client) -> Result<T, ClientError>,
    ) -> Result<Result<T, ClientError>, tokio::time::error::Elapsed> {
        timeout_at(deadline, async {
            let _place = self.places.acquire().await;
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut client = kept.unwrap_or_else(|| Client::new(&self.socket));
            let answer = question(&mut client).await;
            if answer.is_ok() {
                self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(client);
            }
            answer
        })
        .await
    }

    fn note(
        &self,
        asked: Result<Result<Check, ClientError>, tokio::time::error::Elapsed>,
    ) -> Answer {
        let (answer, reason) = match asked {
            Ok(Ok(check)) => (Ok(check), String::new()),
            Ok(Err(error)) => {
                let why = match &error {
                    ClientError::NotRunning(_) | ClientError::Denied(_) => Unchecked::Absent,
                    ClientError::TimedOut(..) => Unchecked::Late,
                    ClientError::Refused(_) | ClientError::Broken(..) => Unchecked::Refused,
                };
                // An agent that refuses one mail, with a reason, is there.
                if matches!(error, ClientError::Refused(_)) {
                    maillog::agent_refused(&error);
                    return Err(why);
                }
                (Err(why), error.to_string())
            }
            Err(_) => (Err(Unchecked::Late), "it does not answer in time".into()),
        };
        self.count(answer.is_ok(), &reason);
        answer
    }

    fn count(&self, answered: bool, reason: &str) {
        let changed = self.breaker.lock().unwrap_or_else(PoisonError::into_inner).note(answered);
        if changed {
            maillog::agent_state(answered, &self.socket, reason);
        }
        if !answered {
            // What is kept goes to the agent that was.
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

fn said<T>(
    asked: Result<Result<T, ClientError>, tokio::time::error::Elapsed>,
) -> Result<T, String> {
    match asked {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the agent did not answer in time".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_breaker_opens_after_failures_in_a_row_and_closes_at_an_answer() {
        let mut breaker = Breaker::default();
        let mut after = |answered| (breaker.note(answered), breaker.open);
        assert_eq!(after(false), (false, false));
        assert_eq!(after(false), (false, false));
        assert_eq!(after(true), (false, false), "one answer begins anew");
        assert_eq!(after(false), (false, false));
        assert_eq!(after(false), (false, false));
        assert_eq!(after(false), (true, true));
        assert_eq!(after(false), (false, true));
        assert_eq!(after(true), (true, false));
    }
}
