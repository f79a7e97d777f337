//! What a host puts in front of a template.

use crate::error::Fault;
use crate::heap::Heap;
use crate::value::{Text, Value};

/// What an [`Object`] is to a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Properties and methods of its own, such as `$input` and `$util`.
    Opaque,
    /// A list with the methods of Java's. One that is changed is copied first, one level of it.
    List,
    /// A map with the methods of Java's, in its own order; the same.
    Map,
}

/// Something of the host's that a template reads where it lies, without a copy.
///
/// It is the same object where its address is the same.
pub trait Object {
    fn kind(&self) -> Kind {
        Kind::Opaque
    }

    /// How many elements or entries.
    fn len(&self) -> usize {
        0
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The property or entry of that name. None where there is none; a null that is there is [`Value::Null`].
    fn get<'h>(&'h self, name: &str) -> Option<Value<'h>> {
        let _ = name;
        None
    }

    /// The element at that place of a list.
    fn at(&self, index: usize) -> Option<Value<'_>> {
        let _ = index;
        None
    }

    /// The entries of a map.
    fn entries<'h>(&'h self) -> Box<dyn Iterator<Item = (Text<'h>, Value<'h>)> + 'h> {
        Box::new(std::iter::empty())
    }

    /// Calls a method. None where there is no such method, with so many arguments: lists and maps then answer as
    /// Java's do, anything else leads to nothing.
    fn call<'h>(
        &'h self,
        method: &str,
        arguments: &[Value<'h>],
        heap: &mut Heap<'h>,
    ) -> Result<Option<Value<'h>>, Fault> {
        let _ = (method, arguments, heap);
        Ok(None)
    }

    /// `#set($object.name = value)` and `$object.put("name", value)`. False where the object does not keep it: a list
    /// or a map is then copied and changed, anything else stays as it is.
    fn set<'h>(
        &'h self,
        name: &str,
        value: &Value<'h>,
        heap: &mut Heap<'h>,
    ) -> Result<bool, Fault> {
        let _ = (name, value, heap);
        Ok(false)
    }

    /// What is written where it stands in text. None where a list or map prints as Java's do; anything else that
    /// prints nothing is written as the empty string.
    fn text(&self) -> Option<String> {
        None
    }

    /// Whether it prints as JSON, as the arrays do that Java's `json-smart` reads.
    fn json(&self) -> bool {
        false
    }
}

/// What gives a template its variables.
pub trait Host {
    /// The value of `$name`, asked for once where the template has not set it.
    fn variable<'h>(&'h self, name: &str) -> Option<Value<'h>>;
}

/// No variables at all.
impl Host for () {
    fn variable<'h>(&'h self, _: &str) -> Option<Value<'h>> {
        None
    }
}

#[cfg(feature = "serde_json")]
mod json {
    use super::{Host, Kind, Object, Text, Value};

    /// A document's value as a template's: scalars as they are, arrays and objects where they lie.
    pub fn value(json: &serde_json::Value) -> Value<'_> {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => number_of(number),
            serde_json::Value::String(text) => Value::borrowed(text),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => Value::Object(json),
        }
    }

    fn number_of(number: &serde_json::Number) -> Value<'static> {
        if let Some(value) = number.as_i64() {
            return i32::try_from(value).map_or(Value::Long(value), Value::Int);
        }
        if let Some(value) = number.as_u64() {
            return Value::Big(Box::new(i128::from(value)));
        }
        Value::Double(number.as_f64().unwrap_or(f64::NAN))
    }

    impl Object for serde_json::Value {
        fn kind(&self) -> Kind {
            match self {
                Self::Array(_) => Kind::List,
                Self::Object(_) => Kind::Map,
                _ => Kind::Opaque,
            }
        }

        fn len(&self) -> usize {
            match self {
                Self::Array(list) => list.len(),
                Self::Object(map) => map.len(),
                _ => 0,
            }
        }

        fn get<'h>(&'h self, name: &str) -> Option<Value<'h>> {
            self.as_object()?.get(name).map(value)
        }

        fn at(&self, index: usize) -> Option<Value<'_>> {
            self.as_array()?.get(index).map(value)
        }

        fn entries<'h>(&'h self) -> Box<dyn Iterator<Item = (Text<'h>, Value<'h>)> + 'h> {
            match self {
                Self::Object(map) => Box::new(
                    map.iter().map(|(name, entry)| (Text::Borrowed(name.as_str()), value(entry))),
                ),
                _ => Box::new(std::iter::empty()),
            }
        }

        fn json(&self) -> bool {
            self.is_array()
        }
    }

    impl Host for serde_json::Map<String, serde_json::Value> {
        fn variable<'h>(&'h self, name: &str) -> Option<Value<'h>> {
            self.get(name).map(value)
        }
    }
}

#[cfg(feature = "serde_json")]
pub use json::value as json_value;
