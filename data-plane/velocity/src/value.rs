//! What templates compute with.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use crate::host::{Kind, Object};
use crate::number::Number;

/// A string: borrowed from the template or the host, or made by the rendering, which counts its bytes.
#[derive(Clone)]
pub enum Text<'h> {
    Borrowed(&'h str),
    Made(Rc<Made>),
}

/// Bytes that values of a rendering hold now.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    used: Cell<usize>,
}

impl Meter {
    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.used.set(self.used.get().saturating_add(bytes));
    }

    pub(crate) fn sub(&self, bytes: usize) {
        self.used.set(self.used.get().saturating_sub(bytes));
    }
}

/// A string that the rendering made.
pub struct Made {
    text: Box<str>,
    meter: Rc<Meter>,
}

/// What a string takes beside its bytes.
pub(crate) const TEXT_OVERHEAD: usize = 48;

impl Made {
    /// The bytes must have been allowed by whoever calls.
    pub(crate) fn new(text: Box<str>, meter: &Rc<Meter>) -> Self {
        meter.add(text.len() + TEXT_OVERHEAD);
        Self { text, meter: Rc::clone(meter) }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.meter.sub(self.text.len() + TEXT_OVERHEAD);
    }
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Made(made) => &made.text,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// A list, map or the like that the rendering made; good in that rendering only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(pub(crate) u32);

/// Any value. What the rendering made itself is named by an [`Id`] and lies in its [`crate::Heap`], so that lists may
/// contain themselves, and nothing is freed by recursion.
#[derive(Clone, Default)]
pub enum Value<'h> {
    #[default]
    Null,
    Bool(bool),
    /// Java's `Integer`.
    Int(i32),
    /// Java's `Long`.
    Long(i64),
    /// Java's `BigInteger`, up to 127 bits.
    Big(Box<i128>),
    /// Java's `Double`.
    Double(f64),
    Text(Text<'h>),
    List(Id),
    Map(Id),
    /// A key with its value, of a map's `entrySet()`.
    Entry(Id),
    Iterator(Id),
    /// What `#define` defines.
    Block(Id),
    /// `$foreach`.
    Loop(Id),
    /// Something of the host's.
    Object(&'h dyn Object),
    /// Java's class `Math`.
    Math,
}

impl<'h> Value<'h> {
    /// A string of the template's or the host's.
    pub const fn borrowed(text: &'h str) -> Self {
        Self::Text(Text::Borrowed(text))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn number(&self) -> Option<Number> {
        match self {
            Self::Int(value) => Some(Number::Int(*value)),
            Self::Long(value) => Some(Number::Long(*value)),
            Self::Big(value) => Some(Number::Big(**value)),
            Self::Double(value) => Some(Number::Double(*value)),
            _ => None,
        }
    }

    /// Java's class, for messages.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "Boolean",
            Self::Int(_) => "Integer",
            Self::Long(_) => "Long",
            Self::Big(_) => "BigInteger",
            Self::Double(_) => "Double",
            Self::Text(_) => "String",
            Self::List(_) => "List",
            Self::Map(_) => "Map",
            Self::Entry(_) => "Map.Entry",
            Self::Iterator(_) => "Iterator",
            Self::Block(_) => "block",
            Self::Loop(_) => "foreach scope",
            Self::Object(object) => match object.kind() {
                Kind::Opaque => "object",
                Kind::List => "List",
                Kind::Map => "Map",
            },
            Self::Math => "Math",
        }
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for Value<'_> {
    fn from(value: i32) -> Self {
        Self::Int(value)
    }
}

impl From<Number> for Value<'_> {
    fn from(value: Number) -> Self {
        match value {
            Number::Int(value) => Self::Int(value),
            Number::Long(value) => Self::Long(value),
            Number::Big(value) => Self::Big(Box::new(value)),
            Number::Double(value) => Self::Double(value),
        }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Long(value) => write!(f, "{value}L"),
            Self::Big(value) => write!(f, "{value}B"),
            Self::Double(value) => write!(f, "{value:?}"),
            Self::Text(text) => write!(f, "{text:?}"),
            other => f.write_str(other.class()),
        }
    }
}
