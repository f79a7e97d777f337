//! How many requests a backend gets at once, and how many wait for their turn.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// A bound, and a queue with a bound of its own, first come first served.
#[derive(Clone, Debug)]
pub struct Gate(Rc<State>);

#[derive(Debug)]
struct State {
    used: Cell<usize>,
    waiting: RefCell<VecDeque<Rc<Ticket>>>,
}

#[derive(Debug, Default)]
struct Ticket {
    /// A turn was passed on to it.
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A place within the bound; dropped, the next in the queue has it.
#[derive(Debug)]
pub struct Turn(Rc<State>);

/// As many wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A place in the queue.
struct Waiting {
    state: Rc<State>,
    ticket: Rc<Ticket>,
}

impl Default for Gate {
    fn default() -> Self {
        Self(Rc::new(State { used: Cell::new(0), waiting: RefCell::default() }))
    }
}

impl Gate {
    /// A turn: at once where fewer than `max` are taken, else after `waiting_max` others at most.
    pub async fn enter(&self, max: usize, waiting_max: usize) -> Result<Turn, Full> {
        let state = &self.0;
        if state.used.get() < max && state.waiting.borrow().is_empty() {
            state.used.set(state.used.get() + 1);
            return Ok(Turn(state.clone()));
        }
        if state.waiting.borrow().len() >= waiting_max {
            return Err(Full);
        }
        let ticket = Rc::<Ticket>::default();
        state.waiting.borrow_mut().push_back(ticket.clone());
        Ok(Waiting { state: state.clone(), ticket }.await)
    }

    /// Whether nobody is in or waits.
    pub fn is_idle(&self) -> bool {
        self.0.used.get() == 0 && self.0.waiting.borrow().is_empty()
    }
}

impl State {
    /// Passes a turn on, or takes it back where nobody waits.
    fn leave(&self) {
        let next = self.waiting.borrow_mut().pop_front();
        match next {
            None => self.used.set(self.used.get() - 1),
            Some(ticket) => {
                ticket.called.set(true);
                if let Some(waker) = ticket.waker.take() {
                    waker.wake();
                }
            }
        }
    }
}

impl Future for Waiting {
    type Output = Turn;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn> {
        if self.ticket.called.take() {
            return Poll::Ready(Turn(self.state.clone()));
        }
        *self.ticket.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.ticket.called.take() {
            self.state.leave(); // called, but nobody came
        } else {
            self.state.waiting.borrow_mut().retain(|ticket| !Rc::ptr_eq(ticket, &self.ticket));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn turns_go_round_in_the_order_of_asking_and_one_too_many_is_told() {
        let gate = Gate::default();
        let first = gate.enter(1, 2).now_or_never().unwrap().unwrap();
        let (mut second, mut third) = (pin!(gate.enter(1, 2)), pin!(gate.enter(1, 2)));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!(gate.enter(1, 2).now_or_never().unwrap().unwrap_err(), Full);

        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        let second = second.as_mut().now_or_never().unwrap().unwrap();
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        drop(third.as_mut().now_or_never().unwrap().unwrap());
        assert!(gate.is_idle());
    }

    #[test]
    fn whoever_leaves_the_queue_keeps_no_place_and_no_turn() {
        let gate = Gate::default();
        let first = gate.enter(1, 9).now_or_never().unwrap().unwrap();
        let mut gone = Box::pin(gate.enter(1, 9));
        let mut called = Box::pin(gate.enter(1, 9));
        let mut last = Box::pin(gate.enter(1, 9));
        for waiting in [&mut gone, &mut called, &mut last] {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        drop(gone);
        drop(first); // calls the second in the queue
        drop(called);
        drop(last.as_mut().now_or_never().unwrap().unwrap());
        assert!(gate.is_idle());
    }
}
