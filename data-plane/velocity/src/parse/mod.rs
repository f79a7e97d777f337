//! From a template's text to a [`Program`], in one pass.
//!
//! What counts as VTL, and what as text that passes by, follows the grammar of Apache Velocity 1.7, which is the one
//! that AWS was recorded to use: `$5`, `#13ff93`, `a # b` are text; whitespace up to a line's end goes with the
//! directive before it; spaces before `#set` go too, where nothing else stands before them.

mod builder;
mod directive;
mod expression;
mod literal;
mod reference;
mod statement;

use std::rc::Rc;

use crate::error::{Error, ErrorKind};
use crate::options::Options;
use crate::program::{Op, Origin, Program, Span};
use builder::{Builder, number};

/// Blocks, brackets, arguments and strings within one another. Each takes a few frames of the stack.
const NESTING_MAX: u32 = 48;

impl Program {
    /// Parses a template. Refuses by name what this engine does not do.
    pub fn parse(template: &str, options: Options) -> Result<Self, Error> {
        let mut builder = Builder::new(options, "");
        let most = options.template_bytes_max;
        if template.len() > most {
            let message = format!("the template has {} bytes; {most} is the most", template.len());
            return Err(builder.error(ErrorKind::TooLarge, 0, message));
        }
        template.clone_into(&mut builder.text);
        let mut parser =
            Parser { source: template.into(), base: 0, at: 0, depth: 0, builder: &mut builder };
        parser.template()?;
        builder.finish()
    }
}

/// Reads one text: the template, or the inside of a string that is a template of its own.
struct Parser<'b> {
    source: Rc<str>,
    /// Where the source begins in the program's text.
    base: usize,
    at: usize,
    depth: u32,
    builder: &'b mut Builder,
}

/// What ended a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    End,
    Else,
    ElseIf,
    Eof,
}

impl Parser<'_> {
    fn template(&mut self) -> Result<(), Error> {
        let (ending, at) = self.block()?;
        match ending {
            Ending::Eof => Ok(()),
            Ending::End => Err(self.wrong(at, "#end closes nothing")),
            Ending::Else => Err(self.wrong(at, "#else belongs to no #if")),
            Ending::ElseIf => Err(self.wrong(at, "#elseif belongs to no #if")),
        }
    }

    /// The inside of a double-quoted string.
    fn interpolated(&mut self, image: &str, at: usize) -> Result<(), Error> {
        let base = self.builder.text.len();
        // Texts within texts within texts are written out once more each time.
        if base + image.len() > 8 * (self.builder.options.template_bytes_max + 1024) {
            return Err(self.builder.error(
                ErrorKind::TooLarge,
                self.base + at,
                "strings within strings are too long",
            ));
        }
        let (line, column) = self.place(at);
        self.builder.origins.push(Origin { at: number(base), line, column: column + 1 });
        self.builder.text.push_str(image);
        let mut inner = Parser {
            source: image.into(),
            base,
            at: 0,
            depth: self.depth,
            builder: &mut *self.builder,
        };
        inner.template()
    }

    fn bytes(&self) -> &[u8] {
        self.source.as_bytes()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes().get(at).copied()
    }

    fn next(&self) -> Option<u8> {
        self.byte(self.at)
    }

    fn looking_at(&self, text: &str) -> bool {
        self.bytes()[self.at..].starts_with(text.as_bytes())
    }

    fn place(&self, at: usize) -> (u32, u32) {
        crate::program::locate(&self.builder.text, &self.builder.origins, number(self.base + at))
    }

    fn wrong(&self, at: usize, message: impl Into<String>) -> Error {
        self.builder.error(ErrorKind::Syntax, self.base + at, message)
    }

    /// What stands at a place, for a message.
    fn found(&self, at: usize) -> String {
        match self.source.get(at..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("found `{}`", found.escape_debug()),
            None => "the template ends".to_owned(),
        }
    }

    fn span(&self, from: usize, to: usize) -> Span {
        Span { at: number(self.base + from), len: number(to - from) }
    }

    fn emit(&mut self, at: usize, op: Op) -> usize {
        self.builder.emit(self.base + at, op)
    }

    /// Text as it stands.
    fn emit_text(&mut self, from: usize, to: usize) {
        if from < to {
            let span = self.span(from, to);
            self.emit(from, Op::Text(span));
        }
    }

    /// Goes one level down, or refuses.
    fn descend(&mut self, at: usize) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            let message = format!("nested over {NESTING_MAX} levels deep");
            return Err(self.builder.error(ErrorKind::TooLarge, self.base + at, message));
        }
        Ok(())
    }

    fn ascend(&mut self) {
        self.depth -= 1;
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.next() {
            self.at += 1;
        }
    }

    /// Spaces, tabs and the line's end behind a directive go with it; without a line's end they stay.
    fn skip_line_end(&mut self) {
        let mut at = self.at;
        while let Some(b' ' | b'\t') = self.byte(at) {
            at += 1;
        }
        match self.byte(at) {
            Some(b'\n') => self.at = at + 1,
            Some(b'\r') => self.at = at + 1 + usize::from(self.byte(at + 1) == Some(b'\n')),
            _ => {}
        }
    }

    /// `[A-Za-z_][A-Za-z0-9_-]*`: the end of an identifier that begins there.
    fn identifier_end(&self, from: usize) -> Option<usize> {
        let first = self.byte(from)?;
        if !(first.is_ascii_alphabetic() || first == b'_') {
            return None;
        }
        let rest = &self.bytes()[from..];
        let more = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        Some(from + rest.iter().position(|byte| !more(byte)).unwrap_or(rest.len()))
    }

    /// `[A-Za-z_@][A-Za-z0-9_@]*`: the end of a directive's name that begins there.
    fn word_end(&self, from: usize) -> Option<usize> {
        let first = self.byte(from)?;
        if !(first.is_ascii_alphabetic() || matches!(first, b'_' | b'@')) {
            return None;
        }
        let rest = &self.bytes()[from..];
        let more = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'@' | b'_');
        Some(from + rest.iter().position(|byte| !more(byte)).unwrap_or(rest.len()))
    }
}
