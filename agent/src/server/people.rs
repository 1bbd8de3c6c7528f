//! Paths about the site's people: their own opinions, and the mail clients that speak for them.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use novacula_catalog::Time;
use novacula_client::{ErrorReply, OwnOpinion, Pairing, Redeem, TokenInfo, TokenReply};

use super::tcp::TOKEN_PATH;
use super::{Call, PATTERN_LEN_MAX, Refusal, Shared};

/// The paths.
pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/opinions", get(opinions))
        .route("/v1/pair", post(pair))
        .route(TOKEN_PATH, post(token))
        .route("/v1/tokens", get(tokens).delete(remove_token))
}

/// What the caller said and did not take back, the latest first.
#[utoipa::path(get, path = "/v1/opinions", responses((status = 200, body = Vec<OwnOpinion>)))]
pub(super) async fn opinions(call: Call) -> Json<Vec<OwnOpinion>> {
    Json(call.shared.agent.said_by(&call.caller.reporter, Time::now()))
}

/// Makes a code with which a mail client becomes a user's; the body is the user's name, empty for
/// the caller's own. Over the Unix socket only.
#[utoipa::path(post, path = "/v1/pair", request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = Pairing), (status = 403, body = ErrorReply)))]
pub(super) async fn pair(call: Call) -> Result<Json<Pairing>, Refusal> {
    let name = call.name("the body must be a user's name")?;
    let user = if name.is_empty() { call.caller.reporter.name.clone() } else { call.person(&name) };
    Ok(Json(call.shared.agent.pair(&user, &call.caller.reporter, Time::now())?))
}

/// Exchanges a code for a token.
#[utoipa::path(post, path = "/v1/token", request_body = Redeem,
    responses((status = 200, body = TokenReply), (status = 403, body = ErrorReply)))]
pub(super) async fn token(call: Call) -> Result<Json<TokenReply>, Refusal> {
    let redeem: Redeem = call.json()?;
    Ok(Json(call.shared.agent.redeem(&redeem.code, &redeem.label, Time::now()).await?))
}

/// The mail clients that speak for the caller; an administrator sees everybody's.
#[utoipa::path(get, path = "/v1/tokens", responses((status = 200, body = Vec<TokenInfo>)))]
pub(super) async fn tokens(call: Call) -> Json<Vec<TokenInfo>> {
    Json(call.shared.agent.tokens(&call.caller.reporter))
}

/// A mail client may speak no longer: the body is its id.
#[utoipa::path(delete, path = "/v1/tokens", request_body(content = String, content_type = "text/plain"),
    responses((status = 200, body = Vec<TokenInfo>), (status = 404, body = ErrorReply)))]
pub(super) async fn remove_token(call: Call) -> Result<Json<Vec<TokenInfo>>, Refusal> {
    let id = call.name("the body must be the id of a mail client")?;
    call.shared.agent.unpair(&id, &call.caller.reporter).await?;
    Ok(Json(call.shared.agent.tokens(&call.caller.reporter)))
}

impl Call {
    /// The body as one short word.
    fn name(&self, needed: &str) -> Result<String, Refusal> {
        let text = std::str::from_utf8(&self.body).ok().map(str::trim);
        let text = text
            .filter(|text| text.len() <= PATTERN_LEN_MAX && !text.chars().any(char::is_control));
        text.map(str::to_owned).ok_or(Refusal(StatusCode::BAD_REQUEST, needed.into()))
    }
}
