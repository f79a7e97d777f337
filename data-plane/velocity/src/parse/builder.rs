//! The program while it grows.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use crate::error::{Error, ErrorKind};
use crate::options::Options;
use crate::program::{Call, Const, MacroBody, Op, Origin, Program, Reference};

/// More instructions than any template of a few hundred kilobytes has.
const CODE_MAX: usize = 4 << 20;

pub(super) struct Builder {
    pub options: Options,
    pub text: String,
    pub origins: Vec<Origin>,
    pub code: Vec<Op>,
    places: Vec<u32>,
    constants: Vec<Const>,
    integers: HashMap<i32, u32>,
    texts: HashMap<Box<str>, u32>,
    variables: Vec<Box<str>>,
    variable_index: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
    name_index: HashMap<Box<str>, u32>,
    pub references: Vec<Reference>,
    pub calls: Vec<Call>,
    pub macros: Vec<MacroBody>,
    pub macro_index: HashMap<Box<str>, u32>,
    /// Macros of the template, whether they are taken or not: a backslash before their name is none.
    pub macro_names: HashSet<Box<str>>,
    patterns: Vec<Box<str>>,
    pub counts: bool,
}

/// Sizes are bounded by the template's, which is.
pub(super) fn number(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

impl Builder {
    pub(super) fn new(options: Options, text: &str) -> Self {
        let mut builder = Self {
            options,
            text: text.to_owned(),
            origins: vec![Origin { at: 0, line: 1, column: 1 }],
            code: Vec::new(),
            places: Vec::new(),
            constants: Vec::new(),
            integers: HashMap::new(),
            texts: HashMap::new(),
            variables: Vec::new(),
            variable_index: HashMap::new(),
            names: Vec::new(),
            name_index: HashMap::new(),
            references: Vec::new(),
            calls: Vec::new(),
            macros: Vec::new(),
            macro_index: HashMap::new(),
            macro_names: HashSet::new(),
            patterns: Vec::new(),
            counts: false,
        };
        for name in ["foreach", "velocityCount", "velocityHasNext", "bodyContent"] {
            builder.variable(name);
        }
        builder.counts = false;
        builder
    }

    pub(super) fn error(&self, kind: ErrorKind, place: usize, message: impl Into<String>) -> Error {
        let (line, column) = crate::program::locate(&self.text, &self.origins, number(place));
        Error { kind, message: message.into(), line, column }
    }

    pub(super) fn emit(&mut self, place: usize, op: Op) -> usize {
        self.code.push(op);
        self.places.push(number(place));
        self.code.len() - 1
    }

    /// The next instruction's number.
    pub(super) fn here(&self) -> u32 {
        number(self.code.len())
    }

    /// Lets a jump that was emitted go to the next instruction.
    pub(super) fn land(&mut self, jump: usize) {
        let here = self.here();
        match &mut self.code[jump] {
            Op::Jump(to)
            | Op::JumpFalse(to)
            | Op::KeepFalse(to)
            | Op::KeepTrue(to)
            | Op::SkipNull(to)
            | Op::BailNull(to)
            | Op::BailNull2(to)
            | Op::LoopStart { end: to, .. }
            | Op::LoopNext { end: to } => *to = here,
            _ => debug_assert!(false, "no jump"),
        }
    }

    /// Forgets what was emitted since.
    pub(super) fn rewind(&mut self, to: usize) {
        self.code.truncate(to);
        self.places.truncate(to);
        // A macro that was defined in there is gone with it.
        while self.macros.last().is_some_and(|last| last.code as usize >= to) {
            self.macros.pop();
        }
        let left = number(self.macros.len());
        self.macro_index.retain(|_, index| *index < left);
    }

    pub(super) fn constant(&mut self, value: Const) -> u32 {
        match &value {
            Const::Int(int) => {
                if let Some(index) = self.integers.get(int) {
                    return *index;
                }
                self.integers.insert(*int, number(self.constants.len()));
            }
            Const::Text(text) => {
                if let Some(index) = self.texts.get(text) {
                    return *index;
                }
                self.texts.insert(text.clone(), number(self.constants.len()));
            }
            _ => {}
        }
        self.constants.push(value);
        number(self.constants.len() - 1)
    }

    pub(super) fn variable(&mut self, name: &str) -> u32 {
        if name.starts_with("velocity") {
            self.counts = true;
        }
        intern(&mut self.variables, &mut self.variable_index, name)
    }

    pub(super) fn name(&mut self, name: &str) -> u32 {
        intern(&mut self.names, &mut self.name_index, name)
    }

    /// A constant that is given to a method as a regular expression.
    pub(super) fn pattern(&mut self, constant: u32) {
        if let Some(Const::Text(text)) = self.constants.get(constant as usize)
            && !self.patterns.contains(text)
            && self.patterns.len() < 64
        {
            self.patterns.push(text.clone());
        }
    }

    pub(super) fn finish(mut self) -> Result<Program, Error> {
        if self.code.len() > CODE_MAX {
            return Err(self.error(ErrorKind::TooLarge, 0, "the template has too many parts"));
        }
        for call in &mut self.calls {
            call.target = self.macro_index.get(&call.name).copied();
        }
        Ok(Program {
            options: self.options,
            text: self.text.into(),
            origins: self.origins.into(),
            code: self.code.into(),
            places: self.places.into(),
            constants: self.constants.into(),
            variables: self.variables.into(),
            names: self.names.into(),
            references: self.references.into(),
            calls: self.calls.into(),
            macros: self.macros.into(),
            patterns: self.patterns.into_iter().map(|text| (text, OnceLock::new())).collect(),
            counts: self.counts,
        })
    }
}

fn intern(list: &mut Vec<Box<str>>, index: &mut HashMap<Box<str>, u32>, name: &str) -> u32 {
    if let Some(known) = index.get(name) {
        return *known;
    }
    let new = number(list.len());
    list.push(name.into());
    index.insert(name.into(), new);
    new
}
