//! An invitation: one line that names a site, one of its hosts and where that is reached, so that
//! another site can join there, and be sure whom it met. It holds no secret; a private network's
//! key has to be told apart from it.

use novacula_catalog::SiteId;
use novacula_catalog::node::NodeId;

/// What every invitation begins with; the figure is its version.
const PREFIX: &str = "nvc1";
/// Longest invitation, in bytes: two keys and four addresses of 192 bytes.
const LEN_MAX: usize = 4096;
/// Bytes of the checksum, which tells when a part was not copied.
const SUM_LEN: usize = 4;

/// Who invites, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invite {
    pub(crate) site: SiteId,
    pub(crate) node: NodeId,
    pub(crate) addresses: Vec<String>,
}

impl Invite {
    /// The line.
    pub(crate) fn to_line(&self) -> String {
        let mut bytes =
            [&self.site.0[..], &self.node.0, self.addresses.join("\n").as_bytes()].concat();
        bytes.extend(&blake3::hash(&bytes).as_bytes()[..SUM_LEN]);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{PREFIX}{hex}")
    }

    /// True when the text is meant as an invitation.
    pub(crate) fn is_meant(text: &str) -> bool {
        text.starts_with(PREFIX) && !text.contains(['.', '/', ':'])
    }

    /// An invitation from its line; none when a part of it is missing.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let hex = line.trim().strip_prefix(PREFIX).filter(|hex| hex.len() <= LEN_MAX)?;
        if hex.len() % 2 != 0 || !hex.is_ascii() {
            return None;
        }
        let bytes: Option<Vec<u8>> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok())
            .collect();
        let bytes = bytes?;
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM_LEN)?)?;
        if blake3::hash(body).as_bytes()[..SUM_LEN] != *sum {
            return None;
        }
        let (site, rest) = body.split_first_chunk()?;
        let (node, addresses) = rest.split_first_chunk()?;
        let addresses = std::str::from_utf8(addresses).ok()?;
        Some(Self {
            site: SiteId(*site),
            node: NodeId(*node),
            addresses: addresses.lines().map(str::to_owned).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_carries_it_whole_or_not_at_all() {
        let addresses = vec!["/ip4/192.0.2.7/tcp/25725".to_owned(), "/ip6/::1/tcp/1".to_owned()];
        let invite = Invite { site: SiteId([1; 32]), node: NodeId([2; 32]), addresses };
        let line = invite.to_line();
        assert!(Invite::is_meant(&line) && !Invite::is_meant("nvc1.example.org"));
        assert_eq!(Invite::parse(&line), Some(invite));
        for end in 0..line.len() {
            assert_eq!(Invite::parse(&line[..end]), None, "{end}");
        }
        assert_eq!(Invite::parse(&line.replace('0', "é")), None);
    }
}
