//! Conditions and computations: `|| && == != < > <= >= + - * / % !` and their words, in Velocity's order.

use super::Parser;
use crate::error::Error;
use crate::program::{Const, Op, Span};

/// What an operand is in a condition.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// True unless null or false.
    Reference,
    /// A boolean already.
    Boolean,
    /// A literal or a computation, which Velocity takes for false.
    Other,
}

#[derive(Clone, Copy)]
struct Operand {
    kind: Kind,
    /// Where its code begins.
    code: usize,
    /// As it stands, for a string that null is added to.
    literal: Span,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Simple(Op),
    Add,
}

/// How tightly it binds, 1 the least.
fn operator(text: &[u8]) -> Option<(Operator, u8, usize)> {
    let word = |word: &str| {
        text.starts_with(word.as_bytes())
            && !text
                .get(word.len())
                .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'@'))
    };
    let simple = |op, binds, length| Some((Operator::Simple(op), binds, length));
    match text {
        [b'|', b'|', ..] => Some((Operator::Or, 1, 2)),
        [b'&', b'&', ..] => Some((Operator::And, 2, 2)),
        [b'=', b'=', ..] => simple(Op::Equal, 3, 2),
        [b'!', b'=', ..] => simple(Op::NotEqual, 3, 2),
        [b'<', b'=', ..] => simple(Op::LessEqual, 4, 2),
        [b'>', b'=', ..] => simple(Op::GreaterEqual, 4, 2),
        [b'<', ..] => simple(Op::Less, 4, 1),
        [b'>', ..] => simple(Op::Greater, 4, 1),
        [b'+', ..] => Some((Operator::Add, 5, 1)),
        // A minus before digits is the number's, as Velocity reads it.
        [b'-', b'0'..=b'9' | b'.', ..] => None,
        [b'-', ..] => simple(Op::Subtract, 5, 1),
        [b'*', ..] => simple(Op::Multiply, 6, 1),
        [b'/', ..] => simple(Op::Divide, 6, 1),
        [b'%', ..] => simple(Op::Modulo, 6, 1),
        _ if word("or") => Some((Operator::Or, 1, 2)),
        _ if word("and") => Some((Operator::And, 2, 3)),
        _ if word("eq") => simple(Op::Equal, 3, 2),
        _ if word("ne") => simple(Op::NotEqual, 3, 2),
        _ if word("lt") => simple(Op::Less, 4, 2),
        _ if word("gt") => simple(Op::Greater, 4, 2),
        _ if word("le") => simple(Op::LessEqual, 4, 2),
        _ if word("ge") => simple(Op::GreaterEqual, 4, 2),
        _ => None,
    }
}

impl Parser<'_> {
    /// A value, up to the bracket behind it, which is taken.
    pub(super) fn expression(&mut self) -> Result<(), Error> {
        self.binary(1)?;
        self.close_expression()
    }

    /// The same as a boolean.
    pub(super) fn condition(&mut self) -> Result<(), Error> {
        let operand = self.binary(1)?;
        self.truth(operand);
        self.close_expression()
    }

    fn close_expression(&mut self) -> Result<(), Error> {
        if self.next() == Some(b')') {
            self.at += 1;
            return Ok(());
        }
        let found = self.found(self.at);
        let message = match self.next() {
            Some(b'-') => "a minus before digits needs a space between them".to_owned(),
            Some(b'=') => "expected an operator or `)`: found `=` (`==` compares)".to_owned(),
            _ => format!("expected an operator or `)`: {found}"),
        };
        Err(self.wrong(self.at, message))
    }

    fn truth(&mut self, operand: Operand) {
        let at = self.at;
        match operand.kind {
            Kind::Boolean => {}
            Kind::Reference => {
                self.emit(at, Op::Truth);
            }
            Kind::Other => {
                // Not even computed, as in Velocity.
                self.builder.rewind(operand.code);
                let no = self.builder.constant(Const::Bool(false));
                self.emit(at, Op::Const(no));
            }
        }
    }

    /// Operators that bind at least that tightly.
    fn binary(&mut self, binds: u8) -> Result<Operand, Error> {
        let mut left = self.unary()?;
        loop {
            self.skip_whitespace();
            let at = self.at;
            let Some((operator, tight, length)) = operator(&self.bytes()[at..]) else {
                return Ok(left);
            };
            if tight < binds {
                return Ok(left);
            }
            self.at += length;
            match operator {
                Operator::Or | Operator::And => {
                    self.truth(left);
                    let keep =
                        if operator == Operator::Or { Op::KeepTrue(0) } else { Op::KeepFalse(0) };
                    let keep = self.emit(at, keep);
                    let right = self.binary(tight + 1)?;
                    self.truth(right);
                    self.builder.land(keep);
                    left.kind = Kind::Boolean;
                    left.literal = join(left.literal, right.literal);
                }
                Operator::Add => {
                    let right = self.binary(tight + 1)?;
                    self.emit(at, Op::Add { left: left.literal, right: right.literal });
                    left.kind = Kind::Other;
                    left.literal = join(left.literal, right.literal);
                }
                Operator::Simple(op) => {
                    let right = self.binary(tight + 1)?;
                    self.emit(at, op);
                    left.kind = if tight < 5 { Kind::Boolean } else { Kind::Other };
                    left.literal = join(left.literal, right.literal);
                }
            }
        }
    }

    fn unary(&mut self) -> Result<Operand, Error> {
        self.skip_whitespace();
        let start = self.at;
        let code = self.builder.code.len();
        let mut negations = 0_usize;
        loop {
            let rest = &self.bytes()[self.at..];
            let word = rest.starts_with(b"not") && self.word_end(self.at) == Some(self.at + 3);
            if word {
                self.at += 3;
            } else if rest.first() == Some(&b'!') {
                self.at += 1;
            } else {
                break;
            }
            negations += 1;
            self.skip_whitespace();
        }
        let mut operand = self.primary()?;
        if negations > 0 {
            self.truth(operand);
            // Two of them cancel out.
            for _ in 0..(2 - negations % 2) {
                self.emit(start, Op::Not);
            }
            operand = Operand { kind: Kind::Boolean, code, literal: self.span(start, self.at) };
        }
        Ok(operand)
    }

    fn primary(&mut self) -> Result<Operand, Error> {
        let start = self.at;
        let code = self.builder.code.len();
        let kind = match self.next() {
            Some(b'(') => {
                self.descend(start)?;
                self.at += 1;
                let inner = self.binary(1)?;
                self.close_expression()?;
                self.ascend();
                return Ok(Operand { kind: inner.kind, code, literal: self.span(start, self.at) });
            }
            Some(b'$') => {
                self.operand_reference()?;
                Kind::Reference
            }
            Some(b'"' | b'\'') => {
                self.string()?;
                Kind::Other
            }
            Some(b'-' | b'.' | b'0'..=b'9') => {
                self.number()?;
                Kind::Other
            }
            Some(b'[') => {
                self.list(false)?;
                Kind::Other
            }
            Some(b'{') => {
                self.map(false)?;
                Kind::Other
            }
            _ => match self.word_end(start) {
                Some(end) if matches!(&self.source[start..end], "true" | "false") => {
                    self.boolean()?;
                    Kind::Boolean
                }
                _ => {
                    let found = self.found(start);
                    return Err(self.wrong(start, format!("expected a value: {found}")));
                }
            },
        };
        Ok(Operand { kind, code, literal: self.span(start, self.at) })
    }
}

fn join(left: Span, right: Span) -> Span {
    Span { at: left.at, len: right.at + right.len - left.at }
}
