//! A server on loopback that answers as a test wrote it down, for whole calls of the dialects whose
//! peers are not in `atlas-testkit`.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use atlas_guard::Guard;
use atlas_http::{ConnectOptions, EgressPolicy, Ledger, Outbound};
use atlas_llm::{ChatEvent, ChatModel, ChatRequest, Provider, ProviderError};
use futures_util::StreamExt;
use secrecy::SecretString;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::{Options, Sockets};

/// A request as it arrived; names of headers in lower case.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Method and path.
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One answer.
pub(crate) struct Answer {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    stays_open: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, body: body.into(), stays_open: false }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// After the body comes nothing, and the connection stays.
    pub(crate) fn then_silence(self) -> Self {
        Self { stays_open: true, ..self }
    }
}

/// The server. It stops when it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    left: mpsc::UnboundedReceiver<()>,
    task: JoinHandle<()>,
}

impl Server {
    /// Gives these answers in order, one per connection, whatever is asked.
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let mut answers: VecDeque<Answer> = answers.into_iter().collect();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (leaving, left) = mpsc::unbounded_channel();
        let log = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let (Some(answer), Ok((socket, _))) = (answers.pop_front(), listener.accept().await) {
                // A client that goes away is the test's business.
                let _ = serve(socket, answer, &log, &leaving).await;
            }
        });
        Self { url, seen, left, task }
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the client of an open answer has closed its connection.
    pub(crate) async fn was_left(&mut self) {
        self.left.recv().await.expect("the server runs");
    }

    /// The provider of this server.
    pub(crate) fn provider(&self, label: &str, key: Option<&str>) -> Arc<dyn Provider> {
        let options = Options {
            endpoint_url: Some(self.url.clone()),
            api_key: key.map(SecretString::from),
            ..Options::default()
        };
        provider(label, options).expect("usable")
    }

    /// A model of this server.
    pub(crate) fn model(&self, label: &str, key: Option<&str>, name: &str) -> Arc<dyn ChatModel> {
        self.provider(label, key).connect(name).expect("usable")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The model of these options.
pub(crate) fn connect(
    label: &str,
    options: Options,
    name: &str,
) -> Result<Arc<dyn ChatModel>, ProviderError> {
    provider(label, options)?.connect(name)
}

/// The provider of these options, with a client that may call what they name.
fn provider(label: &str, options: Options) -> Result<Arc<dyn Provider>, ProviderError> {
    let policy = EgressPolicy::allow(crate::origins(label, &options)?.calls);
    let outbound = Outbound::new(policy, &ConnectOptions::default(), Arc::new(Ledger::new()));
    let sockets = Sockets { calls: outbound.expect("a client"), credentials: None };
    crate::provider(label, options, sockets)
}

/// Asks, and reads to the end.
pub(crate) async fn call(
    model: &dyn ChatModel,
    request: ChatRequest,
) -> Vec<Result<ChatEvent, ProviderError>> {
    let cleared = Guard::new().clear(request, model.destination()).expect("allowed");
    match model.stream(cleared).await {
        Ok(stream) => stream.collect().await,
        Err(error) => vec![Err(error)],
    }
}

async fn serve(
    mut socket: TcpStream,
    answer: Answer,
    log: &Mutex<Vec<Seen>>,
    leaving: &mpsc::UnboundedSender<()>,
) -> io::Result<()> {
    let seen = request(&mut socket).await?;
    log.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    let Answer { status, content_type, body, stays_open } = answer;
    let head = format!(
        "HTTP/1.1 {status} Scripted\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{:x}\r\n",
        body.len()
    );
    socket.write_all(&[head.as_bytes(), &body, b"\r\n"].concat()).await?;
    if stays_open {
        socket.flush().await?;
        // An error is a connection that was reset, which is as closed.
        let _ = socket.read(&mut [0; 16]).await;
        let _ = leaving.send(());
        return Ok(());
    }
    socket.write_all(b"0\r\n\r\n").await
}

async fn request(socket: &mut TcpStream) -> io::Result<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        more(socket, &mut bytes).await?;
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    while bytes.len() < head_end + 4 + length {
        more(socket, &mut bytes).await?;
    }
    Ok(Seen { line, headers, body: serde_json::from_slice(&bytes[head_end + 4..]).unwrap_or_default() })
}

async fn more(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    match socket.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
