//! What the planes must agree on: the messages between them, and the few computations whose output both
//! sides compare.
//!
//! - [`config`]: resources and the stream that brings them to nodes.
//! - [`usage`]: the service that takes sealed journal segments.
//! - [`tail`]: the service that shows requests as they end.
//! - [`inquiry`]: the service that asks nodes what they know of one tenant.
//! - [`reconciliation`]: the service that takes what is counted beside the ledger.
//! - [`segment`]: the bytes of such a segment.
//! - [`digest`]: what a node looks an API key up by.
//! - [`name`]: what a resource is called.
//! - [`redis_keys`]: the one place that names Redis keys.
#![forbid(unsafe_code)]

/// The files' own description, as an encoded `FileDescriptorSet`: for whoever compares messages field by field.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub mod digest;
pub mod name;
pub mod redis_keys;
mod secret;
pub mod segment;

/// Generated from `config/v1`.
pub mod config {
    /// No encoded `Update` is longer: what would be is refused when it is written, and no node takes it.
    pub const UPDATE_BYTES_MAX: usize = 16 << 20;

    #[expect(clippy::all, clippy::pedantic, clippy::allow_attributes, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("tollgate.config.v1");
    }
}

/// Generated from `usage/v1`.
pub mod usage {
    #[expect(clippy::all, clippy::pedantic, clippy::allow_attributes, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("tollgate.usage.v1");
    }
}

/// Generated from `tail/v1`.
pub mod tail {
    #[expect(clippy::pedantic, clippy::allow_attributes, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("tollgate.tail.v1");
    }
}

/// Generated from `inquiry/v1`.
pub mod inquiry {
    #[expect(clippy::all, clippy::pedantic, clippy::allow_attributes, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("tollgate.inquiry.v1");
    }
}

/// Generated from `reconciliation/v1`.
pub mod reconciliation {
    /// Counts of one report, of all kinds together.
    pub const COUNTS_MAX: usize = 5000;
    /// Quotas of one question.
    pub const ASKED_MAX: usize = 500;

    #[expect(clippy::pedantic, clippy::allow_attributes, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("tollgate.reconciliation.v1");
    }
}
