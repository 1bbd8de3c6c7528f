//! What the agent counts, for Prometheus.

use novacula_client::{MilterWord, Verdict};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfVerdict {
    verdict: &'static str,
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
    statements: Gauge,
    evicted: Gauge,
    written: Gauge,
    lost: Gauge,
    failing: Gauge,
    correspondents: Gauge,
    not_learned: Gauge,
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
    pub(crate) milters: Vec<MilterWord>,
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
        self.set_milters(&gauges.milters);
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
