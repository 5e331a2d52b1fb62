//! The server in this process, and a client that blocks on one socket: no runtime of its own to
//! wait for.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use atlas_config::{LogFormat, Settings};
use tracing_subscriber::EnvFilter;

/// The admin token of every server started here.
pub const TOKEN: &str = "a-token-for-the-bench";

/// Nobody waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts the server on threads of its own, as `serve` runs it, with these settings beside its
/// directory and token. It ends with the process.
pub fn serve(data_dir: &Path, settings: &[(&'static str, &str)]) -> SocketAddr {
    // Production writes a line per request; formatting it is part of the cost, the disk is not.
    atlas_server::log::init(EnvFilter::new("info"), LogFormat::Json, std::io::sink);
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.set_nonblocking(true).expect("a socket option");
    let address = listener.local_addr().expect("an address");
    let mut values =
        BTreeMap::from([("TP_DATA_DIR", data_dir.to_str().expect("UTF-8")), ("ADMIN_TOKEN", TOKEN)]);
    values.extend(settings.iter().copied());
    let settings = Settings::read(&values).expect("usable settings");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        runtime.block_on(async {
            let app = atlas_server::wiring::start(settings).await.expect("started");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            atlas_server::server::serve(listener, app, std::future::pending()).await.expect("serves");
        });
    });
    address
}

/// A connection that is kept open.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// From the first byte of the request to the last of the answer.
    pub took: Duration,
}

impl Connection {
    /// Connects to a server that [`serve`] started.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        Self { stream: BufReader::with_capacity(64 << 10, stream) }
    }

    /// Reads something.
    pub fn get(&mut self, path: &str) -> Answer {
        self.call("GET", path, "application/json", &[])
    }

    /// Sends something of a media type.
    pub fn post(&mut self, path: &str, kind: &str, body: &[u8]) -> Answer {
        self.call("POST", path, kind, body)
    }

    fn call(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: {kind}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        let began = Instant::now();
        self.stream.get_mut().write_all(&request).expect("the server reads");
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a status line");
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line).expect("a header");
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a whole body");
        let took = began.elapsed();
        Answer { status, body: String::from_utf8(body).expect("UTF-8"), took }
    }
}

/// Bytes of all files under a folder.
pub fn bytes_under(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_under(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
