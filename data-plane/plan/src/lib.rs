//! data-plane/plan
