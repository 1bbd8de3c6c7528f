//! The routes about the network of peers: who is in it, joining, and whose word counts.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use novacula_catalog::store::Side;
use novacula_catalog::{SiteId, Time};
use novacula_client::{
    ErrorReply, IdentityReply, InviteAsk, InviteReply, Joined, Peers, TrustReply, TrustTaken,
};

use super::{Call, Refusal, Shared};
use crate::agent::{AgentError, JoinError};

/// Longest address or invitation that is read, in bytes.
const JOIN_LEN_MAX: usize = 4096;
/// Longest trust list that is read, in bytes: some 6,000 sites.
const TRUST_LIST_LEN_MAX: usize = 1 << 20;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/peers", get(peers))
        .route("/v1/identity", get(identity))
        .route("/v1/join", post(join))
        .route("/v1/group/join", post(join_group))
        .route("/v1/trust", post(trust).put(import_trust))
        .route("/v1/invite", post(invite).delete(uninvite))
        .route("/v1/vouch", put(vouch).delete(unvouch))
}

impl From<JoinError> for Refusal {
    fn from(error: JoinError) -> Self {
        let status = match error {
            JoinError::Agent(error) => return error.into(),
            JoinError::Malformed(_) => StatusCode::BAD_REQUEST,
            JoinError::Start(_) => StatusCode::INTERNAL_SERVER_ERROR,
            JoinError::Unreachable { .. } | JoinError::NotWelcome(_) => StatusCode::BAD_GATEWAY,
        };
        Self(status, format!("failed to {error}"))
    }
}

/// The hosts of the networks of peers, this one's nearest first.
#[utoipa::path(get, path = "/v1/peers", responses((status = 200, body = Peers)))]
pub(super) async fn peers(State(shared): State<Arc<Shared>>) -> Json<Peers> {
    Json(shared.agent.peers().await)
}

/// Who this host is, and how others join through it.
#[utoipa::path(get, path = "/v1/identity", responses((status = 200, body = IdentityReply)))]
pub(super) async fn identity(State(shared): State<Arc<Shared>>) -> Json<IdentityReply> {
    Json(shared.agent.identity().await)
}

/// Joins a network of peers: the body is an address or an invitation.
#[utoipa::path(post, path = "/v1/join", request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = Joined), (status = 400, body = ErrorReply),
        (status = 403, body = ErrorReply), (status = 502, body = ErrorReply)))]
pub(super) async fn join(call: Call) -> Result<Json<Joined>, Refusal> {
    join_in(Side::Main, call).await
}

/// Joins the private group beside it: the body is an address or an invitation.
#[utoipa::path(post, path = "/v1/group/join",
    request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = Joined), (status = 400, body = ErrorReply),
        (status = 403, body = ErrorReply), (status = 409, body = ErrorReply),
        (status = 502, body = ErrorReply)))]
pub(super) async fn join_group(call: Call) -> Result<Json<Joined>, Refusal> {
    join_in(Side::Group, call).await
}

async fn join_in(side: Side, call: Call) -> Result<Json<Joined>, Refusal> {
    let what = call.line("one address or invitation", JOIN_LEN_MAX)?.to_owned();
    let joined = call.shared.agent.join(side, &what, &call.caller.reporter, Time::now()).await?;
    Ok(Json(joined))
}

/// What sites weigh here, and why: the body is one site's public key, or empty.
#[utoipa::path(post, path = "/v1/trust", request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = TrustReply), (status = 400, body = ErrorReply)))]
pub(super) async fn trust(call: Call) -> Result<Json<TrustReply>, Refusal> {
    let text = call.line("one site's public key, or empty", JOIN_LEN_MAX)?;
    let site = if text.is_empty() { None } else { Some(site_of(text)?) };
    Ok(Json(call.shared.agent.trust(site, Time::now()).await))
}

/// Takes over vouches and credits that `novacula trust export` wrote at another site: the body is
/// one JSON object a line. Of a bad list nothing is taken. For administrators.
#[utoipa::path(put, path = "/v1/trust", request_body(content = String, content_type = "application/jsonl"),
    responses((status = 200, body = TrustTaken), (status = 400, body = ErrorReply),
        (status = 403, body = ErrorReply)))]
pub(super) async fn import_trust(call: Call) -> Result<Json<TrustTaken>, Refusal> {
    let text = call.line("a trust list of 1 MiB at most, in UTF-8", TRUST_LIST_LEN_MAX)?;
    let taken = call.shared.agent.import_trust(text, &call.caller.reporter, Time::now()).await?;
    Ok(Json(taken))
}

fn site_of(text: &str) -> Result<SiteId, Refusal> {
    text.parse()
        .map_err(|error| Refusal(StatusCode::BAD_REQUEST, format!("{text:?}: failed to {error}")))
}

/// Invites one other site: the code to be typed there makes each vouch for the other. For
/// administrators.
#[utoipa::path(post, path = "/v1/invite", request_body = InviteAsk,
    responses((status = 200, body = InviteReply), (status = 400, body = ErrorReply),
        (status = 403, body = ErrorReply), (status = 409, body = ErrorReply)))]
pub(super) async fn invite(call: Call) -> Result<Json<InviteReply>, Refusal> {
    let ask: InviteAsk = call.json()?;
    let (agent, who) = (&call.shared.agent, &call.caller.reporter);
    let side = if ask.group { Side::Group } else { Side::Main };
    Ok(Json(agent.invite(side, &ask.note, ask.days, who, Time::now()).await?))
}

/// Takes an invitation back that nobody has accepted: the body is its ID.
#[utoipa::path(delete, path = "/v1/invite", request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = IdentityReply), (status = 403, body = ErrorReply),
        (status = 404, body = ErrorReply)))]
pub(super) async fn uninvite(call: Call) -> Result<Json<IdentityReply>, Refusal> {
    let id = call.line("one invitation's ID", JOIN_LEN_MAX)?;
    let agent = &call.shared.agent;
    agent.uninvite(id, &call.caller.reporter).await?;
    Ok(Json(agent.identity().await))
}

/// Makes a site's word count here: the body is its public key.
#[utoipa::path(put, path = "/v1/vouch", request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = IdentityReply), (status = 403, body = ErrorReply)))]
pub(super) async fn vouch(call: Call) -> Result<Json<IdentityReply>, Refusal> {
    set_vouch(call, false).await
}

/// Makes a site's word count no longer.
#[utoipa::path(delete, path = "/v1/vouch", request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = IdentityReply), (status = 403, body = ErrorReply)))]
pub(super) async fn unvouch(call: Call) -> Result<Json<IdentityReply>, Refusal> {
    set_vouch(call, true).await
}

async fn set_vouch(call: Call, remove: bool) -> Result<Json<IdentityReply>, Refusal> {
    let text = call.line("one site's public key", JOIN_LEN_MAX)?;
    let site = site_of(text)?;
    let agent = &call.shared.agent;
    let done: Result<(), AgentError> =
        agent.vouch(site, remove, &call.caller.reporter, Time::now()).await;
    done?;
    Ok(Json(agent.identity().await))
}
