//! A provider that answers at once, or every 20 ms where a question says `paced`.
//!
//! Raw sockets: a server library would hide its own time in the numbers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Tokens of a paced answer, and the time between two.
pub(crate) const PACED_TOKENS: usize = 64;
const PACE: Duration = Duration::from_millis(20);
/// Tokens of an answer that comes at once.
const TOKENS: usize = 8;

/// When this process began: tokens of paced answers carry the time of their sending.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

pub(crate) fn now() -> Duration {
    BEGAN.elapsed()
}

/// Starts on a thread of its own; port 0 is one of the system's choice.
pub(crate) fn start(port: u16) -> SocketAddr {
    LazyLock::force(&BEGAN);
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
    listener.set_nonblocking(true).expect("a socket option");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread");
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).expect("a listener");
            loop {
                let (socket, _) = listener.accept().await.expect("connections");
                socket.set_nodelay(true).expect("a socket option");
                // A client that goes away ends its connection and nothing else.
                tokio::spawn(async move { drop(serve(socket).await) });
            }
        });
    });
    address
}

async fn serve(mut socket: TcpStream) -> std::io::Result<()> {
    let (whole, stream) = (whole(), stream());
    let mut bytes = Vec::with_capacity(16 << 10);
    loop {
        let end = loop {
            if let Some(end) = request_end(&bytes) {
                break end;
            }
            if socket.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        let request = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes.drain(..end);
        if request.contains("paced") {
            paced(&mut socket).await?;
        } else if request.contains("\"stream\":true") {
            socket.write_all(&stream).await?;
        } else {
            socket.write_all(&whole).await?;
        }
    }
}

fn request_end(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    (bytes.len() >= head + length).then_some(head + length)
}

fn whole() -> Vec<u8> {
    let message = json!({"role": "assistant", "content": "token ".repeat(TOKENS)});
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "fake-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": TOKENS, "total_tokens": 9 + TOKENS},
    })
    .to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn stream() -> Vec<u8> {
    let mut events = String::new();
    for _ in 0..TOKENS {
        events += &token("token ");
    }
    events += &end();
    format!("{STREAM_HEAD}{}0\r\n\r\n", chunk(&events)).into_bytes()
}

async fn paced(socket: &mut TcpStream) -> std::io::Result<()> {
    socket.write_all(STREAM_HEAD.as_bytes()).await?;
    let mut rhythm = tokio::time::interval(PACE);
    for _ in 0..PACED_TOKENS {
        rhythm.tick().await;
        let event = token(&format!("@{} ", now().as_nanos()));
        socket.write_all(chunk(&event).as_bytes()).await?;
    }
    socket.write_all(format!("{}0\r\n\r\n", chunk(&end())).as_bytes()).await
}

fn token(text: &str) -> String {
    let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": null});
    let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake-1", "choices": [choice]});
    format!("data: {chunk}\n\n")
}

fn end() -> String {
    let choice = json!({"index": 0, "delta": {}, "finish_reason": "stop"});
    let finish = json!({"object": "chat.completion.chunk", "choices": [choice]});
    let usage = json!({"prompt_tokens": 9, "completion_tokens": TOKENS, "total_tokens": 9 + TOKENS});
    let usage = json!({"object": "chat.completion.chunk", "choices": [], "usage": usage});
    format!("data: {finish}\n\ndata: {usage}\n\ndata: [DONE]\n\n")
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}
