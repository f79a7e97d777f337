//! Connections that made one call and then are silent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::{ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use super::{Target, handshakes};

/// Plain, or inside TLS.
pub(crate) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// So many, until they are dropped.
pub(crate) fn open(target: &Target, count: usize) -> Result<Vec<Box<dyn Stream>>> {
    let (address, request) = (target.address()?, target.request()?);
    let tls = target.url.starts_with("https:").then(handshakes::client).transpose()?.map(Arc::new);
    let connection = |_| {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut stream: Box<dyn Stream> = match &tls {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::try_from("localhost")?;
                Box::new(StreamOwned::new(ClientConnection::new(config.clone(), name)?, stream))
            }
        };
        call(&mut stream, &request)?;
        Ok(stream)
    };
    (0..count).map(connection).collect()
}

fn call(stream: &mut impl Stream, request: &[u8]) -> Result<()> {
    stream.write_all(request)?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let bytes = stream.read(&mut buffer)?;
        ensure!(bytes > 0, "the connection ended");
        answer.extend_from_slice(&buffer[..bytes]);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&answer[..end])?.to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 200 "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("an answer without a length")?.trim().parse()?;
        if answer.len() >= end + 4 + length {
            return Ok(());
        }
    }
}
