//! The limit that refused a request: which it is, what it had, and how that was known.

use proto::inquiry::v1::{self as message, How, Level, limit};

use crate::policies::throttle::Label;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    /// As `RateLimit` and the log call the limit.
    pub(crate) name: Label,
    pub(crate) level: Level,
    pub(crate) figures: limit::Figures,
    pub(crate) how: How,
    pub(crate) remaining: u64,
    pub(crate) retry_after_s: u64,
}

impl Decision {
    /// What one tenant may have in progress on a thread is used up.
    pub(crate) fn of_share(name: &'static str, level: Level, max: usize) -> Self {
        let max_in_flight = u64::try_from(max).unwrap_or(u64::MAX);
        Self {
            name: name.into(),
            level,
            figures: limit::Figures::Share(message::Share { max_in_flight }),
            how: How::Local,
            remaining: 0,
            retry_after_s: 1,
        }
    }

    pub(super) fn told(&self) -> message::Decision {
        let limit = message::Limit {
            name: self.name.as_str().to_owned(),
            level: self.level.into(),
            figures: Some(self.figures),
        };
        message::Decision {
            limit: Some(limit),
            how: self.how.into(),
            remaining: self.remaining,
            retry_after_s: self.retry_after_s,
        }
    }
}
