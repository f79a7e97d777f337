//! `#if`, `#set`, and directives with arguments.

use super::reference::Target;
use super::{Ending, Parser, number};
use crate::error::Error;
use crate::options::Macros;
use crate::program::{Argument, Call, MacroBody, Op, Span};

/// What an argument of a directive is.
enum Given {
    /// Code that ends with a return, for whatever is not a constant.
    Lazy {
        code: u32,
        literal: Span,
        simple: Option<u32>,
    },
    Constant(u32),
    Word,
}

impl Parser<'_> {
    /// Behind `#if`.
    pub(super) fn conditional(&mut self, start: usize) -> Result<(), Error> {
        let mut ends = Vec::new();
        self.open_bracket(start, "#if")?;
        self.condition()?;
        self.skip_line_end();
        let mut skip = Some(self.emit(start, Op::JumpFalse(0)));
        loop {
            let (ending, at) = self.block()?;
            match ending {
                Ending::End => break,
                Ending::Eof => return Err(self.wrong(start, "#if is not closed by #end")),
                Ending::Else | Ending::ElseIf => {
                    let Some(jump) = skip.take() else {
                        return Err(self.wrong(at, "nothing but #end follows an #else"));
                    };
                    ends.push(self.emit(at, Op::Jump(0)));
                    self.builder.land(jump);
                    if ending == Ending::ElseIf {
                        self.open_bracket(at, "#elseif")?;
                        self.condition()?;
                        self.skip_line_end();
                        skip = Some(self.emit(at, Op::JumpFalse(0)));
                    }
                }
            }
        }
        for jump in ends.into_iter().chain(skip) {
            self.builder.land(jump);
        }
        Ok(())
    }

    fn open_bracket(&mut self, start: usize, name: &str) -> Result<(), Error> {
        self.skip_whitespace();
        if self.next() != Some(b'(') {
            let found = self.found(self.at);
            return Err(self.wrong(start, format!("{name} needs a condition in brackets: {found}")));
        }
        self.at += 1;
        Ok(())
    }

    /// `#set($reference = expression)`; `inside` is behind the bracket.
    pub(super) fn set(&mut self, start: usize, inside: usize) -> Result<(), Error> {
        self.at = inside;
        self.skip_whitespace();
        let left = self.at;
        if self.next() != Some(b'$') {
            let found = self.found(self.at);
            return Err(self.wrong(self.at, format!("#set sets a reference: {found}")));
        }
        // The value is computed first, though it stands behind.
        let over = self.emit(left, Op::Jump(0));
        let setter = self.builder.here();
        let (target, bails) = self.target(left)?;
        let done = match target {
            Target::Variable(variable) => {
                self.builder.rewind(over);
                Err(variable)
            }
            Target::Property(name) => {
                self.emit(left, Op::SetProperty(name));
                Ok(self.emit(left, Op::Jump(0)))
            }
            Target::Index => {
                self.emit(left, Op::SetIndex);
                Ok(self.emit(left, Op::Jump(0)))
            }
        };
        self.skip_whitespace();
        if self.next() != Some(b'=') || self.byte(self.at + 1) == Some(b'=') {
            let found = self.found(self.at);
            return Err(
                self.wrong(self.at, format!("#set needs `=` behind its reference: {found}"))
            );
        }
        self.at += 1;
        if done.is_ok() {
            self.builder.land(over);
        }
        self.expression()?;
        self.skip_line_end();
        match done {
            Err(variable) => {
                self.emit(start, Op::Store(variable));
            }
            Ok(jump) => {
                let bail = self.emit(start, Op::BailNull(0));
                self.emit(start, Op::Jump(setter));
                for landing in bails.into_iter().chain([jump, bail]) {
                    self.builder.land(landing);
                }
            }
        }
        Ok(())
    }

    /// A directive by its name, which has been read.
    pub(super) fn directive(&mut self, start: usize, name: &str) -> Result<(), Error> {
        let mut at = self.at;
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte(at) {
            at += 1;
        }
        let bracket = self.byte(at) == Some(b'(');
        match name {
            "break" if !bracket => {
                self.emit(start, Op::Break);
                return Ok(());
            }
            "stop" if !bracket => {
                self.emit(start, Op::Stop);
                return Ok(());
            }
            "foreach" | "define" | "macro" | "literal" if !bracket => {
                return Err(self.wrong(start, format!("#{name} needs its arguments in brackets")));
            }
            _ if !bracket => {
                if let Some(called) = name.strip_prefix('@') {
                    return self.bodied_without_arguments(start, called);
                }
                // Text, unless a macro of that name is there when it is rendered.
                let literal = self.span(start, self.at);
                self.call(start, name, Vec::new(), literal, None);
                return Ok(());
            }
            _ => {}
        }
        self.at = at + 1;
        match name {
            "foreach" => self.foreach(start),
            "define" => self.define(start),
            "macro" => self.define_macro(start),
            "literal" => self.unrendered(start),
            "break" | "stop" => self.end_early(start, name == "break"),
            _ => self.macro_call(start, name),
        }
    }

    /// Velocity writes a `#@name` without brackets as it stands.
    fn bodied_without_arguments(&mut self, start: usize, called: &str) -> Result<(), Error> {
        if called.is_empty() {
            self.emit_text(start, self.at);
            return Ok(());
        }
        Err(self.wrong(start, format!("#@{called} needs its arguments in brackets")))
    }

    /// Up to the end of the brackets: commas, spaces, or nothing in between.
    fn more_arguments(&mut self) -> bool {
        self.skip_whitespace();
        if self.next() == Some(b',') {
            self.at += 1;
            self.skip_whitespace();
        }
        if self.next() == Some(b')') {
            self.at += 1;
            return false;
        }
        true
    }

    /// `#foreach($item in $list)`.
    fn foreach(&mut self, start: usize) -> Result<(), Error> {
        self.skip_whitespace();
        if self.next() != Some(b'$') {
            let found = self.found(self.at);
            return Err(self.wrong(self.at, format!("#foreach begins with a reference: {found}")));
        }
        let item = self.at;
        let place = self.builder.code.len();
        let root_from = item
            + 1
            + self.bytes()[item + 1..]
                .iter()
                .take_while(|byte| matches!(byte, b'!' | b'{'))
                .count();
        self.reference(item)?;
        self.builder.rewind(place);
        let root_to = self.identifier_end(root_from).unwrap_or(root_from);
        let root = self.source[root_from..root_to].to_owned();
        let variable = self.builder.variable(&root);
        self.skip_whitespace();
        let word = self.at;
        let Some(end) = self.word_end(word) else {
            let found = self.found(word);
            return Err(
                self.wrong(word, format!("#foreach needs `in` behind its reference: {found}"))
            );
        };
        if &self.source[word..end] != "in" {
            return Err(self.wrong(word, "#foreach needs `in` behind its reference"));
        }
        self.at = end;
        self.parameter(false)?;
        self.skip_whitespace();
        if self.next() != Some(b')') {
            let found = self.found(self.at);
            return Err(self.wrong(self.at, format!("#foreach must end with `)`: {found}")));
        }
        self.at += 1;
        self.skip_line_end();
        let open = self.emit(start, Op::LoopStart { variable, end: 0 });
        let next = self.emit(start, Op::LoopNext { end: 0 });
        self.body(start, "#foreach")?;
        self.emit(start, Op::Jump(number(next)));
        self.builder.land(open);
        self.builder.land(next);
        Ok(())
    }

    /// A block up to its `#end`.
    fn body(&mut self, start: usize, name: &str) -> Result<(), Error> {
        let (ending, at) = self.block()?;
        match ending {
            Ending::End => Ok(()),
            Ending::Eof => Err(self.wrong(start, format!("{name} is not closed by #end"))),
            Ending::Else => Err(self.wrong(at, "#else belongs to no #if")),
            Ending::ElseIf => Err(self.wrong(at, "#elseif belongs to no #if")),
        }
    }

    /// `#define($block) … #end`.
    fn define(&mut self, start: usize) -> Result<(), Error> {
        self.skip_whitespace();
        if self.next() != Some(b'$') {
            let found = self.found(self.at);
            return Err(self.wrong(self.at, format!("#define needs a reference: {found}")));
        }
        let place = self.builder.code.len();
        let dollar = self.at;
        let parsed = self.reference(dollar)?;
        self.builder.rewind(place);
        let Some(variable) = parsed.simple else {
            return Err(self.wrong(dollar, "#define sets a variable, no property"));
        };
        if self.more_arguments() {
            return Err(self.wrong(self.at, "#define takes one reference"));
        }
        self.skip_line_end();
        self.emit(start, Op::Define { variable });
        let over = self.emit(start, Op::Jump(0));
        self.body(start, "#define")?;
        self.emit(start, Op::Return);
        self.builder.land(over);
        Ok(())
    }

    /// `#macro(name $parameter …) … #end`.
    fn define_macro(&mut self, start: usize) -> Result<(), Error> {
        self.skip_whitespace();
        let from = self.at;
        let Some(end) = self.word_end(from) else {
            let found = self.found(from);
            return Err(self.wrong(from, format!("#macro begins with a name: {found}")));
        };
        let name = self.source[from..end].to_owned();
        self.at = end;
        let mut parameters = Vec::new();
        while self.more_arguments() {
            let dollar = self.at;
            if self.next() != Some(b'$') {
                let found = self.found(dollar);
                return Err(
                    self.wrong(dollar, format!("a macro's parameter is a reference: {found}"))
                );
            }
            let place = self.builder.code.len();
            let parsed = self.reference(dollar)?;
            self.builder.rewind(place);
            let Some(variable) = parsed.simple else {
                return Err(self.wrong(dollar, "a macro's parameter is a variable"));
            };
            parameters.push(variable);
        }
        self.skip_line_end();
        let over = self.emit(start, Op::Jump(0));
        let code = self.builder.here();
        self.body(start, "#macro")?;
        self.emit(start, Op::Return);
        self.builder.macro_names.insert(name.as_str().into());
        if self.builder.options.macros == Macros::AsWritten {
            self.builder.rewind(over);
            return Ok(());
        }
        self.builder.land(over);
        let index = number(self.builder.macros.len());
        self.builder.macros.push(MacroBody { parameters: parameters.into(), code });
        // The first of a name stays.
        self.builder.macro_index.entry(name.into()).or_insert(index);
        Ok(())
    }

    /// `#literal() … #end`.
    fn unrendered(&mut self, start: usize) -> Result<(), Error> {
        if self.more_arguments() {
            return Err(self.wrong(self.at, "#literal takes no arguments"));
        }
        self.skip_line_end();
        let from = self.at;
        let place = self.builder.code.len();
        let (ending, at) = self.block()?;
        self.builder.rewind(place);
        if ending != Ending::End {
            return Err(self.wrong(start, "#literal is not closed by #end"));
        }
        self.emit_text(from, at);
        Ok(())
    }

    /// `#break($foreach.parent)`, `#stop("why")`.
    fn end_early(&mut self, start: usize, scope: bool) -> Result<(), Error> {
        let mut count = 0;
        while self.more_arguments() {
            count += 1;
            if count > 1 {
                return Err(self.wrong(self.at, "one argument is the most here"));
            }
            self.parameter(false)?;
            if !scope {
                self.emit(start, Op::Pop);
            }
        }
        self.skip_line_end();
        let op = match (scope, count) {
            (true, 0) => Op::Break,
            (true, _) => Op::BreakScope,
            (false, _) => Op::Stop,
        };
        self.emit(start, op);
        Ok(())
    }

    /// `#name(arguments)`, or `#@name(arguments) body #end`.
    fn macro_call(&mut self, start: usize, name: &str) -> Result<(), Error> {
        let place = self.builder.code.len();
        let over = self.emit(start, Op::Jump(0));
        let mut given = Vec::new();
        while self.more_arguments() {
            given.push(self.argument()?);
        }
        self.skip_line_end();
        let mut body = None;
        let name = match name.strip_prefix('@') {
            Some(called) => {
                body = Some(self.builder.here());
                self.body(start, "a macro's call with a body")?;
                self.emit(start, Op::Return);
                called
            }
            None => name,
        };
        let literal = self.span(start, self.at);
        if self.builder.options.macros == Macros::AsWritten {
            self.builder.rewind(place);
        } else {
            self.builder.land(over);
        }
        self.call(start, name, given, literal, body);
        Ok(())
    }

    fn call(
        &mut self,
        start: usize,
        name: &str,
        given: Vec<Given>,
        literal: Span,
        body: Option<u32>,
    ) {
        if self.builder.options.macros == Macros::AsWritten {
            self.emit(start, Op::Text(literal));
            return;
        }
        let word = given.iter().any(|given| matches!(given, Given::Word));
        let arguments = given
            .into_iter()
            .filter_map(|given| match given {
                Given::Lazy { code, literal, simple } => {
                    Some(Argument::Lazy { code, literal, simple })
                }
                Given::Constant(constant) => Some(Argument::Constant(constant)),
                Given::Word => None,
            })
            .collect();
        let index = number(self.builder.calls.len());
        let name = name.into();
        self.builder.calls.push(Call { name, target: None, arguments, literal, body, word });
        self.emit(start, Op::Macro(index));
    }

    fn argument(&mut self) -> Result<Given, Error> {
        let start = self.at;
        let first = self.next();
        if let Some(end) = self.word_end(start)
            && !matches!(&self.source[start..end], "true" | "false")
        {
            self.at = end;
            return Ok(Given::Word);
        }
        let code = self.builder.here();
        let mut simple = None;
        if first == Some(b'$') {
            simple = self.reference(start)?.simple;
            if simple.is_none() && self.builder.options.undefined == crate::Undefined::Empty {
                self.emit(start, Op::Fill);
            }
        } else {
            self.parameter(false)?;
        }
        if matches!(first, Some(b'-' | b'.' | b'0'..=b'9' | b't' | b'f'))
            && let Some(Op::Const(constant)) = self.builder.code.last().copied()
        {
            self.builder.rewind(code as usize);
            return Ok(Given::Constant(constant));
        }
        let literal = self.span(start, self.at);
        self.emit(start, Op::Return);
        Ok(Given::Lazy { code, literal, simple })
    }
}
