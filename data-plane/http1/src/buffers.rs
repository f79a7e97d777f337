//! Memory that requests and answers pass through, used again by the next.

use std::cell::RefCell;

use bytes::BytesMut;

/// How many wait. A connection has one while it is used, and none while it waits.
const COUNT_MAX: usize = 64;
/// A larger one, of a large head or body, is not kept.
const BYTES_MAX: usize = 16 * 1024;

/// One thread's buffers.
#[derive(Debug, Default)]
pub struct Buffers {
    free: RefCell<Vec<BytesMut>>,
}

impl Buffers {
    /// An empty buffer: the one that was used last, or a new one.
    pub fn take(&self) -> BytesMut {
        self.free.borrow_mut().pop().unwrap_or_default()
    }

    pub fn give_back(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut free = self.free.borrow_mut();
        if (1..=BYTES_MAX).contains(&buffer.capacity()) && free.len() < COUNT_MAX {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_kept_is_bounded() {
        let buffers = Buffers::default();
        for _ in 0..2 * COUNT_MAX {
            buffers.give_back(BytesMut::from(&b"used"[..]));
        }
        buffers.give_back(BytesMut::with_capacity(BYTES_MAX + 1));
        buffers.give_back(BytesMut::new());
        assert_eq!(buffers.free.borrow().len(), COUNT_MAX);
        let again = buffers.take();
        assert!(again.is_empty() && again.capacity() > 0);
    }
}
