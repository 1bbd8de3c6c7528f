//! What the agent counts, for Prometheus.

use novacula_client::Verdict;
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
}

/// What is read when asked and not counted here.
pub(crate) struct Gauges {
    pub(crate) statements: usize,
    pub(crate) evicted: u64,
    pub(crate) written: u64,
    pub(crate) sightings_lost: u64,
    pub(crate) store_failing: bool,
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

    pub(crate) fn to_text(&self, gauges: &Gauges) -> String {
        let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.statements.set(whole(gauges.statements as u64));
        self.evicted.set(whole(gauges.evicted));
        self.written.set(whole(gauges.written));
        self.lost.set(whole(gauges.sightings_lost));
        self.failing.set(i64::from(gauges.store_failing));
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
