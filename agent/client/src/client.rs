//! A client for the agent's Unix socket: HTTP/1.1 with one kept connection.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HeaderValue;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::{
    AllowList, Authentication, Check, ErrorReply, Explanation, Leaning, MilterState, OpinionReply,
    OwnOpinion, Pairing, Sent, Status, TokenInfo, header,
};
use crate::network::{
    IdentityReply, InviteAsk, InviteReply, Joined, Peers, TrustReply, TrustTaken,
};

/// Longest wait for an answer: a check is quick, but an opinion waits for the disk.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// What the caller knows of a mail beside its bytes.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    /// The mail is being delivered now: the site has seen it.
    pub delivery: bool,
    /// On whose behalf an opinion is given.
    pub reporter: Option<String>,
    /// Whether the sender's domain was authenticated.
    pub authentication: Option<Authentication>,
    /// When it was received, in seconds since 1970.
    pub received_secs: Option<u64>,
    /// The opinion comes from a trap.
    pub trap: bool,
    /// An administrator withdraws everybody's opinion.
    pub all: bool,
    /// Address of the SMTP client.
    pub client: Option<IpAddr>,
    /// The envelope's sender; empty for a bounce.
    pub sender: Option<String>,
    /// How many recipients the envelope names; 0: not known.
    pub recipients: u32,
    /// The host that received it.
    pub location: Option<String>,
    /// What another filter thought.
    pub filter: Option<Leaning>,
    /// The MTA has it just now: filters and mailboxes, which may state it too, come later.
    pub in_mta: bool,
}

impl Envelope {
    /// The request headers that say it.
    fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        let known = |authentication| match authentication {
            Authentication::Pass => "pass",
            Authentication::Fail => "fail",
        };
        [
            (header::DELIVERY, self.delivery.then(|| "now".into())),
            (header::REPORTER, self.reporter.clone()),
            (header::AUTHENTICATION, self.authentication.map(|known_as| known(known_as).into())),
            (header::RECEIVED, self.received_secs.map(|secs| secs.to_string())),
            (header::SOURCE, self.trap.then(|| "trap".into())),
            (header::SCOPE, self.all.then(|| "all".into())),
            (header::CLIENT, self.client.map(|client| client.to_string())),
            (header::SENDER, self.sender.clone()),
            (header::RECIPIENTS, (self.recipients > 0).then(|| self.recipients.to_string())),
            (header::LOCATION, self.location.clone()),
            (header::FILTER, self.filter.map(|filter| filter.name().into())),
            (header::STAGE, self.in_mta.then(|| "mta".into())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens.
    #[error(
        "no agent answers at {0}; start it with `novacula serve`, or name its socket with --socket"
    )]
    NotRunning(PathBuf),
    /// The socket is somebody else's.
    #[error("the socket {0} may not be used by this user; add the user to the group novacula")]
    Denied(PathBuf),
    /// No answer in time.
    #[error("the agent at {0} did not answer within {1} s")]
    TimedOut(PathBuf, u64),
    /// The agent refused, and said why.
    #[error("the agent refused: {0}")]
    Refused(String),
    /// The connection broke or the answer made no sense.
    #[error("the agent at {0} broke off: {1}")]
    Broken(PathBuf, String),
}

/// A connection to the agent, made at first use and again when it was lost.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client of the agent at this socket.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), connection: None }
    }

    /// Asks for the verdict on a mail.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn check(&mut self, mail: Bytes, envelope: &Envelope) -> Result<Check, ClientError> {
        self.post("/v1/check", mail, envelope).await
    }

    /// Gives an opinion: `act` is `report`, `revoke` or `withdraw`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn opine(
        &mut self,
        act: &str,
        mail: Bytes,
        envelope: &Envelope,
    ) -> Result<OpinionReply, ClientError> {
        self.post(&format!("/v1/{act}"), mail, envelope).await
    }

    /// Asks for everything about a mail.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn explain(
        &mut self,
        mail: Bytes,
        envelope: &Envelope,
    ) -> Result<Explanation, ClientError> {
        self.post("/v1/explain", mail, envelope).await
    }

    /// Asks how the agent is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&mut self) -> Result<Status, ClientError> {
        self.call(Method::GET, "/v1/status", Bytes::new(), &Envelope::default()).await
    }

    /// Lists the hosts of the network of peers.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn peers(&mut self) -> Result<Peers, ClientError> {
        self.call(Method::GET, "/v1/peers", Bytes::new(), &Envelope::default()).await
    }

    /// Tells what sites weigh there and why; with a site, of that one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn trust(&mut self, site: Option<&str>) -> Result<TrustReply, ClientError> {
        let body = Bytes::copy_from_slice(site.unwrap_or_default().as_bytes());
        self.post("/v1/trust", body, &Envelope::default()).await
    }

    /// Takes over a trust list: a [`crate::TrustLine`] a line.
    ///
    /// # Errors
    /// [`ClientError`]; nothing of the list was taken then.
    pub async fn import_trust(&mut self, list: Vec<u8>) -> Result<TrustTaken, ClientError> {
        self.call(Method::PUT, "/v1/trust", list.into(), &Envelope::default()).await
    }

    /// Tells who this host is, and how others join through it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn identity(&mut self) -> Result<IdentityReply, ClientError> {
        self.call(Method::GET, "/v1/identity", Bytes::new(), &Envelope::default()).await
    }

    /// Joins a network of peers at an address, or with an invitation; with `group`, the private group
    /// beside it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn join(&mut self, what: &str, group: bool) -> Result<Joined, ClientError> {
        let body = Bytes::copy_from_slice(what.as_bytes());
        let path = if group { "/v1/group/join" } else { "/v1/join" };
        self.call(Method::POST, path, body, &Envelope::default()).await
    }

    /// Makes a site's word count, or with `remove` no longer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn vouch(&mut self, site: &str, remove: bool) -> Result<IdentityReply, ClientError> {
        let method = if remove { Method::DELETE } else { Method::PUT };
        let body = Bytes::copy_from_slice(site.as_bytes());
        self.call(method, "/v1/vouch", body, &Envelope::default()).await
    }

    /// Invites one other site.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn invite(&mut self, ask: &InviteAsk) -> Result<InviteReply, ClientError> {
        let body = serde_json::to_vec(ask).map_err(|error| self.broken(&error))?;
        self.post("/v1/invite", body.into(), &Envelope::default()).await
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn uninvite(&mut self, id: &str) -> Result<IdentityReply, ClientError> {
        let body = Bytes::copy_from_slice(id.as_bytes());
        self.call(Method::DELETE, "/v1/invite", body, &Envelope::default()).await
    }

    /// Tells to whom this site's people write.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn sent(&mut self, sent: &Sent) -> Result<(), ClientError> {
        self.put("/v1/sent", sent).await
    }

    /// Tells how a milter is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn milter(&mut self, state: &MilterState) -> Result<(), ClientError> {
        self.put("/v1/milter", state).await
    }

    async fn put(&mut self, path: &str, value: &impl Serialize) -> Result<(), ClientError> {
        let body = serde_json::to_vec(value).map_err(|error| self.broken(&error))?;
        let envelope = Envelope::default();
        let _: serde::de::IgnoredAny = self.call(Method::PUT, path, body.into(), &envelope).await?;
        Ok(())
    }

    /// Lists the allowed senders; with a pattern allows it, or with `remove` no longer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn allow(
        &mut self,
        pattern: Option<&str>,
        remove: bool,
    ) -> Result<AllowList, ClientError> {
        let method = match (pattern, remove) {
            (None, _) => Method::GET,
            (Some(_), false) => Method::PUT,
            (Some(_), true) => Method::DELETE,
        };
        let body = Bytes::copy_from_slice(pattern.unwrap_or_default().as_bytes());
        self.call(method, "/v1/allow", body, &Envelope::default()).await
    }

    /// Asks what one has said.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn opinions(&mut self, envelope: &Envelope) -> Result<Vec<OwnOpinion>, ClientError> {
        self.call(Method::GET, "/v1/opinions", Bytes::new(), envelope).await
    }

    /// Asks for a code that makes a mail client a user's; empty: one's own.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pair(&mut self, user: &str) -> Result<Pairing, ClientError> {
        let body = Bytes::copy_from_slice(user.as_bytes());
        self.post("/v1/pair", body, &Envelope::default()).await
    }

    /// Lists paired mail clients; with an id removes that one first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn tokens(&mut self, remove: Option<&str>) -> Result<Vec<TokenInfo>, ClientError> {
        let method = if remove.is_some() { Method::DELETE } else { Method::GET };
        let body = Bytes::copy_from_slice(remove.unwrap_or_default().as_bytes());
        self.call(method, "/v1/tokens", body, &Envelope::default()).await
    }

    async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        mail: Bytes,
        envelope: &Envelope,
    ) -> Result<T, ClientError> {
        self.call(Method::POST, path, mail, envelope).await
    }

    async fn call<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        envelope: &Envelope,
    ) -> Result<T, ClientError> {
        let exchange = self.exchange(method, path, body, envelope);
        let (status, answer) = tokio::time::timeout(ANSWER_TIME_MAX, exchange)
            .await
            .map_err(|_| ClientError::TimedOut(self.socket.clone(), ANSWER_TIME_MAX.as_secs()))??;
        if !status.is_success() {
            let error = serde_json::from_slice::<ErrorReply>(&answer).map(|reply| reply.error);
            return Err(ClientError::Refused(error.unwrap_or_else(|_| status.to_string())));
        }
        serde_json::from_slice(&answer).map_err(|error| self.broken(&error))
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        envelope: &Envelope,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(headers) = request.headers_mut() {
            // What no header can carry, such as a line end in an address, is left out.
            for (name, value) in envelope.fields() {
                if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                    headers.insert(name, value);
                }
            }
            headers.insert("content-type", HeaderValue::from_static("message/rfc822"));
        }
        let request = request.body(Full::new(body)).map_err(|error| self.broken(&error))?;
        let (mut connection, response) = self.send(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await.map_err(|error| self.broken(&error))?;
        // The next request may come before the connection's task has seen the end of this one.
        if connection.ready().await.is_ok() {
            self.connection = Some(connection);
        }
        Ok((status, answer.to_bytes()))
    }

    /// Sends over the kept connection, or over a new one where the agent has closed that
    /// meanwhile: it does so when nothing came for some seconds.
    async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(SendRequest<Full<Bytes>>, Response<Incoming>), ClientError> {
        if let Some(mut kept) = self.connection.take().filter(SendRequest::is_ready) {
            match kept.try_send_request(request).await {
                Ok(response) => return Ok((kept, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.broken(&error.into_error())),
                },
            }
        }
        let mut fresh = self.connect().await?;
        let response = fresh.send_request(request).await.map_err(|error| self.broken(&error))?;
        Ok((fresh, response))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => ClientError::Denied(self.socket.clone()),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NotRunning(self.socket.clone())
                }
                _ => self.broken(&error),
            })?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> ClientError {
        ClientError::Broken(self.socket.clone(), error.to_string())
    }
}
