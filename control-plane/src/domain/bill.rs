//! A bill: a tenant's month, from the ledger, at the operator's price.
//!
//! A month is charged at one price, the one in force when it ends; a month that is not over, at the one in force now.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, TimeZone, Utc};
use rust_decimal::Decimal;

use crate::access::actor::Actor;
use crate::access::role::Action;
use crate::app::App;
use crate::error::{Error, Result};
use crate::ledger::price::{self, Line};
use crate::store;

/// A calendar month in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month(NaiveDate);

impl Month {
    /// `2026-11`; the present month when left out. One that has not begun is refused.
    pub fn new(app: &App, text: Option<&str>) -> Result<Self> {
        let now = app.clock.now();
        let wrong = || Error::bad_request("month", "must be a month that has begun, as in 2026-11");
        let Some(text) = text else { return Ok(Self::of(now)) };
        let month = Self::parse(text).ok_or_else(wrong)?;
        if month.start() > now { Err(wrong()) } else { Ok(month) }
    }

    fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let digits =
            |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return None;
        }
        let first = NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, 1)?;
        (first.year() >= 2000).then_some(Self(first))
    }

    fn of(time: DateTime<Utc>) -> Self {
        let day = time.date_naive();
        Self(day.with_day(1).unwrap_or(day))
    }

    /// Inclusive.
    pub fn start(self) -> DateTime<Utc> {
        Utc.from_utc_datetime(&self.0.and_time(chrono::NaiveTime::MIN))
    }

    /// Exclusive.
    pub fn end(self) -> DateTime<Utc> {
        Self::of(self.start() + TimeDelta::days(31)).start()
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.0.format("%Y-%m"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    pub month: Month,
    pub currency: String,
    pub lines: Vec<Line>,
    pub total: Decimal,
    /// The month is not over.
    pub open: bool,
}

pub async fn get(app: &App, actor: &Actor, month: Month) -> Result<Bill> {
    actor.may(Action::ReadBilling)?;

    let now = app.clock.now();
    let priced_at = now.min(month.end() - TimeDelta::microseconds(1));
    let mut tx = app.begin(actor).await?;
    let price = store::price::in_force(&mut tx, priced_at).await?;
    let billed =
        store::usage_hour::billed(&mut tx, actor.tenant, month.start(), month.end()).await?;
    let lines = price::lines(&price, billed.requests, billed.bytes_out)?;
    let total = price::total(&lines);
    Ok(Bill { month, currency: price.currency, lines, total, open: now < month.end() })
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::role::Role;
    use crate::domain::price::{self, NewPrice, Price};
    use crate::ledger::intake::{self, tests as ledger};
    use crate::ledger::rollup;
    use crate::testing;

    async fn used(app: &App, actor: &Actor, counter: i64, requests: u32) {
        let mut call = ledger::call(app, actor.tenant);
        call.record.requests = requests;
        let node = ledger::node(app, "default").await;
        intake::take(app, node, &[ledger::segment(ledger::place(counter), &[call])]).await.unwrap();
        rollup::run(app).await.unwrap();
    }

    fn per_million(amount: i64) -> NewPrice {
        NewPrice::new("EUR".to_owned(), amount.into(), Decimal::ONE, 500_000).unwrap()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_bill_is_zero_until_a_price_is_set_and_the_same_whenever_it_is_asked(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let operator = testing::operator(&app).await;
        used(&app, &alice, 1, 1_500_000).await;
        let month = Month::new(&app, None).unwrap();

        let free = get(&app, &alice, month).await.unwrap();
        price::set(&app, &operator, per_million(4)).await.unwrap();
        let bill = get(&app, &alice, month).await.unwrap();

        assert_eq!(
            (free.total, free.open, free.month.to_string()),
            (Decimal::ZERO, true, "2026-11".to_owned())
        );
        assert_eq!((bill.total, bill.currency.as_str()), (4.into(), "EUR"));
        assert_eq!(get(&app, &alice, month).await.unwrap(), bill);
        assert_eq!(get(&app, &mallory, month).await.unwrap().total, Decimal::ZERO);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_month_keeps_the_price_that_was_in_force_when_it_ended(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, operator) = (testing::owner(&app).await, testing::operator(&app).await);
        used(&app, &alice, 1, 1_500_000).await;
        price::set(&app, &operator, per_million(4)).await.unwrap();
        let november = Month::new(&app, None).unwrap();

        app.clock.advance(TimeDelta::days(20));
        price::set(&app, &operator, per_million(9)).await.unwrap();

        let bill = get(&app, &alice, november).await.unwrap();
        assert_eq!((bill.total, bill.open), (4.into(), false));
        let december = get(&app, &alice, Month::new(&app, None).unwrap()).await.unwrap();
        assert_eq!((december.total, december.open), (Decimal::ZERO, true));
        let in_force = price::get(&app, &alice).await.unwrap();
        assert_eq!(in_force.per_million_requests, 9.into());
        assert_eq!(price::get_as_operator(&app, &operator).await.unwrap(), in_force);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn owners_and_viewers_may_read_the_bill_and_developers_may_not(db: PgPool) {
        let app = testing::app(db).await;
        let month = Month::new(&app, None).unwrap();
        for (role, may) in [
            (Role::Owner, true),
            (Role::Viewer, true),
            (Role::Billing, true),
            (Role::Developer, false),
        ] {
            let actor = testing::member(&app, role).await;
            let read = get(&app, &actor, month).await;
            assert_eq!(read.is_ok(), may, "{role:?}");
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_month_is_one_that_has_begun(db: PgPool) {
        let app = testing::app(db).await;
        assert_eq!(Month::new(&app, Some("2026-11")).unwrap(), Month::new(&app, None).unwrap());
        let december = Month::new(&app, Some("2025-12")).unwrap();
        assert_eq!(december.end().to_string(), "2026-01-01 00:00:00 UTC");
        for wrong in [
            "",
            "2026",
            "2026-1",
            "2026-13",
            "2026-12",
            "+026-01",
            "2026-11-01",
            "1999-12",
            "2026-1١",
        ] {
            assert_eq!(
                Month::new(&app, Some(wrong)).unwrap_err().param(),
                Some("month"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_price_is_within_its_bounds() {
        let price = |currency: &str, requests: &str, gb: &str, free| {
            let new = NewPrice::new(
                currency.to_owned(),
                requests.parse().unwrap(),
                gb.parse().unwrap(),
                free,
            );
            new.map(drop).map_err(|error| error.param().unwrap_or_default().to_owned())
        };
        assert_eq!(price("EUR", "3.500000001", "1000000", 0), Ok(()));
        assert_eq!(price("EUR", "0", "0.0900000000000", 1_000_000), Ok(()));
        assert_eq!(price("eur", "1", "1", 0), Err("currency".to_owned()));
        assert_eq!(price("EURO", "1", "1", 0), Err("currency".to_owned()));
        assert_eq!(price("EUR", "-0.01", "1", 0), Err("perMillionRequests".to_owned()));
        assert_eq!(price("EUR", "1", "1000000.01", 0), Err("perGbOut".to_owned()));
        assert_eq!(price("EUR", "1.0000000001", "1", 0), Err("perMillionRequests".to_owned()));
        assert_eq!(price("EUR", "1", "1", -1), Err("freeRequests".to_owned()));
        assert_eq!(Price::default().per_gb_out, Decimal::ZERO);
    }
}
