//! The quota of a usage plan: how many requests each of its keys may make in a period, and when periods begin.

use chrono::{DateTime, Duration, SubsecRound, Utc};
use plan::{Period, Periods, Unit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};

/// The largest quota, in requests a period: a JSON number holds it exactly.
pub const LIMIT_MAX: i64 = 1_000_000_000_000_000;
/// The most that a key can have used before its first period began.
pub const INITIAL_USED_MAX: i64 = i32::MAX as i64;
/// How far ahead an anniversary may start.
const START_AHEAD_DAYS_MAX: i64 = 366;
/// The longest name of a zone that is looked up.
const TIME_ZONE_BYTES_MAX: usize = 64;

/// How many requests a key may make in a period. A change of the limit, of its enforcement or of `initialUsed` keeps
/// what a key has used; a change that lets the present period begin at another moment begins a new count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quota {
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000_i64)]
    pub limit: i64,
    pub period: QuotaPeriod,
    #[serde(default)]
    pub anchor: QuotaAnchor,
    /// The IANA name of the zone whose clocks say when a period begins, such as `Europe/Berlin`. A day in which they are
    /// changed has 23 or 25 hours.
    #[serde(default = "utc")]
    #[schema(default = "UTC", max_length = 64)]
    pub time_zone: String,
    /// When one period begins, to the second; of an anniversary only, and at most a year ahead. Of a time of day that comes
    /// twice, as clocks are put back, the first is taken.
    #[serde(default)]
    pub starts_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub enforcement: QuotaEnforcement,
    /// Subtracted from the limit in the period in which a key was put on the plan: what it had used elsewhere. At most
    /// the limit.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 2_147_483_647_i64)]
    pub initial_used: i64,
}

/// Requests that a key was granted beside its quota in one period, and in no other that begins or ends elsewhere: though
/// the plan's periods become longer meanwhile, it is over with its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub calls: i64,
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

impl Grant {
    /// How many of them count in a period.
    pub fn in_period(&self, period: &Period) -> i64 {
        let own = (self.from.timestamp(), self.until.timestamp());
        if own == (period.from, period.until) { self.calls } else { 0 }
    }
}

/// How long a period is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum QuotaPeriod {
    Day,
    Week,
    Month,
}

/// What periods are counted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum QuotaAnchor {
    /// The days and months of the calendar, and its weeks from Monday on.
    #[default]
    Calendar,
    /// The moment `startsAt`: each period begins at its time of day, so many days, weeks or months before or after it. In
    /// a month without its day it is the last.
    Anniversary,
}

/// What becomes of a request beyond the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum QuotaEnforcement {
    /// It is refused with `429 QUOTA_EXCEEDED`.
    #[default]
    Hard,
    /// It passes and is counted; `RateLimit` says that nothing is left, and the log of requests that it is over.
    Soft,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Quota {
    /// So many requests in a period of the calendar in UTC, and then none.
    pub fn of(limit: i64, period: QuotaPeriod) -> Self {
        Self {
            limit,
            period,
            anchor: QuotaAnchor::Calendar,
            time_zone: utc(),
            starts_at: None,
            enforcement: QuotaEnforcement::Hard,
            initial_used: 0,
        }
    }

    /// The same where it is one that nodes can keep; the zone by the name that its table has for it.
    pub fn checked(self, now: DateTime<Utc>) -> Result<Self> {
        if !(1..=LIMIT_MAX).contains(&self.limit) {
            let rule = format!("must be from 1 to {LIMIT_MAX}");
            return Err(Error::bad_request("limit", rule));
        }
        let most = self.limit.min(INITIAL_USED_MAX);
        if !(0..=most).contains(&self.initial_used) {
            let rule = format!("must be from 0 to {most}");
            return Err(Error::bad_request("initialUsed", rule));
        }
        let known = Some(&self.time_zone).filter(|name| name.len() <= TIME_ZONE_BYTES_MAX);
        let zone = known.and_then(|name| plan::time_zone(name));
        let Some(time_zone) = zone.as_ref().and_then(|zone| zone.iana_name()).map(str::to_owned)
        else {
            let rule = "is not the IANA name of a time zone, such as Europe/Berlin";
            return Err(Error::bad_request("timeZone", rule));
        };
        let starts_at = self.starts_at.map(|start| start.trunc_subsecs(0));
        match (self.anchor, starts_at) {
            (QuotaAnchor::Calendar, Some(_)) => {
                let rule = "is of an anniversary; the calendar has its own";
                Err(Error::bad_request("startsAt", rule))
            }
            (QuotaAnchor::Anniversary, None) => {
                Err(Error::bad_request("startsAt", "an anniversary needs one"))
            }
            (_, Some(start)) if start < DateTime::UNIX_EPOCH => {
                Err(Error::bad_request("startsAt", "must be in 1970 or later"))
            }
            (_, Some(start)) if start > now + Duration::days(START_AHEAD_DAYS_MAX) => {
                let rule = format!("must be at most {START_AHEAD_DAYS_MAX} days ahead");
                Err(Error::bad_request("startsAt", rule))
            }
            (_, starts_at) => Ok(Self { time_zone, starts_at, ..self }),
        }
    }

    /// How many requests a key has in a period, by the rules of nodes: what it had used before is missing from the period in
    /// which it was put on the plan, and a grant counts in its own.
    pub fn limit_in(
        &self,
        period: &Period,
        joined_at: Option<DateTime<Utc>>,
        grant: Option<&Grant>,
    ) -> i64 {
        let first = joined_at.is_some_and(|joined| period.holds(joined.timestamp()));
        let used_before = if first { self.initial_used } else { 0 };
        self.limit - used_before + grant.map_or(0, |grant| grant.in_period(period))
    }

    /// When its periods begin and end, by the code that nodes count by.
    pub fn periods(&self) -> Result<Periods> {
        let zone = plan::time_zone(&self.time_zone)
            .ok_or_else(|| Error::corrupt("time zone of a quota", &*self.time_zone))?;
        let unit = match self.period {
            QuotaPeriod::Day => Unit::Day,
            QuotaPeriod::Week => Unit::Week,
            QuotaPeriod::Month => Unit::Month,
        };
        Ok(match self.starts_at {
            Some(start) => Periods::anniversary(unit, zone, start.timestamp()),
            None => Periods::calendar(unit, zone),
        })
    }
}

impl QuotaPeriod {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "DAY",
            Self::Week => "WEEK",
            Self::Month => "MONTH",
        }
    }
}

impl QuotaEnforcement {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "HARD",
            Self::Soft => "SOFT",
        }
    }
}

impl TryFrom<&str> for QuotaPeriod {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        [Self::Day, Self::Week, Self::Month]
            .into_iter()
            .find(|period| period.as_str() == text)
            .ok_or_else(|| Error::corrupt("quota period", text))
    }
}

impl TryFrom<&str> for QuotaEnforcement {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        [Self::Hard, Self::Soft]
            .into_iter()
            .find(|enforcement| enforcement.as_str() == text)
            .ok_or_else(|| Error::corrupt("quota enforcement", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn changed(change: impl FnOnce(&mut Quota)) -> Result<Quota> {
        let mut quota = Quota::of(100, QuotaPeriod::Month);
        change(&mut quota);
        quota.checked(now())
    }

    fn anniversary(start: &str) -> Result<Quota> {
        changed(|quota| {
            quota.anchor = QuotaAnchor::Anniversary;
            quota.starts_at = Some(start.parse().unwrap());
        })
    }

    #[test]
    fn what_nodes_could_not_keep_is_refused_by_the_field() {
        let cases = [
            (changed(|quota| quota.limit = 0), "limit"),
            (changed(|quota| quota.limit = LIMIT_MAX + 1), "limit"),
            (changed(|quota| quota.initial_used = -1), "initialUsed"),
            (changed(|quota| quota.initial_used = 101), "initialUsed"),
            (
                changed(|quota| {
                    quota.limit = LIMIT_MAX;
                    quota.initial_used = INITIAL_USED_MAX + 1;
                }),
                "initialUsed",
            ),
            (changed(|quota| quota.time_zone = "Mars/Olympus_Mons".to_owned()), "timeZone"),
            (changed(|quota| quota.time_zone = String::new()), "timeZone"),
            (changed(|quota| quota.time_zone = "+02:00".to_owned()), "timeZone"),
            (changed(|quota| quota.time_zone = "U".repeat(10_000)), "timeZone"),
            (changed(|quota| quota.anchor = QuotaAnchor::Anniversary), "startsAt"),
            (changed(|quota| quota.starts_at = Some(now())), "startsAt"),
            (anniversary("1969-12-31T23:59:59Z"), "startsAt"),
            (anniversary("2027-11-22T12:00:01Z"), "startsAt"),
        ];
        for (at, (refused, param)) in cases.into_iter().enumerate() {
            let refused = refused.unwrap_err();
            assert_eq!((refused.code(), refused.param()), ("bad_request", Some(param)), "{at}");
        }
    }

    #[test]
    fn a_zone_has_the_name_of_its_table_and_a_start_whole_seconds() {
        let berlin = changed(|quota| quota.time_zone = "europe/berlin".to_owned()).unwrap();
        assert_eq!(berlin.time_zone, "Europe/Berlin");
        let start = anniversary("2027-11-22T11:59:59.9Z").unwrap().starts_at.unwrap();
        assert_eq!(start.to_rfc3339(), "2027-11-22T11:59:59+00:00");
        assert_eq!(changed(|quota| quota.initial_used = 100).unwrap().initial_used, 100);
    }
}
