//! Time, injected: a test sets it, and no operation reads the global one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

/// Where operations take the time from.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Set(Arc<AtomicI64>),
}

impl Clock {
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`Clock::advance`].
    pub fn at(time: DateTime<Utc>) -> Self {
        Self(Source::Set(Arc::new(AtomicI64::new(time.timestamp_micros()))))
    }

    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads the global clock"
            )]
            Source::System => Utc::now(),
            Source::Set(micros) => {
                DateTime::from_timestamp_micros(micros.load(Ordering::Relaxed)).unwrap_or_default()
            }
        }
    }

    /// The earlier of this clock and another that should agree with it: for what cannot be taken back when one of them
    /// runs ahead. A set clock is asked alone.
    pub fn not_after(&self, other: DateTime<Utc>) -> DateTime<Utc> {
        match &self.0 {
            Source::System => self.now().min(other),
            Source::Set(_) => self.now(),
        }
    }

    /// Moves a set clock; the system's clock stays as it is.
    pub fn advance(&self, by: TimeDelta) {
        if let Source::Set(micros) = &self.0 {
            micros.fetch_add(by.num_microseconds().unwrap_or(0), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_clocks_the_one_that_runs_ahead_is_not_believed() {
        let clock = Clock::system();
        let (ahead, behind) = (clock.now() + TimeDelta::days(9), clock.now() - TimeDelta::days(9));
        assert!(clock.not_after(ahead) <= clock.now());
        assert_eq!(clock.not_after(behind), behind);
    }
}
