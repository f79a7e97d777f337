//! The bytes of a journal segment.
