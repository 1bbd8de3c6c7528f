//! Whom a site vouches for: one signed list a site, replaced as a whole by a later one. An
//! invitation accepted is a name on the list.
//!
//! Main item: [`VouchList`]. Key decision: the list is short ([`VOUCHES_MAX`]), so that a vouch is
//! worth something to who gives it, and fits one announcement.

use crate::clock::Time;
use crate::identity::{Identity, SiteId};

/// Most sites that one site vouches for. A choice: more than an administrator knows, and a list
/// of 2.2 kB.
pub const VOUCHES_MAX: usize = 64;
/// Bytes of a list with nobody on it: version, site, time, count and signature.
const EMPTY_LEN: usize = 1 + 32 + 8 + 1 + SIGNATURE_LEN;
/// Most bytes of a signed list.
pub const VOUCH_LIST_LEN_MAX: usize = EMPTY_LEN + VOUCHES_MAX * 32;
/// How far in the future a list may be dated, in seconds (an epoch, as for statements).
pub const AHEAD_SECS_MAX: u64 = 900;
/// A list that was not renewed for so long is dropped, in seconds (30 d, as credit fades by half).
pub const VOUCH_KEEP_SECS: u64 = 30 * 24 * 3600;
/// A site makes its list anew after this time, in seconds (a day, a convention).
pub const VOUCH_RENEW_SECS: u64 = 24 * 3600;
const VERSION: u8 = 1;
const SIGNATURE_LEN: usize = 64;
/// Keeps these signatures apart from any other use of the key.
const SIGNING_CONTEXT: &[u8] = b"novacula vouches\0";

/// Whom a site vouches for, as of a moment. Of two lists the later one holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VouchList {
    /// Who vouches.
    pub site: SiteId,
    /// When the list was made.
    pub made: Time,
    sites: Vec<SiteId>,
}

/// Why bytes are not a vouch list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VouchError {
    /// A version that this program does not speak.
    #[error("read a vouch list of version {0}: this program knows version {VERSION}")]
    Version(u8),
    /// Too short, too long, or not in order.
    #[error("read a vouch list: its bytes are malformed")]
    Malformed,
    /// The signature is not the site's over these bytes.
    #[error("accept a vouch list: its signature is not the site's")]
    Signature,
}

impl VouchList {
    /// A list; names are sorted, made distinct, cut to [`VOUCHES_MAX`], and nobody vouches for
    /// himself.
    #[must_use]
    pub fn new(site: SiteId, made: Time, sites: impl IntoIterator<Item = SiteId>) -> Self {
        let mut sites: Vec<SiteId> = sites.into_iter().filter(|one| *one != site).collect();
        sites.sort_unstable();
        sites.dedup();
        sites.truncate(VOUCHES_MAX);
        Self { site, made, sites }
    }

    /// Whom it vouches for, sorted.
    #[must_use]
    pub fn sites(&self) -> &[SiteId] {
        &self.sites
    }

    /// Version (1), site (32), seconds since 1970 (8, little-endian), count (1), sites (32 each,
    /// ascending), signature (64).
    #[must_use]
    pub fn sign(&self, identity: &Identity) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(EMPTY_LEN + self.sites.len() * 32);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.site.0);
        bytes.extend_from_slice(&self.made.0.to_le_bytes());
        bytes.push(u8::try_from(self.sites.len()).unwrap_or(u8::MAX));
        self.sites.iter().for_each(|site| bytes.extend_from_slice(&site.0));
        let signature = identity.sign(&[SIGNING_CONTEXT, &bytes].concat());
        bytes.extend_from_slice(&signature);
        bytes
    }

    /// A list from signed bytes of anybody.
    ///
    /// # Errors
    /// [`VouchError`]; the cheap checks come before the signature.
    pub fn decode_verified(signed: &[u8]) -> Result<Self, VouchError> {
        let list = Self::decode(signed)?;
        let (body, tail) = signed.split_at(signed.len() - SIGNATURE_LEN);
        let signature: &[u8; SIGNATURE_LEN] = tail.try_into().map_err(|_| VouchError::Malformed)?;
        if !list.site.verifies(&[SIGNING_CONTEXT, body].concat(), signature) {
            return Err(VouchError::Signature);
        }
        Ok(list)
    }

    /// A list whose signature was checked when it came in.
    ///
    /// # Errors
    /// [`VouchError::Version`] or [`VouchError::Malformed`].
    pub fn decode(signed: &[u8]) -> Result<Self, VouchError> {
        if signed.len() < EMPTY_LEN || signed.len() > VOUCH_LIST_LEN_MAX {
            return Err(VouchError::Malformed);
        }
        if signed[0] != VERSION {
            return Err(VouchError::Version(signed[0]));
        }
        let count = usize::from(signed[41]);
        if signed.len() != EMPTY_LEN + count * 32 {
            return Err(VouchError::Malformed);
        }
        let id = |at: usize| -> Result<SiteId, VouchError> {
            signed[at..at + 32].try_into().map(SiteId).map_err(|_| VouchError::Malformed)
        };
        let made: [u8; 8] = signed[33..41].try_into().map_err(|_| VouchError::Malformed)?;
        let site = id(1)?;
        let sites: Vec<SiteId> =
            (0..count).map(|number| id(42 + number * 32)).collect::<Result<_, _>>()?;
        if sites.windows(2).any(|pair| pair[0] >= pair[1]) || sites.contains(&site) {
            return Err(VouchError::Malformed);
        }
        Ok(Self { site, made: Time(u64::from_le_bytes(made)), sites })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(identity: &Identity) -> VouchList {
        let sites = [SiteId([9; 32]), SiteId([3; 32]), SiteId([9; 32]), identity.site()];
        VouchList::new(identity.site(), Time(1_800_000_000), sites)
    }

    #[test]
    fn golden_bytes() {
        let identity = Identity::from_seed(&[7; 32]);
        let signed = list(&identity).sign(&identity);
        let mut expected = vec![1];
        expected.extend(identity.site().0);
        expected.extend([0, 0xd2, 0x49, 0x6b, 0, 0, 0, 0, 2]);
        expected.extend([[3; 32], [9; 32]].concat());
        assert_eq!(&signed[..signed.len() - 64], expected);
        assert_eq!(VouchList::decode_verified(&signed), Ok(list(&identity)));
    }

    #[test]
    fn forged_altered_cut_or_unsorted_is_refused() {
        let (honest, other) = (Identity::from_seed(&[7; 32]), Identity::from_seed(&[8; 32]));
        let signed = list(&honest).sign(&honest);
        let forged = list(&honest).sign(&other);
        assert_eq!(VouchList::decode_verified(&forged), Err(VouchError::Signature));
        let mut altered = signed.clone();
        altered[33] ^= 1;
        assert_eq!(VouchList::decode_verified(&altered), Err(VouchError::Signature));
        for len in 0..signed.len() {
            assert!(VouchList::decode_verified(&signed[..len]).is_err(), "cut to {len}");
        }
        let mut swapped = signed.clone();
        swapped[42] = 99;
        assert_eq!(VouchList::decode_verified(&swapped), Err(VouchError::Malformed));
        let mut newer = signed;
        newer[0] = 2;
        assert_eq!(VouchList::decode_verified(&newer), Err(VouchError::Version(2)));
    }

    #[test]
    fn no_list_is_longer_than_its_bound() {
        let identity = Identity::from_seed(&[7; 32]);
        let many = (0..200u8).map(|number| SiteId([number; 32]));
        let list = VouchList::new(identity.site(), Time(1), many);
        assert_eq!((list.sites().len(), list.sign(&identity).len()), (64, VOUCH_LIST_LEN_MAX));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = VouchList::decode_verified(&bytes);
        }
    }
}
