//! The price.

use axum::extract::State;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Operator;
use crate::app::App;
use crate::domain;
use crate::domain::price::NewPrice;
use crate::error::Result;
use crate::rest::extract::Json;
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get, set))
}

/// What the operator charges; a month is charged at the price in force when it ends. Amounts are strings.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Price {
    /// ISO 4217.
    currency: String,
    #[schema(value_type = String)]
    per_million_requests: Decimal,
    /// 1 GB is 10^9 bytes.
    #[schema(value_type = String)]
    per_gb_out: Decimal,
    /// Of each tenant, each calendar month in UTC.
    free_requests: i64,
    /// Null: no price was set yet, and nothing is charged.
    effective_from: Option<DateTime<Utc>>,
}

impl From<domain::price::Price> for Price {
    fn from(price: domain::price::Price) -> Self {
        Self {
            currency: price.currency,
            per_million_requests: price.per_million_requests,
            per_gb_out: price.per_gb_out,
            free_requests: price.free_requests,
            effective_from: price.effective_from,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetPrice {
    /// ISO 4217, three capital letters.
    currency: String,
    /// From 0 to 1,000,000, with at most 9 digits after the point.
    #[schema(value_type = String)]
    per_million_requests: Decimal,
    /// The same bounds; 1 GB is 10^9 bytes.
    #[schema(value_type = String)]
    per_gb_out: Decimal,
    #[schema(minimum = 0)]
    free_requests: i64,
}

/// The price in force.
#[utoipa::path(get, path = "/operator/price", tag = "operator", operation_id = "getPrice", responses(
    (status = 200, body = Price),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn get(State(app): State<App>, operator: Operator) -> Result<axum::Json<Price>> {
    Ok(axum::Json(domain::price::get_as_operator(&app, &operator).await?.into()))
}

/// Sets the price from now on.
#[utoipa::path(put, path = "/operator/price", tag = "operator", operation_id = "setPrice", request_body = SetPrice, responses(
    (status = 200, body = Price),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn set(
    State(app): State<App>,
    operator: Operator,
    Json(body): Json<SetPrice>,
) -> Result<axum::Json<Price>> {
    let SetPrice { currency, per_million_requests, per_gb_out, free_requests } = body;
    let new = NewPrice::new(currency, per_million_requests, per_gb_out, free_requests)?;
    Ok(axum::Json(domain::price::set(&app, &operator, new).await?.into()))
}
