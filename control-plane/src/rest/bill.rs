//! The bill.

use axum::Json;
use axum::extract::State;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain;
use crate::domain::bill::Month;
use crate::error::Result;
use crate::ledger;
use crate::rest::extract::Query;
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BillQuery {
    /// `2026-11`, a calendar month in UTC; the present one when left out.
    month: Option<String>,
}

/// A tenant's month at the operator's price: the one in force when the month ends, or now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Bill {
    /// `2026-11`.
    month: String,
    currency: String,
    lines: Vec<BillLine>,
    /// The sum of the lines.
    #[schema(value_type = String)]
    total: Decimal,
    /// The month is not over.
    open: bool,
}

/// Each amount is quantity × unit price, rounded half up to the currency's smallest coin. Numbers are strings.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BillLine {
    description: &'static str,
    #[schema(value_type = String)]
    quantity: Decimal,
    unit: &'static str,
    #[schema(value_type = String)]
    unit_price: Decimal,
    #[schema(value_type = String)]
    amount: Decimal,
}

impl From<ledger::price::Line> for BillLine {
    fn from(line: ledger::price::Line) -> Self {
        Self {
            description: line.description,
            quantity: line.quantity,
            unit: line.unit,
            unit_price: line.unit_price,
            amount: line.amount,
        }
    }
}

impl From<domain::bill::Bill> for Bill {
    fn from(bill: domain::bill::Bill) -> Self {
        Self {
            month: bill.month.to_string(),
            currency: bill.currency,
            lines: bill.lines.into_iter().map(Into::into).collect(),
            total: bill.total,
            open: bill.open,
        }
    }
}

/// The bill of a month.
#[utoipa::path(get, path = "/bill", tag = "usage", operation_id = "getBill", params(BillQuery), responses(
    (status = 200, body = Bill),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Query(query): Query<BillQuery>,
) -> Result<Json<Bill>> {
    let month = Month::new(&app, query.month.as_deref())?;
    Ok(Json(domain::bill::get(&app, &actor, month).await?.into()))
}
