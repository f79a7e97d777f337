//! How many requests may be sent a second time.

use std::cell::Cell;

/// A fifth of the requests, and at first, or after many that went well, so many at once: a backend that drops its
/// connections must not get twice the load for it.
#[derive(Debug)]
pub struct Budget {
    /// In fifths of a retry.
    fifths: Cell<u32>,
}

const RETRY: u32 = 5;
const AT_ONCE_MAX: u32 = 10 * RETRY;

impl Default for Budget {
    fn default() -> Self {
        Self { fifths: Cell::new(AT_ONCE_MAX) }
    }
}

impl Budget {
    /// Counts a request.
    pub fn request(&self) {
        self.fifths.set((self.fifths.get() + 1).min(AT_ONCE_MAX));
    }

    /// Whether one may be sent again; if so it is counted.
    pub fn retry(&self) -> bool {
        let left = self.fifths.get().checked_sub(RETRY);
        left.inspect(|left| self.fifths.set(*left)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_long_run_a_fifth_of_the_requests_is_sent_again() {
        let budget = Budget::default();
        let retries = |requests: u32| {
            (0..requests).filter(|_| {
                budget.request();
                budget.retry()
            })
        };
        assert_eq!(
            retries(12).count(),
            12,
            "as many at once as was saved, and what came meanwhile"
        );
        assert_eq!(retries(1000).count(), 200);
    }
}
