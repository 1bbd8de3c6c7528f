//! What the network brings, as events of the node. Everything here comes from strangers: what is
//! not understood is dropped, and what is refused is counted.

use std::time::Instant;

use libp2p::core::ConnectedPoint;
use libp2p::core::upgrade::NegotiationError;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, Message, OutboundFailure};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{DialError, ListenError, SwarmEvent};
use libp2p::{PeerId, dcutr, gossipsub, identify, kad, mdns, relay};
use novacula_catalog::node::{CallId, Event, Failure, GossipId, WAITING_MAX};

use crate::address::{ip_of, node_of};
use crate::behaviour::BehaviourEvent;
use crate::driver::Driver;
use crate::start::is_local;

/// Most requests of peers that wait for their answer: beyond twice what can wait in line, those go
/// that nobody waits for any more.
const CALLS_MAX: usize = 2 * WAITING_MAX;
/// Most peers through which a node behind a NAT is reached: a second one for when the first goes.
const RELAYS_MAX: usize = 2;
/// Most addresses of one peer that discovery is told.
const KAD_ADDRESSES_MAX: usize = 4;

impl Driver {
    pub(crate) fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                num_established,
                ..
            } => {
                if let Some(done) = self.dials.remove(&connection_id).and_then(|was| was.done)
                    && let Some(node) = node_of(&peer_id)
                {
                    let _ = done.send(Ok(node));
                }
                self.connected(peer_id, &endpoint, num_established.get() == 1);
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.relays.remove(&peer_id);
                self.named.remove(&peer_id);
                let anew = self.processes.gone(&peer_id);
                if let Some(peer) = node_of(&peer_id) {
                    self.todo.push_back(Event::Disconnected { peer });
                    self.todo.extend(anew.then_some(Event::Restarted { peer }));
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                if matches!(error, DialError::Denied { .. }) {
                    self.counts.connections_refused += 1;
                }
                if let Some(dialled) = self.dials.remove(&connection_id) {
                    self.dial_next(dialled, plain(&error));
                }
            }
            SwarmEvent::IncomingConnectionError { error: ListenError::Denied { .. }, .. } => {
                self.counts.connections_refused += 1;
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::info!(%address, "peers are heard at");
                // A relay that names no address of its own can't be used (libp2p's rule).
                let relays = self.settings.relay && self.settings.announce.is_empty();
                if relays && !is_local(&address) {
                    self.swarm.add_external_address(address);
                }
                self.tell_addresses();
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a peer could not be heard");
            }
            SwarmEvent::ListenerClosed { addresses, reason: Err(error), listener_id } => {
                // Another relay, or the same one, is asked when the next peer says who it is.
                self.relays.retain(|_, listener| *listener != listener_id);
                tracing::error!(?addresses, %error, "peers are no longer heard");
                self.tell_addresses();
            }
            SwarmEvent::ExpiredListenAddr { .. }
            | SwarmEvent::ExternalAddrConfirmed { .. }
            | SwarmEvent::ExternalAddrExpired { .. } => self.tell_addresses(),
            _ => {}
        }
    }

    fn tell_addresses(&mut self) {
        let addresses = self.addresses();
        self.todo.push_back(Event::Addresses { addresses });
    }

    fn connected(&mut self, peer: PeerId, endpoint: &ConnectedPoint, first: bool) {
        let Some(node) = node_of(&peer) else {
            // A key of another kind: nobody of ours.
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        };
        self.counts.connections_made += 1;
        if self.processes.is_closing(&peer) {
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        let over = |wanted| endpoint.get_remote_address().iter().any(|part| part == wanted);
        self.counts.connections_quic += u64::from(over(Protocol::QuicV1));
        let tcp = endpoint.get_remote_address().iter();
        self.counts.connections_tcp +=
            u64::from(tcp.into_iter().any(|part| matches!(part, Protocol::Tcp(_))));
        let dialled = endpoint.is_dialer();
        // When both sides dial at once each may see the other's connection first; then the one
        // that this side made is told of as well, so that somebody says Hello.
        if first || dialled {
            let observed = ip_of(endpoint.get_remote_address());
            if dialled && observed.is_none() && !endpoint.is_relayed() {
                // Found by a name: where it is, a second connection tells.
                self.named.insert(peer);
            }
            self.todo.push_back(Event::Connected { peer: node, observed, dialled });
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Serving(event) | BehaviourEvent::Asking(event) => {
                self.on_frames(event);
            }
            BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            }) => {
                let topic = self.names.topic_of(&message.topic);
                let (Some(topic), Some(from)) = (topic, node_of(&propagation_source)) else {
                    return;
                };
                let id = GossipId(self.fresh_id());
                self.gossips.insert(id, (message_id, propagation_source));
                self.wait_in_line(from, Event::Gossip { from, id, topic, frame: message.data });
            }
            BehaviourEvent::Identify(
                identify::Event::Received { peer_id, info, .. }
                | identify::Event::Pushed { peer_id, info, .. },
            ) => {
                self.met(peer_id, info);
            }
            BehaviourEvent::Kad(
                kad::Event::RoutablePeer { peer, address }
                | kad::Event::PendingRoutablePeer { peer, address },
            ) => self.found(peer, vec![address]),
            BehaviourEvent::Dcutr(dcutr::Event { result: Ok(_), .. }) => {
                self.counts.connections_punched += 1;
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    self.found(peer, vec![address]);
                }
            }
            _ => {}
        }
    }

    /// A peer told what it speaks.
    fn met(&mut self, peer: PeerId, info: identify::Info) {
        if self.processes.heard(peer, &info.agent_version, Instant::now()) {
            // What the former program left open may look alive.
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        // Discovery takes those only who speak our protocol.
        if !self.names.frames.iter().any(|name| info.protocols.contains(name)) {
            return;
        }
        let relays = info.protocols.contains(&relay::HOP_PROTOCOL_NAME);
        let direct = info.listen_addrs.iter().find(|address| ip_of(address).is_some());
        if self.settings.behind_nat
            && relays
            && self.relays.len() < RELAYS_MAX
            && let Some(address) = direct
            && !self.relays.contains_key(&peer)
        {
            let through = address.clone().with(Protocol::P2p(peer)).with(Protocol::P2pCircuit);
            match self.swarm.listen_on(through) {
                Ok(listener) => {
                    self.relays.insert(peer, listener);
                }
                Err(error) => tracing::warn!(%error, "a peer could not be used as a relay"),
            }
        }
        if self.named.remove(&peer) {
            let direct = info.listen_addrs.iter().filter(|address| ip_of(address).is_some());
            let direct: Vec<_> = direct.take(KAD_ADDRESSES_MAX).cloned().collect();
            let opts = DialOpts::peer_id(peer).condition(PeerCondition::Always);
            if !direct.is_empty() {
                let _ = self.swarm.dial(opts.addresses(direct).build());
            }
        }
        let kad = &mut self.swarm.behaviour_mut().kad;
        for address in info.listen_addrs.into_iter().take(KAD_ADDRESSES_MAX) {
            kad.add_address(&peer, address);
        }
    }

    fn on_frames(&mut self, event: request_response::Event<Vec<u8>, Vec<u8>>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                Message::Request { request, channel, .. } => {
                    let Some(peer) = node_of(&peer) else { return };
                    if self.calls.len() >= CALLS_MAX {
                        self.calls.retain(|_, channel| channel.is_open());
                    }
                    let call = CallId(self.fresh_id());
                    self.calls.insert(call, channel);
                    self.wait_in_line(peer, Event::Request { peer, call, frame: request });
                }
                Message::Response { request_id, response } => match self.ended(request_id) {
                    Some(request) => {
                        self.todo.push_back(Event::Response { request, frame: response });
                    }
                    None => self.counts.responses_late += 1,
                },
            },
            request_response::Event::OutboundFailure { peer, request_id, error, .. } => {
                let why = failure(&error);
                if why == Failure::Unreachable {
                    // What waits behind it would only be dialled for again.
                    let gone = self.outgoing.give_up(&peer).into_iter();
                    self.todo.extend(gone.map(|request| Event::Failed { request, why }));
                }
                if let Some(request) = self.ended(request_id) {
                    self.todo.push_back(Event::Failed { request, why });
                }
            }
            request_response::Event::InboundFailure { error, .. } => {
                if matches!(
                    error,
                    request_response::InboundFailure::Io(_)
                        | request_response::InboundFailure::Timeout
                ) {
                    self.counts.frames_broken += 1;
                }
            }
            request_response::Event::ResponseSent { .. } => {}
        }
    }
}

fn failure(error: &OutboundFailure) -> Failure {
    match error {
        OutboundFailure::DialFailure => Failure::Unreachable,
        OutboundFailure::Timeout => Failure::Timeout,
        OutboundFailure::UnsupportedProtocols => Failure::Unsupported,
        OutboundFailure::Io(error) if is_foreign(error) => Failure::Unsupported,
        OutboundFailure::ConnectionClosed | OutboundFailure::Io(_) => Failure::Closed,
    }
}

/// True when the peer knows none of our protocols: as requests go out before it has said so, that
/// comes as an error of reading.
fn is_foreign(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<NegotiationError>());
    inner.is_some_and(|inner| matches!(inner, NegotiationError::Failed))
}

/// Why a dial failed, in a line.
fn plain(error: &DialError) -> String {
    match error {
        DialError::Transport(tried) => {
            let tried: Vec<String> =
                tried.iter().map(|(address, why)| format!("{address}: {}", root(why))).collect();
            tried.join("; ")
        }
        DialError::WrongPeerId { obtained, .. } => {
            format!("another node than the expected one answers there: {obtained}")
        }
        DialError::LocalPeerId { .. } => "that is this node's own address".into(),
        other => root(other),
    }
}

/// The innermost cause: the outer ones only say that something failed.
fn root(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
