//! A client that blocks on one socket: no runtime of its own to wait for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

/// Who is asked.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) token: &'static str,
    pub(crate) model: &'static str,
}

impl Target {
    /// A question of a few hundred bytes, as bytes.
    pub(crate) fn request(&self, stream: bool, word: &str) -> Vec<u8> {
        let messages = json!([
            {"role": "system", "content": "You answer questions about incidents in one sentence."},
            {"role": "user", "content": format!("Why does the checkout service time out after the deploy? {word}")},
        ]);
        // Written out: the provider looks for these bytes.
        let body = format!("{{\"model\":\"{}\",\"stream\":{stream},\"messages\":{messages}}}", self.model);
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            self.token,
            body.len()
        )
        .into_bytes()
    }
}

/// What an answer took.
pub(crate) struct Times {
    /// Until the first token of a stream.
    pub(crate) first_token: Option<Duration>,
    pub(crate) whole: Duration,
}

/// A connection that is kept open.
pub(crate) struct Connection {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(target: Target) -> Self {
        let socket = TcpStream::connect(target.address).expect("connected");
        socket.set_nodelay(true).expect("a socket option");
        Self { socket, bytes: Vec::with_capacity(64 << 10) }
    }

    /// Asks and reads the whole answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Times {
        self.bytes.clear();
        let mut first_token = None;
        let began = Instant::now();
        self.socket.write_all(request).expect("sent");
        let mut room = [0_u8; 16 << 10];
        while !is_whole(&self.bytes) {
            let n_bytes = self.socket.read(&mut room).expect("read");
            assert_ne!(n_bytes, 0, "closed: {}", String::from_utf8_lossy(&self.bytes));
            self.bytes.extend_from_slice(&room[..n_bytes]);
            if first_token.is_none() && contains(&self.bytes, b"token ") {
                first_token = Some(began.elapsed());
            }
        }
        let whole = began.elapsed();
        assert!(self.bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&self.bytes));
        assert!(first_token.is_some(), "no text: {}", String::from_utf8_lossy(&self.bytes));
        Times { first_token, whole }
    }
}

/// Whether the answer has all its bytes, by its length or by the last of its chunks.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    match text.lines().find_map(|line| line.strip_prefix("content-length:")) {
        Some(length) => bytes.len() >= head + 4 + length.trim().parse::<usize>().expect("a number"),
        None => bytes.ends_with(b"0\r\n\r\n"),
    }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}
