//! Golden bytes, bounds and the negative space of the frames.

use super::*;
use crate::node::codec::WireError;
use crate::node::invite::InviteSecret;
use crate::statement::{Copies, Facts};
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A frame and its bytes: a promise, also in docs/peers.md.
#[track_caller]
fn golden_request(request: &Request, expected: &str) {
    assert_eq!(hex(&request.encode()), expected.replace([' ', '\n'], ""));
    assert_eq!(Request::decode(&request.encode()).as_ref(), Ok(request));
}

#[track_caller]
fn golden_response(response: &Response, expected: &str) {
    assert_eq!(hex(&response.encode()), expected.replace([' ', '\n'], ""));
    assert_eq!(Response::decode(&response.encode()).as_ref(), Ok(response));
}

#[track_caller]
fn golden_gossip(gossip: &Gossip, expected: &str) {
    assert_eq!(hex(&gossip.encode()), expected.replace([' ', '\n'], ""));
    assert_eq!(Gossip::decode(&gossip.encode()).as_ref(), Ok(gossip));
}

fn observe() -> Observe {
    let kind = Kind::Sighting { copies: Copies::Two, facts: Facts::default() };
    let said =
        Said::Record { mail: MailId(3), seq: 9, epoch: Epoch(1_900_000), kind, home: Key(5) };
    let keys = vec![Key(5), Key(7)];
    Observe { keys, ask: 3, under: 1, said, inline: true, known: vec![Tag(1)] }
}

#[test]
fn golden_requests() {
    golden_request(
        &Request::Observe(observe()),
        "01 02 01 0200 0500000000000000 0700000000000000 03 01
         02 0300000000000000 0900000000000000 e0fd1c00 0500000000000000 00 02 00
         0100 0100000000000000",
    );
    let hello = Request::Hello { versions: (1, 1), group: GroupId([0xaa; 16]), record: vec![1, 2] };
    golden_request(&hello, "01 01 01 01 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 0200 0102");
    golden_request(&Request::Fetch(vec![Tag(4)]), "01 03 0100 0400000000000000");
    let one = Ref { key: Key(1), tag: Tag(2), home: Key(3) };
    golden_request(
        &Request::Offer { here: true, refs: vec![one] },
        "01 04 01 0100 0100000000000000 0200000000000000 0300000000000000",
    );
}

/// Numbers of 64 bits from 1 on, as they stand in a frame.
fn counted(count: u64) -> String {
    (1..=count).map(|number| hex(&number.to_le_bytes())).collect()
}

#[test]
fn golden_comparisons() {
    let digest = Request::Digest {
        first: Key(5),
        last: Key(7),
        sums: std::array::from_fn(|at| at as u64 + 1),
    };
    let keys = "0500000000000000 0700000000000000";
    golden_request(&digest, &format!("01 05 {keys} {}", counted(16)));
    let sums = || Box::new(std::array::from_fn(|at| at as u64 + 1));
    let members = Request::Members { start: 3, sums: sums() };
    golden_request(&members, &format!("01 06 03 {}", counted(64)));
    let vouches = Request::Vouches { after: SiteId([0xaa; 32]), sums: sums() };
    golden_request(&vouches, &format!("01 07 {} {}", "aa".repeat(32), counted(64)));
    let one = Ref { key: Key(1), tag: Tag(2), home: Key(3) };
    golden_response(&Response::Refs(true, vec![one]), &format!("01 85 01 0100 {}", counted(3)));
    let listed = Response::MemberList(false, vec![vec![7, 8]]);
    golden_response(&listed, "01 86 00 0100 0200 0708");
    let welcome = Response::Welcome { version: 1, record: vec![1, 2], seen: None };
    golden_response(&welcome, "01 81 01 0200 0102 00");
    golden_gossip(&Gossip::Member(vec![1, 2]), "01 41 0200 0102");
}

fn pointer() -> Pointer {
    let (tag, home) = (Tag(2), Key(3));
    Pointer { tag, home, opinion: true, here: false, trusted: true, under: 2 }
}

#[test]
fn golden_responses() {
    let pointer = pointer();
    golden_response(
        &Response::Observed {
            standing: Standing::Kept,
            keys: 2,
            pointers: vec![pointer],
            statements: vec![vec![7, 8]],
        },
        "01 82 01 02 0100 0200000000000000 0300000000000000 05 02 0100 0200 0708",
    );
    golden_response(&Response::Statements(vec![vec![9]]), "01 83 0100 0100 09");
    golden_response(&Response::Lacking(5), "01 84 0500");
    golden_response(
        &Response::Refused { why: Refusal::Quota, retry_secs: 10 },
        "01 ff 06 0a000000",
    );
    golden_response(
        &Response::VouchLists {
            more: true,
            lists: vec![vec![7, 8]],
            proofs: vec![(vec![1], vec![2, 3])],
        },
        "01 87 01 0100 0200 0708 0100 0100 01 0200 0203",
    );
    golden_gossip(&Gossip::Hot(vec![vec![1]]), "01 42 0100 0100 01");
    golden_gossip(&Gossip::Vouches(vec![1, 2]), "01 43 0200 0102");
    golden_gossip(&Gossip::Proof(vec![1], vec![2, 3]), "01 44 0100 01 0200 0203");
}

#[test]
fn golden_invitations() {
    let invite = InviteId([0xaa; 8]);
    let accept = Request::Accept { invite, proof: [0xbb; 32] };
    golden_request(&accept, &format!("01 08 {} {}", "aa".repeat(8), "bb".repeat(32)));
    golden_response(&Response::Accepted(Acceptance::Vouched), "01 88 01");
    golden_response(&Response::Accepted(Acceptance::Used), "01 88 04");
    assert_eq!(Response::decode(&[1, 0x88, 5]), Err(WireError::Malformed));
    for len in 0..accept.encode().len() {
        assert!(Request::decode(&accept.encode()[..len]).is_err(), "cut to {len}");
    }
}

/// Both sides work these out for themselves.
#[test]
fn what_shows_a_secret_is_a_promise() {
    let secret = InviteSecret::new([7; 16]);
    assert_eq!(secret.id().to_string(), "c9165741efdaa1cf");
    assert_eq!(
        hex(&secret.proof(SiteId([1; 32]), SiteId([2; 32]))),
        "bc715ab9e9beb55056e1e7c39f0457e041b3444908cb0d9060763e58d012142a"
    );
}

#[test]
fn a_tag_is_a_promise() {
    assert_eq!(Tag::of(SiteId([7; 32]), 9), Tag(7_975_690_664_497_072_926));
    assert_ne!(Tag::of(SiteId([7; 32]), 9), Tag::of(SiteId([7; 32]), 10));
    assert_ne!(Tag::of(SiteId([7; 32]), 9), Tag::of(SiteId([8; 32]), 9));
}

#[test]
fn a_request_for_one_key_is_small() {
    let keys = vec![Key(5)];
    let one = Observe { keys, ask: 1, under: 1, inline: false, known: Vec::new(), ..observe() };
    assert_eq!(Request::Observe(one).encode().len(), 49);
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let whole = Observe { said: Said::Whole(vec![3; 200]), ..observe() };
    let members = Request::Members { start: 3, sums: Box::new([9; MEMBER_BUCKETS]) };
    let vouches = Request::Vouches { after: SiteId([3; 32]), sums: Box::new([9; MEMBER_BUCKETS]) };
    let digest = Request::Digest { first: Key(1), last: Key(2), sums: [4; DIGEST_BUCKETS] };
    for request in [Request::Observe(observe()), Request::Observe(whole), members, vouches, digest]
    {
        let frame = request.encode();
        assert_eq!(Request::decode(&frame), Ok(request));
        for len in 0..frame.len() {
            assert!(Request::decode(&frame[..len]).is_err(), "cut to {len}");
        }
        assert!(Request::decode(&[&frame[..], &[0]].concat()).is_err());
    }
}

#[test]
fn what_has_two_encodings_is_refused() {
    let mut unsorted = observe();
    unsorted.keys.reverse();
    let mut doubled = observe();
    doubled.keys = vec![Key(5), Key(5)];
    let mut beyond = observe();
    beyond.ask = 4;
    let mut none = observe();
    none.keys.clear();
    for one in [unsorted, doubled, beyond, none] {
        let frame = Request::Observe(one).encode();
        assert_eq!(Request::decode(&frame), Err(WireError::Malformed));
    }
    let mut newer = Request::Fetch(Vec::new()).encode();
    newer[0] = 2;
    assert_eq!(Request::decode(&newer), Err(WireError::Version(2)));
    assert_eq!(Request::decode(&vec![1; REQUEST_LEN_MAX + 1]), Err(WireError::TooLong));
}

#[test]
fn lists_are_bounded_before_they_are_read() {
    let tags = Request::Fetch(vec![Tag(1); FETCH_MAX + 1]).encode();
    assert_eq!(Request::decode(&tags), Err(WireError::Malformed));
    let one = Ref { key: Key(1), tag: Tag(2), home: Key(3) };
    let offer = Request::Offer { here: false, refs: vec![one; OFFER_MAX + 1] }.encode();
    assert_eq!(Request::decode(&offer), Err(WireError::Malformed));
    let hot = Gossip::Hot(vec![vec![1]; HOT_MAX + 1]).encode();
    assert_eq!(Gossip::decode(&hot), Err(WireError::Malformed));
}

#[test]
fn the_largest_answers_fit_their_frames() {
    let refs = vec![Ref { key: Key(1), tag: Tag(2), home: Key(3) }; DIGEST_REFS_MAX];
    assert!(Response::Refs(true, refs).encode().len() <= RESPONSE_LEN_MAX);
    let pointer = pointer();
    let observed = Response::Observed {
        standing: Standing::Kept,
        keys: 48,
        pointers: vec![pointer; POINTERS_MAX],
        statements: vec![vec![0; crate::statement::SIGNED_LEN_MAX]; INLINE_MAX],
    };
    assert!(observed.encode().len() <= RESPONSE_LEN_MAX);
    let hot = Gossip::Hot(vec![vec![0; crate::statement::SIGNED_LEN_MAX]; HOT_MAX]);
    assert!(hot.encode().len() <= GOSSIP_LEN_MAX);
}

proptest! {
    #[test]
    fn any_bytes_decode_or_fail_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), kind in 0u8..9) {
        let mut framed = vec![1, kind];
        framed.extend(&bytes);
        for frame in [&bytes, &framed] {
            let _ = Request::decode(frame);
            let _ = Response::decode(frame);
            let _ = Gossip::decode(frame);
        }
        framed[1] |= 0x80;
        let _ = Response::decode(&framed);
        framed[1] = 0x40 | kind;
        let _ = Gossip::decode(&framed);
    }

    #[test]
    fn one_encoding_for_each_request(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 1u8..9) {
        let mut frame = vec![1, kind];
        frame.extend(&bytes);
        if let Ok(request) = Request::decode(&frame) {
            prop_assert_eq!(request.encode(), frame);
        }
    }
}
