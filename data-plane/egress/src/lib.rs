//! data-plane/egress
