//! Prices: rows are added, never changed.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::app::Tx;
use crate::domain::price::{NewPrice, Price};
use crate::error::Result;
use crate::ids::{PriceId, UserId};

/// The newest price that was in force at that time; the default before there is any.
pub async fn in_force(tx: &mut Tx, at: DateTime<Utc>) -> Result<Price> {
    let row = sqlx::query_as!(
        Row,
        "select currency, per_million_requests, per_gb_out, free_requests, effective_from from price
         where effective_from <= $1 order by effective_from desc, id desc limit 1",
        at,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map_or_else(Price::default, Price::from))
}

pub async fn insert(
    tx: &mut Tx,
    id: PriceId,
    set_by: UserId,
    new: &NewPrice,
    effective_from: DateTime<Utc>,
) -> Result<Price> {
    let row = sqlx::query_as!(
        Row,
        "insert into price (id, currency, per_million_requests, per_gb_out, free_requests, effective_from, set_by)
         values ($1, $2, $3, $4, $5, $6, $7)
         returning currency, per_million_requests, per_gb_out, free_requests, effective_from",
        id.0,
        new.currency,
        new.per_million_requests,
        new.per_gb_out,
        new.free_requests,
        effective_from,
        set_by.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(row.into())
}

struct Row {
    currency: String,
    per_million_requests: Decimal,
    per_gb_out: Decimal,
    free_requests: i64,
    effective_from: DateTime<Utc>,
}

impl From<Row> for Price {
    fn from(row: Row) -> Self {
        Self {
            currency: row.currency,
            per_million_requests: row.per_million_requests.normalize(),
            per_gb_out: row.per_gb_out.normalize(),
            free_requests: row.free_requests,
            effective_from: Some(row.effective_from),
        }
    }
}
