//! Invitations: each is good for one site, once, in time, and only with its secret; and what the
//! guest is told.

use novacula_catalog::node::wire::{Refusal, Request, Response};
use novacula_catalog::node::{
    Acceptance, Action, AskId, Config, Event, Failure, Invite, InviteSecret, Keep, RequestId,
    Unanswered,
};
use novacula_catalog::{SiteId, Time};
use novacula_tests::simulation::hostile::{NOW, Peer, Target};

const SECRET: [u8; 16] = [7; 16];

fn target() -> (Vec<Peer>, Target) {
    let peers: Vec<Peer> = (0..5).map(Peer::new).collect();
    let target = Target::new(&peers, Config::default());
    (peers, target)
}

fn tell(target: &mut Target, until: Time, by: Option<SiteId>) {
    let secret = InviteSecret::new(SECRET);
    let invites = vec![Invite { secret, until, note: String::new(), by }];
    target.event(Event::Invites { invites });
}

/// The frame by which `guest` shows that it has a secret of the target's site.
fn shown(secret: [u8; 16], guest: &Peer) -> Vec<u8> {
    let secret = InviteSecret::new(secret);
    let proof = secret.proof(Target::own().site.site(), guest.site.site());
    Request::Accept { invite: secret.id(), proof }.encode()
}

fn show(target: &mut Target, guest: &Peer) -> Acceptance {
    accepted(target.frame(guest, shown(SECRET, guest)))
}

#[track_caller]
fn accepted(response: Response) -> Acceptance {
    match response {
        Response::Accepted(acceptance) => acceptance,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_invitation_is_good_for_one_site_and_once() {
    let (peers, mut target) = target();
    let first = peers[0].site.site();
    tell(&mut target, Time(NOW.0 + 600), None);
    assert_eq!(show(&mut target, &peers[0]), Acceptance::Taken);
    let told = Keep::Accepted { invite: InviteSecret::new(SECRET).id(), site: first };
    assert_eq!(target.kept, std::slice::from_ref(&told));
    // Until the agent has spoken nobody else gets it, and the first is told to ask again.
    assert_eq!(show(&mut target, &peers[1]), Acceptance::Used);
    assert_eq!(show(&mut target, &peers[0]), Acceptance::Taken);
    assert_eq!(target.kept, [told.clone(), told], "a disk may have refused");
    tell(&mut target, Time(NOW.0 + 600), Some(first));
    assert_eq!(show(&mut target, &peers[0]), Acceptance::Vouched);
    assert_eq!(show(&mut target, &peers[1]), Acceptance::Used);
    // The answer may have been lost, and the time is over since.
    target.wait(700_000);
    assert_eq!(show(&mut target, &peers[0]), Acceptance::Vouched);
    // The administrator took the vouch back: the code does not give it again.
    target.event(Event::Invites { invites: Vec::new() });
    assert_eq!(show(&mut target, &peers[0]), Acceptance::Unknown);
    assert_eq!(target.kept.len(), 2);
    let counters = target.node.counters();
    assert_eq!((counters.invites_shown, counters.invites_refused), (4, 3));
}

#[test]
fn the_agent_says_no_and_the_invitation_is_open_again() {
    let (peers, mut target) = target();
    tell(&mut target, Time(NOW.0 + 600), None);
    assert_eq!(show(&mut target, &peers[0]), Acceptance::Taken);
    tell(&mut target, Time(NOW.0 + 600), None);
    assert_eq!(show(&mut target, &peers[1]), Acceptance::Taken);
    assert_eq!(target.kept.len(), 2, "which of them it is, the agent decides");
}

#[test]
fn out_of_time_it_is_refused() {
    let (peers, mut target) = target();
    tell(&mut target, Time(NOW.0 + 600), None);
    target.wait(601_000);
    assert_eq!(show(&mut target, &peers[0]), Acceptance::Expired);
    assert_eq!(target.kept, []);
}

#[test]
fn who_has_not_the_secret_gets_nothing_and_is_banned_at_ten() {
    let (peers, mut target) = target();
    tell(&mut target, Time(NOW.0 + 600), None);
    // What one site showed helps no other, nor does a guess; an unknown name may be an old one.
    let overheard = shown(SECRET, &peers[0]);
    let guess = Request::Accept { invite: InviteSecret::new(SECRET).id(), proof: [0; 32] }.encode();
    assert_eq!(accepted(target.frame(&peers[2], shown([8; 16], &peers[2]))), Acceptance::Unknown);
    assert_eq!(target.banned, []);
    for number in 0..10 {
        let frame = if number % 2 == 0 { &overheard } else { &guess };
        assert_eq!(accepted(target.frame(&peers[1], frame.clone())), Acceptance::Unknown);
    }
    assert_eq!(target.banned, [peers[1].id()]);
    assert_eq!(target.kept, []);
    let stranger = Peer::new(777);
    let answer = target.frame(&stranger, shown(SECRET, &stranger));
    assert!(matches!(answer, Response::Refused { why: Refusal::Stranger, .. }), "{answer:?}");
    assert_eq!(show(&mut target, &peers[0]), Acceptance::Taken, "who was invited is served");
}

#[test]
fn who_shows_without_end_is_held_to_his_quota() {
    let (peers, mut target) = target();
    let answers = (0..2_000).map(|_| target.frame(&peers[0], shown([8; 16], &peers[0])));
    let served = answers.filter(|answer| matches!(answer, Response::Accepted(_))).count();
    assert!((1..1_000).contains(&served), "{served}");
    assert!(target.node.counters().quota_refused > 1_000);
}

/// What the guest's node sends, and under which number.
fn ask(target: &mut Target, inviter: &Peer) -> (RequestId, Vec<u8>) {
    let event = Event::Accept {
        ask: AskId(3),
        to: inviter.id(),
        secret: InviteSecret::new(SECRET),
        inviter: inviter.site.site(),
    };
    let sent = target.event(event).into_iter().find_map(|action| match action {
        Action::Send { to, request, frame, .. } if to == inviter.id() => Some((request, frame)),
        _ => None,
    });
    sent.expect("a request")
}

#[test]
fn the_guest_is_told_what_became_of_it_and_never_sends_the_secret() {
    let (peers, mut target) = target();
    let refused = |why| Response::Refused { why, retry_secs: 10 };
    for (response, expected) in [
        (Response::Accepted(Acceptance::Taken), Ok(Acceptance::Taken)),
        (Response::Accepted(Acceptance::Vouched), Ok(Acceptance::Vouched)),
        // As a program answers that does not know the request.
        (refused(Refusal::Malformed), Err(Unanswered::TooOld)),
        (refused(Refusal::Stranger), Err(Unanswered::Silent)),
        (refused(Refusal::Quota), Err(Unanswered::Silent)),
        (Response::Lacking(1), Err(Unanswered::Silent)),
    ] {
        let (request, frame) = ask(&mut target, &peers[0]);
        assert!(!frame.windows(4).any(|part| part == &SECRET[..4]), "the secret stays here");
        let told = target.event(Event::Response { request, frame: response.encode() });
        assert_eq!(outcome(&told), Some(expected), "{response:?}");
    }
    let (request, _) = ask(&mut target, &peers[0]);
    let told = target.event(Event::Failed { request, why: Failure::Timeout });
    assert_eq!(outcome(&told), Some(Err(Unanswered::Silent)));
}

fn outcome(actions: &[Action]) -> Option<Result<Acceptance, Unanswered>> {
    actions.iter().find_map(|action| match action {
        Action::Accepted { ask: AskId(3), outcome } => Some(*outcome),
        _ => None,
    })
}

/// Who joined a network of more than a thousand hosts was once told that he is not taken in, unless
/// the host that he met was among the thousand that are shown.
#[test]
fn a_host_that_is_met_is_known_however_many_there_are() {
    let peers: Vec<Peer> = (0..1_100).map(Peer::new).collect();
    let target = Target::new(&peers, Config::default());
    let shown = target.node.peers(1_000);
    let hidden: Vec<&Peer> =
        peers.iter().filter(|peer| shown.iter().all(|one| one.node != peer.id())).collect();
    assert_eq!(hidden.len(), 100);
    assert!(peers.iter().all(|peer| target.node.knows(peer.id())));
    assert!(!target.node.knows(Peer::new(5_000).id()));
}
