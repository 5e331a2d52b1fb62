//! Starts the real binary and speaks to it as a client would.

#![allow(dead_code, reason = "each test target uses its part; which one differs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

pub(crate) mod asking;
pub(crate) mod peer;
pub(crate) mod upstream;

/// A directory for one server's data.
pub(crate) fn data_dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The token of every server started here.
pub(crate) const TOKEN: &str = "an-admin-token-for-tests";

/// The binary with a clean environment: what the developer's shell has set must not decide a test.
pub(crate) fn atlasai(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_atlasai-tp"));
    command.env_clear().env("ADMIN_TOKEN", TOKEN).env("TP_DATA_DIR", data_dir).env("TP_LOG", "warn");
    command
}

/// Runs the binary to its end with `input` on standard input.
pub(crate) fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    // On a thread: the child may write before it has read everything.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("the binary ends");
    // A child that refuses its arguments closes standard input early.
    let _ = writer.join().expect("the writer does not panic");
    output
}

/// Standard output of a run that must succeed.
#[track_caller]
pub(crate) fn stdout_of(command: &mut Command, input: &str) -> String {
    let output = run(command, input);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Standard error of a run that must fail.
#[track_caller]
pub(crate) fn stderr_of_failure(command: &mut Command, input: &str) -> String {
    let output = run(command, input);
    assert!(!output.status.success(), "{command:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    address: String,
    /// What it printed before it was ready.
    pub(crate) banner: String,
}

impl Server {
    /// Starts `serve` on a port of the system's choice and waits for the line with its address.
    pub(crate) fn start(data_dir: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mut child = atlasai(data_dir)
            .envs(environment.iter().copied())
            .arg("serve")
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut banner = String::new();
        let mut address = None;
        for line in lines.by_ref() {
            let line = line.expect("UTF-8");
            if let Some(at) = line.find("http://127.0.0.1:") {
                address.get_or_insert_with(|| {
                    let rest = &line[at + "http://".len()..];
                    rest.split(|c: char| c != '.' && c != ':' && !c.is_ascii_digit())
                        .next()
                        .unwrap_or(rest)
                        .to_owned()
                });
            }
            banner.push_str(&line);
            banner.push('\n');
            if line.contains("ready") {
                break;
            }
        }
        // Keep reading, or the server would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.unwrap_or_else(|| panic!("no address in: {banner}"));
        Self { child, address, banner }
    }

    /// `http://host:port`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// One request with the admin token; status and body.
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let bearer = format!("Bearer {TOKEN}");
        self.request(method, path, &[("authorization", &bearer), ("content-type", "application/json")], body)
    }

    /// One request whose answer must be JSON.
    #[track_caller]
    pub(crate) fn json(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, text) = self.call(method, path, body);
        (
            status,
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {status} {error}: {text}")),
        )
    }

    /// One request as it is.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        head.push_str(&format!("content-length: {}\r\n", body.len()));
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        // A server that refuses a large body may close before it has read it.
        let _ = stream.write_all(body.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        parse(&answer)
    }

    /// The status of one request; `None` when the server went away before it answered.
    pub(crate) fn try_call(&self, method: &str, path: &str, body: &str) -> Option<u16> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}",
            self.address
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        Some(parse(&answer).0).filter(|status| *status != 0)
    }

    /// Ends the process as a power cut would, while others still speak to it.
    pub(crate) fn kill_now(&self) {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-KILL", &pid]).status().expect("kill runs");
    }

    /// The memory it holds, in KiB, as Linux counts it.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Ends the server without a chance to clean up, as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// Asks the server to end, as an orchestrator would, and waits.
    pub(crate) fn terminate(mut self) -> bool {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        self.child.wait().expect("ended").success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parse(answer: &[u8]) -> (u16, String) {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    (status, if chunked { unchunk(body) } else { body.to_owned() })
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || rest.len() < size {
            break;
        }
        whole.push_str(&rest[..size]);
        body = rest[size..].strip_prefix("\r\n").unwrap_or("");
    }
    whole
}

/// The evaluation data beside the repository; `None`, with a line that says so, where it is absent.
pub(crate) fn corpora(test: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora");
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: {test}: the evaluation data is not beside the repository");
    None
}
