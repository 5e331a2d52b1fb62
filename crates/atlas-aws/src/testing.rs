//! A server on loopback that answers what a test tells it to, and what tests have in common.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use atlas_http::{ConnectOptions, EgressPolicy, Ledger, Origin, Outbound};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::options::{AwsIdentityOptions, PlatformVariables, credential_origins};

/// A request as it came over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) line: String,
    head: String,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A server and what it was asked.
pub(crate) struct Double {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Double {
    /// Answers with status and body; the head names a JSON body.
    pub(crate) async fn start(answer: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move {
                    let Some(request) = read(&mut socket).await else { return };
                    let (status, body) = answer(&request);
                    log.lock().expect("no panic").push(request);
                    let head = format!(
                        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = socket.write_all(head.as_bytes()).await;
                    let _ = socket.write_all(body.as_bytes()).await;
                });
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    /// The request lines without their version.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.line.trim_end_matches(" HTTP/1.1").to_owned()).collect()
    }
}

async fn read(socket: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let (line, head) = head.split_once("\r\n").unwrap_or((head, ""));
            let seen = Seen { line: line.to_owned(), head: head.to_owned(), body: body.to_owned() };
            let length = seen.header("content-length").map_or(0, |text| text.parse().expect("a number"));
            if body.len() >= length {
                return Some(seen);
            }
        }
        match socket.read(&mut buffer).await.ok()? {
            0 => return None,
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

/// A client that may reach these URLs.
pub(crate) fn outbound(urls: &[&str]) -> Outbound {
    let origins = urls.iter().map(|url| url.parse::<Origin>().expect("an origin"));
    let policy = EgressPolicy::allow(origins);
    Outbound::new(policy, &ConnectOptions::default(), Arc::new(Ledger::new())).expect("a client")
}

/// A client that may ask the options' own source and nobody else.
pub(crate) fn platform(options: &AwsIdentityOptions) -> Outbound {
    let origins = credential_origins(options).expect("origins").platform;
    let policy = EgressPolicy::credential_sources(origins);
    Outbound::new(policy, &ConnectOptions::default(), Arc::new(Ledger::new())).expect("a client")
}

/// The task role, and what the platform says about it.
pub(crate) fn role(platform: PlatformVariables) -> AwsIdentityOptions {
    AwsIdentityOptions {
        region: Some("us-east-1".to_owned()),
        use_fips: false,
        access_key_id: None,
        secret_access_key: None,
        session_token: None,
        use_task_role: true,
        platform,
    }
}

/// Access keys.
pub(crate) fn keys() -> AwsIdentityOptions {
    AwsIdentityOptions {
        access_key_id: Some("AKIDTESTKEY00001".to_owned()),
        secret_access_key: Some("test-key-secret".into()),
        use_task_role: false,
        ..role(PlatformVariables::default())
    }
}

/// What a credentials endpoint answers.
pub(crate) fn document(id: &str, expiration: &str) -> String {
    format!(
        r#"{{"AccessKeyId":"{id}","SecretAccessKey":"test-key-secret","Token":"test-key-token","Expiration":"{expiration}","RoleArn":"arn:aws:iam::123456789012:role/task"}}"#
    )
}

/// An end far away.
pub(crate) const LATER: &str = "2999-01-01T00:00:00Z";
