//! `$name.property.method(argument)[index]`, in all its spellings.

use super::{Parser, number};
use crate::error::Error;
use crate::program::{Const, Op};

/// A reference whose value is on the stack.
pub(super) struct Parsed {
    /// The variable, where nothing follows it.
    pub simple: Option<u32>,
}

/// The last step of a reference that is set: it is taken by the setter.
pub(super) enum Target {
    Variable(u32),
    Property(u32),
    Index,
}

/// Methods whose first argument is a regular expression.
const MATCHERS: &[&str] = &["matches", "replaceAll", "replaceFirst", "split"];

impl Parser<'_> {
    /// Reads the reference that begins with the `$` at `dollar`, and emits code that pushes its value.
    pub(super) fn reference(&mut self, dollar: usize) -> Result<Parsed, Error> {
        let (variable, formal) = self.root(dollar)?;
        self.emit(dollar, Op::Load(variable));
        let mut skips = Vec::new();
        loop {
            let start = self.at;
            if !self.at_step() {
                break;
            }
            skips.push(self.emit(start, Op::SkipNull(0)));
            if let Some(name) = self.step()? {
                self.emit(start, Op::Property(name));
            }
        }
        let simple = skips.is_empty().then_some(variable);
        for skip in skips {
            self.builder.land(skip);
        }
        self.close(dollar, formal)?;
        Ok(Parsed { simple })
    }

    /// Reads the reference on the left of `=`. The value is on the stack already, under what this pushes.
    pub(super) fn target(&mut self, dollar: usize) -> Result<(Target, Vec<usize>), Error> {
        let (variable, formal) = self.root(dollar)?;
        let mut bails = Vec::new();
        let mut target = Target::Variable(variable);
        let mut loaded = false;
        while self.at_step() {
            let start = self.at;
            match target {
                Target::Variable(variable) if !loaded => {
                    self.emit(start, Op::Load(variable));
                    loaded = true;
                }
                Target::Property(name) => {
                    self.emit(start, Op::Property(name));
                }
                Target::Index => {
                    self.emit(start, Op::Index);
                }
                Target::Variable(_) => {}
            }
            bails.push(self.emit(start, Op::BailNull2(0)));
            if self.next() == Some(b'[') {
                self.index()?;
                target = Target::Index;
            } else if let Some(name) = self.step()? {
                target = Target::Property(name);
            } else {
                // A method's answer cannot be set, but what follows it can be.
                target = Target::Variable(variable);
                if !self.at_step() {
                    return Err(self.wrong(start, "a method's answer cannot be set"));
                }
            }
        }
        self.close(dollar, formal)?;
        Ok((target, bails))
    }

    /// The variable's name behind `$`, `$!`, `${` or `$!{`.
    fn root(&mut self, dollar: usize) -> Result<(u32, bool), Error> {
        self.at = dollar + 1;
        if self.next() == Some(b'\\') {
            while self.next() == Some(b'\\') {
                self.at += 1;
            }
        }
        if self.next() == Some(b'!') {
            self.at += 1;
        }
        let formal = self.next() == Some(b'{');
        self.at += usize::from(formal);
        let Some(end) = self.identifier_end(self.at) else {
            let found = self.found(self.at);
            return Err(self.wrong(self.at, format!("a reference's name is missing: {found}")));
        };
        let name = &self.source[self.at..end];
        if matches!(name, "true" | "false") {
            let message = format!("`{name}` cannot be a reference's name");
            return Err(self.wrong(dollar, message));
        }
        let name = name.to_owned();
        self.at = end;
        Ok((self.builder.variable(&name), formal))
    }

    fn close(&mut self, dollar: usize, formal: bool) -> Result<(), Error> {
        if formal {
            if self.next() != Some(b'}') {
                let found = self.found(self.at);
                let message =
                    format!("a reference that began with `${{` must end with `}}`: {found}");
                return Err(
                    self.wrong(if self.at < self.source.len() { self.at } else { dollar }, message)
                );
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Whether `.name` or `[` follows.
    fn at_step(&self) -> bool {
        match self.next() {
            Some(b'[') => true,
            Some(b'.') => self.byte(self.at + 1).is_some_and(|byte| byte.is_ascii_alphabetic()),
            _ => false,
        }
    }

    /// One step further: emits an index or a call, or gives the name of a property.
    fn step(&mut self) -> Result<Option<u32>, Error> {
        let start = self.at;
        if self.next() == Some(b'[') {
            self.index()?;
            self.emit(start, Op::Index);
            return Ok(None);
        }
        self.at += 1;
        let from = self.at;
        let end = self.identifier_end(from).unwrap_or(from);
        let text = self.source[from..end].to_owned();
        if matches!(text.as_str(), "true" | "false") {
            return Err(self.wrong(from, format!("`{text}` cannot be a property's name")));
        }
        self.at = end;
        let name = self.builder.name(&text);
        if self.next() != Some(b'(') {
            return Ok(Some(name));
        }
        self.at += 1;
        let first = self.builder.code.len();
        let arguments = self.parameters(b')', true)?;
        if arguments > 0
            && MATCHERS.contains(&text.as_str())
            && let Some(Op::Const(constant)) = self.builder.code.get(first).copied()
        {
            self.builder.pattern(constant);
        }
        self.emit(start, Op::Call { name, arguments });
        Ok(None)
    }

    /// `[index]`, its value.
    fn index(&mut self) -> Result<(), Error> {
        let open = self.at;
        self.descend(open)?;
        self.at += 1;
        self.skip_whitespace();
        match self.next() {
            Some(b'"' | b'\'') => self.string()?,
            Some(b'$') => self.operand_reference()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't' | b'f') => self.boolean()?,
            _ => {
                let found = self.found(self.at);
                let message = format!("an index is a string, an integer or a reference: {found}");
                return Err(self.wrong(self.at, message));
            }
        }
        self.skip_whitespace();
        if self.next() != Some(b']') {
            let found = self.found(self.at);
            return Err(self.wrong(self.at, format!("an index must end with `]`: {found}")));
        }
        self.at += 1;
        self.ascend();
        Ok(())
    }

    /// A reference as a value.
    pub(super) fn operand_reference(&mut self) -> Result<(), Error> {
        let dollar = self.at;
        self.reference(dollar)?;
        if self.builder.options.undefined == crate::Undefined::Empty {
            self.emit(dollar, Op::Fill);
        }
        Ok(())
    }

    /// Parameters up to the closing bracket, which is taken; gives how many. In a method's brackets a bare name is
    /// null: that is how templates write `$map.put("key", null)`.
    pub(super) fn parameters(&mut self, close: u8, names: bool) -> Result<u32, Error> {
        self.descend(self.at)?;
        self.skip_whitespace();
        let mut count = 0_usize;
        if self.next() == Some(close) {
            self.at += 1;
            self.ascend();
            return Ok(0);
        }
        loop {
            self.parameter(names)?;
            count += 1;
            if !self.separator(close)? {
                self.ascend();
                return Ok(number(count));
            }
        }
    }

    /// A comma, or the end, behind a parameter.
    pub(super) fn separator(&mut self, close: u8) -> Result<bool, Error> {
        self.skip_whitespace();
        match self.next() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => {
                let found = self.found(self.at);
                let close = char::from(close);
                let message = format!(
                    "expected `,` or `{close}`: {found} (what is given here is a literal or a \
                     reference; #set computes)"
                );
                Err(self.wrong(self.at, message))
            }
        }
    }

    pub(super) fn parameter(&mut self, names: bool) -> Result<(), Error> {
        self.skip_whitespace();
        let start = self.at;
        match self.next() {
            Some(b'"' | b'\'') => self.string(),
            Some(b'$') => self.operand_reference(),
            Some(b'-' | b'.' | b'0'..=b'9') => self.number(),
            Some(b'[') => self.list(names),
            Some(b'{') => self.map(names),
            _ => match self.identifier_end(start) {
                Some(end) if matches!(&self.source[start..end], "true" | "false") => self.boolean(),
                Some(end) if names => {
                    self.at = end;
                    let null = self.builder.constant(Const::Null);
                    self.emit(start, Op::Const(null));
                    Ok(())
                }
                _ => {
                    let found = self.found(start);
                    Err(self.wrong(start, format!("expected a literal or a reference: {found}")))
                }
            },
        }
    }
}
