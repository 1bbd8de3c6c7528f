//! An invitation: one line that names a site, one of its hosts and where that is reached, so that
//! another site can join there, and be sure whom it met. One for a single site holds a secret
//! besides ([`Pass`]), for which the inviting site vouches back, and is signed by that site; one
//! for anybody holds none. A private network's key has to be told apart from either.

use novacula_catalog::node::{InviteSecret, NodeId};
use novacula_catalog::{Identity, SiteId, Time};

use crate::line::{of_hex, of_summed, summed, to_hex};

/// What every invitation for anybody begins with; the figure is its version.
const PREFIX: &str = "nvc1";
/// What one for a single site begins with.
const PREFIX_PASS: &str = "nvc2";
/// Longest invitation, in bytes: two keys, a secret, a signature and four addresses of 192 bytes.
const LEN_MAX: usize = 4096;
/// Bytes of the signature, which tells when a part was not copied, as the checksum does.
const SIGNATURE_LEN: usize = 64;
/// Keeps these signatures apart from any other use of the key.
const SIGNING_CONTEXT: &[u8] = b"novacula invitation\0";

/// Who invites, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invite {
    pub(crate) site: SiteId,
    pub(crate) node: NodeId,
    pub(crate) addresses: Vec<String>,
    /// For a single site.
    pub(crate) pass: Option<Pass>,
}

/// What makes the inviting site vouch for who was invited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) secret: InviteSecret,
    pub(crate) until: Time,
}

impl Invite {
    /// The line of an invitation for anybody.
    pub(crate) fn to_line(&self) -> String {
        summed(PREFIX, [&self.site.0[..], &self.node.0, &self.places()].concat())
    }

    /// The line of one for a single site, signed.
    pub(crate) fn sign(&self, pass: Pass, key: &Identity) -> String {
        let until = pass.until.0.to_le_bytes();
        let secret = pass.secret.bytes();
        let mut bytes = [&self.site.0[..], &self.node.0, &until, &secret, &self.places()].concat();
        bytes.extend(key.sign(&[SIGNING_CONTEXT, &bytes].concat()));
        format!("{PREFIX_PASS}{}", to_hex(&bytes))
    }

    fn places(&self) -> Vec<u8> {
        self.addresses.join("\n").into_bytes()
    }

    /// True when the text is meant as an invitation.
    pub(crate) fn is_meant(text: &str) -> bool {
        let begins = text.starts_with(PREFIX) || text.starts_with(PREFIX_PASS);
        begins && !text.contains(['.', '/', ':'])
    }

    /// An invitation from its line; none when a part of it is missing or altered.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        if let Some(hex) = line.trim().strip_prefix(PREFIX_PASS) {
            return Self::read_signed(&of_hex(hex, LEN_MAX)?);
        }
        let body = of_summed(PREFIX, line, LEN_MAX)?;
        let (site, rest) = body.split_first_chunk()?;
        let (node, addresses) = rest.split_first_chunk()?;
        Self::of(*site, *node, addresses, None)
    }

    fn read_signed(bytes: &[u8]) -> Option<Self> {
        let (body, signature) = bytes.split_last_chunk::<SIGNATURE_LEN>()?;
        let (site, rest) = body.split_first_chunk()?;
        if !SiteId(*site).verifies(&[SIGNING_CONTEXT, body].concat(), signature) {
            return None;
        }
        let (node, rest) = rest.split_first_chunk()?;
        let (until, rest) = rest.split_first_chunk()?;
        let (secret, addresses) = rest.split_first_chunk()?;
        let until = Time(u64::from_le_bytes(*until));
        Self::of(*site, *node, addresses, Some(Pass { secret: InviteSecret::new(*secret), until }))
    }

    fn of(site: [u8; 32], node: [u8; 32], addresses: &[u8], pass: Option<Pass>) -> Option<Self> {
        let addresses = std::str::from_utf8(addresses).ok()?.lines().map(str::to_owned);
        Some(Self { site: SiteId(site), node: NodeId(node), addresses: addresses.collect(), pass })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(site: SiteId) -> Invite {
        let addresses = vec!["/ip4/192.0.2.7/tcp/25725".to_owned(), "/ip6/::1/tcp/1".to_owned()];
        Invite { site, node: NodeId([2; 32]), addresses, pass: None }
    }

    #[track_caller]
    fn whole_or_not_at_all(line: &str, invite: &Invite) {
        assert!(Invite::is_meant(line));
        assert_eq!(Invite::parse(line).as_ref(), Some(invite));
        for end in 0..line.len() {
            assert_eq!(Invite::parse(&line[..end]), None, "{end}");
        }
        assert_eq!(Invite::parse(&line.replace('0', "é")), None);
    }

    #[test]
    fn a_line_carries_it_whole_or_not_at_all() {
        let invite = invite(SiteId([1; 32]));
        whole_or_not_at_all(&invite.to_line(), &invite);
        assert!(!Invite::is_meant("nvc1.example.org") && !Invite::is_meant("nvc2.example.org"));
    }

    #[test]
    fn one_for_a_single_site_is_signed_by_who_invites() {
        let key = Identity::from_seed(&[7; 32]);
        let pass = Pass { secret: InviteSecret::new([9; 16]), until: Time(1_800_000_000) };
        let plain = invite(key.site());
        let line = plain.sign(pass, &key);
        whole_or_not_at_all(&line, &Invite { pass: Some(pass), ..plain.clone() });
        // Signed by another, or with a figure changed, it is none.
        assert_eq!(Invite::parse(&plain.sign(pass, &Identity::from_seed(&[8; 32]))), None);
        for at in (4..line.len()).step_by(37) {
            let other = if line.as_bytes()[at] == b'0' { "1" } else { "0" };
            let altered = format!("{}{other}{}", &line[..at], &line[at + 1..]);
            assert_eq!(Invite::parse(&altered), None, "{at}");
        }
        assert!(!format!("{pass:?}").contains('9'), "a secret is never shown");
    }
}
