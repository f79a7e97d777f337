//! Sums times a price. Decimal throughout; the same sums and price always give the same lines.
//!
//! **Rounding**: each line's amount is rounded once, half away from zero, to the currency's smallest coin (ISO 4217:
//! two digits for most, none for the yen, three for the Kuwaiti dinar). The total is the sum of the rounded lines,
//! so that it can be checked by adding up what is printed. Quantities and unit prices are never rounded.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::Serialize;

use crate::domain::price::Price;
use crate::error::{Error, Result};

const MILLION: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
/// Bytes of a GB: 10^9, not 2^30.
const GB: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// One line of a bill: `quantity` × `unit_price`, rounded, is `amount`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub description: &'static str,
    pub quantity: Decimal,
    pub unit: &'static str,
    pub unit_price: Decimal,
    pub amount: Decimal,
}

/// A month's billed sums at a price: the free requests, those beyond, and the data out.
pub fn lines(price: &Price, billed_requests: i64, billed_bytes_out: i64) -> Result<Vec<Line>> {
    let free = billed_requests.min(price.free_requests);
    let line = |description, quantity: Decimal, unit, unit_price: Decimal| -> Result<Line> {
        let exact = quantity.checked_mul(unit_price);
        let exact = exact.ok_or_else(|| Error::corrupt("bill", "an amount beyond all bounds"))?;
        let digits = digits(&price.currency);
        let mut amount =
            exact.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero);
        amount.rescale(digits); // 7.00, not 7
        let quantity = quantity.normalize();
        Ok(Line { description, quantity, unit, unit_price, amount })
    };
    let millions = |requests: i64| Decimal::from(requests) / MILLION;
    let mut lines = Vec::new();
    if price.free_requests > 0 {
        lines.push(line("Requests, free", millions(free), "million requests", Decimal::ZERO)?);
    }
    let paid = millions(billed_requests - free);
    lines.push(line("Requests", paid, "million requests", price.per_million_requests)?);
    let out = Decimal::from(billed_bytes_out) / GB;
    lines.push(line("Data out", out, "GB (10^9 bytes)", price.per_gb_out)?);
    Ok(lines)
}

pub fn total(lines: &[Line]) -> Decimal {
    lines.iter().map(|line| line.amount).sum()
}

/// Digits after the point of a currency's smallest coin (ISO 4217).
fn digits(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX"
        | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_is_sums_times_price_rounded_once_a_line() {
        // currency, per million, per GB, free, requests, bytes → requests' amount, data's amount, total
        let table = [
            ("USD", "0", "0", 0, 5_000_000, 5_000_000_000, "0.00", "0.00", "0.00"),
            ("USD", "3.50", "0.09", 0, 1_000_000, 1_000_000_000, "3.50", "0.09", "3.59"),
            ("USD", "3.50", "0.09", 1_000_000, 1_000_000, 0, "0.00", "0.00", "0.00"),
            ("USD", "3.50", "0.09", 1_000_000, 999_999, 0, "0.00", "0.00", "0.00"),
            ("USD", "3.50", "0.09", 1_000_000, 3_000_000, 0, "7.00", "0.00", "7.00"),
            // Half a cent goes up, a hair less goes down.
            ("USD", "5", "0", 0, 1_000, 0, "0.01", "0.00", "0.01"),
            ("USD", "5", "0", 0, 999, 0, "0.00", "0.00", "0.00"),
            ("USD", "0", "0.005", 0, 0, 1_000_000_000, "0.00", "0.01", "0.01"),
            ("USD", "0", "0.005", 0, 0, 999_999_999, "0.00", "0.00", "0.00"),
            // A GB is 10^9 bytes.
            ("EUR", "0", "1", 0, 0, 1_073_741_824, "0.00", "1.07", "1.07"),
            ("JPY", "150", "12", 0, 1_003_334, 41_700_000_000, "151", "500", "651"),
            ("KWD", "1", "0.0005", 0, 1_234_567, 1_000_000_000, "1.235", "0.001", "1.236"),
            (
                "USD",
                "0.000000001",
                "0.000000001",
                0,
                i64::MAX,
                i64::MAX,
                "9223.37",
                "9.22",
                "9232.59",
            ),
            (
                "USD",
                "1000000",
                "1000000",
                0,
                1_000_000_000_000_000,
                0,
                "1000000000000000",
                "0",
                "1000000000000000",
            ),
        ];
        for (currency, per_million, per_gb, free_requests, requests, bytes, first, second, sum) in
            table
        {
            let decimal = |text: &str| text.parse::<Decimal>().unwrap();
            let price = Price {
                currency: currency.to_owned(),
                per_million_requests: decimal(per_million),
                per_gb_out: decimal(per_gb),
                free_requests,
                effective_from: None,
            };

            let lines = lines(&price, requests, bytes).unwrap();

            let case =
                format!("{currency} {per_million} {per_gb} {free_requests} {requests} {bytes}");
            let paid = &lines[lines.len() - 2..];
            assert_eq!(
                (paid[0].amount, paid[1].amount),
                (decimal(first), decimal(second)),
                "{case}"
            );
            assert_eq!(total(&lines), decimal(sum), "{case}");
            let millions: Decimal = lines[..lines.len() - 1].iter().map(|line| line.quantity).sum();
            assert_eq!(
                millions * MILLION,
                Decimal::from(requests),
                "every request is on a line: {case}"
            );
        }
    }
}
