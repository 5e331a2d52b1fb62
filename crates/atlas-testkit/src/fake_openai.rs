//! A server on loopback that speaks OpenAI's chat completions as a test wrote them down.
//!
//! Raw sockets rather than a server library: a test wants to cut connections in the middle, to
//! say nothing, and to see the request as it was sent.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Such as `POST`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Seen {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// One scripted answer.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    piece_bytes: usize,
    ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Ending {
    Whole,
    Cut,
    Silence,
}

impl Answer {
    /// A status and a JSON body.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::bytes(status, "application/json", body.to_string())
    }

    /// An event stream, as raw bytes.
    pub fn sse(bytes: impl Into<Vec<u8>>) -> Self {
        Self::bytes(200, "text/event-stream", bytes)
    }

    /// Any status, content type and body.
    pub fn bytes(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: body.into(), piece_bytes: usize::MAX, ending: Ending::Whole }
    }

    /// A well-formed stream that says `text` in pieces of a few characters and counts tokens.
    pub fn says(text: &str) -> Self {
        let chunk = |delta: Value, finish: Value| {
            let choices = json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
            format!(
                "data: {}\n\n",
                json!({ "object": "chat.completion.chunk", "choices": choices, "usage": null })
            )
        };
        let mut body = chunk(json!({ "role": "assistant", "content": "" }), Value::Null);
        let characters: Vec<char> = text.chars().collect();
        for piece in characters.chunks(7) {
            body += &chunk(json!({ "content": piece.iter().collect::<String>() }), Value::Null);
        }
        body += &chunk(json!({}), json!("stop"));
        let usage = json!({ "prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15 });
        body += &format!("data: {}\n\ndata: [DONE]\n\n", json!({ "choices": [], "usage": usage }));
        Self::sse(body)
    }

    /// An error in OpenAI's shape.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let error =
            json!({ "message": message, "type": "invalid_request_error", "param": null, "code": code });
        Self::json(status, &json!({ "error": error }))
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends the body in chunks of this many bytes.
    pub fn in_pieces_of(mut self, n_bytes: usize) -> Self {
        self.piece_bytes = n_bytes.max(1);
        self
    }

    /// Closes the connection after the body, without the end of the answer.
    pub fn cut(mut self) -> Self {
        self.ending = Ending::Cut;
        self
    }

    /// Sends the body and then nothing, with the connection open.
    pub fn then_silence(mut self) -> Self {
        self.ending = Ending::Silence;
        self
    }
}

#[derive(Debug, Default)]
struct Script {
    chat: VecDeque<Answer>,
    models: Option<Answer>,
    seen: Vec<Seen>,
}

/// The server. It stops when it is dropped.
#[derive(Debug)]
pub struct FakeOpenAi {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    server: JoinHandle<()>,
}

impl FakeOpenAi {
    /// Starts on a port of the system's choice. Chat requests get the answers in order, and 500
    /// when there is none left; the model list is one that names `fake-1` unless replaced.
    pub async fn start(chat: impl IntoIterator<Item = Answer>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let script = Arc::new(Mutex::new(Script { chat: chat.into_iter().collect(), ..Script::default() }));
        let shared = Arc::clone(&script);
        let server = tokio::spawn(async move {
            // The connections end with the server, so that silence cannot outlive a test.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(serve(socket, Arc::clone(&shared)));
            }
        });
        Ok(Self { address, script, server })
    }

    /// The base to configure, `http://127.0.0.1:<port>/v1`.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Appends answers to chat requests.
    pub fn then(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.script).chat.extend(answers);
    }

    /// Replaces the answer to the model list.
    pub fn models(&self, answer: Answer) {
        lock(&self.script).models = Some(answer);
    }

    /// The requests so far, in order.
    pub fn requests(&self) -> Vec<Seen> {
        lock(&self.script).seen.clone()
    }

    /// The bodies of the chat requests so far.
    pub fn chats(&self) -> Vec<Value> {
        let is_chat = |seen: &&Seen| seen.path.ends_with("/chat/completions");
        lock(&self.script).seen.iter().filter(is_chat).map(Seen::json).collect()
    }
}

impl Drop for FakeOpenAi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(script: &Mutex<Script>) -> std::sync::MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut socket: TcpStream, script: Arc<Mutex<Script>>) {
    // A client that goes away is a test's business, not an error here.
    if let Ok(seen) = read_request(&mut socket).await {
        let answer = choose(&seen, &mut lock(&script));
        lock(&script).seen.push(seen);
        let _ = write_answer(&mut socket, answer).await;
    }
}

fn choose(seen: &Seen, script: &mut Script) -> Answer {
    if seen.path.ends_with("/models") {
        let list = || {
            Answer::json(200, &json!({ "object": "list", "data": [{ "id": "fake-1", "object": "model" }] }))
        };
        script.models.clone().unwrap_or_else(list)
    } else if seen.path.ends_with("/chat/completions") {
        let over = || Answer::error(500, "script_over", "the script has no more answers");
        script.chat.pop_front().unwrap_or_else(over)
    } else {
        Answer::error(404, "not_found", "no such path")
    }
}

async fn read_request(socket: &mut TcpStream) -> io::Result<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        read_more(socket, &mut bytes).await?;
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut request_line = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        read_more(socket, &mut body).await?;
    }
    let mut word = || request_line.next().unwrap_or_default();
    Ok(Seen { method: word(), path: word(), headers, body })
}

async fn read_more(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    match socket.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

async fn write_answer(socket: &mut TcpStream, answer: Answer) -> io::Result<()> {
    let mut head =
        format!("HTTP/1.1 {} Scripted\r\ntransfer-encoding: chunked\r\nconnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    socket.write_all(format!("{head}\r\n").as_bytes()).await?;
    for piece in answer.body.chunks(answer.piece_bytes) {
        socket.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
        socket.write_all(piece).await?;
        socket.write_all(b"\r\n").await?;
        socket.flush().await?;
    }
    match answer.ending {
        Ending::Whole => socket.write_all(b"0\r\n\r\n").await,
        Ending::Cut => Ok(()),
        Ending::Silence => std::future::pending().await,
    }
}
