//! The machine that runs a [`Program`]: one loop over its instructions, with stacks of its own, so that it can stop
//! after any of them and go on later, and no template can use up the thread's stack.

mod flow;
mod operate;

use std::rc::Rc;

use crate::error::{Error, ErrorKind, Fault};
use crate::frame::{Bound, Frame};
use crate::heap::{Heap, steps_used_up};
use crate::host::Host;
use crate::iterate::Iterate;
use crate::options::{Limits, Undefined};
use crate::program::{Const, FOREACH, Op, Program};
use crate::value::{Id, Text, Value};
use crate::write::{self, Out};

/// How far a rendering came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Done,
    /// The slice of steps is used up; [`Render::run`] goes on.
    Yielded,
}

/// Macros and blocks within one another, of whatever kind.
const CALLS_MAX: usize = 256;
/// Macros within one another: Velocity's `velocimacro.max.depth`.
const MACROS_MAX: u32 = 20;

/// One rendering of a program.
pub struct Render<'h> {
    program: &'h Program,
    host: &'h dyn Host,
    heap: Heap<'h>,
    /// None where the host has not been asked yet.
    variables: Vec<Option<Value<'h>>>,
    stack: Vec<Value<'h>>,
    control: Vec<Control<'h>>,
    frame: Option<Rc<Frame<'h>>>,
    calls: usize,
    /// What is kept instead of written, of all captures in turn, and where each begins.
    scratch: String,
    captures: Vec<usize>,
    at: usize,
    /// An end or an error came.
    over: bool,
}

/// What is to be left again.
enum Control<'h> {
    Loop(Box<Looping<'h>>),
    Call(Calling<'h>),
}

struct Looping<'h> {
    iterate: Iterate<'h>,
    variable: u32,
    scope: Id,
    rounds: u32,
    end: u32,
    /// What `$item`, `$foreach`, `$velocityCount` and `$velocityHasNext` were before.
    saved: [Option<Value<'h>>; 4],
    /// The item is a parameter of the macro around it.
    bound: Option<Bound<'h>>,
    height: usize,
    captures: usize,
}

struct Calling<'h> {
    back: usize,
    frame: Option<Rc<Frame<'h>>>,
    height: usize,
    captures: usize,
    block: Option<Id>,
    /// What the call writes becomes the value at that place of the stack.
    into: Option<usize>,
    /// It leaves a value on the stack.
    value: bool,
}

impl<'h> Render<'h> {
    pub fn new(program: &'h Program, host: &'h dyn Host, limits: Limits) -> Self {
        let heap = Heap::new(limits);
        heap.meter.add(program.variables.len() * crate::heap::VALUE_BYTES);
        Self {
            program,
            host,
            heap,
            variables: vec![None; program.variables.len()],
            stack: Vec::new(),
            control: Vec::new(),
            frame: None,
            calls: 0,
            scratch: String::new(),
            captures: Vec::new(),
            at: 0,
            over: false,
        }
    }

    /// Renders to the end, or up to the first instruction after `slice` steps, and appends to `out`.
    ///
    /// A step is an instruction, or as much work as one; an instruction on long texts takes many at once, so that a
    /// slice may be exceeded by the work of one instruction, which the limit of memory bounds. After an error nothing
    /// more is rendered.
    pub fn run(&mut self, out: &mut String, slice: u64) -> Result<Progress, Error> {
        if self.over {
            return Ok(Progress::Done);
        }
        match self.advance(out, slice) {
            Ok(progress) => {
                self.over = progress == Progress::Done;
                Ok(progress)
            }
            Err(fault) => {
                self.over = true;
                let place = self.program.places.get(self.at.saturating_sub(1)).copied();
                Err(fault.at(self.program.locate(place.unwrap_or_default())))
            }
        }
    }

    /// Steps that were taken up to now.
    pub fn steps(&self) -> u64 {
        self.heap.limits.steps - self.heap.left
    }

    /// Bytes that values hold now.
    pub fn used_bytes(&self) -> usize {
        self.heap.used_bytes()
    }

    fn advance(&mut self, out: &mut String, slice: u64) -> Result<Progress, Fault> {
        let mut slice = slice.max(1);
        loop {
            let batch = slice.min(self.heap.left);
            if batch == 0 {
                return Err(steps_used_up(self.heap.limits.steps));
            }
            let (taken, done) = self.batch(out, batch)?;
            self.heap.left = self.heap.left.saturating_sub(taken);
            if done {
                return Ok(Progress::Done);
            }
            slice = slice.saturating_sub(taken);
            if slice == 0 {
                return Ok(Progress::Yielded);
            }
        }
    }

    /// Up to so many steps; gives how many were taken, and whether all is rendered.
    fn batch(&mut self, out: &mut String, most: u64) -> Result<(u64, bool), Fault> {
        let program = self.program;
        let mut taken = 0;
        while taken < most {
            let Some(op) = program.code.get(self.at) else { return Ok((taken, true)) };
            self.at += 1;
            taken += 1;
            self.step(*op, out)?;
            if self.heap.spent > 0 {
                taken += self.heap.spent;
                self.heap.spent = 0;
                if taken > self.heap.left {
                    return Err(steps_used_up(self.heap.limits.steps));
                }
            }
        }
        Ok((taken, false))
    }

    fn step(&mut self, op: Op, out: &mut String) -> Result<(), Fault> {
        match op {
            Op::Text(span) => {
                let text = self.program.slice(span);
                self.heap.spend_bytes(text.len())?;
                self.write(out, text)?;
            }
            Op::Const(constant) => {
                let value = self.constant(constant);
                self.stack.push(value);
            }
            Op::Load(variable) => {
                if self.frame.is_some() {
                    return self.load_bound(variable);
                }
                let value = self.load(variable);
                self.stack.push(value);
            }
            Op::Property(name) => {
                let object = self.pop();
                let name = &self.program.names[name as usize];
                let value = crate::methods::property(&mut self.heap, &object, name);
                self.stack.push(value);
            }
            Op::Index => {
                let (index, object) = (self.pop(), self.pop());
                let value = crate::methods::index(&mut self.heap, &object, &index)?;
                self.stack.push(value);
            }
            Op::Call { name, arguments } => self.call_method(name, arguments as usize)?,
            Op::SkipNull(to) => {
                if self.stack.last().is_none_or(Value::is_null) {
                    self.at = to as usize;
                }
            }
            Op::Fill => {
                if let Some(top @ Value::Null) = self.stack.last_mut() {
                    *top = Value::borrowed("");
                }
            }
            Op::Emit(reference) => self.emit(reference, out)?,
            Op::Pop => {
                self.stack.pop();
            }
            Op::Jump(to) => self.at = to as usize,
            Op::JumpFalse(to) => {
                if !matches!(self.stack.pop(), Some(Value::Bool(true))) {
                    self.at = to as usize;
                }
            }
            Op::KeepFalse(to) => self.keep(false, to),
            Op::KeepTrue(to) => self.keep(true, to),
            Op::Truth => {
                let truth = match self.pop() {
                    Value::Null => false,
                    Value::Bool(value) => value,
                    Value::Block(block) => self.renderable(block),
                    _ => true,
                };
                self.stack.push(Value::Bool(truth));
            }
            Op::Not => {
                let value = matches!(self.pop(), Value::Bool(true));
                self.stack.push(Value::Bool(!value));
            }
            other => self.build(other, out)?,
        }
        Ok(())
    }

    /// What makes or keeps values, and what goes elsewhere.
    fn build(&mut self, op: Op, out: &mut String) -> Result<(), Fault> {
        match op {
            Op::Store(variable) => {
                let value = self.pop();
                if !value.is_null() {
                    self.store(variable, value);
                }
            }
            Op::BailNull(to) => {
                if self.stack.last().is_none_or(Value::is_null) {
                    self.stack.pop();
                    self.at = to as usize;
                }
            }
            Op::BailNull2(to) => {
                if self.stack.last().is_none_or(Value::is_null) {
                    self.stack.pop();
                    self.stack.pop();
                    self.at = to as usize;
                }
            }
            Op::SetProperty(name) => {
                let (object, value) = (self.pop(), self.pop());
                let name = &self.program.names[name as usize];
                crate::methods::set_property(&mut self.heap, &object, name, value)?;
            }
            Op::SetIndex => {
                let (index, object, value) = (self.pop(), self.pop(), self.pop());
                crate::methods::set_index(&mut self.heap, &object, &index, value)?;
            }
            Op::Add { .. }
            | Op::Subtract
            | Op::Multiply
            | Op::Divide
            | Op::Modulo
            | Op::Equal
            | Op::NotEqual
            | Op::Less
            | Op::Greater
            | Op::LessEqual
            | Op::GreaterEqual => self.operate(op)?,
            Op::List(count) => {
                let values = self.take(count as usize);
                let list = self.heap.list(values)?;
                self.stack.push(list);
            }
            Op::Map(count) => {
                let mut values = self.take(2 * count as usize).into_iter();
                let entries = std::iter::from_fn(|| Some((values.next()?, values.next()?)));
                let map = self.heap.map(entries)?;
                self.stack.push(map);
            }
            Op::Range => self.range()?,
            Op::Capture => self.captures.push(self.scratch.len()),
            Op::Release | Op::ReleaseTrimmed => self.release(op == Op::ReleaseTrimmed)?,
            Op::LoopStart { variable, end } => self.loop_start(variable, end)?,
            Op::LoopNext { end } => self.loop_next(end)?,
            Op::Break => self.leave(None)?,
            Op::BreakScope => match self.pop() {
                Value::Loop(scope) => self.leave(Some(scope))?,
                other => {
                    return Err(Fault::call(format!(
                        "#break needs a $foreach, not a {}",
                        other.class()
                    )));
                }
            },
            Op::Stop => self.at = self.program.code.len(),
            Op::Define { variable } => self.define(variable)?,
            Op::Macro(call) => self.call_macro(call, out)?,
            Op::Return => self.give_back()?,
            _ => debug_assert!(false, "the others were before"),
        }
        Ok(())
    }

    fn pop(&mut self) -> Value<'h> {
        self.stack.pop().unwrap_or_default()
    }

    fn take(&mut self, count: usize) -> Vec<Value<'h>> {
        let from = self.stack.len().saturating_sub(count);
        self.stack.split_off(from)
    }

    fn keep(&mut self, wanted: bool, to: u32) {
        if matches!(self.stack.last(), Some(Value::Bool(value)) if *value == wanted) {
            self.at = to as usize;
        } else {
            self.stack.pop();
        }
    }

    fn constant(&self, constant: u32) -> Value<'h> {
        match &self.program.constants[constant as usize] {
            Const::Null => Value::Null,
            Const::Bool(value) => Value::Bool(*value),
            Const::Int(value) => Value::Int(*value),
            Const::Long(value) => Value::Long(*value),
            Const::Big(value) => Value::Big(Box::new(*value)),
            Const::Double(value) => Value::Double(*value),
            Const::Text(text) => Value::Text(Text::Borrowed(text)),
        }
    }

    /// A variable outside of macros.
    fn load(&mut self, variable: u32) -> Value<'h> {
        let index = variable as usize;
        if self.variables[index].is_none() {
            let name = &self.program.variables[index];
            let mut value = self.host.variable(name);
            if value.is_none() && self.program.options.math && &**name == "Math" {
                value = Some(Value::Math);
            }
            self.variables[index] = Some(value.unwrap_or_default());
        }
        match &self.variables[index] {
            Some(value @ Value::Object(_)) => self.heap.current(value.clone()),
            Some(value) => value.clone(),
            None => Value::Null,
        }
    }

    fn store(&mut self, variable: u32, value: Value<'h>) {
        if let Some(frame) = &self.frame {
            frame.set(variable, &Bound::Value(value.clone()));
        }
        self.variables[variable as usize] = Some(value);
    }

    /// To the output, or to what is kept.
    fn write(&mut self, out: &mut String, text: &str) -> Result<(), Fault> {
        self.sink(out).push(text)
    }

    fn sink<'o>(&'o mut self, out: &'o mut String) -> Out<'o> {
        if self.captures.is_empty() {
            let bytes_max = self.heap.limits.output_bytes;
            return Out { text: out, bytes_max, excess: ErrorKind::Output };
        }
        let bytes_max = self.heap.limits.memory_bytes.saturating_sub(self.heap.meter.used());
        Out { text: &mut self.scratch, bytes_max, excess: ErrorKind::Memory }
    }

    fn write_value(&mut self, out: &mut String, value: &Value<'h>) -> Result<(), Fault> {
        if let Value::Text(text) = value {
            self.heap.spend_bytes(text.len())?;
            return self.write(out, text);
        }
        if self.captures.is_empty() {
            let bytes_max = self.heap.limits.output_bytes;
            let mut sink = Out { text: out, bytes_max, excess: ErrorKind::Output };
            return write::write(&mut self.heap, value, &mut sink);
        }
        let bytes_max = self.heap.limits.memory_bytes.saturating_sub(self.heap.meter.used());
        let mut sink = Out { text: &mut self.scratch, bytes_max, excess: ErrorKind::Memory };
        write::write(&mut self.heap, value, &mut sink)
    }

    /// Writes a reference's value, or itself where it leads to nothing.
    fn emit(&mut self, reference: u32, out: &mut String) -> Result<(), Fault> {
        let program = self.program;
        let reference = program.references[reference as usize];
        let value = self.pop();
        let escapes = program.slice(reference.escapes);
        if reference.escaped {
            self.write(out, escapes)?;
            if value.is_null() {
                self.write(out, "\\")?;
            }
            return self.write_literal(out, &reference);
        }
        let shown = match &value {
            Value::Null => false,
            Value::Block(block) => self.renderable(*block),
            _ => true,
        };
        if !shown {
            self.write(out, escapes)?;
            self.write(out, escapes)?;
            if value.is_null() && program.options.undefined == Undefined::Empty {
                return Ok(());
            }
            return self.write_literal(out, &reference);
        }
        self.write(out, escapes)?;
        if let Value::Block(block) = value {
            return self.call_block(block, None);
        }
        self.write_value(out, &value)
    }

    fn write_literal(
        &mut self,
        out: &mut String,
        reference: &crate::program::Reference,
    ) -> Result<(), Fault> {
        let program = self.program;
        let mut literal = reference.literal;
        if let (Some(variable), Some(frame)) = (reference.simple, &self.frame) {
            let mut frame = Some(&**frame);
            while let Some(known) = frame {
                if let Some(given) = known.literal(variable) {
                    literal = given;
                    break;
                }
                frame = known.caller.as_deref();
            }
        }
        self.write(out, program.slice(literal))
    }
}

/// How deep a frame is.
fn depth(frame: Option<&Rc<Frame<'_>>>) -> u32 {
    frame.map_or(0, |frame| frame.depth)
}

/// The variable that every loop sets.
const SCOPE: usize = FOREACH as usize;
