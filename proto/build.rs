//! Compiles the .proto files with protox, so that a build needs no `protoc`.

use std::{env, fs, path::PathBuf};

use protox::prost::Message;

/// What is secret is not shown: `src/secret.rs` has their `Debug`.
const SECRET: &str = ".tollgate.config.v1.Secret";
const SIGNER: &str = ".tollgate.config.v1.AwsSigner";
const SIGNING_KEY: &str = ".tollgate.config.v1.AwsSigningKey";
const CLIENT_CERTIFICATE: &str = ".tollgate.config.v1.ClientCertificate";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=config");
    println!("cargo:rerun-if-changed=usage");
    println!("cargo:rerun-if-changed=tail");
    println!("cargo:rerun-if-changed=inquiry");
    println!("cargo:rerun-if-changed=reconciliation");
    let files = protox::compile(
        [
            "config/v1/resources.proto",
            "config/v1/stream.proto",
            "usage/v1/usage.proto",
            "tail/v1/tail.proto",
            "inquiry/v1/inquiry.proto",
            "reconciliation/v1/reconciliation.proto",
        ],
        ["."],
    )?;
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(descriptors, files.encode_to_vec())?;
    // Sorted maps: the same message must encode to the same bytes, deployments are addressed by content.
    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug([SECRET, SIGNER, SIGNING_KEY, CLIENT_CERTIFICATE])
        .compile_fds(files)?;
    Ok(())
}
