//! The local API on a Unix socket: HTTP/1.1, a mail in, JSON out. This file and those under it are
//! the only door to the HTTP framework; they decide who the caller is, bound what he sends, and
//! leave every decision about mail to [`Agent`].
//!
//! Main item: [`serve`]. The caller is the peer of the socket, as the kernel names him, or over TCP
//! the owner of a token; a name in `Novacula-Reporter` is believed from configured users only.

mod accept;
mod caller;
mod network;
mod people;
mod tcp;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use novacula_catalog::Time;
use novacula_client::{
    AllowList, Check, Digests, ErrorReply, Explanation, MilterState, OpinionReply, Sent, Status,
};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{error, info, warn};
use utoipa::OpenApi;

use crate::agent::{Agent, AgentError, Caller, Deed, LONG_MAIL, digests};
use crate::canonical::Canonical;
use crate::config::Config;
use crate::fingerprint::Fingerprint;
use crate::maillog;
use crate::message::{MAIL_LEN_MAX, Message};

use accept::{Accepted, accept, connection};
use caller::{believed, caller};

/// Longest wait for a whole mail.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Longest wait for requests in flight when the agent stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// How often the agent is tended.
const TEND_TIME: Duration = Duration::from_secs(60);

/// Longest allowlist pattern that is read, in bytes.
const PATTERN_LEN_MAX: usize = 4096;

/// Longest word of a milter, in bytes: a hundred recipients are 32 KB at most.
const WORD_LEN_MAX: usize = 64 << 10;

/// Who may do what; replaced when the configuration is read again.
struct People {
    administrators: Vec<String>,
    believed: Vec<String>,
    tcp_hosts: Vec<String>,
    tcp_origins: Vec<String>,
    user_domain: String,
}

impl People {
    fn of(config: &Config) -> Self {
        Self {
            administrators: config.administrators.clone(),
            believed: config.believed_users.clone(),
            tcp_hosts: config.tcp_hosts.clone(),
            tcp_origins: config.tcp_origins.clone(),
            user_domain: config.user_domain.clone(),
        }
    }
}

/// Most mail that is held for callers at a time, in KiB; who comes beyond waits.
const BODIES_KIB_MAX: u32 = 128 << 10;

struct Shared {
    agent: Arc<Agent>,
    bodies: Arc<Semaphore>,
    people: RwLock<Arc<People>>,
}

/// Who is at the other end.
#[derive(Clone)]
enum Peer {
    /// The user of a Unix socket, as the kernel names him.
    Uid(u32),
    /// The owner of the token that came over TCP.
    Owner(String),
    /// Over TCP, about to get a token.
    Nobody,
}

/// Why a request is refused: status and what mends it.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(ErrorReply { error: self.1 })).into_response()
    }
}

impl From<AgentError> for Refusal {
    fn from(error: AgentError) -> Self {
        let status = match &error {
            AgentError::Pattern(_)
            | AgentError::TrustList(..)
            | AgentError::Note(_)
            | AgentError::InviteDays(_) => StatusCode::BAD_REQUEST,
            AgentError::NotAdministrator(_) | AgentError::Code => StatusCode::FORBIDDEN,
            AgentError::NoToken | AgentError::NoInvite => StatusCode::NOT_FOUND,
            AgentError::TooManyTokens(_)
            | AgentError::TooManyVouches(..)
            | AgentError::TooManyInvites(_)
            | AgentError::NoSiteKey
            | AgentError::NoGroup
            | AgentError::NoAddress => StatusCode::CONFLICT,
            AgentError::TooManyOpinions(_) => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::INSUFFICIENT_STORAGE,
        };
        Self(status, format!("failed to {error}"))
    }
}

/// Serves until `shutdown` ends, then finishes what is in flight. Each configuration that comes
/// over `reload` is taken over.
pub async fn serve(
    listener: UnixListener,
    tcp: Option<TcpListener>,
    agent: Arc<Agent>,
    config: &Config,
    mut reload: tokio::sync::mpsc::Receiver<Config>,
    shutdown: impl Future<Output = ()>,
) {
    let people = RwLock::new(Arc::new(People::of(config)));
    let shared = Arc::new(Shared {
        agent,
        bodies: Arc::new(Semaphore::new(BODIES_KIB_MAX as usize)),
        people,
    });
    let app = router(Arc::clone(&shared));
    let for_clients =
        app.clone().layer(axum::middleware::from_fn_with_state(Arc::clone(&shared), tcp::door));
    let places = Arc::new(Semaphore::new(config.connections_max));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut tending = tokio::time::interval(TEND_TIME);
    tokio::pin!(shutdown);
    loop {
        let place = Arc::clone(&places).acquire_owned();
        tokio::select! {
            () = &mut shutdown => break,
            Some(config) = reload.recv() => {
                shared.agent.reload(&config);
                let people = Arc::new(People::of(&config));
                *shared.people.write().unwrap_or_else(PoisonError::into_inner) = people;
                info!("configuration read again");
            }
            _ = tending.tick() => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { shared.agent.tend(Time::now()).await });
            }
            accepted = async { (place.await, accept(&listener, tcp.as_ref()).await) } => {
                let (Ok(place), Ok(accepted)) = accepted else {
                    // Out of file descriptors, say: give others time to close theirs.
                    error!("a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let (app, for_clients) = (app.clone(), for_clients.clone());
                let stopped = stopped.clone();
                tokio::spawn(async move {
                    match accepted {
                        Accepted::Unix(stream, peer) => {
                            connection(stream, app.layer(Extension(peer)), stopped).await;
                        }
                        Accepted::Tcp(stream) => connection(stream, for_clients, stopped).await,
                    }
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    let _ = stop.send(true);
    let all = u32::try_from(config.connections_max).unwrap_or(u32::MAX);
    if tokio::time::timeout(DRAIN_TIME_MAX, places.acquire_many(all)).await.is_err() {
        warn!("stopping with connections still open");
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "novacula agent", description = "The local API of a site's agent."),
    paths(
        check,
        report,
        revoke,
        withdraw,
        fingerprint,
        explain,
        status,
        allowed,
        allow,
        disallow,
        sent,
        milter,
        network::peers,
        network::identity,
        network::join,
        network::join_group,
        network::trust,
        network::import_trust,
        network::invite,
        network::uninvite,
        network::vouch,
        network::unvouch,
        people::opinions,
        people::pair,
        people::token,
        people::tokens,
        people::remove_token
    )
)]
struct Document;

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/check", post(check))
        .route("/v1/report", post(report))
        .route("/v1/revoke", post(revoke))
        .route("/v1/withdraw", post(withdraw))
        .route("/v1/fingerprint", post(fingerprint))
        .route("/v1/explain", post(explain))
        .route("/v1/status", get(status))
        .route("/v1/allow", get(allowed).put(allow).delete(disallow))
        .route("/v1/sent", put(sent))
        .route("/v1/milter", put(milter))
        .merge(network::router())
        .route("/v1/openapi.json", get(|| async { Json(Document::openapi()) }))
        .route("/metrics", get(metrics))
        .merge(people::router())
        .fallback(async |uri: Uri| {
            let path: String = uri.path().chars().take(80).collect();
            Refusal(StatusCode::NOT_FOUND, format!("no such path: {path}; see /v1/openapi.json"))
        })
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let right = match uri.path() {
                "/v1/status" | "/v1/peers" | "/v1/identity" | "/v1/opinions" | "/metrics"
                | "/v1/openapi.json" => "GET",
                "/v1/vouch" => "PUT or DELETE",
                "/v1/invite" => "POST or DELETE",
                "/v1/trust" => "POST or PUT",
                "/v1/tokens" => "GET or DELETE",
                "/v1/allow" => "GET, PUT or DELETE",
                "/v1/sent" | "/v1/milter" => "PUT",
                _ => "POST",
            };
            let text = format!("{method} is the wrong method for {}: use {right}", uri.path());
            Refusal(StatusCode::METHOD_NOT_ALLOWED, text)
        })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&shared), count_refusals))
        .with_state(shared)
}

async fn count_refusals(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: axum::middleware::Next,
) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    if response.status().is_client_error() {
        shared.agent.metrics.refused.inc();
        maillog::refused(&path, response.status().as_u16(), "");
    }
    response
}

/// Asks for the verdict on a mail. A pure query unless `Novacula-Delivery: now` states that it is
/// being delivered.
#[utoipa::path(post, path = "/v1/check", request_body(content = String, content_type = "message/rfc822"),
    responses((status = 200, body = Check), (status = 400, body = ErrorReply), (status = 413, body = ErrorReply)))]
async fn check(call: Call) -> Result<Json<Check>, Refusal> {
    let now = Time::now();
    let (shared, caller) = (Arc::clone(&call.shared), call.caller.clone());
    let look = call.quick(move |agent, mail, caller| agent.look(mail, caller, now)).await?;
    Ok(Json(shared.agent.answer(look, &caller, now).await))
}

/// Says that a mail is spam. Answers when that is on the disk.
#[utoipa::path(post, path = "/v1/report", request_body(content = String, content_type = "message/rfc822"),
    responses((status = 200, body = OpinionReply), (status = 507, body = ErrorReply)))]
async fn report(call: Call) -> Result<Json<OpinionReply>, Refusal> {
    call.opine(Deed::Report).await
}

/// Says that a mail is not spam.
#[utoipa::path(post, path = "/v1/revoke", request_body(content = String, content_type = "message/rfc822"),
    responses((status = 200, body = OpinionReply), (status = 507, body = ErrorReply)))]
async fn revoke(call: Call) -> Result<Json<OpinionReply>, Refusal> {
    call.opine(Deed::Revoke).await
}

/// Takes back what the same user said of a mail.
#[utoipa::path(post, path = "/v1/withdraw", request_body(content = String, content_type = "message/rfc822"),
    responses((status = 200, body = OpinionReply), (status = 507, body = ErrorReply)))]
async fn withdraw(call: Call) -> Result<Json<OpinionReply>, Refusal> {
    call.opine(Deed::Withdraw).await
}

/// The digests of a mail.
#[utoipa::path(post, path = "/v1/fingerprint", request_body(content = String, content_type = "message/rfc822"),
    responses((status = 200, body = Digests)))]
async fn fingerprint(call: Call) -> Result<Json<Digests>, Refusal> {
    let answer = call.quick(|_, mail, _| {
        let canonical = Canonical::of(&Message::parse(mail));
        digests(&canonical, &Fingerprint::of(&canonical))
    });
    answer.await.map(Json)
}

/// Everything about a mail: its canonical text, what would be sent, the judgement term by term.
#[utoipa::path(post, path = "/v1/explain", request_body(content = String, content_type = "message/rfc822"),
    responses((status = 200, body = Explanation)))]
async fn explain(call: Call) -> Result<Json<Explanation>, Refusal> {
    let answer = call.quick(|agent, mail, caller| agent.explain(mail, caller, Time::now()));
    answer.await.map(Json)
}

/// How the agent is.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
async fn status(State(shared): State<Arc<Shared>>) -> Json<Status> {
    Json(shared.agent.status().await)
}

/// The allowed senders.
#[utoipa::path(get, path = "/v1/allow", responses((status = 200, body = AllowList)))]
async fn allowed(State(shared): State<Arc<Shared>>) -> Json<AllowList> {
    Json(AllowList { allowed: shared.agent.allowed() })
}

/// Allows a sender: the body is an address, a @domain or a List-Id.
#[utoipa::path(put, path = "/v1/allow", request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = AllowList), (status = 403, body = ErrorReply)))]
async fn allow(call: Call) -> Result<Json<AllowList>, Refusal> {
    call.allow(false).await
}

/// Allows a sender no longer.
#[utoipa::path(delete, path = "/v1/allow", request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = AllowList), (status = 403, body = ErrorReply)))]
async fn disallow(call: Call) -> Result<Json<AllowList>, Refusal> {
    call.allow(true).await
}

/// Mail of this site's own people went out: whom they wrote to is no stranger. For callers who
/// are believed.
#[utoipa::path(put, path = "/v1/sent", request_body = Sent,
    responses((status = 200, body = bool), (status = 403, body = ErrorReply)))]
async fn sent(call: Call) -> Result<Json<bool>, Refusal> {
    let sent: Sent = call.word("tell what was sent")?;
    call.shared.agent.note_sent(&sent, Time::now());
    Ok(Json(true))
}

/// A milter tells how it is. For callers who are believed.
#[utoipa::path(put, path = "/v1/milter", request_body = MilterState,
    responses((status = 200, body = bool), (status = 403, body = ErrorReply)))]
async fn milter(call: Call) -> Result<Json<bool>, Refusal> {
    let state = call.word("speak as a milter")?;
    call.shared.agent.note_milter(state);
    Ok(Json(true))
}

async fn metrics(State(shared): State<Arc<Shared>>) -> String {
    shared.agent.metrics_text().await
}

/// A request with its body read and its caller known.
struct Call {
    shared: Arc<Shared>,
    body: Bytes,
    caller: Caller,
    _held: OwnedSemaphorePermit,
}

impl axum::extract::FromRequest<Arc<Shared>> for Call {
    type Rejection = Refusal;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Refusal> {
        let shared = Arc::clone(shared);
        let (parts, body) = request.into_parts();
        let peer = parts.extensions.get::<Peer>().cloned();
        let peer = peer.ok_or(Refusal(StatusCode::FORBIDDEN, "the caller is unknown".into()))?;
        let people = Arc::clone(&shared.people.read().unwrap_or_else(PoisonError::into_inner));
        let caller = caller(&parts.headers, &peer, &people)?;
        let (body, held) = read_body(&parts.headers, body, &shared.bodies).await?;
        Ok(Self { shared, body, caller, _held: held })
    }
}

impl Call {
    /// Runs what reads a mail and answers at once; long mails on a thread of their own.
    async fn quick<T: Send + 'static>(
        self,
        run: impl FnOnce(&Agent, &[u8], &Caller) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        if self.body.len() <= LONG_MAIL {
            return Ok(run(&self.shared.agent, &self.body, &self.caller));
        }
        let task =
            tokio::task::spawn_blocking(move || run(&self.shared.agent, &self.body, &self.caller));
        task.await.map_err(|_| {
            Refusal(StatusCode::INTERNAL_SERVER_ERROR, "the mail could not be read".into())
        })
    }

    async fn opine(self, deed: Deed) -> Result<Json<OpinionReply>, Refusal> {
        let reply = self.shared.agent.opine(deed, &self.body, &self.caller, Time::now()).await;
        Ok(Json(reply?))
    }

    /// The body as a short text.
    fn line(&self, what: &str, len_max: usize) -> Result<&str, Refusal> {
        let text = std::str::from_utf8(&self.body).ok().filter(|text| text.len() <= len_max);
        text.ok_or_else(|| Refusal(StatusCode::BAD_REQUEST, format!("the body must be {what}")))
    }

    /// What a believed caller says as JSON.
    fn word<T: serde::de::DeserializeOwned>(&self, what: &str) -> Result<T, Refusal> {
        believed(&self.caller, what)?;
        self.json()
    }

    /// A short body as JSON.
    fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Refusal> {
        let bad = |text: String| Refusal(StatusCode::BAD_REQUEST, text);
        if self.body.len() > WORD_LEN_MAX {
            return Err(bad(format!("the body is longer than {WORD_LEN_MAX} bytes")));
        }
        serde_json::from_slice(&self.body).map_err(|error| bad(format!("the body: {error}")))
    }

    async fn allow(self, remove: bool) -> Result<Json<AllowList>, Refusal> {
        let pattern = self.line("one pattern", PATTERN_LEN_MAX)?;
        self.shared.agent.allow(pattern, remove, &self.caller.reporter, Time::now()).await?;
        Ok(Json(AllowList { allowed: self.shared.agent.allowed() }))
    }
}

/// Reads the mail within its bounds; the permit is for the memory that it takes.
async fn read_body(
    headers: &HeaderMap,
    body: Body,
    bodies: &Arc<Semaphore>,
) -> Result<(Bytes, OwnedSemaphorePermit), Refusal> {
    let too_long = || {
        let mib = MAIL_LEN_MAX >> 20;
        let text = format!(
            "the mail is longer than {mib} MiB: send its first {mib} MiB, or let it pass unchecked"
        );
        Refusal(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    let stated = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let len: usize = stated.unwrap_or(MAIL_LEN_MAX);
    if len > MAIL_LEN_MAX {
        return Err(too_long());
    }
    let kib = u32::try_from(len / 1024 + 1).unwrap_or(BODIES_KIB_MAX);
    let collecting = async {
        let held = Arc::clone(bodies).acquire_many_owned(kib).await;
        (held, Limited::new(body, MAIL_LEN_MAX).collect().await)
    };
    match tokio::time::timeout(BODY_TIME_MAX, collecting).await {
        Ok((Ok(held), Ok(body))) => Ok((body.to_bytes(), held)),
        Ok((_, Err(error))) if error.is::<LengthLimitError>() => Err(too_long()),
        Ok(_) => {
            let text = "the request ended before the mail did: its body is shorter than \
                content-length says";
            Err(Refusal(StatusCode::BAD_REQUEST, text.into()))
        }
        Err(_) => Err(Refusal(StatusCode::REQUEST_TIMEOUT, "the mail did not come in time".into())),
    }
}
