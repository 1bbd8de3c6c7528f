//! How many mails a second go through milter and agent, how long each takes, and what the milter
//! costs Postfix. Real processes over real sockets: build with --release first.
//!
//!     milterload [--mails N] [--sessions N] [--rate PER_SECOND]     a raw client
//!     milterload --postfix [--mails N] [--pairs N]                  smtp-source, with and without

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Parser;
use novacula_tests::harness::Place;
use novacula_tests::rig::{Lmtp, Mta, Net, Postfix};

/// Measures the milter.
#[derive(Parser)]
struct Args {
    /// Mails in all (raw client), or in each run (Postfix).
    #[arg(long, default_value_t = 20_000)]
    mails: usize,
    /// Sessions at a time.
    #[arg(long, default_value_t = 20)]
    sessions: usize,
    /// Mails a second in all; 0: as many as go.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Through a real Postfix (needs root).
    #[arg(long)]
    postfix: bool,
    /// Postfix throws the mails away instead of delivering them.
    #[arg(long, requires = "postfix")]
    accept_only: bool,
    /// Runs with and without the milter, in turns.
    #[arg(long, default_value_t = 7)]
    pairs: usize,
}

/// Length of a mail, in bytes.
const MAIL_LEN: usize = 4096;

fn main() {
    let args = Args::parse();
    if args.postfix { postfix(&args) } else { raw(&args) }
}

/// A mail like no other: words drawn by a counter.
fn mail(number: usize) -> String {
    let mut text = format!(
        "From: Ann <ann{number}@far.example>\nTo: bob@site.example\nSubject: Number {number}\n\
         Message-ID: <{number}@far.example>\nDate: Mon, 2 Mar 2026 10:00:00 +0000\n\n"
    );
    let mut state = number as u64 ^ 0x9e37_79b9_7f4a_7c15;
    while text.len() < MAIL_LEN {
        for column in 0..9 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let letters = (0..4 + state % 5).map(|at| {
                char::from(b'a' + u8::try_from((state >> (8 * at + 3)) % 26).unwrap_or(0))
            });
            text.extend(letters);
            text.push(if column == 8 { '\n' } else { ' ' });
        }
    }
    text
}

fn raw(args: &Args) {
    let place = Place::new();
    let socket = place.path().join("milter.sock");
    let agent_log = place.file("novacula.toml", b"log = \"warn\"\n");
    let agent = place.serve_with(&["--config", &agent_log]);
    let config = format!(
        "log = \"warn\"\n[[listener]]\naddress = \"unix:{}\"\ngroup = \"\"\n",
        socket.display()
    );
    let milter = place.milter(&socket, &config);
    let mails: Vec<String> = (0..args.mails).map(mail).collect();
    let started = Instant::now();
    let mut times = std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..args.sessions)
            .map(|first| {
                let (mails, socket) = (&mails, &socket);
                scope.spawn(move || session(socket, mails, first, args, started))
            })
            .collect();
        sessions
            .into_iter()
            .flat_map(|session| session.join().expect("it ends"))
            .collect::<Vec<_>>()
    });
    let secs = started.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{} mails of {MAIL_LEN} bytes over {} sessions in {secs:.2} s: {:.0} mails/s",
        args.mails,
        args.sessions,
        args.mails as f64 / secs
    );
    println!(
        "a mail, from MAIL to its answer: p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, most {:.2} ms",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    for (name, daemon) in [("milter", &milter), ("agent", &agent)] {
        let each = daemon.cpu_ms() as f64 * 1e3 / args.mails as f64;
        println!("{name}: {each:.0} us of processor time a mail, {} KiB", daemon.rss_kib());
    }
}

/// One session: every mail that falls to it, at its time.
fn session(
    socket: &Path,
    mails: &[String],
    first: usize,
    args: &Args,
    started: Instant,
) -> Vec<Duration> {
    let mut mta = Mta::open(socket, "192.0.2.7");
    let mut times = Vec::new();
    for number in (first..mails.len()).step_by(args.sessions) {
        let due = match args.rate > 0.0 {
            true => started + Duration::from_secs_f64(number as f64 / args.rate),
            false => Instant::now(),
        };
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let outcome = mta.mail("ann@far.example", &["bob@site.example"], &mails[number]);
        // From when it was due: a queue before the milter counts, too.
        times.push(due.elapsed());
        assert!(outcome.added[0].1.starts_with("unknown; confidence="), "{outcome:?}");
    }
    times
}

fn postfix(args: &Args) {
    let (place, net) = (Place::new(), Net::new());
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).expect("its mode");
    let lmtp = Lmtp::listen(&place.path().join("lmtp.sock"));
    let dir = place.path().join("mta");
    let shipped = include_str!("../../contrib/postfix/main.cf");
    let discard = if args.accept_only { "virtual_transport = discard:\n" } else { "" };
    let postfix = Postfix::prepare(&net, &dir, lmtp.path(), &format!("{shipped}\n{discard}"));
    let socket = dir.join("queue/novacula/milter.sock");
    let agent_log = place.file("novacula.toml", b"log = \"warn\"\n");
    let _agent = place.serve_with(&["--config", &agent_log]);
    let _milter = place.milter(
        &socket,
        &format!(
            "log = \"warn\"\nlocal_networks = []\n[[listener]]\naddress = \"unix:{}\"\n",
            socket.display()
        ),
    );
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.join("queue/novacula"), open).expect("its mode");
    postfix.start();
    let run = |milters: &str| {
        let set = postfix
            .command("postconf")
            .args(["-e", &format!("smtpd_milters = {milters}")])
            .status();
        assert!(set.expect("postconf runs").success());
        assert!(postfix.control("reload"));
        std::thread::sleep(Duration::from_secs(2));
        let mut source = postfix.command("smtp-source");
        source.args(["-l", &MAIL_LEN.to_string(), "-s", &args.sessions.to_string()]);
        source.args(["-m", &args.mails.to_string(), "-f", "ann@far.example"]);
        source.args(["-t", "bob@site.example", "127.0.0.1:25"]);
        let started = Instant::now();
        assert!(source.status().expect("smtp-source runs").success());
        if !args.accept_only {
            let _ = lmtp.take(args.mails);
        }
        args.mails as f64 / started.elapsed().as_secs_f64()
    };
    let with = "{ unix:novacula/milter.sock, connect_timeout=10s, command_timeout=10s, content_timeout=30s, default_action=accept }";
    let mut ratios = Vec::new();
    println!("mails/s with the milter, without, ratio");
    for pair in 0..args.pairs {
        // Turns change places, so that a machine that slows down harms both alike.
        let (with, without) = if pair % 2 == 0 {
            let first = run(with);
            (first, run(""))
        } else {
            let first = run("");
            (run(with), first)
        };
        println!("{with:8.0} {without:8.0} {:6.3}", with / without);
        ratios.push(with / without);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.3}", ratios[ratios.len() / 2]);
}
