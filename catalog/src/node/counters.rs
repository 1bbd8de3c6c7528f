//! What a node counts. The driver exports it to `/metrics`; everything that is dropped, refused
//! or cut at a bound shows up here.

use crate::node::api::Purpose;

/// Declares counters once, with the list that exports them: a struct with the fields named in it,
/// and one for each counter.
#[macro_export]
macro_rules! counters {
    (
        $(#[$attribute:meta])*
        pub struct $Counters:ident { $($more:ident: $of:ty,)* }
        $($name:ident: $about:literal,)*
    ) => {
        $(#[$attribute])*
        pub struct $Counters {
            $(#[doc = $about] pub $name: u64,)*
            $($more: $of,)*
        }

        impl $Counters {
            /// Name, what it counts, and the count of each.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), $about, self.$name),)*]
            }
        }
    };
}

counters! {
    /// Counters since the start.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Counters {
        sent: [u64; Purpose::ALL.len()],
        received: [u64; Purpose::ALL.len()],
    }
    requests_sent: "Requests sent to peers.",
    requests_failed: "Requests that got no response.",
    requests_served: "Requests of peers answered.",
    requests_refused: "Requests of peers refused.",
    frames_malformed: "Frames that were malformed or too long.",
    looks: "Members asked whether they are there.",
    orphans: "Statements offered under keys whose holders are all gone.",
    peers_restarted: "Peers whose program ended and was started anew while they were connected.",
    versions_refused: "Peers refused for their protocol version.",
    groups_refused: "Peers refused because they belong to another network of peers.",
    strangers_refused: "Requests without a Hello before them.",
    quota_refused: "Requests refused because a quota was used up.",
    capacity_refused: "Of which because this node had no time, and the peer did not serve it.",
    peers_banned: "Peers banned for what they sent.",
    peers_cut_off: "Peers cut off because they went on asking after they were refused.",
    requests_withheld: "Requests not sent because the peer had said to wait.",
    statements_accepted: "Statements and records taken for others.",
    statements_false: "Statements with a false signature or malformed bytes.",
    statements_clock: "Statements refused because they were too old or from the future.",
    statements_replayed: "Statements that were known already, or older than the known one.",
    statements_foreign: "Records refused because they speak for another site.",
    equivocations: "Pairs of different statements under one number.",
    equivocators: "Sites proved to have given one number twice.",
    vouch_lists: "Sites whose list of vouches is held.",
    vouches_taken: "Lists of vouches taken in.",
    vouches_refused: "Lists of vouches refused: out of time, of nobody known, or no room.",
    vouches_false: "Lists of vouches and proofs that were false.",
    invites_shown: "Times that somebody showed an invitation of this site that is good.",
    invites_refused: "Invitations refused: unknown, out of time, or accepted by another site.",
    records_dropped: "Records not taken because the store was full.",
    members_added: "Members learnt.",
    members_dropped: "Members not taken because the table was full.",
    members_expired: "Members that were not heard of for too long.",
    records_false: "Membership records that were false.",
    placements_relaxed: "Replicas chosen in a network that held one already.",
    queries: "Questions of the agent.",
    queries_complete: "Questions to which every responsible peer answered.",
    queries_late: "Questions that the deadline ended.",
    queries_dropped: "Questions answered at once because too many were under way.",
    query_requests: "Requests sent for questions and sightings.",
    query_keys: "Keys asked or stated in them, summed over peers.",
    keys_anchored: "Keys stated to trusted members too, because strangers hold them.",
    key_observations: "Keys that peers stated or asked here.",
    fetches_asked: "Statements fetched on hits.",
    fetches_hedged: "Statements asked of others as well because the first was late.",
    fetches_failed: "Statements that nobody gave.",
    outbox_waiting: "Opinions that replicas have not acknowledged yet.",
    outbox_settled: "Opinions acknowledged by replicas.",
    outbox_dropped: "Opinions given up because they grew older than 72 h.",
    offers_sent: "References offered to peers.",
    offers_taken: "References taken from peers' offers.",
    repairs: "Ranges found different from a peer's.",
    hot_announced: "Outbreaks announced.",
    hot_learned: "Statements learnt from announcements.",
    hot_refused: "Announcements refused.",
}

impl Counters {
    /// Bytes of frames sent for a purpose.
    #[must_use]
    pub fn sent(&self, purpose: Purpose) -> u64 {
        self.sent[purpose as usize]
    }

    /// Bytes of frames received for a purpose.
    #[must_use]
    pub fn received(&self, purpose: Purpose) -> u64 {
        self.received[purpose as usize]
    }

    pub(crate) fn count_sent(&mut self, purpose: Purpose, len: usize) {
        self.sent[purpose as usize] += len as u64;
    }

    pub(crate) fn count_received(&mut self, purpose: Purpose, len: usize) {
        self.received[purpose as usize] += len as u64;
    }
}
