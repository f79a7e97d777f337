//! What a macro's call binds: its parameters, each by its name in the code of the call, evaluated at every use.

use std::cell::RefCell;
use std::rc::Rc;

use crate::program::Span;
use crate::value::Value;

/// One call of a macro, as long as it runs or a block that was defined in it is there.
pub(crate) struct Frame<'h> {
    /// The call that this one was made in: where its arguments are evaluated.
    pub caller: Option<Rc<Frame<'h>>>,
    /// Calls within one another up to this one.
    pub depth: u32,
    pub bindings: RefCell<Vec<Binding<'h>>>,
}

pub(crate) struct Binding<'h> {
    pub variable: u32,
    pub bound: Bound<'h>,
    /// The argument as it stands in the call, which is written where it leads to nothing.
    pub literal: Option<Span>,
}

#[derive(Clone)]
pub(crate) enum Bound<'h> {
    Value(Value<'h>),
    Lazy { code: u32, simple: Option<u32> },
}

impl<'h> Frame<'h> {
    pub(crate) fn bound(&self, variable: u32) -> Option<Bound<'h>> {
        let bindings = self.bindings.borrow();
        bindings.iter().find(|known| known.variable == variable).map(|known| known.bound.clone())
    }

    pub(crate) fn literal(&self, variable: u32) -> Option<Span> {
        let bindings = self.bindings.borrow();
        bindings.iter().find(|known| known.variable == variable).and_then(|known| known.literal)
    }

    /// A parameter that the macro sets is its own from then on, in all calls around it as well.
    pub(crate) fn set(&self, variable: u32, bound: &Bound<'h>) {
        for binding in &mut *self.bindings.borrow_mut() {
            if binding.variable == variable {
                binding.bound = bound.clone();
            }
        }
        let mut caller = self.caller.as_deref();
        while let Some(frame) = caller {
            for binding in &mut *frame.bindings.borrow_mut() {
                if binding.variable == variable {
                    binding.bound = bound.clone();
                }
            }
            caller = frame.caller.as_deref();
        }
    }
}
