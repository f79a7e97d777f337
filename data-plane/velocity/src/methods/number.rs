//! `Integer`, `Long`, `BigInteger` and `Double`, with their static methods, which templates call on any number.

use super::Answer;
use crate::equal;
use crate::heap::Heap;
use crate::number::{Number, parse_double, parse_long};
use crate::value::Value;

fn radix(value: &Value<'_>) -> Option<u32> {
    match value {
        Value::Int(radix) => Some(u32::try_from(*radix).unwrap_or(0)),
        _ => None,
    }
}

/// `Integer.toHexString` and the like: of the bits, without a sign.
fn bits(value: &Value<'_>, base: u32) -> Option<String> {
    #[expect(clippy::cast_sign_loss, reason = "the bits are what is asked for")]
    let bits = match value {
        Value::Int(value) => u64::from(*value as u32),
        Value::Long(value) => *value as u64,
        _ => return None,
    };
    Some(match base {
        2 => format!("{bits:b}"),
        8 => format!("{bits:o}"),
        _ => format!("{bits:x}"),
    })
}

fn in_radix(value: i64, radix: u32) -> String {
    let radix = if (2..=36).contains(&radix) { radix } else { 10 };
    let mut digits = Vec::new();
    let mut rest = value.unsigned_abs();
    while rest > 0 || digits.is_empty() {
        let digit = u32::try_from(rest % u64::from(radix)).unwrap_or(0);
        digits.push(char::from_digit(digit, radix).unwrap_or('0'));
        rest /= u64::from(radix);
    }
    if value < 0 {
        digits.push('-');
    }
    digits.iter().rev().collect()
}

pub(super) fn call<'h>(
    heap: &mut Heap<'h>,
    object: &Value<'h>,
    name: &str,
    arguments: &[Value<'h>],
) -> Answer<'h> {
    let Some(number) = object.number() else { return Ok(None) };
    let answer = match (name, arguments) {
        ("intValue" | "shortValue" | "byteValue", []) => {
            let value = number.int();
            Value::Int(match name {
                "intValue" => value,
                "shortValue" => (value << 16) >> 16,
                _ => (value << 24) >> 24,
            })
        }
        ("longValue", []) => Value::Long(number.long()),
        ("doubleValue" | "floatValue", []) => Value::Double(number.double()),
        ("compareTo", [other]) => match equal::order(object, other) {
            Some(order) => Value::Int(order),
            None => return Ok(None),
        },
        ("hashCode", []) => Value::Int(hash(number)),
        ("abs", []) => match number {
            Number::Big(value) => Value::Big(Box::new(value.saturating_abs())),
            _ => return Ok(None),
        },
        _ => return statics(heap, number, name, arguments),
    };
    Ok(Some(answer))
}

#[expect(clippy::cast_possible_truncation, reason = "Java folds the halves into one")]
fn hash(number: Number) -> i32 {
    match number {
        Number::Int(value) => value,
        Number::Long(value) => (value ^ (value >> 32)) as i32,
        Number::Big(value) => (value ^ (value >> 32)) as i32,
        Number::Double(value) => {
            let bits = value.to_bits();
            (bits ^ (bits >> 32)) as i32
        }
    }
}

/// Static methods of the number's class.
fn statics<'h>(
    heap: &mut Heap<'h>,
    number: Number,
    name: &str,
    arguments: &[Value<'h>],
) -> Answer<'h> {
    let double = matches!(number, Number::Double(_));
    let long = matches!(number, Number::Long(_));
    let integer = |value: i64| {
        if long {
            return Ok(Some(Value::Long(value)));
        }
        match i32::try_from(value) {
            Ok(value) => Ok(Some(Value::Int(value))),
            Err(_) => Err(crate::Fault::call(format!("For input string: \"{value}\""))),
        }
    };
    match (name, arguments) {
        ("parseInt", [Value::Text(text)]) if !double && !long => integer(parse_long(text, 10)?),
        ("parseInt", [Value::Text(text), base]) if !double && !long => match radix(base) {
            Some(radix) => integer(parse_long(text, radix)?),
            None => Ok(None),
        },
        ("parseLong", [Value::Text(text)]) if long => integer(parse_long(text, 10)?),
        ("parseDouble", [Value::Text(text)]) if double => {
            Ok(Some(Value::Double(parse_double(text)?)))
        }
        ("valueOf", [Value::Text(text)]) if double => Ok(Some(Value::Double(parse_double(text)?))),
        ("valueOf", [Value::Text(text)]) => integer(parse_long(text, 10)?),
        ("valueOf", [Value::Text(text), base]) if !double => match radix(base) {
            Some(radix) => integer(parse_long(text, radix)?),
            None => Ok(None),
        },
        ("valueOf", [other]) => Ok(other.number().map(|other| match number {
            Number::Double(_) => Value::Double(other.double()),
            Number::Long(_) => Value::Long(other.long()),
            _ => Value::Int(other.int()),
        })),
        ("toString", [value]) if !double => match value.number() {
            Some(value @ (Number::Int(_) | Number::Long(_))) => {
                heap.text(value.long().to_string()).map(Some)
            }
            _ => Ok(None),
        },
        ("toString", [value, base]) if !double => match (value.number(), radix(base)) {
            (Some(value @ (Number::Int(_) | Number::Long(_))), Some(radix)) => {
                heap.text(in_radix(value.long(), radix)).map(Some)
            }
            _ => Ok(None),
        },
        ("toHexString" | "toOctalString" | "toBinaryString", [value]) if !double => {
            let base = match name {
                "toHexString" => 16,
                "toOctalString" => 8,
                _ => 2,
            };
            match bits(value, base) {
                Some(text) => heap.text(text).map(Some),
                None => Ok(None),
            }
        }
        ("max" | "min" | "sum", [_, _]) => super::math::call(name, arguments),
        ("compare", [left, right]) => Ok(equal::order(left, right).map(Value::Int)),
        ("signum", [value]) if !double => Ok(value.number().map(|value| match value {
            Number::Double(_) => Value::Null,
            value => Value::Int(i32::try_from(value.long().signum()).unwrap_or(0)),
        })),
        ("isNaN", []) => Ok(double.then(|| Value::Bool(number.double().is_nan()))),
        ("isInfinite", []) => Ok(double.then(|| Value::Bool(number.double().is_infinite()))),
        ("isNaN", [value]) if double => {
            Ok(value.number().map(|value| Value::Bool(value.double().is_nan())))
        }
        _ => Ok(None),
    }
}
