//! Functions at the end of a path.

use std::borrow::Cow;

use serde_json::{Number, Value};

use super::walk::Looks;
use super::{Found, JsonPath, TooMuch};

#[derive(Clone, Debug)]
pub(super) struct Function {
    kind: Kind,
    given: Vec<Given>,
}

#[derive(Clone, Debug)]
pub(super) enum Given {
    Value(Value),
    Path(JsonPath),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Length,
    Keys,
    Min,
    Max,
    Sum,
    Avg,
    StdDev,
    Concat,
    Append,
    First,
    Last,
    Index,
}

impl Function {
    /// None where there is no function of that name.
    pub(super) fn named(name: &str, given: Vec<Given>) -> Option<Self> {
        let kind = match name {
            "length" | "size" => Kind::Length,
            "keys" => Kind::Keys,
            "min" => Kind::Min,
            "max" => Kind::Max,
            "sum" => Kind::Sum,
            "avg" => Kind::Avg,
            "stddev" => Kind::StdDev,
            "concat" => Kind::Concat,
            "append" => Kind::Append,
            "first" => Kind::First,
            "last" => Kind::Last,
            "index" => Kind::Index,
            _ => return None,
        };
        Some(Self { kind, given })
    }

    /// Of what a path found: of a list's elements, or of the one value.
    pub(super) fn of<'v>(
        &self,
        found: Found<'v>,
        looks: &mut Looks<'v>,
    ) -> Result<Found<'v>, TooMuch> {
        let value = match found {
            Found::Nothing if self.given.is_empty() => return Ok(Found::Nothing),
            Found::Nothing => Cow::Owned(Value::Null),
            Found::One(value) => value,
            Found::Many(values) => {
                looks.take(values.len())?;
                Cow::Owned(values.into_iter().map(Cow::into_owned).collect())
            }
        };
        let mut given = Vec::new();
        for argument in &self.given {
            match argument {
                Given::Value(value) => given.push(value.clone()),
                Given::Path(path) => match path.find_within(looks)? {
                    Found::Nothing => {}
                    Found::One(value) => given.push(value.into_owned()),
                    Found::Many(values) => given.extend(values.into_iter().map(Cow::into_owned)),
                },
            }
        }
        looks.take(given.len() + value.as_array().map_or(1, Vec::len))?;
        Ok(match self.kind.of(&value, &given) {
            Some(value) => Found::One(Cow::Owned(value)),
            None => Found::Nothing,
        })
    }
}

impl JsonPath {
    fn find_within<'v>(&self, looks: &mut Looks<'v>) -> Result<Found<'v>, TooMuch> {
        let root = looks.root;
        let found = super::walk::find(&self.steps, root, looks)?;
        match &self.function {
            Some(function) => function.of(found, looks),
            None => Ok(found),
        }
    }
}

fn double(value: f64) -> Option<Value> {
    Number::from_f64(value).map(Value::Number)
}

impl Kind {
    fn of(self, value: &Value, given: &[Value]) -> Option<Value> {
        let list = value.as_array().map(Vec::as_slice);
        match self {
            Self::Length => match value {
                Value::Array(list) => Some(Value::from(list.len())),
                Value::Object(map) => Some(Value::from(map.len())),
                Value::String(text) => Some(Value::from(text.encode_utf16().count())),
                _ => None,
            },
            Self::Keys => {
                let keys = value.as_object()?.keys().cloned().map(Value::String);
                Some(Value::Array(keys.collect()))
            }
            Self::First => list?.first().cloned(),
            Self::Last => list?.last().cloned(),
            Self::Index => {
                let at = given.first()?.as_i64()?;
                let list = list?;
                list.get(super::walk::place(at, list.len())?).cloned()
            }
            Self::Append => {
                let mut list = list?.to_vec();
                list.extend_from_slice(given);
                Some(Value::Array(list))
            }
            Self::Concat => {
                let mut text = String::new();
                for part in list.unwrap_or_default().iter().chain(given) {
                    match part {
                        Value::String(part) => text.push_str(part),
                        Value::Null => {}
                        Value::Array(parts) => {
                            text.extend(parts.iter().filter_map(Value::as_str));
                        }
                        other => text.push_str(&other.to_string()),
                    }
                }
                Some(Value::String(text))
            }
            _ => self.statistics(list, given),
        }
    }

    /// Over the numbers of a list and of the arguments.
    fn statistics(self, list: Option<&[Value]>, given: &[Value]) -> Option<Value> {
        let all = list.unwrap_or_default().iter().chain(given);
        let numbers: Vec<f64> = all.filter_map(Value::as_f64).collect();
        if numbers.is_empty() {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "no list is that long")]
        let count = numbers.len() as f64;
        let sum: f64 = numbers.iter().sum();
        double(match self {
            Self::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
            Self::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::Sum => sum,
            Self::Avg => sum / count,
            _ => {
                let squares: f64 = numbers.iter().map(|number| number * number).sum();
                (squares / count - (sum / count).powi(2)).max(0.0).sqrt()
            }
        })
    }
}
