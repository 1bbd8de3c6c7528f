//! How many opinions one user may give in an hour. Pure: `now` is an argument.
//!
//! Main item: [`Quota`]. Key decision: whole hours, so that nothing is kept of who spoke before;
//! what it must stop is a script gone wild or a stolen token, not a fast reader.

use std::collections::HashMap;

use novacula_catalog::Time;

/// Length of the counted time, in seconds.
const HOUR_SECS: u64 = 3600;

/// Users counted in an hour; who comes beyond shares one count.
const USERS_MAX: usize = 100_000;

/// Opinions of this hour by user.
#[derive(Default)]
pub(crate) struct Quota {
    hour: u64,
    given: HashMap<String, u32>,
}

impl Quota {
    /// Counts one opinion; false when the user has given as many as he may. 0: no limit.
    pub(crate) fn take(&mut self, user: &str, most: u32, now: Time) -> bool {
        let hour = now.0 / HOUR_SECS;
        if hour != self.hour {
            self.hour = hour;
            self.given.clear();
        }
        let known = self.given.contains_key(user) || self.given.len() < USERS_MAX;
        let user = if known { user } else { "" };
        let given = self.given.entry(user.to_owned()).or_default();
        if most != 0 && *given >= most {
            return false;
        }
        *given = given.saturating_add(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_his_own_and_a_new_hour_is_a_new_one() {
        let mut quota = Quota::default();
        let mut take = |user: &str, secs: u64| quota.take(user, 2, Time(1_800_000_000 + secs));
        assert!(take("ann", 0) && take("ann", 1) && take("bob", 1));
        assert!(!take("ann", 3599));
        assert!(take("ann", 3600));
        assert!((0..100).all(|_| Quota::default().take("ann", 0, Time(5))));
    }

    #[test]
    fn users_are_bounded() {
        let mut quota = Quota::default();
        for number in 0..USERS_MAX + 5 {
            quota.take(&number.to_string(), 1, Time(5));
        }
        assert!(quota.given.len() <= USERS_MAX + 1);
    }
}
