//! How the agent is, for people and for Prometheus.

use std::time::Instant;

use novacula_catalog::Time;
use novacula_client::{GroupState, NetworkState, Status};
use novacula_net::View;

use super::Agent;
use super::networks::Network;
use crate::metrics::Gauges;

impl Agent {
    /// How the agent is.
    pub async fn status(&self) -> Status {
        let peers = self.network_state(&self.networks.main).await;
        let group = match &self.networks.group {
            Some(group) => {
                Some(GroupState { network: group.word(), peers: self.network_state(group).await })
            }
            None => None,
        };
        let state = self.state();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            site: self.identity.site().to_string(),
            uptime_secs: self.started.elapsed().as_secs(),
            data_dir: self.data_dir.display().to_string(),
            network: self.networks.main.word(),
            statements: state.catalog.len(),
            opinions: state.catalog.opinions(),
            allowed: state.allowlist.len(),
            checks: self.metrics.checks(),
            store_failing: self.disk.health().failing(),
            sightings_lost: self.disk.health().dropped(),
            milters: state.milters.words(Instant::now()),
            peers,
            group,
        }
    }

    /// How the main network looks, while it is on.
    pub(crate) async fn main_view(&self) -> Option<View> {
        self.networks.main.view(0).await
    }

    /// How one network looks, while it is on.
    async fn network_state(&self, network: &Network) -> Option<NetworkState> {
        let view = network.view(0).await?;
        let trust = &self.settings().trust;
        // Home is one of them.
        let counting = trust.counting(Time::now()).saturating_sub(1);
        let open = !network.config.is_closed();
        Some(network_state(&view, open.then_some(counting), self.weights.vouched().len()))
    }

    /// The counters in Prometheus's text format.
    pub async fn metrics_text(&self) -> String {
        let mut views = Vec::new();
        for network in self.networks.iter() {
            views.extend(network.view(0).await.map(|view| (network.side(), view)));
        }
        let gauges = {
            let state = self.state();
            Gauges {
                statements: state.catalog.len(),
                evicted: state.catalog.evicted(),
                correspondents: state.correspondents.len(),
                not_learned: state.correspondents.dropped(),
                features: state.familiar.features(),
                features_dropped: state.familiar.dropped(),
                milters: state.milters.words(Instant::now()),
                networks: views,
                grounds: self.settings().trust.grounds(Time::now()),
                ..Gauges::default()
            }
        };
        let health = self.disk.health();
        self.metrics.to_text(&Gauges {
            written: health.written(),
            sightings_lost: health.dropped(),
            store_failing: health.failing().is_some(),
            ..gauges
        })
    }
}

fn network_state(view: &View, counting: Option<usize>, vouched: usize) -> NetworkState {
    let status = &view.status;
    let counters = view.counters.list().into_iter().chain(view.counts.list());
    NetworkState {
        node: view.node.to_string(),
        addresses: view.addresses.clone(),
        members: status.members,
        up: status.up,
        placed: status.placed,
        networks: status.networks,
        connected: status.connected,
        observers: status.observers,
        serving: status.serving,
        statements: status.statements,
        outbox: status.outbox,
        hot: status.hot,
        counting,
        vouched,
        clock_disputed: status.clock_disputed,
        twins: status.twins,
        nat: view.nat.into(),
        counters: counters.map(|(name, _, count)| (name.to_owned(), count)).collect(),
    }
}
