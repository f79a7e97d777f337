//! The words that stories use.
