//! The driver: accepts connections, reads commands, runs the session, asks the agent and writes
//! the answers. Everything that waits has a bound here.
//!
//! Main item: [`run`], which takes listeners, configuration, reload and shutdown from outside.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use novacula_client::{Envelope, Sent};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::agent::Agent;
use crate::config::{Config, Listener};
use crate::counts::Counts;
use crate::envelope::{Rules, Transaction};
use crate::listen::{Bound, Stream};
use crate::maillog;
use crate::policy::{Answer, Decision, Delays, Policy, decide, replies};
use crate::protocol::{Command, Frames, Options, Reply};
use crate::session::{Session, Step};

/// Longest wait for an MTA's negotiation, and for the rest of a packet that has begun. An MTA
/// sends both at once; what takes longer is no MTA.
const PACKET_TIME_MAX: Duration = Duration::from_secs(10);

/// Longest wait for the next command. An SMTP client may be slow (Postfix's smtpd_timeout is
/// 300 s, Sendmail's longest is 1 h); libmilter waits 7,210 s.
const IDLE_TIME_MAX: Duration = Duration::from_secs(7210);

/// Longest wait for an MTA to take an answer.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);

/// How often an MTA that waits for a verdict is told that it will come.
const PROGRESS_TIME: Duration = Duration::from_secs(5);

/// How long connections may finish their mail when the milter stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// How soon it is seen that somebody removed a socket.
const RENEW_TIME: Duration = Duration::from_secs(2);

/// How often the agent is told how the milter is.
const TELL_TIME: Duration = Duration::from_secs(5);

/// Longest wait for what is told to the agent beside the verdict.
const ASIDE_TIME_MAX: Duration = Duration::from_secs(10);

/// Most things that wait to be told to the agent beside the verdict; beyond they are dropped and
/// counted.
const ASIDES_MAX: usize = 256;

/// What a new configuration replaces.
struct Settings {
    rules: Arc<Rules>,
    policies: Vec<Policy>,
    deadline: Duration,
}

impl Settings {
    fn of(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            rules: Arc::new(config.rules()),
            policies: config.listener.iter().map(Listener::policy).collect(),
            deadline: config.deadline(),
        })
    }
}

/// What all connections share.
struct Shared {
    agent: Agent,
    settings: RwLock<Arc<Settings>>,
    delays: Mutex<Delays>,
    counts: Counts,
    room: Arc<Semaphore>,
    asides: Arc<Semaphore>,
    sessions: AtomicUsize,
    sessions_max: usize,
    stop: watch::Receiver<bool>,
}

impl Shared {
    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Serves until `shutdown` ends, then lets connections finish the mail they are at. Each
/// configuration that comes over `reload` is taken over, but for its listeners' addresses.
pub async fn run(
    bound: Vec<Bound>,
    config: &Config,
    mut reload: mpsc::Receiver<Config>,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopped) = watch::channel(false);
    let addresses = config.listener.iter().map(|listener| listener.address.to_string());
    let shared = Arc::new(Shared {
        agent: Agent::new(&config.agent_socket),
        settings: RwLock::new(Settings::of(config)),
        delays: Mutex::default(),
        counts: Counts::new(&config.name, addresses),
        room: Arc::new(Semaphore::new(config.mails_len_max)),
        asides: Arc::new(Semaphore::new(ASIDES_MAX)),
        sessions: AtomicUsize::new(0),
        sessions_max: config.sessions_max,
        stop: stopped,
    });
    let mut accepting = JoinSet::new();
    for (index, listener) in bound.into_iter().enumerate() {
        accepting.spawn(accept(listener, index, Arc::clone(&shared)));
    }
    let telling = tokio::spawn(tell(Arc::clone(&shared)));
    let probing = tokio::spawn({
        let shared = Arc::clone(&shared);
        async move { shared.agent.probe(PACKET_TIME_MAX).await }
    });
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(new) = reload.recv() => {
                if new.listener.len() != config.listener.len() {
                    tracing::error!("the number of listeners needs a restart; the old configuration stays");
                    continue;
                }
                let config = new;
                let settings = Settings::of(&config);
                *shared.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
            }
        }
    }
    accepting.shutdown().await; // drops the listeners
    let _ = stop.send(true);
    let drained = async {
        while shared.sessions.load(Ordering::Relaxed) > 0 {
            sleep(Duration::from_millis(10)).await;
        }
        let _ = shared.asides.acquire_many(u32::try_from(ASIDES_MAX).unwrap_or(u32::MAX)).await;
    };
    if timeout(DRAIN_TIME_MAX, drained).await.is_err() {
        tracing::warn!("stopping with connections still open");
    }
    telling.abort();
    probing.abort();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(1);
    let _ = shared.agent.tell(&shared.counts.state(), deadline).await;
}

/// Tells the agent how the milter is, for as long as it runs.
async fn tell(shared: Arc<Shared>) {
    loop {
        if !shared.agent.is_open() {
            let deadline = tokio::time::Instant::now() + TELL_TIME;
            let _ = shared.agent.tell(&shared.counts.state(), deadline).await;
        }
        sleep(TELL_TIME).await;
    }
}

async fn accept(mut listener: Bound, index: usize, shared: Arc<Shared>) {
    let name = listener.name().to_owned();
    let mut crowded = false;
    loop {
        let accepted = timeout(RENEW_TIME, listener.accept()).await;
        if let Some(renewed) = listener.renew() {
            shared.counts.event("socket-gone");
            maillog::socket_gone(&name, renewed.err());
        }
        let stream = match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => {
                // Out of file descriptors, say: give others time to close theirs.
                shared.counts.event("accept-failed");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
            Err(_) => continue,
        };
        let refused = shared.sessions.load(Ordering::Relaxed) >= shared.sessions_max;
        if refused != crowded {
            crowded = refused;
            maillog::crowded(&name, refused, shared.sessions_max);
        }
        if refused {
            // Closed at once: an MTA left waiting would hold its client.
            shared.counts.event("sessions-refused");
            continue;
        }
        shared.sessions.fetch_add(1, Ordering::Relaxed);
        let (shared, name) = (Arc::clone(&shared), name.clone());
        tokio::spawn(async move {
            let place = Place(Arc::clone(&shared));
            if let Err(reason) = connection(stream, index, shared).await {
                place.0.counts.event("connections-broken");
                maillog::broken(&name, &reason);
            }
            drop(place);
        });
    }
}

/// Gives a session's place back however it ends.
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

async fn connection(stream: Stream, listener: usize, shared: Arc<Shared>) -> Result<(), Broken> {
    let (read, mut write) = tokio::io::split(stream);
    let mut frames = Frames::new(read);
    let mut session = {
        let (settings, room) = (shared.settings(), Arc::clone(&shared.room));
        let quarantines = settings.policies[listener].quarantines();
        Session::new(Arc::clone(&settings.rules), room, quarantines)
    };
    let mut stop = shared.stop.clone();
    let mut out = Vec::new();
    loop {
        let Some(command) = next_command(&mut frames, &session, &mut stop).await? else {
            return Ok(());
        };
        let negotiates = matches!(command, Command::Negotiate(_));
        let replies = match session.handle(command)? {
            Step::Close => return Ok(()),
            Step::Silent => continue,
            Step::Reply(reply) => vec![reply],
            Step::Own(transaction) => {
                shared.counts.mail("own", "accept");
                remember(&shared, *transaction);
                vec![Reply::Accept]
            }
            Step::Judge(transaction) => {
                let judging = settle(&shared, *transaction, listener, session.options());
                tokio::pin!(judging);
                loop {
                    tokio::select! {
                        replies = &mut judging => break replies,
                        () = sleep(PROGRESS_TIME) => {
                            send(&mut write, &[Reply::Progress], &session, &mut out).await?;
                        }
                    }
                }
            }
        };
        send(&mut write, &replies, &session, &mut out).await?;
        if negotiates {
            shared.counts.connected(listener);
        }
    }
}

/// The next command; None when the connection ends in order, or is between mails when the milter
/// stops.
async fn next_command<R: AsyncRead + Unpin>(
    frames: &mut Frames<R>,
    session: &Session,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<Command>, Broken> {
    let patience = match session.is_negotiated() {
        true => IDLE_TIME_MAX,
        false => PACKET_TIME_MAX,
    };
    let packet = tokio::select! {
        biased;
        packet = read_packet(frames, patience) => packet?,
        _ = stop.wait_for(|stop| *stop), if !session.is_within_mail() => return Ok(None),
    };
    match packet {
        Some((letter, data)) => Ok(Some(Command::parse(letter, data)?)),
        None if session.is_within_mail() => Err("the MTA went away within a mail".into()),
        None => Ok(None),
    }
}

/// A packet: `patience` for its first byte, little more for the rest.
async fn read_packet<R: AsyncRead + Unpin>(
    frames: &mut Frames<R>,
    patience: Duration,
) -> Result<Option<(u8, Bytes)>, Broken> {
    if !frames.is_within_packet() {
        let begun = timeout(patience, frames.fill()).await;
        if !begun.map_err(|_| "nothing came for too long")?? {
            return Ok(None);
        }
    }
    let whole = timeout(PACKET_TIME_MAX, frames.next()).await;
    Ok(whole.map_err(|_| "a packet took too long")??)
}

async fn send<W: AsyncWrite + Unpin>(
    write: &mut W,
    replies: &[Reply],
    session: &Session,
    out: &mut Vec<u8>,
) -> Result<(), Broken> {
    out.clear();
    replies.iter().for_each(|reply| reply.encode(session.leading_space(), out));
    let sent = timeout(WRITE_TIME_MAX, write.write_all(out)).await;
    Ok(sent.map_err(|_| "the MTA does not take the answer")??)
}

/// Asks for the verdict, decides, and tells a trap's mail.
async fn settle(
    shared: &Arc<Shared>,
    mut transaction: Transaction,
    listener: usize,
    options: Options,
) -> Vec<Reply> {
    let began = Instant::now();
    // A new configuration acts from the next mail on. The number of listeners stays.
    let settings = shared.settings();
    let policy = &settings.policies[listener];
    let envelope = envelope(&transaction, &settings.rules, shared.counts.name());
    let (bytes, room) = transaction.mail.take();
    let mail = Bytes::from(bytes);
    let until = tokio::time::Instant::now() + settings.deadline;
    let answer: Answer = shared.agent.check(mail.clone(), &envelope, until).await;
    let decision: Decision = {
        let mut delays = shared.delays.lock().unwrap_or_else(PoisonError::into_inner);
        decide(policy, &answer, &transaction, &mut delays, Instant::now())
    };
    let outcome = match &answer {
        Ok(check) => check.verdict.name(),
        Err(why) => why.name(),
    };
    shared.counts.mail(outcome, decision.action.name());
    if transaction.mail.is_cut() {
        shared.counts.event("mails-cut");
    }
    maillog::judged(&transaction, &answer, &decision, began.elapsed().as_millis());
    if transaction.trap {
        let queue_id = transaction.queue_id.clone();
        aside(shared, move |shared, until| async move {
            let outcome = shared.agent.report_trap(mail, until).await;
            maillog::trapped(&queue_id, &outcome);
            drop(room);
            outcome.is_ok()
        });
    }
    replies(options, policy, &transaction, &answer, &decision)
}

/// What the agent is told beside the mail.
fn envelope(transaction: &Transaction, rules: &Rules, location: &str) -> Envelope {
    Envelope {
        delivery: true,
        in_mta: true,
        client: transaction.client,
        sender: Some(transaction.sender.clone()),
        recipients: transaction.recipient_count.max(1),
        location: Some(location.to_owned()),
        filter: rules.filter_header.and_then(|field| field.leaning(&transaction.filter)),
        ..Envelope::default()
    }
}

/// Tells the agent to whom this site's people write: who answers them is no stranger.
fn remember(shared: &Arc<Shared>, transaction: Transaction) {
    let sent = Sent { recipients: transaction.recipients, message_id: transaction.message_id };
    let queue_id = transaction.queue_id;
    aside(shared, move |shared, until| async move {
        let told = shared.agent.sent(&sent, until).await;
        if let Err(reason) = &told {
            maillog::own_not_told(&queue_id, reason);
        }
        told.is_ok()
    });
}

/// Does something that no MTA waits for; what can't be done is counted.
fn aside<F: Future<Output = bool> + Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(Arc<Shared>, tokio::time::Instant) -> F + Send + 'static,
) {
    let Ok(place) = Arc::clone(&shared.asides).try_acquire_owned() else {
        shared.counts.event("asides-dropped");
        return;
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let until = tokio::time::Instant::now() + ASIDE_TIME_MAX;
        if !work(Arc::clone(&shared), until).await {
            shared.counts.event("asides-failed");
        }
        drop(place);
    });
}
