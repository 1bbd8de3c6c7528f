//! Connections at either door: who is there, and one connection from its first request to its end.

use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use super::Peer;

/// Longest wait for a request's header, and for the next request on a kept connection.
const HEADER_TIME_MAX: Duration = Duration::from_secs(10);

/// A connection and what is known of its peer.
pub(super) enum Accepted {
    Unix(tokio::net::UnixStream, Peer),
    Tcp(tokio::net::TcpStream),
}

/// The next connection at either door.
pub(super) async fn accept(
    unix: &UnixListener,
    tcp: Option<&TcpListener>,
) -> std::io::Result<Accepted> {
    let over_tcp = async {
        match tcp {
            Some(tcp) => tcp.accept().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        accepted = unix.accept() => {
            let (stream, _) = accepted?;
            let peer = Peer::Uid(stream.peer_cred()?.uid());
            Ok(Accepted::Unix(stream, peer))
        }
        accepted = over_tcp => {
            let (stream, _) = accepted?;
            let _ = stream.set_nodelay(true);
            Ok(Accepted::Tcp(stream))
        }
    }
}

pub(super) async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    app: Router,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX);
    // A caller may close his side once the mail is sent; and what he asked for is not dropped
    // between disk and memory because he did.
    http.half_close(true);
    let serving = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    tokio::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => {}
        _ = stopped.changed() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}
