//! The `Date` of answers, made anew once a second (RFC 9110 §6.6.1).

use std::{
    cell::RefCell,
    fmt::Write,
    time::{SystemTime, UNIX_EPOCH},
};

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
const BYTES: usize = 29;

struct Date {
    second: u64,
    text: String,
}

thread_local! {
    static LAST: RefCell<Date> =
        RefCell::new(Date { second: u64::MAX, text: String::with_capacity(BYTES) });
}

/// Shows the date of this moment.
pub fn with<T>(now: SystemTime, show: impl FnOnce(&str) -> T) -> T {
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|last| {
        if last.second != second {
            last.second = second;
            last.text.clear();
            let _ = write!(last.text, "{}", httpdate::HttpDate::from(now)); // into memory
        }
        show(&last.text)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_date_is_that_of_its_second() {
        let at = |ms: u64| with(UNIX_EPOCH + Duration::from_millis(ms), str::to_owned);
        assert_eq!(at(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(784_111_777_999), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(784_111_778_000), "Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(at(0).len(), BYTES);
    }
}
