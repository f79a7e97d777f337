//! The price.

use async_graphql::{
    Context, InputObject, InputValueError, InputValueResult, Object, Scalar, ScalarType,
    SimpleObject, Value,
};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::access::actor::Caller;
use crate::domain;
use crate::domain::price::NewPrice;
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::{app, identity, operator};

#[derive(Default)]
pub struct PriceQuery;

#[derive(Default)]
pub struct PriceMutation;

/// A whole number that may pass 2^31, as a JSON number up to 2^53.
pub struct Count(i64);

impl From<i64> for Count {
    fn from(count: i64) -> Self {
        Self(count)
    }
}

impl From<u64> for Count {
    fn from(count: u64) -> Self {
        Self(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

#[Scalar]
impl ScalarType for Count {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::Number(number) => number
                .as_i64()
                .map(Self)
                .ok_or_else(|| InputValueError::custom("must be a whole number")),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::Number(self.0.into())
    }
}

/// What the operator charges; a month is charged at the price in force when it ends.
#[derive(SimpleObject)]
pub struct Price {
    /// ISO 4217.
    currency: String,
    per_million_requests: Decimal,
    /// 1 GB is 10^9 bytes.
    per_gb_out: Decimal,
    /// Of each tenant, each calendar month in UTC.
    free_requests: Count,
    /// Null: the operator set no price yet, and nothing is charged.
    effective_from: Option<DateTime<Utc>>,
}

impl From<domain::price::Price> for Price {
    fn from(price: domain::price::Price) -> Self {
        Self {
            currency: price.currency,
            per_million_requests: price.per_million_requests,
            per_gb_out: price.per_gb_out,
            free_requests: Count(price.free_requests),
            effective_from: price.effective_from,
        }
    }
}

#[derive(InputObject)]
pub struct SetPriceInput {
    /// ISO 4217, three capital letters.
    currency: String,
    /// From 0 to 1,000,000, with at most 9 digits after the point.
    per_million_requests: Decimal,
    /// The same bounds; 1 GB is 10^9 bytes.
    per_gb_out: Decimal,
    free_requests: Count,
}

#[derive(SimpleObject)]
pub struct SetPricePayload {
    price: Option<Price>,
    user_errors: Vec<UserError>,
}

#[Object]
impl PriceQuery {
    /// The price in force.
    async fn price(&self, ctx: &Context<'_>) -> async_graphql::Result<Price> {
        let price = match identity(ctx)? {
            Caller::Member(actor) => domain::price::get(app(ctx), actor).await?,
            Caller::Operator(operator) => {
                domain::price::get_as_operator(app(ctx), operator).await?
            }
        };
        Ok(price.into())
    }
}

#[Object]
impl PriceMutation {
    /// Sets the price from now on; the operator's.
    async fn set_price(
        &self,
        ctx: &Context<'_>,
        input: SetPriceInput,
    ) -> async_graphql::Result<SetPricePayload> {
        let (app, operator) = operator(ctx)?;
        let set = async {
            let SetPriceInput { currency, per_million_requests, per_gb_out, free_requests } = input;
            let new = NewPrice::new(currency, per_million_requests, per_gb_out, free_requests.0)?;
            domain::price::set(app, operator, new).await
        };
        let (price, user_errors) = user_errors(set.await)?;
        Ok(SetPricePayload { price: price.map(Into::into), user_errors })
    }
}
