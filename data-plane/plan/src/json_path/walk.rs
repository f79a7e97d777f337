//! From a document's root along the steps.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Found, Step, TooMuch, definite};

/// How many values may still be looked at, in one call of [`super::JsonPath::find`].
pub(super) struct Looks<'v> {
    pub(super) root: &'v Value,
    pub(super) left: usize,
}

impl Looks<'_> {
    pub(super) fn take(&mut self, count: usize) -> Result<(), TooMuch> {
        self.left = self.left.checked_sub(count).ok_or(TooMuch)?;
        Ok(())
    }
}

/// The place in a list that an index means, from its end where it is negative.
pub(super) fn place(index: i64, len: usize) -> Option<usize> {
    let at = if index < 0 { index + i64::try_from(len).ok()? } else { index };
    usize::try_from(at).ok().filter(|at| *at < len)
}

pub(super) fn find<'v>(
    steps: &[Step],
    from: &'v Value,
    looks: &mut Looks<'v>,
) -> Result<Found<'v>, TooMuch> {
    if definite(steps) {
        return one(steps, from, looks);
    }
    let mut values = vec![from];
    let mut at = 0;
    while let Some(step) = steps.get(at) {
        at += 1;
        if let (Step::Names(names), true) = (step, at == steps.len()) {
            return merged(names, &values, looks);
        }
        let mut next = Vec::new();
        if let Step::Descend = step {
            let Some(sought) = steps.get(at) else { break };
            at += 1;
            for value in values {
                descend(value, sought, &mut next, looks)?;
            }
        } else {
            for value in values {
                follow(value, step, &mut next, looks)?;
            }
        }
        values = next;
    }
    Ok(Found::Many(values.into_iter().map(Cow::Borrowed).collect()))
}

/// At the end, names make an object of each value: of those of them that are there.
fn merged<'v>(
    names: &[String],
    values: &[&'v Value],
    looks: &mut Looks<'v>,
) -> Result<Found<'v>, TooMuch> {
    let mut objects = Vec::new();
    for value in values {
        if let Value::Object(map) = value {
            objects.push(Cow::Owned(pick(names, map, looks)?));
        }
    }
    Ok(Found::Many(objects))
}

fn pick(
    names: &[String],
    map: &Map<String, Value>,
    looks: &mut Looks<'_>,
) -> Result<Value, TooMuch> {
    looks.take(names.len())?;
    let there = names.iter().filter_map(|name| Some((name.clone(), map.get(name)?.clone())));
    Ok(Value::Object(there.collect()))
}

/// The way of a definite path.
fn one<'v>(steps: &[Step], from: &'v Value, looks: &mut Looks<'v>) -> Result<Found<'v>, TooMuch> {
    let mut value = from;
    for step in steps {
        looks.take(1)?;
        let next = match (step, value) {
            (Step::Name(name), Value::Object(map)) => map.get(name),
            (Step::Index(index), Value::Array(list)) => {
                place(*index, list.len()).and_then(|at| list.get(at))
            }
            // Those of them that are there, as an object.
            (Step::Names(names), Value::Object(map)) => {
                return Ok(Found::One(Cow::Owned(pick(names, map, looks)?)));
            }
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => return Ok(Found::Nothing),
        }
    }
    Ok(Found::One(Cow::Borrowed(value)))
}

/// One step, to as many values as it leads to.
fn follow<'v>(
    value: &'v Value,
    step: &Step,
    next: &mut Vec<&'v Value>,
    looks: &mut Looks<'v>,
) -> Result<(), TooMuch> {
    looks.take(1)?;
    match (step, value) {
        (Step::Name(name), Value::Object(map)) => next.extend(map.get(name)),
        (Step::Names(names), Value::Object(map)) => {
            looks.take(names.len())?;
            next.extend(names.iter().filter_map(|name| map.get(name)));
        }
        (Step::Index(index), Value::Array(list)) => {
            next.extend(place(*index, list.len()).and_then(|at| list.get(at)));
        }
        (Step::Indices(indices), Value::Array(list)) => {
            looks.take(indices.len())?;
            let places = indices.iter().filter_map(|index| place(*index, list.len()));
            next.extend(places.filter_map(|at| list.get(at)));
        }
        (Step::Slice(from, to), Value::Array(list)) => {
            let len = i64::try_from(list.len()).unwrap_or(i64::MAX);
            let bound = |bound: i64| {
                let bound = if bound < 0 { bound + len } else { bound };
                usize::try_from(bound.clamp(0, len)).unwrap_or(0)
            };
            let (from, to) = (from.map_or(0, bound), to.map_or(list.len(), bound));
            let part = list.get(from..to).unwrap_or_default();
            looks.take(part.len())?;
            next.extend(part);
        }
        (Step::Any, Value::Array(list)) => {
            looks.take(list.len())?;
            next.extend(list);
        }
        (Step::Any, Value::Object(map)) => {
            looks.take(map.len())?;
            next.extend(map.values());
        }
        (Step::Filter(filter), Value::Array(list)) => {
            for value in list {
                if filter.keeps(value, looks)? {
                    next.push(value);
                }
            }
        }
        // An object is kept itself, or not.
        (Step::Filter(filter), Value::Object(_)) => {
            let kept = filter.keeps(value, looks)?;
            next.extend(kept.then_some(value));
        }
        _ => {}
    }
    Ok(())
}

/// The step from every value at every depth, outermost first.
fn descend<'v>(
    from: &'v Value,
    sought: &Step,
    next: &mut Vec<&'v Value>,
    looks: &mut Looks<'v>,
) -> Result<(), TooMuch> {
    let mut open = vec![from];
    while let Some(value) = open.pop() {
        looks.take(1)?;
        if let Step::Filter(filter) = sought {
            if filter.keeps(value, looks)? {
                next.push(value);
            }
        } else {
            follow(value, sought, next, looks)?;
        }
        match value {
            Value::Array(list) => open.extend(list.iter().rev()),
            Value::Object(map) => open.extend(map.values().rev()),
            _ => {}
        }
    }
    Ok(())
}
