//! The TCP door for mail clients, on loopback. Every web page that a user opens can send requests
//! to loopback too, so this door looks at more than the Unix socket does: the Host field (a page
//! whose name was made to lead here carries its own), the Origin field (a page's requests carry
//! it), and a token that only a paired mail client has.
//!
//! Main item: [`door`].

use std::sync::{Arc, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{Peer, People, Refusal, Shared};
use crate::maillog;

/// Schemes of the origins of mail clients' extensions. Their names are random and tell nothing;
/// the token does.
const EXTENSIONS: [&str; 2] = ["moz-extension://", "chrome-extension://"];

/// Where a code becomes a token; all else needs one.
pub(super) const TOKEN_PATH: &str = "/v1/token";

/// What a mail client may use.
const PATHS: [&str; 8] = [
    "/v1/check",
    "/v1/report",
    "/v1/revoke",
    "/v1/withdraw",
    "/v1/opinions",
    "/v1/tokens",
    "/v1/status",
    TOKEN_PATH,
];

/// Lets a request in with the token's owner as its caller, or refuses it.
pub(super) async fn door(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let people = Arc::clone(&shared.people.read().unwrap_or_else(PoisonError::into_inner));
    let owner = |token: &str| shared.agent.token_owner(token);
    match admit(request.uri(), request.headers(), &people, owner) {
        Ok(peer) => {
            request.extensions_mut().insert(peer);
            next.run(request).await
        }
        Err(refusal) => {
            shared.agent.metrics.refused.inc();
            maillog::refused(request.uri().path(), refusal.0.as_u16(), &refusal.1);
            let mut response = refusal.into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                let bearer = axum::http::HeaderValue::from_static("Bearer");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
            }
            response
        }
    }
}

/// Whose request this is, if it may come in.
fn admit(
    uri: &Uri,
    headers: &HeaderMap,
    people: &People,
    owner: impl Fn(&str) -> Option<String>,
) -> Result<Peer, Refusal> {
    let refuse = |status, text: &str| Err(Refusal(status, text.to_owned()));
    let field = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = field(header::HOST).unwrap_or_default();
    if !is_host(host, people) {
        return refuse(
            StatusCode::MISDIRECTED_REQUEST,
            "this host name is not the agent's: use 127.0.0.1, or name it in tcp_hosts",
        );
    }
    if let Some(origin) = field(header::ORIGIN)
        && !is_origin(origin, people)
    {
        return refuse(
            StatusCode::FORBIDDEN,
            "web pages may not speak to the agent; origins that may are named in tcp_origins",
        );
    }
    if !PATHS.contains(&uri.path()) {
        return refuse(
            StatusCode::NOT_FOUND,
            "no such path for mail clients; the Unix socket has more",
        );
    }
    if uri.path() == TOKEN_PATH {
        return Ok(Peer::Nobody);
    }
    let bearer = field(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    match bearer.map(|token| owner(token.trim())) {
        Some(Some(owner)) => Ok(Peer::Owner(owner)),
        Some(None) => refuse(
            StatusCode::UNAUTHORIZED,
            "this token is not known here: pair this mail client again with the code that `novacula pair` prints",
        ),
        None => refuse(
            StatusCode::UNAUTHORIZED,
            "a token is needed: pair this mail client with the code that `novacula pair` prints",
        ),
    }
}

/// Loopback by any of its names and with any port, or a name that was configured.
fn is_host(host: &str, people: &People) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let own = ["127.0.0.1", "localhost", "[::1]"].contains(&name);
    own || people.tcp_hosts.iter().any(|known| known == host || known == name)
}

fn is_origin(origin: &str, people: &People) -> bool {
    EXTENSIONS.iter().any(|scheme| origin.starts_with(scheme))
        || people.tcp_origins.iter().any(|known| known == origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people() -> People {
        People {
            administrators: Vec::new(),
            believed: Vec::new(),
            tcp_hosts: vec!["mail.example.org".into()],
            tcp_origins: vec!["https://webmail.example.org".into()],
            user_domain: String::new(),
        }
    }

    #[track_caller]
    fn check(path: &str, fields: &[(header::HeaderName, &str)], expected: Result<&str, u16>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.clone(), value.parse().unwrap());
        }
        let owner = |token: &str| (token == "good").then(|| "ann".to_owned());
        let found = admit(&path.parse().unwrap(), &headers, &people(), owner);
        let found = found.map_err(|refusal| refusal.0.as_u16()).map(|peer| match peer {
            Peer::Owner(owner) => owner,
            Peer::Nobody => "nobody".into(),
            Peer::Uid(_) => unreachable!(),
        });
        assert_eq!(found, expected.map(str::to_owned), "{path} {fields:?}");
    }

    #[test]
    fn who_may_come_in() {
        use header::{AUTHORIZATION, HOST, ORIGIN};
        let (own, good) = ((HOST, "127.0.0.1:8825"), (AUTHORIZATION, "Bearer good"));
        check("/v1/check", &[own.clone(), good.clone()], Ok("ann"));
        check("/v1/check", &[(HOST, "[::1]:1"), good.clone()], Ok("ann"));
        check("/v1/check", &[(HOST, "localhost"), good.clone()], Ok("ann"));
        check("/v1/check", &[(HOST, "mail.example.org"), good.clone()], Ok("ann"));
        check("/v1/check", &[(HOST, "evil.example:8825"), good.clone()], Err(421));
        check("/v1/check", &[(HOST, "127.0.0.1.evil.example"), good.clone()], Err(421));
        check("/v1/check", std::slice::from_ref(&good), Err(421));
        for origin in ["https://evil.example", "null", "http://127.0.0.1:8825", "file://", ""] {
            check("/v1/check", &[own.clone(), good.clone(), (ORIGIN, origin)], Err(403));
            check(TOKEN_PATH, &[own.clone(), (ORIGIN, origin)], Err(403));
        }
        for origin in ["moz-extension://5b1f", "https://webmail.example.org"] {
            check("/v1/report", &[own.clone(), good.clone(), (ORIGIN, origin)], Ok("ann"));
        }
        check("/v1/check", std::slice::from_ref(&own), Err(401));
        check("/v1/check", &[own.clone(), (AUTHORIZATION, "Bearer bad")], Err(401));
        check("/v1/check", &[own.clone(), (AUTHORIZATION, "Basic good")], Err(401));
        check(TOKEN_PATH, std::slice::from_ref(&own), Ok("nobody"));
        for path in ["/metrics", "/v1/allow", "/v1/pair", "/v1/sent", "/v1/milter", "/"] {
            check(path, &[own.clone(), good.clone()], Err(404));
        }
    }
}
