//! Who signs for a site, and the signed bytes of a statement. A site of one host signs with the
//! site's own key. Of a site with many hosts one machine keeps that key; every other host signs
//! with its own, under a certificate of the site that stands behind each of its statements.
//!
//! Key decision: the certificate travels with the statement (102 bytes) and is not looked up in
//! the table of members: a statement must still prove itself when its host has long left. And a
//! host gives numbers in a *lane* of its own, which its certificate names, so that two hosts
//! never give one number to two statements, which would be a lie.

use crate::clock::Time;
use crate::identity::{Identity, SiteId};
use crate::node::{HostCertificate, NodeId};
use crate::statement::{
    KEYS_MAX, SIGNED_LEN_MAX, Statement, StatementError, VERSION, VERSION_OF_HOST,
};

/// Keeps these signatures apart from any other use of the key.
const SIGNING_CONTEXT: &[u8] = b"novacula statement\0";
/// Bytes of a signature.
const SIGNATURE_LEN: usize = 64;
/// Bits of a statement's number that name the lane: room for 65,535 hosts beside the one with
/// the site's key, and for 2^47 numbers of each, at 1,024 a second for 4,000 years.
const LANE_BITS: u32 = 16;

/// The lane of a statement's number.
#[must_use]
pub fn lane_of(seq: u64) -> u16 {
    // The mask leaves 16 bits.
    u16::try_from(seq & ((1 << LANE_BITS) - 1)).unwrap_or(0)
}

/// A statement's number: the host's own running `number`, in its lane. The higher number wins
/// whatever the lane, so that the latest word of a site does.
#[must_use]
pub(crate) fn seq_of(number: u64, lane: u16) -> u64 {
    number.checked_shl(LANE_BITS).unwrap_or(u64::MAX) | u64::from(lane)
}

/// The running number in a statement's number.
#[must_use]
pub(crate) fn number_of(seq: u64) -> u64 {
    seq >> LANE_BITS
}

/// Who speaks for a site on this host.
pub struct Speaker {
    key: Identity,
    certificate: Option<HostCertificate>,
}

impl Speaker {
    /// The site's own key lies here.
    #[must_use]
    pub fn with_site_key(key: Identity) -> Self {
        Self { key, certificate: None }
    }

    /// A host speaks under its site's certificate; none where that does not hold for it.
    #[must_use]
    pub fn certified(host: Identity, certificate: HostCertificate, now: Time) -> Option<Self> {
        let holds = certificate.lane != 0 && certificate.holds(NodeId::of(&host), now);
        holds.then_some(Self { key: host, certificate: Some(certificate) })
    }

    /// For whom.
    #[must_use]
    pub fn site(&self) -> SiteId {
        self.certificate.as_ref().map_or_else(|| self.key.site(), |certificate| certificate.site)
    }

    /// In which lane it gives its numbers.
    #[must_use]
    pub fn lane(&self) -> u16 {
        self.certificate.as_ref().map_or(0, |certificate| certificate.lane)
    }

    /// The site's key, where it lies on this host: for what only the site itself may sign.
    #[must_use]
    pub fn site_key(&self) -> Option<&Identity> {
        self.certificate.is_none().then_some(&self.key)
    }

    /// A secret for one purpose, from which the key can't be had.
    #[must_use]
    pub fn secret_for(&self, purpose: &str) -> [u8; 32] {
        self.key.secret_for(purpose)
    }

    /// The site's word for `host`, which is this one: made anew, or as it was given.
    #[must_use]
    pub fn certificate_of(&self, host: NodeId, until: Time) -> HostCertificate {
        let given = self.certificate.clone();
        given.unwrap_or_else(|| HostCertificate::issue(&self.key, host, until))
    }

    /// What of a statement is signed, without a host's certificate: what leaves but for proofs.
    #[must_use]
    pub fn body(&self, statement: &Statement) -> Vec<u8> {
        let mut bytes = statement.to_bytes();
        bytes[0] = if self.certificate.is_some() { VERSION_OF_HOST } else { VERSION };
        bytes
    }

    /// The statement's bytes with all that proves it behind them.
    #[must_use]
    pub fn sign(&self, statement: &Statement) -> Vec<u8> {
        let mut bytes = self.body(statement);
        if let Some(certificate) = &self.certificate {
            bytes.extend(certificate.delegation(NodeId::of(&self.key)));
        }
        bytes.extend(self.key.sign(&[SIGNING_CONTEXT, &bytes].concat()));
        bytes
    }
}

impl Statement {
    /// The bytes with the site's signature behind them.
    #[must_use]
    pub fn sign(&self, site: &Identity) -> Vec<u8> {
        let mut bytes = self.to_bytes();
        bytes.extend(site.sign(&[SIGNING_CONTEXT, &bytes].concat()));
        bytes
    }

    /// A statement from signed bytes whose signature was checked when they came in (our own
    /// database).
    ///
    /// # Errors
    /// [`StatementError::Version`] or [`StatementError::Malformed`].
    pub fn decode(signed: &[u8]) -> Result<Self, StatementError> {
        Self::decode_body(&signed[..body_len(signed)?])
    }

    /// A statement from signed bytes of anybody.
    ///
    /// # Errors
    /// [`StatementError`]; the cheap checks come before the signatures.
    pub fn decode_verified(signed: &[u8]) -> Result<Self, StatementError> {
        let body_len = body_len(signed)?;
        let statement = Self::decode_body(&signed[..body_len])?;
        let (said, tail) = signed.split_at(signed.len() - SIGNATURE_LEN);
        let signature = tail.try_into().map_err(|_| StatementError::Malformed)?;
        let said_so = |who: SiteId| who.verifies(&[SIGNING_CONTEXT, said].concat(), signature);
        let proved = match &said[body_len..] {
            [] => said_so(statement.site),
            delegation => {
                let (host, certificate) =
                    HostCertificate::of_delegation(statement.site, delegation)
                        .map_err(|_| StatementError::Malformed)?;
                certificate.lane != 0
                    && certificate.lane == lane_of(statement.seq)
                    && certificate.holds_in(host, statement.epoch)
                    && said_so(SiteId(host.0))
            }
        };
        if proved { Ok(statement) } else { Err(StatementError::Signature) }
    }
}

/// Bytes before what proves a statement.
fn body_len(signed: &[u8]) -> Result<usize, StatementError> {
    let proof = match signed.first() {
        Some(&VERSION_OF_HOST) => HostCertificate::DELEGATION_LEN + SIGNATURE_LEN,
        _ => SIGNATURE_LEN,
    };
    if signed.len() > SIGNED_LEN_MAX {
        return Err(StatementError::Malformed);
    }
    signed.len().checked_sub(proof).ok_or(StatementError::Malformed)
}

const _: () = assert!(
    SIGNED_LEN_MAX == 55 + 32 + KEYS_MAX * 8 + HostCertificate::DELEGATION_LEN + SIGNATURE_LEN
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Epoch;
    use crate::digest::Key;
    use crate::statement::{Copies, Facts, Kind, MailId};

    const NOW: Time = Time(1_800_000_000);

    fn statement(site: SiteId, seq: u64, epoch: Epoch) -> Statement {
        let kind = Kind::Sighting { copies: Copies::One, facts: Facts::default() };
        Statement::new(site, MailId(seq), seq, epoch, (0..23).map(Key).collect(), kind)
    }

    fn host(lane: u16) -> (Identity, Speaker) {
        let (site, host) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let until = Time(NOW.0 + 9_000);
        let certificate = HostCertificate::issue_lane(&site, NodeId::of(&host), until, lane);
        (site, Speaker::certified(host, certificate, NOW).unwrap())
    }

    #[test]
    fn a_host_speaks_for_its_site_in_its_lane_and_time() {
        let (site, speaker) = host(7);
        let own = statement(site.site(), seq_of(5, 7), NOW.epoch());
        let signed = speaker.sign(&own);
        assert_eq!(Statement::decode_verified(&signed), Ok(own.clone()));
        assert_eq!(Statement::decode(&signed), Ok(own.clone()));
        // What it costs beside a statement that the site's own key signed.
        assert_eq!(signed.len() - own.sign(&site).len(), 102);
        let refused = Err(StatementError::Signature);
        let elsewhere = speaker.sign(&statement(site.site(), seq_of(5, 8), NOW.epoch()));
        assert_eq!(Statement::decode_verified(&elsewhere), refused, "another host's lane");
        let late = speaker.sign(&statement(site.site(), seq_of(5, 7), Time(NOW.0 + 9_900).epoch()));
        assert_eq!(Statement::decode_verified(&late), refused, "after the certificate's time");
        let other = speaker.sign(&statement(SiteId([3; 32]), seq_of(5, 7), NOW.epoch()));
        assert_eq!(Statement::decode_verified(&other), refused, "another site");
        for at in 0..signed.len() {
            let mut altered = signed.clone();
            altered[at] ^= 1;
            assert!(Statement::decode_verified(&altered).is_err(), "byte {at}");
            assert!(Statement::decode_verified(&signed[..at]).is_err(), "cut to {at}");
        }
    }

    #[test]
    fn a_certificate_for_another_or_for_the_first_lane_makes_no_speaker() {
        let (site, host) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let until = Time(NOW.0 + 9_000);
        let speaks = |to, lane, at| {
            let certificate = HostCertificate::issue_lane(&site, to, until, lane);
            Speaker::certified(Identity::from_seed(&[2; 32]), certificate, at).is_some()
        };
        assert!(speaks(NodeId::of(&host), 1, NOW));
        assert!(!speaks(NodeId([9; 32]), 1, NOW));
        assert!(!speaks(NodeId::of(&host), 0, NOW));
        assert!(!speaks(NodeId::of(&host), 1, Time(NOW.0 + 99_000)));
    }

    #[test]
    fn lanes_never_meet_and_the_later_number_wins() {
        assert_eq!((lane_of(seq_of(9, 65_535)), number_of(seq_of(9, 65_535))), (65_535, 9));
        assert!(seq_of(10, 0) > seq_of(9, 65_535));
        assert_ne!(seq_of(9, 1), seq_of(9, 2));
    }
}
