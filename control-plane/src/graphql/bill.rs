//! The bill.

use async_graphql::{Context, Object, SimpleObject};
use rust_decimal::Decimal;

use crate::domain;
use crate::domain::bill::Month;
use crate::graphql::caller;
use crate::ledger;

#[derive(Default)]
pub struct BillQuery;

/// A tenant's month at the operator's price.
#[derive(SimpleObject)]
pub struct Bill {
    /// `2026-11`, a calendar month in UTC.
    month: String,
    currency: String,
    lines: Vec<BillLine>,
    /// The sum of the lines.
    total: Decimal,
    /// The month is not over.
    open: bool,
}

/// Each amount is quantity × unit price, rounded half up to the currency's smallest coin.
#[derive(SimpleObject)]
pub struct BillLine {
    description: &'static str,
    quantity: Decimal,
    unit: &'static str,
    unit_price: Decimal,
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

#[Object]
impl BillQuery {
    /// The bill of a month, `2026-11`; the present one when left out.
    async fn bill(&self, ctx: &Context<'_>, month: Option<String>) -> async_graphql::Result<Bill> {
        let (app, actor) = caller(ctx)?;
        let month = Month::new(app, month.as_deref())?;
        Ok(domain::bill::get(app, actor, month).await?.into())
    }
}
