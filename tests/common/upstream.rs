//! A provider that does what a test says, on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The value of `authorization`; empty without one.
    pub(crate) authorization: String,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Whether the answer should be an event stream.
    pub(crate) fn wants_stream(&self) -> bool {
        self.json()["stream"] == json!(true)
    }
}

/// What is done with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Status, content type and body.
    Whole(u16, &'static str, String),
    /// An event stream, one piece per write.
    Pieces(Vec<String>),
    /// An event stream whose pieces all come at its end, as through a proxy that buffers a slow
    /// answer.
    Late(Duration, Vec<String>),
    /// An event stream that breaks off without its end.
    Cut(Vec<String>),
    /// Nothing, until the client gives up.
    Silence,
    /// The connection is closed without a byte.
    HangUp,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::Whole(status, "application/json", body.to_string())
    }

    /// The answer `text` to a chat request, as a stream or whole, as it was asked for.
    pub(crate) fn chat(request: &Received, text: &str) -> Self {
        if !request.wants_stream() {
            return Self::json(
                200,
                &json!({
                    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
                    "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
                    "usage": { "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7 },
                }),
            );
        }
        Self::Pieces(chat_chunks(text))
    }

    /// The list of models.
    pub(crate) fn models(names: &[&str]) -> Self {
        let models: Vec<Value> = names.iter().map(|name| json!({ "id": name, "object": "model" })).collect();
        Self::json(200, &json!({ "object": "list", "data": models }))
    }
}

/// The events of a streamed answer: a chunk per word, the reason to finish, the end.
pub(crate) fn chat_chunks(text: &str) -> Vec<String> {
    let chunk = |delta: Value, finish: Value| {
        let choice = json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
        format!("data: {}\n\n", json!({ "id": "c", "object": "chat.completion.chunk", "choices": choice }))
    };
    let mut pieces: Vec<String> =
        text.split_inclusive(' ').map(|word| chunk(json!({ "content": word }), Value::Null)).collect();
    pieces.push(chunk(json!({}), json!("stop")));
    pieces.push("data: [DONE]\n\n".to_owned());
    pieces
}

type Handler = dyn Fn(&Received) -> Reply + Send + Sync;

/// A server on a port of the system's choice. It lives as long as the test process.
pub(crate) struct Upstream {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Upstream {
    /// Answers every request as `handler` says.
    pub(crate) fn start(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::wrapped(handler, |stream| Some(Box::new(stream)))
    }

    /// The same behind something that turns a connection into another one, such as TLS.
    pub(crate) fn wrapped(
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
        wrap: impl Fn(TcpStream) -> Option<Box<dyn Connection>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let (handler, wrap): (Arc<Handler>, Arc<_>) = (Arc::new(handler), Arc::new(wrap));
        let seen = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Or the pieces of a stream would wait 40 ms for acknowledgements.
                let _ = stream.set_nodelay(true);
                let (handler, wrap, seen) = (Arc::clone(&handler), Arc::clone(&wrap), Arc::clone(&seen));
                std::thread::spawn(move || {
                    if let Some(connection) = wrap(stream) {
                        let _ = serve(connection, handler.as_ref(), &seen);
                    }
                });
            }
        });
        Self { address, received }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port/v1`.
    pub(crate) fn base(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What arrived so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A connection in both directions.
pub(crate) trait Connection: Read + Write + Send {}
impl<T: Read + Write + Send> Connection for T {}

fn serve(
    connection: Box<dyn Connection>,
    handler: &Handler,
    seen: &Mutex<Vec<Received>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let Some(request) = read(&mut reader)? else { return Ok(()) };
        let reply = handler(&request);
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let stream = reader.get_mut();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        match reply {
            Reply::Whole(status, kind, body) => {
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 {status} Status\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
                )?;
            }
            Reply::Pieces(_) | Reply::Late(..) => {
                let pieces = match reply {
                    Reply::Late(delay, pieces) => {
                        std::thread::sleep(delay);
                        pieces
                    }
                    Reply::Pieces(pieces) => pieces,
                    _ => Vec::new(),
                };
                stream.write_all(head.as_bytes())?;
                for piece in pieces {
                    write!(stream, "{:x}\r\n{piece}\r\n", piece.len())?;
                    stream.flush()?;
                }
                stream.write_all(b"0\r\n\r\n")?;
            }
            Reply::Cut(pieces) => {
                stream.write_all(head.as_bytes())?;
                for piece in pieces {
                    write!(stream, "{:x}\r\n{piece}\r\n", piece.len())?;
                }
                return stream.flush();
            }
            Reply::Silence => {
                // The client closes when its patience ends; nothing it sends before matters.
                let mut rest = [0; 64];
                while stream.read(&mut rest)? > 0 {}
                return Ok(());
            }
            Reply::HangUp => return Ok(()),
        }
        stream.flush()?;
    }
}

fn read(reader: &mut BufReader<Box<dyn Connection>>) -> std::io::Result<Option<Received>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (method, path) = (method.to_owned(), path.to_owned());
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "authorization" => authorization = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Received { method, path, authorization, body: String::from_utf8_lossy(&body).into_owned() }))
}

/// A port that takes no connection and refuses none: the queue of the listener is full, so the
/// kernel drops what else arrives.
pub(crate) struct Blackhole {
    address: SocketAddr,
    _listener: socket2::Socket,
    _queued: Vec<socket2::Socket>,
}

impl Blackhole {
    pub(crate) fn new() -> Self {
        use socket2::{Domain, SockAddr, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        listener.bind(&SockAddr::from(any)).expect("a port");
        listener.listen(0).expect("listening");
        let address = listener.local_addr().expect("bound").as_socket().expect("IPv4");
        let mut queued = Vec::new();
        // One connection fits a queue of length 0; the next are dropped and hang.
        for _ in 0..8 {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let full = socket.connect_timeout(&SockAddr::from(address), Duration::from_millis(200)).is_err();
            queued.push(socket);
            if full {
                break;
            }
        }
        Self { address, _listener: listener, _queued: queued }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
