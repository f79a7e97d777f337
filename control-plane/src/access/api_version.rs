//! The dated versions of the API. A new one is begun when something would break callers; what only adds begins none.
//! One answers for at least twelve months after it is announced to end (`rest::deprecation`).

use chrono::NaiveDate;

/// The version with which Tollgate began, and that of tokens which say none.
pub const FIRST: NaiveDate = NaiveDate::from_ymd_opt(2026, 11, 20).expect("a day");

/// The versions that this build answers, the newest last.
pub const VERSIONS: &[NaiveDate] = &[FIRST];

/// The one that a new session is pinned to.
pub fn newest(known: &[NaiveDate]) -> NaiveDate {
    known.last().copied().unwrap_or(FIRST)
}

/// What a session speaks that is pinned to this version: the next one where that is answered no more.
pub fn spoken(known: &[NaiveDate], pinned: NaiveDate) -> NaiveDate {
    known.iter().copied().find(|version| *version >= pinned).unwrap_or_else(|| newest(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_speaks_its_version_and_the_next_where_that_is_gone() {
        let day = |month| NaiveDate::from_ymd_opt(2027, month, 1).unwrap();
        let known = [day(3), day(6), day(9)];
        assert_eq!(newest(&known), day(9));
        for (pinned, speaks) in [(3, 3), (6, 6), (1, 3), (4, 6), (12, 9)] {
            assert_eq!(spoken(&known, day(pinned)), day(speaks), "{pinned}");
        }
    }

    #[test]
    fn versions_are_in_order() {
        assert!(VERSIONS.is_sorted() && !VERSIONS.is_empty());
    }
}
