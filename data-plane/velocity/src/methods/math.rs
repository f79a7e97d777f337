//! `java.lang.Math`, and what numbers' classes share with it.

use std::cmp::Ordering;

use super::Answer;
use crate::error::Fault;
use crate::number::{self, Number};
use crate::value::Value;

/// The larger of the two kinds.
fn widen(value: Number, other: Number) -> Number {
    match (value, other) {
        (value, Number::Double(_)) => Number::Double(value.double()),
        (Number::Int(value), Number::Long(_)) => Number::Long(i64::from(value)),
        (value, _) => value,
    }
}

/// `Math.round`, `floor` of a half more, as a `Long`.
#[expect(clippy::cast_possible_truncation, reason = "it saturates, as in Java")]
fn round(value: f64) -> i64 {
    (value + 0.5).floor() as i64
}

fn overflow(kind: &str) -> Fault {
    Fault::call(format!("{kind} overflow"))
}

pub(super) fn call<'h>(name: &str, arguments: &[Value<'h>]) -> Answer<'h> {
    let mut numbers = [Number::Int(0); 2];
    if arguments.len() > 2 {
        return Ok(None);
    }
    for (number, value) in numbers.iter_mut().zip(arguments) {
        match value.number() {
            Some(Number::Big(_)) | None => return Ok(None),
            Some(known) => *number = known,
        }
    }
    let [left, right] = numbers;
    let answer = match (name, arguments.len()) {
        ("abs", 1) => match left {
            Number::Int(value) => Number::Int(value.wrapping_abs()),
            Number::Long(value) => Number::Long(value.wrapping_abs()),
            other => Number::Double(other.double().abs()),
        },
        ("round", 1) => Number::Long(round(left.double())),
        ("floor", 1) => Number::Double(left.double().floor()),
        ("ceil", 1) => Number::Double(left.double().ceil()),
        ("rint", 1) => Number::Double(left.double().round_ties_even()),
        ("sqrt", 1) => Number::Double(left.double().sqrt()),
        ("cbrt", 1) => Number::Double(left.double().cbrt()),
        ("exp", 1) => Number::Double(left.double().exp()),
        ("log", 1) => Number::Double(left.double().ln()),
        ("log10", 1) => Number::Double(left.double().log10()),
        ("signum", 1) => {
            let value = left.double();
            Number::Double(if value == 0.0 || value.is_nan() { value } else { value.signum() })
        }
        ("pow", 2) => Number::Double(left.double().powf(right.double())),
        ("max", 2) => match number::compare(left, right) {
            Ordering::Less => widen(right, left),
            _ => widen(left, right),
        },
        ("min", 2) => match number::compare(left, right) {
            Ordering::Greater => widen(right, left),
            _ => widen(left, right),
        },
        ("sum", 2) => {
            // Java's wraps.
            match (left, right) {
                (Number::Int(left), Number::Int(right)) => Number::Int(left.wrapping_add(right)),
                (left, right) if matches!(widen(left, right), Number::Double(_)) => {
                    Number::Double(left.double() + right.double())
                }
                (left, right) => Number::Long(left.long().wrapping_add(right.long())),
            }
        }
        ("floorDiv" | "floorMod", 2) => {
            let (one, other) = (left.long(), right.long());
            if matches!(left, Number::Double(_)) || matches!(right, Number::Double(_)) {
                return Ok(None);
            }
            if other == 0 {
                return Err(Fault::call("/ by zero"));
            }
            let (quotient, rest) = (one.wrapping_div(other), one.wrapping_rem(other));
            let below = rest != 0 && (rest < 0) != (other < 0);
            let value = match (name, below) {
                ("floorDiv", true) => quotient - 1,
                ("floorDiv", false) => quotient,
                (_, true) => rest + other,
                (_, false) => rest,
            };
            match (left, right) {
                (Number::Int(_), Number::Int(_)) => {
                    Number::Int(i32::try_from(value).map_err(|_| overflow("integer"))?)
                }
                _ => Number::Long(value),
            }
        }
        ("toIntExact", 1) => {
            Number::Int(i32::try_from(left.long()).map_err(|_| overflow("integer"))?)
        }
        _ => return Ok(None),
    };
    Ok(Some(answer.into()))
}
