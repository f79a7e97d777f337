//! Operators, ranges, and methods.

use super::{CALLS_MAX, Render};
use crate::equal;
use crate::error::{ErrorKind, Fault};
use crate::number::{self, Number};
use crate::program::{Op, Span};
use crate::value::Value;
use crate::write::to_text;

impl<'h> Render<'h> {
    /// `[left, right]` to what becomes of them.
    pub(super) fn operate(&mut self, op: Op) -> Result<(), Fault> {
        let right = self.stack.len().saturating_sub(1);
        // A block is the text that it renders to, here as well: it is rendered first, and this comes again.
        if matches!(op, Op::Add { .. } | Op::Equal | Op::NotEqual) {
            for place in [right.saturating_sub(1), right] {
                if let Some(Value::Block(block)) = self.stack.get(place) {
                    let block = *block;
                    self.at -= 1;
                    if self.renderable(block) {
                        return self.call_block(block, Some(place));
                    }
                    self.stack[place] = Value::Null;
                    return Ok(());
                }
            }
        }
        let (right, left) = (self.pop(), self.pop());
        let value = match op {
            Op::Add { left: one, right: other } => self.add(&left, &right, one, other)?,
            Op::Equal => equal::loosely(&mut self.heap, &left, &right)?.into(),
            Op::NotEqual => (!equal::loosely(&mut self.heap, &left, &right)?).into(),
            _ => match (left.number(), right.number()) {
                (Some(left), Some(right)) => numbers(op, left, right)?,
                // Velocity compares numbers only, and computes nothing of others.
                _ if matches!(op, Op::Less | Op::Greater | Op::LessEqual | Op::GreaterEqual) => {
                    Value::Bool(false)
                }
                _ => Value::Null,
            },
        };
        self.stack.push(value);
        Ok(())
    }

    fn add(
        &mut self,
        left: &Value<'h>,
        right: &Value<'h>,
        one: Span,
        other: Span,
    ) -> Result<Value<'h>, Fault> {
        if let (Some(left), Some(right)) = (left.number(), right.number()) {
            return numbers(Op::Add { left: one, right: other }, left, right);
        }
        if left.as_str().is_none() && right.as_str().is_none() {
            return Ok(Value::Null);
        }
        let program = self.program;
        let mut text = String::new();
        for (value, literal) in [(left, one), (right, other)] {
            match value {
                Value::Text(part) => {
                    self.heap.room(text.len().saturating_add(part.len()))?;
                    text.push_str(part);
                }
                Value::Null => text.push_str(program.slice(literal)),
                value => text.push_str(&to_text(&mut self.heap, value)?),
            }
        }
        self.heap.text(text)
    }

    pub(super) fn range(&mut self) -> Result<(), Fault> {
        let (to, from) = (self.pop(), self.pop());
        let range = match (from.number(), to.number()) {
            (Some(from), Some(to)) => self.heap.range(from.int(), to.int())?,
            _ => Value::Null,
        };
        self.stack.push(range);
        Ok(())
    }

    /// `[object, arguments …]` to what the method gives.
    pub(super) fn call_method(&mut self, name: u32, count: usize) -> Result<(), Fault> {
        let program = self.program;
        let name = &program.names[name as usize];
        let from = self.stack.len().saturating_sub(count);
        let place = from.saturating_sub(1);
        if let Some(Value::Block(block)) = self.stack.get(place) {
            let block = *block;
            if &**name == "toString" && count == 0 && self.renderable(block) {
                return self.call_block(block, Some(place));
            }
            self.stack.truncate(place);
            self.stack.push(Value::Null);
            return Ok(());
        }
        let object = std::mem::take(&mut self.stack[place]);
        let answer =
            crate::methods::call(&mut self.heap, program, &object, name, &self.stack[from..]);
        let answer = answer.map_err(|fault| match fault.kind {
            ErrorKind::Call => Fault::call(format!("{}.{name}: {}", object.class(), fault.message)),
            _ => fault,
        })?;
        self.stack.truncate(place);
        self.stack.push(answer.unwrap_or_default());
        Ok(())
    }

    pub(super) fn deeper(&mut self) -> Result<(), Fault> {
        self.calls += 1;
        if self.calls > CALLS_MAX {
            let message = format!("macros and blocks call one another over {CALLS_MAX} deep");
            return Err(Fault::new(ErrorKind::Depth, message));
        }
        Ok(())
    }
}

fn numbers(op: Op, left: Number, right: Number) -> Result<Value<'static>, Fault> {
    let order = number::compare(left, right);
    let computed = match op {
        Op::Less => return Ok(order.is_lt().into()),
        Op::Greater => return Ok(order.is_gt().into()),
        Op::LessEqual => return Ok(order.is_le().into()),
        Op::GreaterEqual => return Ok(order.is_ge().into()),
        Op::Subtract => {
            Some(number::compute(left, right, i128::checked_sub, |left, right| left - right)?)
        }
        Op::Multiply => {
            Some(number::compute(left, right, i128::checked_mul, |left, right| left * right)?)
        }
        Op::Divide => number::divide(left, right)?,
        Op::Modulo => number::modulo(left, right)?,
        _ => Some(number::compute(left, right, i128::checked_add, |left, right| left + right)?),
    };
    Ok(computed.map_or(Value::Null, Value::from))
}
