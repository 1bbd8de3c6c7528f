//! What an attachment holds, as one number. A ZIP archive (office documents and Java archives are
//! some) is known by its members, so that packing the same files anew, under other names or times,
//! changes nothing; everything else by its bytes.
//!
//! Key decision: only the archive's own directory is read, which states CRC-32 and length of every
//! member. Nothing is unpacked, so no bomb can go off.

/// Most members that are looked at.
const MEMBERS_MAX: usize = 4096;

/// Length of a directory's end without comment, and of an entry without name, extra and comment.
const END_LEN: usize = 22;
const ENTRY_LEN: usize = 46;

/// Longest comment of an archive, in bytes.
const COMMENT_LEN_MAX: usize = 65_535;

/// The number of an attachment (module text).
pub(super) fn content_hash(bytes: &[u8]) -> u64 {
    let hash = match members(bytes) {
        Some(members) => {
            let mut hasher = blake3::Hasher::new();
            hasher.update(b"members of an archive");
            for (crc, len) in members {
                hasher.update(&crc.to_le_bytes()).update(&len.to_le_bytes());
            }
            hasher.finalize()
        }
        None => blake3::hash(bytes),
    };
    let mut first = [0u8; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// CRC-32 and length of every member, sorted; None when it is no whole archive.
fn members(bytes: &[u8]) -> Option<Vec<(u32, u32)>> {
    if !bytes.starts_with(b"PK") {
        return None;
    }
    let from = bytes.len().saturating_sub(END_LEN + COMMENT_LEN_MAX);
    let end = from + memchr::memmem::rfind(&bytes[from..], b"PK\x05\x06")?;
    bytes.get(end..end + END_LEN)?;
    let mut at = number(bytes, end + 16, 4)? as usize;
    let mut members = Vec::new();
    for _ in 0..number(bytes, end + 10, 2)?.min(MEMBERS_MAX as u32) {
        if bytes.get(at..at + 4)? != b"PK\x01\x02" {
            return None;
        }
        let len = number(bytes, at + 24, 4)?;
        // Folders have no content.
        if len > 0 {
            members.push((number(bytes, at + 16, 4)?, len));
        }
        let rest = [28, 30, 32].iter().map(|of| number(bytes, at + of, 2)).sum::<Option<u32>>()?;
        at += ENTRY_LEN + rest as usize;
    }
    members.sort_unstable();
    (!members.is_empty()).then_some(members)
}

/// A number of `len` bytes, low byte first.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(len)?)?;
    Some(field.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive whose members are stored, with this time and these names.
    fn zip(members: &[(&str, u32, &[u8])], time: u16) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for (name, crc, content) in members {
            let offset = out.len() as u32;
            let mut common = vec![20, 0, 0, 0, 0, 0];
            common.extend(time.to_le_bytes());
            common.extend([0, 0]);
            common.extend(crc.to_le_bytes());
            common.extend((content.len() as u32).to_le_bytes());
            common.extend((content.len() as u32).to_le_bytes());
            common.extend((name.len() as u16).to_le_bytes());
            common.extend([0, 0]);
            out.extend(b"PK\x03\x04");
            out.extend(&common);
            out.extend(name.as_bytes());
            out.extend(*content);
            directory.extend(b"PK\x01\x02\x14\x00");
            directory.extend(&common);
            directory.extend([0u8; 10]);
            directory.extend(offset.to_le_bytes());
            directory.extend(name.as_bytes());
        }
        let offset = out.len() as u32;
        out.extend(&directory);
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend((members.len() as u16).to_le_bytes());
        out.extend((members.len() as u16).to_le_bytes());
        out.extend((directory.len() as u32).to_le_bytes());
        out.extend(offset.to_le_bytes());
        out.extend([0, 0]);
        out
    }

    #[test]
    fn an_archive_is_known_by_its_members() {
        let one = zip(&[("a.doc", 7, b"seven"), ("b.js", 9, b"nine")], 1);
        let other = zip(&[("x.js", 9, b"nine"), ("invoice.doc", 7, b"seven")], 2);
        assert_ne!(one, other);
        assert_eq!(content_hash(&one), content_hash(&other));
        assert_ne!(content_hash(&one), content_hash(&zip(&[("a.doc", 7, b"seven")], 1)));
    }

    #[test]
    fn what_is_damaged_is_known_by_its_bytes() {
        let whole = zip(&[("a", 1, b"x"), ("b", 2, b"yy")], 1);
        for end in 0..whole.len() {
            let cut = &whole[..end];
            assert_eq!(members(cut), None, "{end}");
            let _ = content_hash(cut);
        }
        let mut wild = whole.clone();
        let at = whole.len() - 6;
        wild[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(members(&wild), None);
        assert_ne!(content_hash(b"one"), content_hash(b"two"));
    }
}
