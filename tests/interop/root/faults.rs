//! Whatever dies while mail flows: every mail arrives exactly once, in time, and what went
//! unfiltered is what the figures say.

use std::collections::BTreeSet;
use std::process::Child;
use std::time::Duration;

use novacula_tests::harness::Signal;
use novacula_tests::is_full;
use novacula_tests::rig::{Delivered, Net, Postfix, wait_until};

use crate::site::Site;

/// SMTP sessions at a time.
const SESSIONS: usize = 20;

/// Longest that one mail may take until Postfix has it, in seconds: the milter answers within its
/// deadline of 1 s, then Postfix with two cores for all has its own work.
const HELD_SECS_MAX: f64 = 3.0;

/// Longest wait for the whole flow.
const FLOW_TIME_MAX: Duration = Duration::from_secs(180);

fn mails() -> usize {
    if is_full() { 2000 } else { 600 }
}

/// Mail flows; each goes to a recipient of its own.
struct Flow<'a> {
    site: &'a Site,
    postfix: &'a Postfix<'a>,
    source: Child,
}

impl<'a> Flow<'a> {
    fn start(site: &'a Site, postfix: &'a Postfix<'a>) -> Self {
        let mut source = postfix.command("smtp-source");
        source.args(["-N", "-l", "4096", "-s", &SESSIONS.to_string(), "-m", &mails().to_string()]);
        source.args(["-f", "sender@far.example", "-t", "user@site.example", "127.0.0.1:25"]);
        Self { site, postfix, source: source.spawn().unwrap() }
    }

    /// Waits until this share of the mails has arrived.
    fn until(&self, share: f64) {
        let count = (mails() as f64 * share) as usize;
        wait_until("mail flows", FLOW_TIME_MAX, || self.site.lmtp.count() >= count);
    }

    /// All of it: once each, and in time.
    fn end(mut self) -> Vec<Delivered> {
        assert!(self.source.wait().unwrap().success(), "Postfix refused: {}", self.postfix.log());
        let delivered = self.site.lmtp.take(mails());
        let recipients: BTreeSet<&String> =
            delivered.iter().flat_map(|mail| &mail.recipients).collect();
        assert_eq!((delivered.len(), recipients.len()), (mails(), mails()), "once each");
        assert!(self.postfix.queue().contains("Mail queue is empty"), "{}", self.postfix.queue());
        let log = self.postfix.log();
        // delays=before the queue/in the queue/connecting/sending: the milter is in the first.
        let held = log.split("delays=").skip(1).filter_map(|rest| rest.split('/').next());
        let longest = held.filter_map(|secs| secs.parse::<f64>().ok()).fold(0.0, f64::max);
        assert!(longest <= HELD_SECS_MAX, "one mail took {longest} s");
        delivered
    }
}

/// How many mails carry a verdict, say why they have none, and carry nothing.
fn tally(delivered: &[Delivered]) -> (u64, u64, u64) {
    let (mut judged, mut unchecked, mut bare) = (0, 0, 0);
    for mail in delivered {
        match mail.field("X-Novacula").as_slice() {
            [] => bare += 1,
            [verdict] if verdict.contains("unchecked=agent-") => unchecked += 1,
            [_] => judged += 1,
            more => panic!("{more:?}"),
        }
    }
    (judged, unchecked, bare)
}

/// What the milter says that it let pass with a verdict, and without, once it has counted all.
fn told(site: &Site, all: u64) -> (u64, u64) {
    let mut sums = (0, 0);
    wait_until("the milter tells", Duration::from_secs(40), || {
        let status = site.place.run(&["status", "--json"]);
        if status.code != 0 {
            return false;
        }
        let mails = status.json()["milters"][0]["state"]["mails"].clone();
        let Some(mails) = mails.as_object() else { return false };
        sums = (0, 0);
        for (kind, count) in mails {
            let count = count.as_u64().unwrap();
            let sum = if kind.starts_with("agent-") { &mut sums.1 } else { &mut sums.0 };
            *sum += count;
        }
        sums.0 + sums.1 >= all
    });
    sums
}

/// The milter looks at mail from loopback too.
const ALL: &str = "local_networks = []";

#[test]
fn the_agent_is_killed() {
    let (site, net) = (Site::new(), Net::new());
    let agent = site.place.serve();
    let milter = site.milter(ALL, "");
    let postfix = site.postfix(&net);
    let flow = Flow::start(&site, &postfix);
    flow.until(0.05);
    agent.kill();
    flow.until(0.5);
    let _agent = site.place.serve();
    let (judged, unchecked, bare) = tally(&flow.end());
    assert_eq!(bare, 0, "the milter marks every mail");
    assert!(judged > 0 && unchecked > 0, "{judged} judged, {unchecked} not");
    assert_eq!(told(&site, mails() as u64), (judged, unchecked));
    let log = milter.log();
    assert_eq!(log.matches("the agent does not answer").count(), 1, "said once:\n{log}");
    wait_until("and once again", Duration::from_secs(10), || {
        milter.log().matches("the agent answers again").count() == 1
    });
}

#[test]
fn the_agent_hangs() {
    let (site, net) = (Site::new(), Net::new());
    let agent = site.place.serve();
    let milter = site.milter(ALL, "");
    let postfix = site.postfix(&net);
    let flow = Flow::start(&site, &postfix);
    flow.until(0.05);
    agent.signal(Signal::STOP);
    flow.until(0.9);
    agent.signal(Signal::CONT);
    let (judged, unchecked, bare) = tally(&flow.end());
    assert_eq!(bare, 0, "the milter marks every mail");
    assert!(judged > 0 && unchecked > 0, "{judged} judged, {unchecked} not");
    assert_eq!(told(&site, mails() as u64), (judged, unchecked));
    assert_eq!(milter.log().matches("the agent does not answer").count(), 1, "said once");
}

#[test]
fn the_milter_is_killed() {
    let (site, net) = (Site::new(), Net::new());
    let _agent = site.place.serve();
    let milter = site.milter(ALL, "");
    let postfix = site.postfix(&net);
    let flow = Flow::start(&site, &postfix);
    flow.until(0.05);
    milter.kill();
    flow.until(0.5);
    let _milter = site.milter(ALL, "");
    let (judged, unchecked, bare) = tally(&flow.end());
    assert_eq!(unchecked, 0);
    assert!(judged > 0 && bare > 0, "{judged} judged, {bare} bare");
    // What the agent judged and Postfix never heard of: at most one mail a session.
    let checks = site.place.run(&["status", "--json"]).json()["checks"].as_u64().unwrap();
    let unheard = checks - judged;
    assert!(unheard <= SESSIONS as u64, "{checks} checks, {judged} judged");
}

#[test]
fn somebody_removes_the_socket() {
    let (site, net) = (Site::new(), Net::new());
    let _agent = site.place.serve();
    let milter = site.milter(ALL, "");
    let postfix = site.postfix(&net);
    let flow = Flow::start(&site, &postfix);
    flow.until(0.05);
    std::fs::remove_file(site.socket()).unwrap();
    wait_until("the milter makes it anew", Duration::from_secs(20), || {
        milter.log().contains("the socket was gone: made anew")
    });
    let (judged, unchecked, bare) = tally(&flow.end());
    // The milter may be quicker than any mail: then none is bare.
    assert!(judged > 0, "{judged} judged, {bare} bare");
    assert_eq!(told(&site, judged + unchecked), (judged, unchecked));
    assert_eq!(judged + unchecked + bare, mails() as u64);
}
