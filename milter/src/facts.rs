//! What another content filter on this site thought of a mail, read from the field it left: a
//! fact for the catalog, with our own part taken off, so that Novacula never confirms itself.

use novacula_client::Leaning;
use serde::Deserialize;

/// Begins the names of our own rules in other filters.
const OWN_RULES: &str = "NOVACULA";

/// Share of the other filter's threshold from which a mail is grey. A guess: no figure.
const GREY_SHARE: f64 = 0.5;

/// A field that is believed, by the filter that writes it. Only for filters that remove what
/// strangers wrote into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum FilterHeader {
    /// SpamAssassin's.
    #[serde(rename = "X-Spam-Status")]
    SpamStatus,
    /// rspamd's.
    #[serde(rename = "X-Spamd-Result")]
    SpamdResult,
}

impl FilterHeader {
    /// The field's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SpamStatus => "X-Spam-Status",
            Self::SpamdResult => "X-Spamd-Result",
        }
    }

    /// What the filter thought; None where the fields contradict each other, make no sense, or
    /// can't be told apart from what we ourselves said.
    #[must_use]
    pub fn leaning(self, values: &[String]) -> Option<Leaning> {
        let read = |value: &String| match self {
            Self::SpamStatus => spam_status(value),
            Self::SpamdResult => spamd_result(value),
        };
        let first = values.first().and_then(read)?;
        values.iter().all(|value| read(value) == Some(first)).then_some(first)
    }
}

fn leaning(score: f64, threshold: f64) -> Option<Leaning> {
    if !score.is_finite() || !threshold.is_finite() || threshold <= 0.0 {
        return None;
    }
    Some(match score {
        _ if score >= threshold => Leaning::Spam,
        _ if score >= threshold * GREY_SHARE => Leaning::Grey,
        _ => Leaning::Ham,
    })
}

/// `Yes, score=7.3 required=5.0 tests=A,B,C autolearn=no`: rules without their points, so that a
/// mail which one of ours helped over the threshold says nothing.
fn spam_status(value: &str) -> Option<Leaning> {
    let number = |name: &str| {
        let rest = &value[value.find(name)? + name.len()..];
        rest.split(|c: char| !matches!(c, '0'..='9' | '.' | '-')).next()?.parse::<f64>().ok()
    };
    let found = leaning(number("score=")?, number("required=")?)?;
    let ours = value.contains(OWN_RULES);
    (found == Leaning::Ham || !ours).then_some(found)
}

/// `default: False [5.20 / 15.00];\n\tRULE(1.50)[..];\n\tRULE(0.00)[]`.
fn spamd_result(value: &str) -> Option<Leaning> {
    let (_, rest) = value.split_once('[')?;
    let (scores, rules) = rest.split_once(']')?;
    let (score, threshold) = scores.split_once('/')?;
    let ours: f64 = rules
        .split(';')
        .filter_map(|rule| rule.trim().strip_prefix(OWN_RULES)?.split_once('('))
        .filter_map(|(_, points)| points.split(')').next()?.parse::<f64>().ok())
        .sum();
    leaning(score.trim().parse::<f64>().ok()? - ours, threshold.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: FilterHeader, values: &[&str], expected: Option<Leaning>) {
        let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        assert_eq!(header.leaning(&values), expected, "{values:?}");
    }

    #[test]
    fn spamassassin() {
        use FilterHeader::SpamStatus as S;
        check(S, &["No, score=-0.1 required=5.0 tests=A,B"], Some(Leaning::Ham));
        check(S, &["No, score=2.5 required=5.0 tests=A"], Some(Leaning::Grey));
        check(S, &["Yes, score=15.3 required=5.0\n\ttests=A,B"], Some(Leaning::Spam));
        check(S, &["Yes, score=5.3 required=5.0 tests=A,NOVACULA_SPAM"], None);
        check(S, &["No, score=0.3 required=5.0 tests=A,NOVACULA_BULK"], Some(Leaning::Ham));
        check(S, &["Yes, score=9 required=5.0", "No, score=0 required=5.0"], None);
        check(S, &["Yes"], None);
        check(S, &["score=é required=5"], None);
        check(S, &["score=1 required=0"], None);
        check(S, &[], None);
    }

    #[test]
    fn rspamd() {
        use FilterHeader::SpamdResult as R;
        check(R, &["default: False [5.20 / 15.00];\n\tA(1.5)[];"], Some(Leaning::Ham));
        check(R, &["default: True [15.20 / 15.00];\n\tA(15.2)[x:1];"], Some(Leaning::Spam));
        let ours = "default: True [15.20 / 15.00];\n\tNOVACULA_SPAM(6.00)[a;b];\n\tB(9.20)[]";
        check(R, &[ours], Some(Leaning::Grey));
        check(R, &["default: False [x / 15.00];"], None);
        check(R, &["default: False"], None);
    }
}
