//! Quotas of usage plans.

use async_graphql::{Enum, InputObject, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;

/// How many requests a key may make in a period. A change of the limit, of its enforcement or of `initialUsed` keeps
/// what a key has used; a change that lets the present period begin at another moment begins a new count.
#[derive(SimpleObject)]
pub struct Quota {
    limit: i64,
    period: QuotaPeriod,
    anchor: QuotaAnchor,
    /// The IANA name of the zone whose clocks say when a period begins.
    time_zone: String,
    /// When one period begins; of an anniversary only. Of a time of day that comes twice, as clocks are put back, it is the
    /// first.
    starts_at: Option<DateTime<Utc>>,
    enforcement: QuotaEnforcement,
    /// Subtracted from the limit in the period in which a key was put on the plan.
    initial_used: i64,
}

impl From<domain::quota::Quota> for Quota {
    fn from(quota: domain::quota::Quota) -> Self {
        Self {
            limit: quota.limit,
            period: quota.period.into(),
            anchor: quota.anchor.into(),
            time_zone: quota.time_zone,
            starts_at: quota.starts_at,
            enforcement: quota.enforcement.into(),
            initial_used: quota.initial_used,
        }
    }
}

/// A quota, whole: what is left out is as its default says.
#[derive(InputObject)]
pub struct QuotaInput {
    /// From 1 to 10^15.
    limit: i64,
    period: QuotaPeriod,
    #[graphql(default_with = "QuotaAnchor::Calendar")]
    anchor: QuotaAnchor,
    /// The IANA name of the zone whose clocks say when a period begins. A day in which they are changed has 23 or 25
    /// hours.
    #[graphql(default = "UTC")]
    time_zone: String,
    /// When one period begins, to the second; of an anniversary only, and at most a year ahead. Of a time of day that comes
    /// twice, as clocks are put back, the first is taken.
    starts_at: Option<DateTime<Utc>>,
    #[graphql(default_with = "QuotaEnforcement::Hard")]
    enforcement: QuotaEnforcement,
    /// Subtracted from the limit in the period in which a key was put on the plan: what it had used elsewhere. At most
    /// the limit, and 2^31 - 1.
    #[graphql(default = 0)]
    initial_used: i64,
}

impl From<QuotaInput> for domain::quota::Quota {
    fn from(input: QuotaInput) -> Self {
        Self {
            limit: input.limit,
            period: input.period.into(),
            anchor: input.anchor.into(),
            time_zone: input.time_zone,
            starts_at: input.starts_at,
            enforcement: input.enforcement.into(),
            initial_used: input.initial_used,
        }
    }
}

/// How long a period is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::quota::QuotaPeriod")]
pub enum QuotaPeriod {
    Day,
    Week,
    Month,
}

/// What periods are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::quota::QuotaAnchor")]
pub enum QuotaAnchor {
    /// The days and months of the calendar, and its weeks from Monday on.
    Calendar,
    /// The moment `startsAt`: each period begins at its time of day, so many days, weeks or months before or after it. In
    /// a month without its day it is the last.
    Anniversary,
}

/// What becomes of a request beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::quota::QuotaEnforcement")]
pub enum QuotaEnforcement {
    /// It is refused with `429 QUOTA_EXCEEDED`.
    Hard,
    /// It passes and is counted; `RateLimit` says that nothing is left, and the log of requests that it is over.
    Soft,
}
