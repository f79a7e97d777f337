//! The price: what the operator charges every tenant. Prices are added, never changed; the newest is in force.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;

use crate::access::actor::{Actor, Operator};
use crate::app::{App, Job};
use crate::domain::audit;
use crate::error::{Error, Result};
use crate::ids::PriceId;
use crate::store;

/// Digits after the point of an amount.
pub const SCALE_MAX: u32 = 9;
/// The most that a million requests or a GB may cost, in any currency.
pub const AMOUNT_MAX: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
/// The most requests a month that may be free.
pub const FREE_REQUESTS_MAX: i64 = 1_000_000_000_000_000;

/// One price for everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// ISO 4217: `EUR`.
    pub currency: String,
    pub per_million_requests: Decimal,
    /// 1 GB is 10^9 bytes.
    pub per_gb_out: Decimal,
    /// Of each tenant, each calendar month in UTC.
    pub free_requests: i64,
    /// None: the operator set no price yet, and nothing is charged.
    pub effective_from: Option<DateTime<Utc>>,
}

impl Default for Price {
    /// Until the operator sets one.
    fn default() -> Self {
        Self {
            currency: "USD".to_owned(),
            per_million_requests: Decimal::ZERO,
            per_gb_out: Decimal::ZERO,
            free_requests: 0,
            effective_from: None,
        }
    }
}

/// A price to be set.
#[derive(Clone, Debug)]
pub struct NewPrice {
    pub currency: String,
    pub per_million_requests: Decimal,
    pub per_gb_out: Decimal,
    pub free_requests: i64,
}

impl NewPrice {
    pub fn new(
        currency: String,
        per_million_requests: Decimal,
        per_gb_out: Decimal,
        free_requests: i64,
    ) -> Result<Self> {
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(Error::bad_request("currency", "must be three capital letters, as in EUR"));
        }
        for (param, amount) in
            [("perMillionRequests", per_million_requests), ("perGbOut", per_gb_out)]
        {
            if amount.is_sign_negative() && !amount.is_zero() || amount > AMOUNT_MAX {
                return Err(Error::bad_request(param, format!("must be from 0 to {AMOUNT_MAX}")));
            }
            if amount.normalize().scale() > SCALE_MAX {
                let most = format!("must have at most {SCALE_MAX} digits after the point");
                return Err(Error::bad_request(param, most));
            }
        }
        if !(0..=FREE_REQUESTS_MAX).contains(&free_requests) {
            return Err(Error::bad_request("freeRequests", "must be from 0 to 10^15"));
        }
        Ok(Self {
            currency,
            per_million_requests: per_million_requests.normalize(),
            per_gb_out: per_gb_out.normalize(),
            free_requests,
        })
    }
}

/// The price in force, for a tenant: every member may know it.
pub async fn get(app: &App, actor: &Actor) -> Result<Price> {
    let mut tx = app.begin(actor).await?;
    store::price::in_force(&mut tx, app.clock.now()).await
}

/// The price in force, for the operator.
pub async fn get_as_operator(app: &App, _operator: &Operator) -> Result<Price> {
    let mut tx = app.system(Job::Operator).await?;
    store::price::in_force(&mut tx, app.clock.now()).await
}

/// Sets the price from now on.
pub async fn set(app: &App, operator: &Operator, new: NewPrice) -> Result<Price> {
    let now = app.clock.now();
    let id: PriceId = app.rng.id();
    let mut tx = app.system(Job::Operator).await?;
    let before = store::price::in_force(&mut tx, now).await?;
    let price = store::price::insert(&mut tx, id, operator.user, &new, now).await?;
    let noun_id = id.to_string();
    audit::record_operator(
        app,
        &mut tx,
        operator,
        "price.set",
        &noun_id,
        Some(&before),
        Some(&price),
    )
    .await?;
    tx.commit().await?;
    Ok(price)
}
