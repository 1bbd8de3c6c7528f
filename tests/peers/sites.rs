//! Agents as peers of each other: their configuration, their mails, and what they say.

use std::time::{Duration, Instant};

use novacula_client::{Check, Client, Envelope, Peers, Status};
use novacula_tests::harness::{Daemon, Place};
use novacula_tests::rig::Net;

/// The private network's key: all who hold it weigh 1.
pub(crate) const GROUP_KEY: &str =
    "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f";

/// The port of all sites that have an address of their own.
pub(crate) const PORT: u16 = 25_725;

/// The configuration of a site at `address`.
pub(crate) fn config(address: &str, bootstrap: &[&str]) -> String {
    let bootstrap: Vec<String> = bootstrap.iter().map(|place| format!("{place:?}")).collect();
    format!(
        "network = true\n\
         network_listen = [\"/ip4/{address}/udp/{PORT}/quic-v1\", \"/ip4/{address}/tcp/{PORT}\"]\n\
         network_prefix_v4 = 24\n\
         deadline_ms = 500\n\
         group_key = \"{GROUP_KEY}\"\n\
         bootstrap = [{}]\n",
        bootstrap.join(", ")
    )
}

/// Starts site `n`, which begins with the first site.
pub(crate) fn serve<'a>(place: &'a Place, net: &Net, n: usize) -> Daemon<'a> {
    let bootstrap: &[&str] = if n == 1 { &[] } else { &["10.0.1.2"] };
    place.serve_in(Some(net), &config(&format!("10.0.{n}.2"), bootstrap))
}

/// A mail that no other number gives a twin of: sixty words drawn from a list by a seed.
pub(crate) fn mail(number: u64) -> Vec<u8> {
    const PARTS: [&str; 20] = [
        "ra", "lo", "mi", "ten", "gar", "vel", "sun", "dop", "kri", "fas", "bel", "nor", "tum",
        "wex", "jal", "pio", "hed", "cus", "zan", "qui",
    ];
    let mut rng = fastrand::Rng::with_seed(number + 1);
    let words: Vec<String> =
        (0..60).map(|_| (0..3).map(|_| PARTS[rng.usize(..PARTS.len())]).collect()).collect();
    let text = words.chunks(10).map(|line| line.join(" ")).collect::<Vec<_>>().join("\r\n");
    format!(
        "From: shop <offer@spam.example>\r\nTo: you@here.example\r\nSubject: offer\r\n\
         Date: Mon, 2 Mar 2026 10:00:00 +0000\r\nMessage-ID: <{number}@spam.example>\r\n\r\n{text}\r\n"
    )
    .into_bytes()
}

/// A client of an agent, without a process for each question.
pub(crate) struct Voice {
    runtime: tokio::runtime::Runtime,
    socket: std::path::PathBuf,
}

impl Voice {
    pub(crate) fn of(place: &Place) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, socket: place.socket() }
    }

    /// A connection of its own for each question: an idle one would be closed by the agent.
    fn client(&self) -> Client {
        Client::new(&self.socket)
    }

    fn check(&mut self, number: u64, delivery: bool) -> Check {
        let envelope = Envelope { delivery, ..Envelope::default() };
        let mail = mail(number).into();
        self.runtime.block_on(self.client().check(mail, &envelope)).unwrap()
    }

    /// The mail is delivered here; gives the answer and how long it took.
    pub(crate) fn deliver(&mut self, number: u64) -> (Check, Duration) {
        let started = Instant::now();
        let answer = self.check(number, true);
        (answer, started.elapsed())
    }

    /// What is known of the mail, without a delivery.
    pub(crate) fn ask(&mut self, number: u64) -> Check {
        self.check(number, false)
    }

    /// Somebody reports the mail; true when the agent acknowledged that.
    pub(crate) fn report(&mut self, number: u64) -> bool {
        let mail = mail(number).into();
        self.runtime.block_on(self.client().opine("report", mail, &Envelope::default())).is_ok()
    }

    pub(crate) fn status(&mut self) -> Status {
        self.runtime.block_on(self.client().status()).unwrap()
    }

    pub(crate) fn peers(&mut self) -> Peers {
        self.runtime.block_on(self.client().peers()).unwrap()
    }

    /// A counter of the network side.
    pub(crate) fn counter(&mut self, name: &str) -> u64 {
        let state = self.status().peers.expect("the network is on");
        state.counters.get(name).copied().unwrap_or_else(|| panic!("no counter {name}"))
    }
}

/// Waits until every site knows `members` hosts, all placed.
pub(crate) fn wait_met(voices: &mut [Voice], members: usize, longest: Duration) -> Duration {
    let started = Instant::now();
    for (at, voice) in voices.iter_mut().enumerate() {
        loop {
            let state = voice.status().peers.expect("the network is on");
            if state.members == members && state.placed == members && state.up == members {
                break;
            }
            assert!(started.elapsed() < longest, "site {} knows {state:?}", at + 1);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    started.elapsed()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// Frames that the site sent, by a record of them: what for, and the bytes. A kill may have cut the
/// last line that was written before it.
pub(crate) fn frames_of(place: &Place, record: &str) -> Vec<(String, Vec<u8>)> {
    let text = std::fs::read_to_string(place.path().join(record)).unwrap();
    text.lines()
        .filter_map(|line| {
            let mut parts = line.split(' ');
            let (what, hex) = (parts.next()?, parts.nth(1)?);
            let whole = hex.len() % 2 == 0 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
            whole.then(|| (what.to_owned(), unhex(hex)))
        })
        .collect()
}

/// The value below which a share of the sorted times lies.
pub(crate) fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share).round() as usize]
}
