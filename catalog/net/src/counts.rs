//! What the driver counts beside the node's own counters; the agent exports both to `/metrics`.

novacula_catalog::counters! {
    /// What the driver counted since the start.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct DriverCounts {}
    connections_made: "Connections made, by either side.",
    connections_quic: "Of which over QUIC.",
    connections_punched: "Direct connections through two NATs, made with a relay's help.",
    connections_tcp: "Of which over TCP.",
    connections_refused: "Connections refused at a bound.",
    dials_failed: "Addresses that could not be connected to.",
    frames_broken: "Requests that were too long, broken off or too slow.",
    responses_late: "Responses that came after their time.",
    requests_lined_up: "Requests of this node that waited because many were under way to the peer.",
    requests_unsent: "Of which given up unsent: their time was over, or there was no room.",
    lined_up_most: "Most requests of this node that ever waited for their turn.",
    gossip_unheard: "Announcements that no peer was there to take.",
    told_dropped: "Words for the agent dropped because it was behind.",
    peers_blocked: "Peers banned or cut off.",
    crowded_out: "Requests and announcements refused because too many waited.",
    waiting_most: "Most requests and announcements that ever waited.",
}
