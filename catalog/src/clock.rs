//! Points in time as the catalog knows them. Everything pure takes `now` as an argument; what
//! leaves a site is only the 15-minute [`Epoch`], because an exact time of receipt would tell
//! more about a mail than the count needs (DESIGN 4.1, 4.4).

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(pub u64);

/// A quarter of an hour, counted from 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u32);

/// Length of an epoch in seconds (15 minutes, DESIGN 4.1).
pub const EPOCH_SECS: u64 = 15 * 60;

impl Time {
    /// The wall clock. Only drivers call this.
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(since.map_or(0, |elapsed| elapsed.as_secs()))
    }

    /// Seconds from `earlier` to this moment; 0 when `earlier` lies in the future.
    #[must_use]
    pub fn secs_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment moved back by `secs`, not before 1970.
    #[must_use]
    pub fn minus_secs(self, secs: u64) -> Self {
        Self(self.0.saturating_sub(secs))
    }

    /// The epoch that holds this moment.
    #[must_use]
    pub fn epoch(self) -> Epoch {
        Epoch(u32::try_from(self.0 / EPOCH_SECS).unwrap_or(u32::MAX))
    }

    /// RFC 3339 in UTC, whole seconds; moments past the year 9999 print as seconds.
    #[must_use]
    pub fn rfc3339(self) -> String {
        i64::try_from(self.0)
            .ok()
            .and_then(|secs| time::OffsetDateTime::from_unix_timestamp(secs).ok())
            .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok())
            .unwrap_or_else(|| format!("@{}", self.0))
    }
}

impl Epoch {
    /// The first second of this epoch.
    #[must_use]
    pub fn start(self) -> Time {
        Time(u64::from(self.0) * EPOCH_SECS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_a_quarter_of_an_hour() {
        assert_eq!(Time(899).epoch(), Epoch(0));
        assert_eq!(Time(900).epoch(), Epoch(1));
        assert_eq!(Epoch(1).start(), Time(900));
    }

    #[test]
    fn times_are_shown_in_utc_and_never_panic() {
        assert_eq!(Time(0).rfc3339(), "1970-01-01T00:00:00Z");
        assert_eq!(Time(u64::MAX).rfc3339(), format!("@{}", u64::MAX));
        assert_eq!(Time(5).secs_since(Time(9)), 0);
    }
}
