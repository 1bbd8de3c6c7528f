//! Old and new versions of the protocol through the real driver: who speaks 1 and 2 talks with who
//! speaks 1, and who speaks 2 alone is refused by both sides.

use std::time::{Duration, Instant};

use novacula_catalog::node::Config;
use novacula_net::Handle;
use novacula_tests::simulation::hostile::Peer;
use novacula_tests::wire::{address_of, live};

/// Longest wait for two nodes to meet.
const MEET_TIME_MAX: Duration = Duration::from_secs(20);

async fn members(handle: &Handle) -> usize {
    handle.view(0).await.unwrap().status.members
}

#[test]
fn old_and_new_nodes_talk_and_a_too_new_one_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (old, _old_told) = live(Peer::new(1), Config::default());
        let bootstrap = vec![address_of(&old, "/tcp/").await.to_string()];
        let speaking =
            |versions| Config { versions, bootstrap: bootstrap.clone(), ..Config::default() };
        let (new, _new_told) = live(Peer::new(2), speaking((1, 2)));
        let (newer, _newer_told) = live(Peer::new(3), speaking((2, 2)));
        let started = Instant::now();
        while members(&old).await < 2 || members(&new).await < 2 {
            assert!(started.elapsed() < MEET_TIME_MAX, "old and new do not meet");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // The too new one reaches the old one, and is told no, by the protocol's very name.
        let refused =
            async |handle: &Handle| handle.view(0).await.unwrap().counters.versions_refused;
        while refused(&newer).await == 0 {
            assert!(started.elapsed() < MEET_TIME_MAX, "nobody says why");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!((members(&newer).await, members(&old).await, members(&new).await), (1, 2, 2));
        let view = newer.view(0).await.unwrap();
        assert!(view.counts.connections_made > 0, "{view:?}");
    });
}
