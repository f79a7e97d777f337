//! Numbers as Java and Velocity have them: an integer that overflows becomes the next larger kind, integers divide to
//! integers, and doubles print as `Double.toString` does.

use std::cmp::Ordering;

use crate::error::Fault;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Int(i32),
    Long(i64),
    Big(i128),
    Double(f64),
}

impl Number {
    /// Java's `doubleValue`.
    #[expect(clippy::cast_precision_loss, reason = "as in Java")]
    pub(crate) fn double(self) -> f64 {
        match self {
            Self::Int(value) => f64::from(value),
            Self::Long(value) => value as f64,
            Self::Big(value) => value as f64,
            Self::Double(value) => value,
        }
    }

    /// Java's `longValue`: doubles saturate, larger integers lose their upper bits.
    #[expect(clippy::cast_possible_truncation, reason = "as in Java")]
    pub(crate) fn long(self) -> i64 {
        match self {
            Self::Int(value) => i64::from(value),
            Self::Long(value) => value,
            Self::Big(value) => value as i64,
            Self::Double(value) => value as i64,
        }
    }

    /// Java's `intValue`.
    #[expect(clippy::cast_possible_truncation, reason = "as in Java")]
    pub(crate) fn int(self) -> i32 {
        match self {
            Self::Int(value) => value,
            Self::Long(value) => value as i32,
            Self::Big(value) => value as i32,
            Self::Double(value) => value as i32,
        }
    }

    fn big(self) -> i128 {
        match self {
            Self::Big(value) => value,
            other => i128::from(other.long()),
        }
    }

    fn integer(self) -> bool {
        !matches!(self, Self::Double(_))
    }

    fn is_zero(self) -> bool {
        match self {
            Self::Double(value) => value == 0.0,
            other => other.big() == 0,
        }
    }
}

/// The smallest kind that holds the value, and is no smaller than either operand's.
fn fit(value: i128, left: Number, right: Number) -> Number {
    let ints = matches!((left, right), (Number::Int(_), Number::Int(_)));
    if ints && let Ok(value) = i32::try_from(value) {
        return Number::Int(value);
    }
    let bigs = matches!(left, Number::Big(_)) || matches!(right, Number::Big(_));
    match i64::try_from(value) {
        Ok(value) if !bigs => Number::Long(value),
        _ => Number::Big(value),
    }
}

fn too_large() -> Fault {
    Fault::call("an integer has more than 127 bits")
}

/// `+ - *`, by the functions for either kind.
pub(crate) fn compute(
    left: Number,
    right: Number,
    integers: fn(i128, i128) -> Option<i128>,
    doubles: fn(f64, f64) -> f64,
) -> Result<Number, Fault> {
    if left.integer() && right.integer() {
        let value = integers(left.big(), right.big()).ok_or_else(too_large)?;
        return Ok(fit(value, left, right));
    }
    Ok(Number::Double(doubles(left.double(), right.double())))
}

/// None where the right side is zero: Velocity makes null of that.
pub(crate) fn divide(left: Number, right: Number) -> Result<Option<Number>, Fault> {
    if right.is_zero() {
        return Ok(None);
    }
    compute(left, right, i128::checked_div, |left, right| left / right).map(Some)
}

/// The same.
pub(crate) fn modulo(left: Number, right: Number) -> Result<Option<Number>, Fault> {
    if right.is_zero() {
        return Ok(None);
    }
    if matches!(left, Number::Big(_)) || matches!(right, Number::Big(_)) {
        if left.integer() && right.integer() && right.big() < 0 {
            return Err(Fault::call("the modulus of a BigInteger must be positive"));
        }
        return compute(left, right, i128::checked_rem_euclid, |left, right| left % right)
            .map(Some);
    }
    compute(left, right, i128::checked_rem, |left, right| left % right).map(Some)
}

/// Numbers of all kinds by their value; one that is not a number is equal to all.
pub(crate) fn compare(left: Number, right: Number) -> Ordering {
    if left.integer() && right.integer() {
        return left.big().cmp(&right.big());
    }
    left.double().partial_cmp(&right.double()).unwrap_or(Ordering::Equal)
}

/// `Double.toString`.
pub(crate) fn write_double(value: f64, out: &mut String) {
    use std::fmt::Write;
    if value.is_nan() {
        out.push_str("NaN");
        return;
    }
    if value.is_sign_negative() {
        out.push('-');
    }
    let value = value.abs();
    if value.is_infinite() {
        out.push_str("Infinity");
        return;
    }
    if value == 0.0 {
        out.push_str("0.0");
        return;
    }
    if (1e-3..1e7).contains(&value) {
        let start = out.len();
        let written = write!(out, "{value}");
        debug_assert!(written.is_ok(), "a string takes everything");
        if !out[start..].contains('.') {
            out.push_str(".0");
        }
        return;
    }
    let digits = format!("{value:e}");
    let (mantissa, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
    out.push_str(mantissa);
    if !mantissa.contains('.') {
        out.push_str(".0");
    }
    out.push('E');
    out.push_str(exponent);
}

pub(crate) fn write(number: Number, out: &mut String) {
    let mut buffer = itoa::Buffer::new();
    match number {
        Number::Int(value) => out.push_str(buffer.format(value)),
        Number::Long(value) => out.push_str(buffer.format(value)),
        Number::Big(value) => out.push_str(buffer.format(value)),
        Number::Double(value) => write_double(value, out),
    }
}

/// `Integer.parseInt` and `Long.parseLong`, in a base of 2 to 36.
pub(crate) fn parse_long(text: &str, radix: u32) -> Result<i64, Fault> {
    let wrong = || Fault::call(format!("For input string: \"{}\"", excerpt(text)));
    if !(2..=36).contains(&radix) {
        return Err(Fault::call(format!("radix {radix} is out of range")));
    }
    i64::from_str_radix(text, radix).map_err(|_| wrong())
}

/// `Double.parseDouble`.
pub(crate) fn parse_double(text: &str) -> Result<f64, Fault> {
    let trimmed = text.trim_matches(|c: char| c <= ' ');
    let number = trimmed.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(trimmed);
    let plain = number.trim_start_matches(['+', '-']);
    let named = matches!(plain, "NaN" | "Infinity");
    let digits = plain.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let parsed = if named || digits { number.parse().ok() } else { None };
    parsed.ok_or_else(|| Fault::call(format!("For input string: \"{}\"", excerpt(text))))
}

/// As much of a value as a message may have.
pub(crate) fn excerpt(text: &str) -> &str {
    match text.char_indices().nth(60) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(value: f64) -> String {
        let mut out = String::new();
        write_double(value, &mut out);
        out
    }

    #[test]
    fn doubles_print_as_in_java() {
        for (value, wanted) in [
            (1.0, "1.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (123_456_789.123, "1.23456789123E8"),
            (1e-3, "0.001"),
            (1e-5, "1.0E-5"),
            (-0.0, "-0.0"),
            (-1.5, "-1.5"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::MAX, "1.7976931348623157E308"),
        ] {
            assert_eq!(double(value), wanted);
        }
    }

    #[test]
    fn integers_grow_instead_of_overflowing() {
        let add = |left, right| {
            compute(left, right, i128::checked_add, |left, right| left + right).unwrap()
        };
        assert_eq!(add(Number::Int(i32::MAX), Number::Int(1)), Number::Long(1 << 31));
        assert_eq!(add(Number::Long(i64::MAX), Number::Int(1)), Number::Big(1 << 63));
        assert_eq!(add(Number::Long(1), Number::Int(1)), Number::Long(2));
        assert!(matches!(
            compute(Number::Big(i128::MAX), Number::Int(2), i128::checked_mul, |left, _| left),
            Err(Fault { .. })
        ));
    }
}
