//! Text, comments, escapes, and what begins with `#` or `$`.

use super::{Ending, Parser, number};
use crate::error::{Error, ErrorKind};
use crate::program::{Op, Span};

/// Directives whose name a backslash keeps from being one.
const CONTROL: &[&str] = &["if", "end", "set", "else", "elseif"];
const PLUGGED: &[&str] =
    &["foreach", "include", "parse", "macro", "literal", "evaluate", "break", "define", "stop"];
const REFUSED: &[&str] = &["include", "parse", "evaluate"];

/// A directive's name as it stands.
struct Name {
    text: String,
    /// Where what follows it begins.
    end: usize,
}

impl Parser<'_> {
    /// Statements up to what ends them; gives where that stands.
    pub(super) fn block(&mut self) -> Result<(Ending, usize), Error> {
        self.descend(self.at)?;
        loop {
            self.skip_spaces_before_set();
            let start = self.at;
            let Some(first) = self.next() else {
                self.ascend();
                return Ok((Ending::Eof, start));
            };
            match first {
                b'\\' => self.backslashes()?,
                b'$' => self.dollar(start)?,
                b'#' => {
                    if let Some(ending) = self.hash()? {
                        self.ascend();
                        return Ok((ending, start));
                    }
                }
                _ => {
                    let rest = &self.bytes()[start..];
                    let end = rest.iter().position(|byte| matches!(byte, b'$' | b'#' | b'\\'));
                    self.at = start + end.unwrap_or(rest.len());
                    self.emit_text(start, self.at);
                }
            }
        }
    }

    /// Where nothing but spaces stands between what was read last and `#set(`, they go.
    fn skip_spaces_before_set(&mut self) {
        let mut at = self.at;
        while let Some(b' ' | b'\t') = self.byte(at) {
            at += 1;
        }
        if at > self.at && self.set_open(at).is_some() {
            self.at = at;
        }
    }

    /// Behind the bracket of `#set(` or `#{set} (`, if it stands there.
    fn set_open(&self, from: usize) -> Option<usize> {
        let rest = &self.bytes()[from..];
        let mut at = ["#set", "#{set}"]
            .iter()
            .find(|word| rest.starts_with(word.as_bytes()))
            .map(|word| from + word.len())?;
        while self.byte(at) == Some(b' ') {
            at += 1;
        }
        (self.byte(at) == Some(b'(')).then_some(at + 1)
    }

    /// A run of backslashes: they escape a reference or a directive that follows, else they are text.
    fn backslashes(&mut self) -> Result<(), Error> {
        let start = self.at;
        let rest = &self.bytes()[start..];
        let count = rest.iter().position(|byte| *byte != b'\\').unwrap_or(rest.len());
        let after = start + count;
        match self.byte(after) {
            Some(b'$') => {
                self.at = after;
                return self.dollar(start);
            }
            Some(b'#') => {
                if let Some(name) = self.directive_name(after) {
                    let known = self.is_directive(&name.text);
                    if count % 2 == 1 {
                        // The directive is text, as are half of the backslashes, where it is one.
                        let from = if known { start + count - (count - 1) / 2 } else { start };
                        if known {
                            self.emit_text(from, after);
                            self.emit_text(after, name.end);
                        } else {
                            self.emit_text(start, name.end);
                        }
                        self.at = name.end;
                        return Ok(());
                    }
                    // `\\#set(…)` keeps them both: the lexer of Velocity does not see a directive there.
                    let from = if known && name.text != "set" { start + count / 2 } else { start };
                    self.emit_text(from, after);
                    self.at = after;
                    return Ok(());
                }
            }
            _ => {}
        }
        self.emit_text(start, after);
        self.at = after;
        Ok(())
    }

    fn is_directive(&self, name: &str) -> bool {
        CONTROL.contains(&name)
            || PLUGGED.contains(&name)
            || self.builder.macro_names.contains(name)
    }

    /// `#name` or `#{name}`.
    fn directive_name(&self, hash: usize) -> Option<Name> {
        let from = hash + 1;
        if self.byte(from) == Some(b'{') {
            let end = self.word_end(from + 1)?;
            if self.byte(end) != Some(b'}') || self.byte(from + 1) == Some(b'@') {
                return None;
            }
            return Some(Name { text: self.source[from + 1..end].to_owned(), end: end + 1 });
        }
        let end = self.word_end(from)?;
        Some(Name { text: self.source[from..end].to_owned(), end })
    }

    fn hash(&mut self) -> Result<Option<Ending>, Error> {
        let start = self.at;
        match self.byte(start + 1) {
            Some(b'#') => {
                self.line_comment();
                return Ok(None);
            }
            Some(b'*') => {
                // One that does not end goes to the end.
                let rest = &self.source[start + 2..];
                self.at = rest.find("*#").map_or(self.source.len(), |end| start + 2 + end + 2);
                return Ok(None);
            }
            Some(b'[') if self.byte(start + 2) == Some(b'[') => {
                let Some(length) = self.source[start + 3..].find("]]#") else {
                    return Err(self.wrong(start, "#[[ is not closed by ]]#"));
                };
                self.emit_text(start + 3, start + 3 + length);
                self.at = start + 3 + length + 3;
                return Ok(None);
            }
            None => {
                return Err(self.wrong(start, "a template cannot end with a lone `#`"));
            }
            _ => {}
        }
        if let Some(inside) = self.set_open(start) {
            self.set(start, inside)?;
            return Ok(None);
        }
        let Some(name) = self.directive_name(start) else {
            // A number goes with it, so that spaces before a `#set` behind them go, too.
            let sign = usize::from(self.byte(start + 1) == Some(b'-'));
            let digits = &self.bytes()[start + 1 + sign..];
            let digits = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            self.at = start + 1 + if digits > 0 { sign + digits } else { 0 };
            self.emit_text(start, self.at);
            return Ok(None);
        };
        self.at = name.end;
        match name.text.as_str() {
            "end" => {
                self.skip_line_end();
                Ok(Some(Ending::End))
            }
            "else" => {
                self.skip_line_end();
                Ok(Some(Ending::Else))
            }
            "elseif" => Ok(Some(Ending::ElseIf)),
            "if" => self.conditional(start).map(|()| None),
            text if REFUSED.contains(&text) => {
                let message = format!("#{text} is not supported");
                Err(self.builder.error(ErrorKind::Refused, self.base + start, message))
            }
            text => self.directive(start, text).map(|()| None),
        }
    }

    fn line_comment(&mut self) {
        let rest = &self.bytes()[self.at..];
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        self.at = match end {
            None => self.source.len(),
            Some(end) => {
                let end = self.at + end;
                let pair = self.byte(end) == Some(b'\r') && self.byte(end + 1) == Some(b'\n');
                end + 1 + usize::from(pair)
            }
        };
    }

    /// `$`, with what backslashes stand before it from `start` on: a reference, or text.
    fn dollar(&mut self, start: usize) -> Result<(), Error> {
        let dollar = self.at;
        let escapes = dollar - start;
        let mut at = dollar + 1;
        // `$\!name` shows how a quiet reference is written.
        let mut slashes = 0;
        while self.byte(at + slashes) == Some(b'\\') {
            slashes += 1;
        }
        let quiet = self.byte(at + slashes) == Some(b'!');
        if quiet {
            at += slashes + 1;
        } else {
            slashes = 0;
        }
        let formal = self.byte(at) == Some(b'{');
        let name = at + usize::from(formal);
        if self.identifier_end(name).is_none() {
            if at >= self.source.len() {
                return Err(self.wrong(dollar, "a template cannot end with a lone `$`"));
            }
            // The exclamation mark of a reference that is none is lost, in Velocity, too; but not before these.
            let kept = matches!(self.byte(at), Some(b'[' | b'$'));
            let end = if kept { at } else { dollar + 1 };
            self.emit_text(start, end);
            self.at = at;
            return Ok(());
        }
        if slashes > 0 {
            return self.shown_quiet(start, at, slashes);
        }
        let reference = self.reference(dollar)?;
        let literal = self.span(dollar, self.at);
        let shown = escapes % 2 == 1;
        let silent = quiet && !shown;
        let kept = self.span(start, start + escapes / 2);
        if self.builder.options.undefined == crate::Undefined::Empty {
            self.emit(dollar, Op::Fill);
        }
        let index = number(self.builder.references.len());
        self.builder.references.push(crate::program::Reference {
            escapes: kept,
            escaped: shown,
            literal: if silent { Span { at: 0, len: 0 } } else { literal },
            simple: reference.simple.filter(|_| !quiet && !formal),
        });
        self.emit(dollar, Op::Emit(index));
        Ok(())
    }

    /// `$\!name` is written with a backslash less, and means nothing.
    fn shown_quiet(&mut self, start: usize, name: usize, slashes: usize) -> Result<(), Error> {
        let place = self.builder.code.len();
        let dollar = self.at;
        self.reference(dollar)?;
        self.builder.rewind(place);
        if self.builder.options.undefined == crate::Undefined::AsWritten {
            // Up to the first backslash, one backslash less, and the rest.
            self.emit_text(start, dollar + 1);
            self.emit_text(dollar + 1, dollar + slashes);
            self.emit_text(name - 1, self.at);
        }
        Ok(())
    }
}
