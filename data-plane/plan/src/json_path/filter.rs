//! `[?(…)]`: which values are kept.

use std::borrow::Cow;
use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::walk::Looks;
use super::{Found, JsonPath, TooMuch};

const PATTERN_SIZE_MAX: usize = 64 << 10;

#[derive(Clone, Debug)]
pub(super) enum Filter {
    Either(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    /// The path leads somewhere, to null too.
    There(Operand),
    Compare(Operand, Comparison, Operand),
}

#[derive(Clone, Debug)]
pub(super) enum Operand {
    Path { root: bool, path: JsonPath },
    Value(Value),
    Pattern(Pattern),
}

#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    pub(super) fn compile(pattern: &str, flags: &str) -> Result<Self, String> {
        let mut whole = RegexBuilder::new(&format!(r"\A(?:{pattern})\z"));
        for flag in flags.chars() {
            match flag {
                'i' => whole.case_insensitive(true),
                's' => whole.dot_matches_new_line(true),
                'm' => whole.multi_line(true),
                'x' => whole.ignore_whitespace(true),
                'u' | 'd' => &mut whole,
                _ => return Err(format!("`{flag}` is no flag of a pattern")),
            };
        }
        let built = whole.size_limit(PATTERN_SIZE_MAX).nest_limit(32).build();
        built.map(Self).map_err(|_| "a pattern is malformed, or too large".to_owned())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Matches,
    In,
    NotIn,
    Contains,
    All,
    Size,
    Empty,
    SubsetOf,
    AnyOf,
    NoneOf,
}

impl Comparison {
    /// The operator that the text begins with, and its length.
    pub(super) fn read(text: &str) -> Option<(Self, usize)> {
        const SIGNS: &[(&str, Comparison)] = &[
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessEqual),
            (">=", Comparison::GreaterEqual),
            ("=~", Comparison::Matches),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        const WORDS: &[(&str, Comparison)] = &[
            ("in", Comparison::In),
            ("nin", Comparison::NotIn),
            ("contains", Comparison::Contains),
            ("all", Comparison::All),
            ("size", Comparison::Size),
            ("empty", Comparison::Empty),
            ("subsetof", Comparison::SubsetOf),
            ("anyof", Comparison::AnyOf),
            ("noneof", Comparison::NoneOf),
        ];
        if let Some((sign, comparison)) = SIGNS.iter().find(|(sign, _)| text.starts_with(sign)) {
            return Some((*comparison, sign.len()));
        }
        let length = text.bytes().take_while(u8::is_ascii_alphabetic).count();
        let word = text[..length].to_ascii_lowercase();
        WORDS.iter().find(|(known, _)| *known == word).map(|(_, it)| (*it, length))
    }
}

/// An operand's value. None where its path leads nowhere.
fn value<'x, 'v: 'x>(
    operand: &'x Operand,
    here: &'v Value,
    looks: &mut Looks<'v>,
) -> Result<Option<Cow<'x, Value>>, TooMuch> {
    match operand {
        Operand::Value(value) => Ok(Some(Cow::Borrowed(value))),
        Operand::Pattern(_) => Ok(None),
        Operand::Path { root, path } => {
            let from = if *root { looks.root } else { here };
            let found = super::walk::find(&path.steps, from, looks)?;
            let found = match &path.function {
                Some(function) => function.of(found, looks)?,
                None => found,
            };
            Ok(match found {
                Found::Nothing => None,
                Found::One(value) => Some(value),
                Found::Many(values) => {
                    looks.take(values.len())?;
                    Some(Cow::Owned(values.into_iter().map(Cow::into_owned).collect()))
                }
            })
        }
    }
}

impl Filter {
    pub(super) fn keeps<'v>(
        &self,
        here: &'v Value,
        looks: &mut Looks<'v>,
    ) -> Result<bool, TooMuch> {
        looks.take(1)?;
        match self {
            Self::Either(filters) => {
                for filter in filters {
                    if filter.keeps(here, looks)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::All(filters) => {
                for filter in filters {
                    if !filter.keeps(here, looks)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Not(filter) => Ok(!filter.keeps(here, looks)?),
            Self::There(operand) => Ok(value(operand, here, looks)?.is_some()),
            Self::Compare(left, comparison, right) => {
                if let (Operand::Pattern(pattern), other) | (other, Operand::Pattern(pattern)) =
                    (left, right)
                {
                    let text = value(other, here, looks)?;
                    return matches(pattern, text.as_deref(), looks);
                }
                let (left, right) = (value(left, here, looks)?, value(right, here, looks)?);
                compare(left.as_deref(), *comparison, right.as_deref(), looks)
            }
        }
    }
}

/// The whole of a text; of a list, that of any element.
fn matches(
    pattern: &Pattern,
    value: Option<&Value>,
    looks: &mut Looks<'_>,
) -> Result<bool, TooMuch> {
    let one = |value: &Value, looks: &mut Looks<'_>| {
        let text: Cow<'_, str> = match value {
            Value::String(text) => Cow::Borrowed(text),
            Value::Number(number) => Cow::Owned(number.to_string()),
            Value::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            _ => return Ok(false),
        };
        looks.take(1 + text.len())?;
        Ok(pattern.0.is_match(&text))
    };
    match value {
        Some(Value::Array(list)) => {
            for value in list {
                if one(value, looks)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Some(value) => one(value, looks),
        None => Ok(false),
    }
}

/// Numbers by value, also those that are written as strings.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

fn equal(left: &Value, right: &Value, looks: &mut Looks<'_>) -> Result<bool, TooMuch> {
    looks.take(1)?;
    Ok(match (left, right) {
        (Value::Number(left), Value::Number(right)) if left == right => true,
        (Value::Number(_), Value::Number(_) | Value::String(_))
        | (Value::String(_), Value::Number(_)) => {
            number(left).is_some_and(|left| number(right) == Some(left))
        }
        (Value::Array(left), Value::Array(right)) => {
            looks.take(left.len())?;
            left == right
        }
        (Value::Object(left), Value::Object(right)) => {
            looks.take(left.len())?;
            left == right
        }
        (left, right) => left == right,
    })
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(_), Value::Number(_)) => number(left)?.partial_cmp(&number(right)?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn within(list: &[Value], value: &Value, looks: &mut Looks<'_>) -> Result<bool, TooMuch> {
    for one in list {
        if equal(one, value, looks)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many of the values are in a list.
fn shared(values: &[Value], list: &[Value], looks: &mut Looks<'_>) -> Result<usize, TooMuch> {
    let mut count = 0;
    for value in values {
        count += usize::from(within(list, value, looks)?);
    }
    Ok(count)
}

fn compare(
    left: Option<&Value>,
    comparison: Comparison,
    right: Option<&Value>,
    looks: &mut Looks<'_>,
) -> Result<bool, TooMuch> {
    let (Some(left), Some(right)) = (left, right) else {
        // What is not there equals nothing.
        return Ok(matches!(comparison, Comparison::NotEqual | Comparison::NotIn));
    };
    let ordered = |wanted: fn(Ordering) -> bool| order(left, right).is_some_and(wanted);
    Ok(match (comparison, left, right) {
        (Comparison::Equal, ..) => equal(left, right, looks)?,
        (Comparison::NotEqual, ..) => !equal(left, right, looks)?,
        (Comparison::Less, ..) => ordered(Ordering::is_lt),
        (Comparison::LessEqual, ..) => ordered(Ordering::is_le),
        (Comparison::Greater, ..) => ordered(Ordering::is_gt),
        (Comparison::GreaterEqual, ..) => ordered(Ordering::is_ge),
        (Comparison::In, _, Value::Array(list)) => within(list, left, looks)?,
        (Comparison::NotIn, _, Value::Array(list)) => !within(list, left, looks)?,
        (Comparison::Contains, Value::Array(list), _) => within(list, right, looks)?,
        (Comparison::Contains, Value::String(text), Value::String(part)) => {
            looks.take(text.len() / 16)?;
            text.contains(part.as_str())
        }
        (Comparison::All, Value::Array(list), Value::Array(wanted)) => {
            shared(wanted, list, looks)? == wanted.len()
        }
        (Comparison::Size, value, _) => {
            let size = match value {
                Value::Array(list) => list.len(),
                Value::String(text) => text.chars().count(),
                _ => return Ok(false),
            };
            number(right).is_some_and(|wanted| usize_equals(size, wanted))
        }
        (Comparison::Empty, value, Value::Bool(wanted)) => {
            let empty = match value {
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                Value::String(text) => text.is_empty(),
                _ => return Ok(false),
            };
            empty == *wanted
        }
        (Comparison::SubsetOf, Value::Array(list), Value::Array(all)) => {
            shared(list, all, looks)? == list.len()
        }
        (Comparison::AnyOf, Value::Array(list), Value::Array(some)) => {
            shared(list, some, looks)? > 0
        }
        (Comparison::NoneOf, Value::Array(list), Value::Array(some)) => {
            shared(list, some, looks)? == 0
        }
        _ => false,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a size is far below that")]
#[expect(clippy::float_cmp, reason = "a size is a whole number, or is not")]
fn usize_equals(size: usize, wanted: f64) -> bool {
    size as f64 == wanted
}
