//! Bytes as a line that people copy: a prefix that says what it is, and hexadecimal digits; where
//! nobody signed them, with a checksum ([`summed`]), which tells when a part was not copied.

/// Bytes of the checksum.
const SUM_LEN: usize = 4;

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of at most `len_max` digits.
pub(crate) fn of_hex(hex: &str, len_max: usize) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || hex.len() > len_max || !hex.is_ascii() {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
}

/// The line of `body`, with its checksum.
pub(crate) fn summed(prefix: &str, mut body: Vec<u8>) -> String {
    let sum = blake3::hash(&body);
    body.extend(&sum.as_bytes()[..SUM_LEN]);
    format!("{prefix}{}", to_hex(&body))
}

/// The body of such a line of at most `len_max` digits; none when a part is missing or altered.
pub(crate) fn of_summed(prefix: &str, line: &str, len_max: usize) -> Option<Vec<u8>> {
    let mut bytes = of_hex(line.trim().strip_prefix(prefix)?, len_max)?;
    let sum = bytes.split_off(bytes.len().checked_sub(SUM_LEN)?);
    (blake3::hash(&bytes).as_bytes()[..SUM_LEN] == *sum).then_some(bytes)
}
