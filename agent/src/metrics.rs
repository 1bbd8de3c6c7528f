//! What the agent counts, for Prometheus.

use std::collections::BTreeMap;
use std::time::Duration;

use novacula_catalog::node::Purpose;
use novacula_catalog::store::Side;
use novacula_client::{Asked, MilterWord, Verdict};
use novacula_net::View;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfVerdict {
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfAnswer {
    answer: &'static str,
}

/// Labels of a figure of one network. The main network's figures carry none for the network, so that
/// they are called what they were called when there was no other; the group's carry `network="group"`.
type OfNetwork = Vec<(&'static str, &'static str)>;

fn of_network(side: Side, labels: &[(&'static str, &'static str)]) -> OfNetwork {
    let group = (side == Side::Group).then_some(("network", "group"));
    labels.iter().copied().chain(group).collect()
}

/// Sites by what their weight rests on.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfGround {
    ground: &'static str,
}

/// A milter's figure; the kind is a verdict, an action, an event or a listener.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfMilter {
    milter: String,
    kind: String,
}

/// Counters since the start, and gauges that are set when asked.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    registry: Registry,
    checks: Family<OfVerdict, Counter>,
    pub(crate) sightings: Counter,
    pub(crate) opinions: Counter,
    pub(crate) refused: Counter,
    pub(crate) unsent: Counter,
    pub(crate) unheard: Counter,
    asked: Family<OfAnswer, Counter>,
    asked_micros: Counter,
    peer_bytes: Family<OfNetwork, Gauge>,
    peer_events: Family<OfNetwork, Gauge>,
    sites: Family<OfGround, Gauge>,
    peer_members: Family<OfNetwork, Gauge>,
    peer_connected: Family<OfNetwork, Gauge>,
    peer_bytes_per_mail: Family<OfNetwork, Gauge<f64, AtomicU64>>,
    statements: Gauge,
    evicted: Gauge,
    written: Gauge,
    lost: Gauge,
    failing: Gauge,
    correspondents: Gauge,
    not_learned: Gauge,
    features: Gauge,
    features_dropped: Gauge,
    milter_mails: Family<OfMilter, Gauge>,
    milter_actions: Family<OfMilter, Gauge>,
    milter_events: Family<OfMilter, Gauge>,
    milter_last_connection: Family<OfMilter, Gauge>,
    milter_silent: Family<OfMilter, Gauge>,
}

/// What is read when asked and not counted here.
#[derive(Default)]
pub(crate) struct Gauges {
    pub(crate) statements: usize,
    pub(crate) evicted: u64,
    pub(crate) written: u64,
    pub(crate) sightings_lost: u64,
    pub(crate) store_failing: bool,
    pub(crate) correspondents: usize,
    pub(crate) not_learned: u64,
    pub(crate) features: usize,
    pub(crate) features_dropped: u64,
    pub(crate) milters: Vec<MilterWord>,
    pub(crate) networks: Vec<(Side, View)>,
    pub(crate) grounds: BTreeMap<&'static str, usize>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self::default();
        let mut registry = Registry::with_prefix("novacula");
        registry.register("checks", "Checks answered", metrics.checks.clone());
        registry.register("sightings", "Sightings stated", metrics.sightings.clone());
        registry.register("opinions", "Opinions stored", metrics.opinions.clone());
        registry.register("requests_refused", "Requests refused", metrics.refused.clone());
        registry.register("statements", "Statements held", metrics.statements.clone());
        registry.register("statements_evicted", "Let go at the bound", metrics.evicted.clone());
        registry.register("store_writes", "Writes committed", metrics.written.clone());
        registry.register("sightings_lost", "Never reached the disk", metrics.lost.clone());
        registry.register("store_failing", "1 while the disk refuses", metrics.failing.clone());
        registry.register("correspondents", "Known", metrics.correspondents.clone());
        registry.register("correspondents_dropped", "No room", metrics.not_learned.clone());
        registry.register("features", "Of accepted mail, known", metrics.features.clone());
        registry.register("features_dropped", "No room", metrics.features_dropped.clone());
        metrics.register_network(&mut registry);
        let of = &metrics.milter_mails;
        registry.register("milter_mails", "By verdict or why unchecked", of.clone());
        registry.register("milter_actions", "By action", metrics.milter_actions.clone());
        registry.register("milter_events", "By event", metrics.milter_events.clone());
        let of = &metrics.milter_last_connection;
        registry.register("milter_last_connection_timestamp_seconds", "Of an MTA", of.clone());
        registry.register("milter_silent_seconds", "Since its word", metrics.milter_silent.clone());
        metrics.registry = registry;
        metrics
    }

    fn register_network(&self, registry: &mut Registry) {
        registry.register("peer_questions", "Mails asked of peers", self.asked.clone());
        registry.register("peer_wait_micros", "Waited for peers", self.asked_micros.clone());
        registry.register("peer_unsent", "Statements that found no room", self.unsent.clone());
        let of = &self.unheard;
        registry.register("peer_unheard", "Statements of sites that found no room", of.clone());
        registry.register("peer_bytes", "Of frames, by purpose", self.peer_bytes.clone());
        registry.register("peer_events", "See novacula peers --json", self.peer_events.clone());
        registry.register("sites", "By what their weight rests on", self.sites.clone());
        registry.register("peer_members", "Hosts known", self.peer_members.clone());
        registry.register("peer_connected", "Hosts connected", self.peer_connected.clone());
        let of = &self.peer_bytes_per_mail;
        registry.register("peer_bytes_per_mail", "Both ways, all purposes", of.clone());
    }

    pub(crate) fn count_asked(&self, asked: Asked, took: Duration) {
        let answer = match asked {
            Asked::No => "no",
            Asked::Known => "known",
            Asked::Complete => "complete",
            Asked::Deadline => "deadline",
            Asked::Alone => "alone",
        };
        self.asked.get_or_create(&OfAnswer { answer }).inc();
        self.asked_micros.inc_by(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    fn set_network(&self, side: Side, view: &View) {
        let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let of = |labels: &[(&'static str, &'static str)]| of_network(side, labels);
        let mut total = 0;
        for purpose in Purpose::ALL {
            let counts = [
                ("sent", view.counters.sent(purpose)),
                ("received", view.counters.received(purpose)),
            ];
            for (direction, bytes) in counts {
                total += bytes;
                let of = of(&[("purpose", purpose.name()), ("direction", direction)]);
                self.peer_bytes.get_or_create(&of).set(whole(bytes));
            }
        }
        for (event, _, count) in view.counters.list().into_iter().chain(view.counts.list()) {
            self.peer_events.get_or_create(&of(&[("event", event)])).set(whole(count));
        }
        self.peer_members.get_or_create(&of(&[])).set(whole(view.status.members as u64));
        self.peer_connected.get_or_create(&of(&[])).set(whole(view.status.connected as u64));
        let per_mail = total as f64 / self.checks().max(1) as f64;
        self.peer_bytes_per_mail.get_or_create(&of(&[])).set(per_mail);
    }

    pub(crate) fn count_check(&self, verdict: Verdict) {
        self.checks.get_or_create(&OfVerdict { verdict: verdict.name() }).inc();
    }

    pub(crate) fn checks(&self) -> u64 {
        let of = |verdict: Verdict| OfVerdict { verdict: verdict.name() };
        Verdict::ALL.iter().map(|verdict| self.checks.get_or_create(&of(*verdict)).get()).sum()
    }

    fn set_milters(&self, milters: &[MilterWord]) {
        let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let families = [
            &self.milter_mails,
            &self.milter_actions,
            &self.milter_events,
            &self.milter_last_connection,
            &self.milter_silent,
        ];
        families.iter().for_each(|family| family.clear());
        for MilterWord { state, secs_ago } in milters {
            let set = |family: &Family<OfMilter, Gauge>, kind: &str, value: u64| {
                let of = OfMilter { milter: state.name.clone(), kind: kind.to_owned() };
                family.get_or_create(&of).set(whole(value));
            };
            set(&self.milter_silent, "", *secs_ago);
            let counts = [
                (&self.milter_mails, &state.mails),
                (&self.milter_actions, &state.actions),
                (&self.milter_events, &state.events),
            ];
            for (family, counts) in counts {
                counts.iter().for_each(|(kind, count)| set(family, kind, *count));
            }
            for listener in &state.listeners {
                let last_secs = listener.last_secs.unwrap_or(0);
                set(&self.milter_last_connection, &listener.address, last_secs);
            }
        }
    }

    pub(crate) fn to_text(&self, gauges: &Gauges) -> String {
        let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.statements.set(whole(gauges.statements as u64));
        self.evicted.set(whole(gauges.evicted));
        self.written.set(whole(gauges.written));
        self.lost.set(whole(gauges.sightings_lost));
        self.failing.set(i64::from(gauges.store_failing));
        self.correspondents.set(whole(gauges.correspondents as u64));
        self.not_learned.set(whole(gauges.not_learned));
        self.features.set(whole(gauges.features as u64));
        self.features_dropped.set(whole(gauges.features_dropped));
        self.set_milters(&gauges.milters);
        self.sites.clear();
        for (ground, count) in &gauges.grounds {
            self.sites.get_or_create(&OfGround { ground }).set(whole(*count as u64));
        }
        gauges.networks.iter().for_each(|(side, view)| self.set_network(*side, view));
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
