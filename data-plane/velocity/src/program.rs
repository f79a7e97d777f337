//! A parsed template: instructions for a stack machine, and what they name. Immutable, and the same for all threads.

use std::sync::OnceLock;

use crate::error::Fault;
use crate::options::Options;
use crate::pattern::Pattern;

/// A part of [`Program::text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub at: u32,
    pub len: u32,
}

/// A value that the template spells out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Const {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Big(i128),
    Double(f64),
    Text(Box<str>),
}

/// One instruction. Numbers name places in the program's tables; those of jumps name instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Text(Span),
    Const(u32),
    Load(u32),
    /// Property of what is on top.
    Property(u32),
    /// `[object, index]`
    Index,
    /// `[object, arguments …]`
    Call {
        name: u32,
        arguments: u32,
    },
    /// Goes on there where null is on top, and leaves it.
    SkipNull(u32),
    /// Null becomes the empty string.
    Fill,
    /// Writes what is on top, in the way of that reference.
    Emit(u32),
    Store(u32),
    /// Takes null from the top and goes on there.
    BailNull(u32),
    /// Takes null from the top and what is below it, and goes on there.
    BailNull2(u32),
    /// `[value, object]`
    SetProperty(u32),
    /// `[value, object, index]`
    SetIndex,
    Pop,
    Jump(u32),
    /// Takes a boolean.
    JumpFalse(u32),
    /// Leaves a boolean that is false, takes one that is true.
    KeepFalse(u32),
    /// Leaves a boolean that is true, takes one that is false.
    KeepTrue(u32),
    Truth,
    Not,
    /// Where a side is null and the other a string, null is written as it stands in the template.
    Add {
        left: Span,
        right: Span,
    },
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equal,
    NotEqual,
    Less,
    Greater,
    LessEqual,
    GreaterEqual,
    List(u32),
    Map(u32),
    Range,
    /// What is written from here on is kept.
    Capture,
    /// What was kept is a string now.
    Release,
    /// The same, without the last byte, which is a space that the parser added.
    ReleaseTrimmed,
    LoopStart {
        variable: u32,
        end: u32,
    },
    LoopNext {
        end: u32,
    },
    Break,
    BreakScope,
    Stop,
    /// The block begins two instructions on, behind a jump over it.
    Define {
        variable: u32,
    },
    Macro(u32),
    Return,
}

/// How a reference that is to be written stands in the template.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference {
    /// Backslashes that are left of those before it.
    pub escapes: Span,
    /// An odd number of backslashes stands before it.
    pub escaped: bool,
    /// What is written where it leads to nothing.
    pub literal: Span,
    /// The variable, where it is `$name` and no more.
    pub simple: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Argument {
    /// Evaluated at each use: code that ends with [`Op::Return`].
    Lazy {
        code: u32,
        literal: Span,
        simple: Option<u32>,
    },
    Constant(u32),
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub name: Box<str>,
    /// None where no such macro is defined: the call is written as it stands.
    pub target: Option<u32>,
    pub arguments: Box<[Argument]>,
    pub literal: Span,
    /// The body of `#@name() … #end`.
    pub body: Option<u32>,
    /// An argument is a bare word, which no macro takes.
    pub word: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct MacroBody {
    pub parameters: Box<[u32]>,
    pub code: u32,
}

/// Where a part of [`Program::text`] came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub at: u32,
    pub line: u32,
    pub column: u32,
}

/// A parsed template. [`crate::Render`] runs it.
#[derive(Debug)]
pub struct Program {
    pub(crate) options: Options,
    pub(crate) text: Box<str>,
    pub(crate) origins: Box<[Origin]>,
    pub(crate) code: Box<[Op]>,
    /// For each instruction, where in the text it came from.
    pub(crate) places: Box<[u32]>,
    pub(crate) constants: Box<[Const]>,
    pub(crate) variables: Box<[Box<str>]>,
    /// Names of properties and methods.
    pub(crate) names: Box<[Box<str>]>,
    pub(crate) references: Box<[Reference]>,
    pub(crate) calls: Box<[Call]>,
    pub(crate) macros: Box<[MacroBody]>,
    /// Patterns that stand in the template, compiled at their first use.
    pub(crate) patterns: Box<[(Box<str>, Compiled)]>,
    /// `$velocityCount` or `$velocityHasNext` is used.
    pub(crate) counts: bool,
}

/// A pattern, or why it is not taken, from its first use on.
pub(crate) type Compiled = OnceLock<Result<Pattern, Fault>>;

/// Variables that the engine sets itself.
pub(crate) const FOREACH: u32 = 0;
pub(crate) const VELOCITY_COUNT: u32 = 1;
pub(crate) const VELOCITY_HAS_NEXT: u32 = 2;
/// The body of `#@name() … #end`, in the macro.
pub(crate) const BODY_CONTENT: u32 = 3;

impl Program {
    pub(crate) fn slice(&self, span: Span) -> &str {
        self.text.get(span.at as usize..(span.at + span.len) as usize).unwrap_or_default()
    }

    /// Line and column of a place in the text.
    pub(crate) fn locate(&self, place: u32) -> (u32, u32) {
        locate(&self.text, &self.origins, place)
    }

    /// Names of the variables that the template reads or sets, in the order of their first use.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().skip(4).map(|name| &**name)
    }

    /// What the program holds, in bytes: for a host that bounds what it keeps.
    pub fn size_bytes(&self) -> usize {
        self.text.len()
            + size_of_val(&*self.code)
            + size_of_val(&*self.places)
            + size_of_val(&*self.constants)
            + size_of_val(&*self.references)
            + size_of_val(&*self.calls)
    }
}

pub(crate) fn locate(text: &str, origins: &[Origin], place: u32) -> (u32, u32) {
    let after = origins.partition_point(|origin| origin.at <= place);
    let Some(origin) = after.checked_sub(1).and_then(|index| origins.get(index)) else {
        return (1, 1);
    };
    let mut end = place as usize;
    while !text.is_char_boundary(end) {
        end -= 1; // ends at 0
    }
    let before = text.get(origin.at as usize..end).unwrap_or_default();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let lines = count(before.matches('\n').count());
    match before.rfind('\n') {
        Some(newline) => (origin.line + lines, count(before[newline + 1..].chars().count()) + 1),
        None => (origin.line, origin.column + count(before.chars().count())),
    }
}
