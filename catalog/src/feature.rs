//! What a site keeps of the features of its own accepted mail: a hash that only its agent can
//! make, and days. It never leaves the site.

/// A digest that stood in accepted mail, as the store knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Keyed hash of the digest.
    pub hash: u64,
    /// Days on which accepted mail had it.
    pub days: u32,
    /// The first of them, in days since 1970.
    pub first_day: u32,
    /// The last of them.
    pub last_day: u32,
    /// The last day on which people here reported mail with it; 0: never.
    pub reported_day: u32,
}

/// Days that a feature is kept after it was last met: what comes back once a month is still
/// known. A convention, not measured.
pub(crate) const FEATURE_DAYS_KEPT: u32 = 60;

/// The same for one that was met on one day only: nearly all of them are.
pub(crate) const FEATURE_ONCE_DAYS_KEPT: u32 = 14;

impl Feature {
    /// The last day on which it is kept.
    #[must_use]
    pub fn kept_until(&self) -> u32 {
        let once = self.days <= 1 && self.reported_day == 0;
        let days = if once { FEATURE_ONCE_DAYS_KEPT } else { FEATURE_DAYS_KEPT };
        self.last_day.max(self.reported_day) + days
    }
}
