//! Which network of peers a node belongs to: the open one, or a private one made by a pre-shared
//! key or by a list of site identities. A group's id is a hash, so a stranger learns nothing of
//! the key or the list from it. Who holds the key shows it by the *badge* in its membership
//! record, which is bound to its host key: a badge seen is of no use to another.

use std::collections::BTreeSet;

use crate::identity::SiteId;
use crate::node::host::NodeId;

/// Names a network of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub [u8; 16]);

/// Who may take part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// Everybody.
    #[default]
    Open,
    /// Who knows the key.
    Key([u8; 32]),
    /// These sites. Every member must have the same list.
    Sites(BTreeSet<SiteId>),
}

impl Group {
    /// The group's name on the wire, in topics and in the protocol's name.
    #[must_use]
    pub fn id(&self) -> GroupId {
        let hash = match self {
            Self::Open => blake3::hash(b"novacula open network"),
            Self::Key(key) => blake3::keyed_hash(key, b"novacula private network"),
            Self::Sites(sites) => {
                let mut hasher = blake3::Hasher::new();
                hasher.update(b"novacula network of sites");
                sites.iter().for_each(|site| {
                    hasher.update(&site.0);
                });
                hasher.finalize()
            }
        };
        let mut id = [0; 16];
        id.copy_from_slice(&hash.as_bytes()[..16]);
        GroupId(id)
    }

    /// True when the group lets the site in, as far as the site's name tells.
    fn admits(&self, site: &SiteId) -> bool {
        match self {
            Self::Open | Self::Key(_) => true,
            Self::Sites(sites) => sites.contains(site),
        }
    }

    /// What `node` wears in its membership record: with a key it shows that who made the record
    /// knows it, and is good for no other node.
    #[must_use]
    pub fn badge(&self, node: NodeId) -> [u8; 16] {
        let Self::Key(key) = self else { return self.id().0 };
        let hash = blake3::keyed_hash(key, &[&b"novacula member badge"[..], &node.0].concat());
        let mut badge = [0; 16];
        badge.copy_from_slice(&hash.as_bytes()[..16]);
        badge
    }

    /// True when `node`, speaking for `site`, wears the badge of this group and may take part.
    #[must_use]
    pub fn accepts(&self, badge: &[u8; 16], node: NodeId, site: &SiteId) -> bool {
        let (mut ours, mut theirs) = ([0; 32], [0; 32]);
        ours[..16].copy_from_slice(&self.badge(node));
        theirs[..16].copy_from_slice(badge);
        // Compared as hashes, which takes the same time wherever they differ.
        blake3::Hash::from_bytes(ours) == blake3::Hash::from_bytes(theirs) && self.admits(site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_is_good_for_one_node_and_one_key() {
        let (a, b, site) = (NodeId([1; 32]), NodeId([2; 32]), SiteId([3; 32]));
        let group = Group::Key([7; 32]);
        assert!(group.accepts(&group.badge(a), a, &site));
        assert!(!group.accepts(&group.badge(a), b, &site), "taken by another");
        assert!(!group.accepts(&Group::Key([8; 32]).badge(a), a, &site));
        assert!(!group.accepts(&group.id().0, a, &site), "what everybody may see");
        assert_ne!(group.id(), Group::Key([8; 32]).id());
    }

    #[test]
    fn a_list_admits_its_sites() {
        let group = Group::Sites([SiteId([1; 32])].into());
        let node = NodeId([5; 32]);
        assert!(group.accepts(&group.badge(node), node, &SiteId([1; 32])));
        assert!(!group.accepts(&group.badge(node), node, &SiteId([2; 32])));
        assert_ne!(group.id(), Group::Open.id());
    }
}
