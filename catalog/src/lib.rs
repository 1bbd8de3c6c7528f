//! The catalog: what sites saw, what their people said, and what follows from it.
//!
//! It knows digests, sites and time. It never sees mail. The way through it:
//! [`Probe`] (a mail's keys) -> [`Catalog::matches`] -> [`judge`] -> [`Judgement`].
//!
//! A key design decision: everything that decides is a pure function of values, with `now` as an
//! argument. The daemon, `novacula replay` and the tests call the same functions; only
//! [`store::Disk`] touches the world.

mod acts;
mod caps;
mod clock;
mod delivery;
mod digest;
mod entry;
mod feature;
mod filters;
mod identity;
mod judgement;
mod learning;
mod matching;
pub mod node;
mod rates;
mod readings;
mod signing;
mod site;
mod spread;
mod statement;
pub mod store;
mod token;
mod trace;
mod trust;

pub use acts::{Act, Acts, Occasion, Reporter, Said};
pub use clock::{EPOCH_SECS, Epoch, Time};
pub use delivery::{Delivery, Stage};
pub use digest::{
    Digest, Engine, FINGERPRINT_VERSION, Key, Nilsimsa, SALT_OVERLAP_SECS, SALT_SECS, SaltEpoch,
};
pub use entry::{ENTRY_CLASS_MAX, Entry, Network, Shelf, Slot, Witness};
pub use feature::Feature;
pub use identity::{Identity, IdentityError, SiteId};
pub use judgement::{Conclusion, Judgement, Term, judge};
pub use learning::{Learned, Learner, STUDY_SECS, careful};
pub use matching::{
    Match, NILSIMSA_OF_FOUR_BITS, NILSIMSA_OF_THREE_BITS, NILSIMSA_OF_TWO_BITS, Probe,
    SHARED_OF_END, SHARED_UNVERIFIED, Shared, compare, telling,
};
pub use rates::Rates;
pub use readings::Readings;
pub use signing::{Speaker, lane_of};
pub use site::{SAME_MAIL_SECS, SEQ_BLOCK, Site};
pub use spread::Spread;
pub use statement::{
    Class, Copies, Fact, Facts, Filter, KEYS_MAX, Kind, MailId, Opinion, SIGNED_LEN_MAX, Statement,
    StatementError,
};
pub use store::{Catalog, KEEP_OWN_OPINION_SECS, KEEP_SECS, STATEMENTS_MAX_DEFAULT};
pub use token::Token;
pub use trace::Trace;
pub use trust::{
    AHEAD_SECS_MAX, BLAME, CONFIRMING_NETWORKS, CREDIT, CREDIT_HALF_LIFE_SECS, CREDIT_MAX,
    CREDIT_MIN, ESTABLISHED_MIN, Ground, Hindsight, INTRODUCER_MAX, NEWCOMER_BELOW, NEWCOMERS,
    Place, RECORDS_MAX, REVOKING_NETWORKS, Record, Records, Standing, Trust, VOUCH_KEEP_SECS,
    VOUCH_LIST_LEN_MAX, VOUCH_RENEW_SECS, VOUCHES_MAX, VouchError, VouchList, Walk,
};
