//! What callers cost who wait.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use proto::config::v1::Dialect::Native;

use super::world::{API, TestNode, api, mock};
use crate::config::Http1Server;

/// Of the whole process; each caller's own end is here too, and is a file descriptor.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages = status.split(' ').nth(1).expect("resident").parse::<usize>().expect("a number");
    pages * 4096
}

#[tokio::test]
async fn a_caller_who_waits_costs_no_buffer() {
    const CALLERS: usize = 2000;
    let node = TestNode::start_with(api(Native, &[("GET /", mock(200, "ok"))]), |config| {
        config.http1_server = Http1Server::Tollgate;
    });
    let request = format!("GET /prod/ HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n\r\n");
    let connect = || {
        let mut caller = TcpStream::connect(node.address).expect("a connection");
        caller.write_all(request.as_bytes()).expect("written");
        assert!(caller.read(&mut [0; 1024]).expect("read") > 100);
        caller
    };
    // With these comes what the node needs once.
    let first: Vec<TcpStream> = (0..CALLERS / 10).map(|_| connect()).collect();
    let before = resident_bytes();
    let callers: Vec<TcpStream> = (0..CALLERS).map(|_| connect()).collect();
    let bytes = resident_bytes().saturating_sub(before) / callers.len();
    println!("{bytes} bytes for each of {} callers who wait", callers.len());
    assert!(bytes <= 8 * 1024, "{bytes} bytes");
    drop(first);
}
