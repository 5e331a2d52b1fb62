//! A server on loopback that answers as a test says, and the fixtures.

use std::sync::{Arc, Mutex};

use atlas_domain::{ProviderError, ProviderErrorKind as Kind, Retry};
use atlas_embed::{EmbedError, Embedder, Embedding, Priority, Purpose};
use atlas_guard::Guard;
use atlas_http::{ConnectOptions, EgressPolicy, Ledger, Origin, Outbound};
use atlas_vendor::Catalog;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{EngineOptions, RemoteOptions, Sockets};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Such as `POST /v1/embeddings`.
    pub(crate) line: String,
    /// The head in lower case.
    pub(crate) head: String,
    pub(crate) body: Value,
}

/// A status, headers and a body.
pub(crate) type Answer = (u16, Vec<(String, String)>, String);

pub(crate) fn json(status: u16, body: &Value) -> Answer {
    (status, Vec::new(), body.to_string())
}

/// The server. It stops with the test's runtime.
pub(crate) struct Fake {
    pub(crate) origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("bound"));
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&log), Arc::clone(&answer)));
            }
        });
        Self { origin, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panicked with it").clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

async fn serve(
    mut socket: TcpStream,
    log: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<impl Fn(&Seen) -> Answer + Send + Sync + 'static>,
) {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let head = text.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    while bytes.len() < end + length {
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let line = text.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let body = serde_json::from_slice(&bytes[end..]).unwrap_or_default();
    let seen = Seen { line, head, body };
    let (status, headers, body) = answer(&seen);
    log.lock().expect("no test panicked with it").push(seen);
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} Scripted\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    let _ = socket.write_all(text.as_bytes()).await;
}

/// Options for a server, with the shipped catalog and an obviously fake key.
pub(crate) fn options(endpoint: &str, model: &str) -> EngineOptions {
    let remote = RemoteOptions {
        endpoint_url: Some(endpoint.to_owned()),
        api_key: Some("test-key-0123456789".into()),
        model: Some(model.to_owned()),
        catalog: Arc::new(Catalog::shipped()),
        ..RemoteOptions::default()
    };
    EngineOptions { remote, ..EngineOptions::default() }
}

/// A client that may call these origins.
pub(crate) fn sockets(origins: impl IntoIterator<Item = Origin>) -> Sockets {
    let policy = EgressPolicy::allow(origins);
    let calls = Outbound::new(policy, &ConnectOptions::default(), Arc::new(Ledger::new())).expect("a client");
    Sockets { calls, credentials: None }
}

/// The engine of a label, loaded.
pub(crate) async fn load(label: &str, options: &EngineOptions) -> Result<Arc<dyn Embedder>, EmbedError> {
    let sockets = sockets(crate::origins(label, options)?.calls);
    match crate::engine(label, options, Some(sockets))?.load().await? {
        Embedding::Vectors(embedder) => Ok(embedder),
        Embedding::KeywordsOnly => panic!("{label} makes vectors"),
    }
}

pub(crate) async fn embed(
    embedder: &dyn Embedder,
    texts: &[&str],
    purpose: Purpose,
    priority: Priority,
) -> Result<Vec<Vec<f32>>, ProviderError> {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let cleared = Guard::new().clear(texts, embedder.destination()).expect("allowed");
    match embedder.embed(cleared, purpose, priority).await {
        Ok(vectors) => Ok(vectors),
        Err(EmbedError::Provider(error)) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

pub(crate) fn fixture(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The error vectors of a folder.
pub(crate) fn errors(folder: &str) -> Vec<(String, Value)> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder);
    let files =
        std::fs::read_dir(path).expect("the folder").map(|entry| entry.expect("an entry").file_name());
    let names = files.map(|name| name.into_string().expect("a plain name"));
    let mut names: Vec<String> = names.filter(|name| name.starts_with("error.")).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), fixture(&format!("{folder}/{name}")))).collect()
}

/// The answer that an error vector describes.
pub(crate) fn answer_of(vector: &Value) -> Answer {
    let status = vector["status"].as_u64().expect("a status") as u16;
    let headers = vector["headers"].as_object().into_iter().flatten();
    let headers = headers.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
    let body = match &vector["body"] {
        Value::String(text) => text.clone(),
        body => body.to_string(),
    };
    (status, headers.collect(), body)
}

/// Holds an error to what its vector expects.
#[track_caller]
pub(crate) fn check_error(name: &str, vector: &Value, error: &ProviderError) {
    let kind = match vector["expect"]["kind"].as_str().expect("a kind") {
        "auth" => Kind::Credentials,
        "permission" => Kind::Forbidden,
        "not_found" => Kind::NotFound,
        "bad_request" => Kind::BadRequest,
        "context_length" => Kind::PromptTooLong,
        "content_filter" => Kind::ContentFilter,
        "rate_limit" => Kind::Throttled,
        "quota" => Kind::Quota,
        "overloaded" => Kind::Overloaded,
        "server" => Kind::Server,
        "timeout" => Kind::Timeout,
        "conflict" => Kind::Conflict,
        other => panic!("{name}: the kind {other} is new"),
    };
    assert_eq!(error.kind(), kind, "{name}: {error}");
    assert_eq!(error.retry() != Retry::Never, vector["expect"]["retryable"] == true, "{name}: {error}");
}
