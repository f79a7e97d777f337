//! Loops, blocks, macros, and what is kept instead of written.

use std::cell::RefCell;
use std::rc::Rc;

use super::{Calling, Control, Looping, MACROS_MAX, Render, SCOPE, depth};
use crate::error::{ErrorKind, Fault};
use crate::frame::{Binding, Bound, Frame};
use crate::heap::{Block, Scope};
use crate::iterate::Iterate;
use crate::options::Excess;
use crate::program::{Argument, BODY_CONTENT, FOREACH, VELOCITY_COUNT, VELOCITY_HAS_NEXT};
use crate::value::{Id, Value};

/// A block that renders itself does so twice: Velocity's `define.max.depth`.
const BLOCK_MAX: u32 = 2;

impl<'h> Render<'h> {
    /// What was kept since becomes a string.
    pub(super) fn release(&mut self, trimmed: bool) -> Result<(), Fault> {
        let from = self.captures.pop().unwrap_or(0);
        let mut to = self.scratch.len();
        if trimmed && to > from {
            to -= 1;
        }
        let value = self.heap.text(self.scratch.get(from..to).unwrap_or_default())?;
        self.scratch.truncate(from);
        self.stack.push(value);
        Ok(())
    }

    pub(super) fn loop_start(&mut self, variable: u32, end: u32) -> Result<(), Fault> {
        let value = self.pop();
        let Some(iterate) = Iterate::over(&self.heap, &value) else {
            self.at = end as usize;
            return Ok(());
        };
        let bound = self.frame.as_ref().and_then(|frame| frame.bound(variable));
        let saved = [variable, FOREACH, VELOCITY_COUNT, VELOCITY_HAS_NEXT]
            .map(|variable| self.variables[variable as usize].clone());
        let parent = match &saved[1] {
            Some(Value::Loop(parent)) => Some(*parent),
            _ => None,
        };
        let topmost = parent.map(|parent| {
            let scope = self.heap.scopes.get(parent.0 as usize);
            scope.and_then(|scope| scope.topmost).unwrap_or(parent)
        });
        let scope = self.heap.scope(Scope { index: -1, parent, topmost, ..Scope::default() })?;
        self.variables[SCOPE] = Some(Value::Loop(scope));
        self.control.push(Control::Loop(Box::new(Looping {
            iterate,
            variable,
            scope,
            rounds: 0,
            end,
            saved,
            bound,
            height: self.stack.len(),
            captures: self.captures.len(),
        })));
        Ok(())
    }

    pub(super) fn loop_next(&mut self, end: u32) -> Result<(), Fault> {
        let Some(Control::Loop(looping)) = self.control.last_mut() else {
            self.at = end as usize;
            return Ok(());
        };
        let limits = &self.heap.limits;
        let (iterations, excess) = (limits.iterations, limits.excess);
        let exceeded = looping.rounds >= iterations;
        if (exceeded && excess == Excess::End) || !looping.iterate.has_next(&mut self.heap) {
            self.at = end as usize;
            self.end_loop();
            return Ok(());
        }
        if exceeded {
            let message = format!("#foreach has over {iterations} rounds");
            return Err(Fault::new(ErrorKind::Iterations, message));
        }
        looping.rounds += 1;
        let (variable, scope) = (looping.variable, looping.scope);
        let value = looping.iterate.next(&mut self.heap)?;
        let has_next = looping.iterate.has_next(&mut self.heap);
        let mut count = 0;
        if let Some(scope) = self.heap.scopes.get_mut(scope.0 as usize) {
            scope.index = scope.index.saturating_add(1);
            scope.has_next = has_next;
            count = scope.index.saturating_add(1);
        }
        if self.program.counts {
            self.variables[VELOCITY_COUNT as usize] = Some(Value::Int(count));
            self.variables[VELOCITY_HAS_NEXT as usize] = Some(Value::Bool(has_next));
        }
        self.store(variable, value);
        Ok(())
    }

    /// Leaves the innermost loop: its variables are what they were.
    fn end_loop(&mut self) {
        let Some(Control::Loop(looping)) = self.control.pop() else { return };
        let [item, foreach, count, has_next] = looping.saved;
        self.variables[looping.variable as usize] = item;
        self.variables[SCOPE] = foreach;
        self.variables[VELOCITY_COUNT as usize] = count;
        self.variables[VELOCITY_HAS_NEXT as usize] = has_next;
        if let (Some(bound), Some(frame)) = (&looping.bound, &self.frame) {
            frame.set(looping.variable, bound);
        }
        self.stack.truncate(looping.height);
        self.drop_captures(looping.captures);
    }

    fn drop_captures(&mut self, left: usize) {
        if let Some(from) = self.captures.get(left) {
            self.scratch.truncate(*from);
            self.captures.truncate(left);
        }
    }

    /// `#break`: leaves the nearest loop, macro or block, or all up to that loop; without one, the template.
    pub(super) fn leave(&mut self, scope: Option<Id>) -> Result<(), Fault> {
        loop {
            match self.control.last() {
                Some(Control::Loop(looping)) => {
                    let (end, this) = (looping.end, looping.scope);
                    self.at = end as usize;
                    self.end_loop();
                    if scope.is_none_or(|scope| scope == this) {
                        return Ok(());
                    }
                }
                Some(Control::Call(call)) => {
                    // An argument's value is nothing that could be left.
                    if scope.is_none() && !call.value {
                        return self.give_back();
                    }
                    self.drop_call();
                }
                None => {
                    self.at = self.program.code.len();
                    return Ok(());
                }
            }
        }
    }

    pub(super) fn define(&mut self, variable: u32) -> Result<(), Fault> {
        let code = u32::try_from(self.at + 1).unwrap_or(u32::MAX);
        let frame = self.frame.clone();
        let block = self.heap.block(Block { code, frame, depth: 0, depth_max: BLOCK_MAX })?;
        self.store(variable, block);
        Ok(())
    }

    /// Whether the block is not rendered within itself too often already.
    pub(super) fn renderable(&self, block: Id) -> bool {
        self.heap.blocks.get(block.0 as usize).is_some_and(|block| block.depth < block.depth_max)
    }

    /// Renders a block where it stands, or into a place of the stack.
    pub(super) fn call_block(&mut self, block: Id, into: Option<usize>) -> Result<(), Fault> {
        self.deeper()?;
        let Some(known) = self.heap.blocks.get_mut(block.0 as usize) else { return Ok(()) };
        known.depth += 1;
        let code = known.code;
        // Written out it knows the macro that it stands in; as a string, the one that it was defined in.
        let frame = if into.is_some() { known.frame.clone() } else { self.frame.clone() };
        let captures = self.captures.len();
        if into.is_some() {
            self.captures.push(self.scratch.len());
        }
        self.control.push(Control::Call(Calling {
            back: self.at,
            frame: std::mem::replace(&mut self.frame, frame),
            height: self.stack.len(),
            captures,
            block: Some(block),
            into,
            value: false,
        }));
        self.at = code as usize;
        Ok(())
    }

    /// Takes the innermost call off.
    fn drop_call(&mut self) -> Option<Calling<'h>> {
        let Some(Control::Call(mut call)) = self.control.pop() else { return None };
        self.calls = self.calls.saturating_sub(1);
        self.frame = call.frame.take();
        self.at = call.back;
        if let Some(block) = call.block
            && let Some(block) = self.heap.blocks.get_mut(block.0 as usize)
        {
            block.depth = block.depth.saturating_sub(1);
        }
        Some(call)
    }

    /// The end of a block, a macro, or an argument.
    pub(super) fn give_back(&mut self) -> Result<(), Fault> {
        let Some(call) = self.drop_call() else { return Ok(()) };
        if let Some(place) = call.into {
            let from = self.captures.get(call.captures).copied().unwrap_or(self.scratch.len());
            let text = self.heap.text(self.scratch.get(from..).unwrap_or_default())?;
            self.stack.truncate(call.height);
            if let Some(value) = self.stack.get_mut(place) {
                *value = text;
            }
        } else if !call.value {
            self.stack.truncate(call.height);
        }
        self.drop_captures(call.captures);
        Ok(())
    }

    pub(super) fn call_macro(&mut self, call: u32, out: &mut String) -> Result<(), Fault> {
        let program = self.program;
        let call = &program.calls[call as usize];
        let Some(body) = call.target.and_then(|target| program.macros.get(target as usize)) else {
            return self.write(out, program.slice(call.literal));
        };
        if call.word {
            return Err(Fault::call(format!("#{} was given a bare word", call.name)));
        }
        let depth = depth(self.frame.as_ref()) + 1;
        if depth > MACROS_MAX {
            let name = &call.name;
            let message = format!("macros call one another over {MACROS_MAX} deep, at #{name}");
            return Err(Fault::new(ErrorKind::Depth, message));
        }
        self.deeper()?;
        let mut bindings = Vec::new();
        for (variable, argument) in body.parameters.iter().zip(&call.arguments) {
            let variable = *variable;
            bindings.push(match *argument {
                Argument::Constant(constant) => {
                    let bound = Bound::Value(self.constant(constant));
                    Binding { variable, bound, literal: None }
                }
                Argument::Lazy { code, literal, simple } => {
                    let bound = Bound::Lazy { code, simple };
                    Binding { variable, bound, literal: Some(literal) }
                }
            });
        }
        if let Some(code) = call.body {
            let frame = self.frame.clone();
            let depth_max = MACROS_MAX;
            let block = self.heap.block(Block { code, frame, depth: 0, depth_max })?;
            let bound = Bound::Value(block);
            bindings.push(Binding { variable: BODY_CONTENT, bound, literal: None });
        }
        // As long as a block of it is there, which is until the end.
        self.heap.keep(64 + bindings.len() * size_of::<Binding<'_>>())?;
        let caller = self.frame.clone();
        let frame = Frame { caller, depth, bindings: RefCell::new(bindings) };
        self.control.push(Control::Call(Calling {
            back: self.at,
            frame: self.frame.replace(Rc::new(frame)),
            height: self.stack.len(),
            captures: self.captures.len(),
            block: None,
            into: None,
            value: false,
        }));
        self.at = body.code as usize;
        Ok(())
    }

    /// A variable within a macro: a parameter of this one or one around it, evaluated where it was given, or one of
    /// the template's.
    pub(super) fn load_bound(&mut self, variable: u32) -> Result<(), Fault> {
        let mut variable = variable;
        let mut frame = self.frame.clone();
        while let Some(known) = frame.clone() {
            match known.bound(variable) {
                Some(Bound::Value(Value::Null)) | None => {}
                Some(Bound::Value(value)) => {
                    let value = self.heap.current(value);
                    self.stack.push(value);
                    return Ok(());
                }
                Some(Bound::Lazy { simple: Some(other), .. }) => variable = other,
                Some(Bound::Lazy { code, simple: None }) => {
                    self.deeper()?;
                    self.control.push(Control::Call(Calling {
                        back: self.at,
                        frame: std::mem::replace(&mut self.frame, known.caller.clone()),
                        height: self.stack.len(),
                        captures: self.captures.len(),
                        block: None,
                        into: None,
                        value: true,
                    }));
                    self.at = code as usize;
                    return Ok(());
                }
            }
            frame.clone_from(&known.caller);
        }
        let value = self.load(variable);
        self.stack.push(value);
        Ok(())
    }
}
