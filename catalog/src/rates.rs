//! The rates that the verdict rests on: how people behave, what each kind of evidence is worth, and
//! where the threshold lies. Each has a unit, a source and a range; each is a setting.

use serde::{Deserialize, Serialize};

use crate::clock::EPOCH_SECS;
use crate::store::KEEP_SECS;

/// The rates that the likelihood ratio is made of. Each is a setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// Share of recipients who report a spam (a probability; about 10 %, DESIGN 4.3).
    pub report_if_spam: f64,
    /// Share of recipients who report wanted bulk (a probability; about 0.05 %, DESIGN 4.3).
    pub report_if_wanted: f64,
    /// Copies of wanted bulk that `report_if_wanted` counts for beside what is learnt: a quarter
    /// of a report (the curve is in docs/measurements.md, "Sensitivity").
    pub supposed_copies: f64,
    /// Mean time from receipt to report, in seconds (30 min, DESIGN 4.3).
    pub report_delay_secs: f64,
    /// What a trap's report adds to the log odds, in nats: ln(0.3 / 0.0005), traps taking
    /// about 30 % of a site's spam (DESIGN 3.4) and wanted bulk as rarely as a false report.
    pub trap_nats: f64,
    /// What a revoke takes off the log odds, in nats: as much as one report by a site with one
    /// copy adds, ln(0.1 / 0.0005).
    pub revoke_nats: f64,
    /// What other sites' content filters add to the log odds when all of them lean to spam, in
    /// nats: ln(0.773 / 0.021), measured with SpamAssassin 4.0 offline (docs/measurements.md,
    /// "Pooled filters"). Under the threshold: no filter convicts without a person.
    pub filter_spam_nats: f64,
    /// What they take off when all of them lean to ham, in nats: ln(0.065 / 0.727), as above.
    pub filter_ham_nats: f64,
    /// Log odds of spam before any evidence, in nats. 0: the threshold alone sets the price.
    pub prior_nats: f64,
    /// Log odds from which a mail is spam, in nats (the curve is in docs/measurements.md).
    pub threshold_nats: f64,
    /// How far back a sighting counts, in seconds (24 h, DESIGN 4.1).
    pub window_secs: u64,
    /// Distinct trusted sites, own included and in as many networks, from which a mail is bulk.
    pub bulk_sites: u32,
    /// Fewest sites named in the configuration, own included, whose reports convict where only
    /// such speak: a private group may want more than one of its members to say so.
    pub named_reports_min: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            report_if_spam: 0.1,
            report_if_wanted: 0.0005,
            supposed_copies: 500.0,
            report_delay_secs: 1800.0,
            trap_nats: 6.4,
            revoke_nats: 5.3,
            filter_spam_nats: 3.58,
            filter_ham_nats: 2.41,
            prior_nats: 0.0,
            threshold_nats: 4.25,
            window_secs: 24 * 3600,
            bulk_sites: 3,
            named_reports_min: 1,
        }
    }
}

impl Rates {
    /// Checks that every rate lies in its range.
    ///
    /// # Errors
    /// A fragment that names the setting and its range.
    pub fn check(&self) -> Result<(), String> {
        let probability = |name: &str, value: f64| {
            let fits = value > 0.0 && value < 1.0;
            if fits { Ok(()) } else { Err(format!("{name} = {value}: must lie between 0 and 1")) }
        };
        probability("report_if_spam", self.report_if_spam)?;
        probability("report_if_wanted", self.report_if_wanted)?;
        if self.report_if_wanted >= self.report_if_spam {
            return Err("report_if_wanted must be less than report_if_spam".into());
        }
        if self.supposed_copies.is_nan() || self.supposed_copies < 1.0 {
            return Err("supposed_copies: must be at least 1".into());
        }
        if self.report_delay_secs.is_nan() || self.report_delay_secs < 1.0 {
            return Err("report_delay_secs: must be at least 1".into());
        }
        if !(EPOCH_SECS..=KEEP_SECS).contains(&self.window_secs) {
            return Err(format!("window_secs: must lie between {EPOCH_SECS} and {KEEP_SECS}"));
        }
        if self.bulk_sites < 2 {
            return Err("bulk_sites: must be at least 2, or every mail is bulk".into());
        }
        if self.named_reports_min == 0 {
            return Err("named_reports_min: must be at least 1".into());
        }
        let nats = [
            self.trap_nats,
            self.revoke_nats,
            self.filter_spam_nats,
            self.filter_ham_nats,
            self.prior_nats,
            self.threshold_nats,
        ];
        if nats.iter().any(|value| !value.is_finite()) {
            return Err("every number of nats must be finite".into());
        }
        if self.filter_spam_nats >= self.threshold_nats {
            return Err(
                "filter_spam_nats must be less than threshold_nats: filters convict nobody alone"
                    .into(),
            );
        }
        Ok(())
    }
}
