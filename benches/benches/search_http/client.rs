//! A client that blocks on one socket: no runtime of its own to wait for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::PATIENCE;

/// A connection that is kept open.
pub(crate) struct Connection {
    socket: TcpStream,
    address: SocketAddr,
    token: &'static str,
    bytes: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr, token: &'static str) -> Self {
        let socket = TcpStream::connect(address).expect("connected");
        socket.set_nodelay(true).expect("a socket option");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        Self { socket, address, token, bytes: Vec::with_capacity(256 << 10) }
    }

    /// Searches; how long the whole answer took and how many hits it has.
    pub(crate) fn search(&mut self, body: &Value) -> (Duration, usize) {
        let body = body.to_string();
        let request = format!(
            "POST /api/search HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            self.token,
            body.len()
        );
        self.bytes.clear();
        let began = Instant::now();
        self.socket.write_all(request.as_bytes()).expect("sent");
        let mut room = [0_u8; 64 << 10];
        let head = loop {
            let n_bytes = self.socket.read(&mut room).expect("read");
            assert_ne!(n_bytes, 0, "closed: {}", String::from_utf8_lossy(&self.bytes));
            self.bytes.extend_from_slice(&room[..n_bytes]);
            if let Some(head) = whole(&self.bytes) {
                break head;
            }
        };
        let took = began.elapsed();
        assert!(self.bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&self.bytes));
        let answer: Value = serde_json::from_slice(&self.bytes[head..]).expect("JSON");
        assert_eq!(answer["degraded"], Value::Array(Vec::new()), "every leg takes part");
        (took, answer["hits"].as_array().map_or(0, Vec::len))
    }
}

/// Where the body begins, once it is whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    let length: usize = length.trim().parse().expect("a number");
    (bytes.len() >= head + length).then_some(head)
}
