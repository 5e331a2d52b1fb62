//! What every dialect's tests do with the wire fixtures in `fixtures/`.
//!
//! A dialect's own tests call these with its reader, its error mapping and its request bodies, and
//! end with [`check_all_used`], which fails on a fixture that none of them looked at.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use atlas_domain::Retry;
use atlas_http::{HeaderMap, HeaderName, HeaderValue};
use atlas_llm::{ChatEvent, Finish, ProviderError, ProviderErrorKind as Kind, ToolCalls, Usage};
use serde_json::Value;

use crate::reading::Reader;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The bytes of a fixture such as `openai/chat.stream.sse`.
#[track_caller]
pub(crate) fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A fixture as JSON.
#[track_caller]
pub(crate) fn json(file: &str) -> Value {
    serde_json::from_slice(&bytes(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The fixtures of a folder, as `folder/name`.
#[track_caller]
pub(crate) fn files(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.expect("an entry").file_name().into_string().expect("a name of ASCII");
        format!("{folder}/{name}")
    };
    entries.map(name).collect()
}

/// What the events of an answer came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) reasoning: String,
    pub(crate) refusal: String,
    /// Names with arguments.
    pub(crate) tool_calls: Vec<(String, Value)>,
    pub(crate) finish: Option<Finish>,
    pub(crate) usage: Option<Usage>,
    /// With whether the request may be repeated, given what was delivered before it.
    pub(crate) error: Option<(Kind, bool)>,
}

impl Outcome {
    /// Puts events together, and checks what the contract promises about their order.
    #[track_caller]
    pub(crate) fn of(events: impl IntoIterator<Item = Result<ChatEvent, ProviderError>>) -> Self {
        let mut outcome = Self::default();
        let mut calls = ToolCalls::default();
        let (mut n_calls, mut ids, mut delivered) = (0, HashSet::new(), false);
        for event in events {
            assert_eq!((&outcome.finish, &outcome.error), (&None, &None), "{event:?} comes after the end");
            delivered |= event.as_ref().is_ok_and(ChatEvent::is_delivery);
            match event {
                Ok(ChatEvent::Text(piece)) => outcome.text += &piece,
                Ok(ChatEvent::Reasoning(piece)) => outcome.reasoning += &piece,
                Ok(ChatEvent::Refusal(piece)) => outcome.refusal += &piece,
                Ok(ChatEvent::ToolCall { index, id, name }) => {
                    assert_eq!(index, n_calls, "calls count from 0");
                    assert!(!name.is_empty() && !id.is_empty() && ids.insert(id.clone()), "the id {id:?}");
                    n_calls += 1;
                    calls.begin(index, id, name);
                }
                Ok(ChatEvent::Arguments { index, json }) => {
                    assert!(index < n_calls, "arguments of a call that has not begun");
                    calls.append(index, &json);
                }
                Ok(ChatEvent::Continuation(_)) => {}
                Ok(ChatEvent::Usage(usage)) => assert_eq!(outcome.usage.replace(usage), None, "usage twice"),
                Ok(ChatEvent::Finished(finish)) => outcome.finish = Some(finish),
                Err(error) => {
                    let may_repeat = !delivered && error.retry() != Retry::Never;
                    outcome.error = Some((error.kind(), may_repeat));
                }
            }
        }
        let read =
            |arguments: &str| serde_json::from_str(arguments).unwrap_or(Value::String(arguments.into()));
        outcome.tool_calls =
            calls.finish().into_iter().map(|call| (call.name, read(&call.arguments))).collect();
        outcome
    }
}

/// The proposed outcome of a stream, from `expected_streams.json`.
#[track_caller]
pub(crate) fn expected(file: &str) -> Outcome {
    let table = json("expected_streams.json");
    // The wire reference keeps both of Ollama's APIs in one folder.
    let expect = table["streams"]
        .get(file.replace("ollama_v1/", "ollama/"))
        .unwrap_or_else(|| panic!("{file} has no expected outcome"));
    let text = |field: &str| expect[field].as_str().unwrap_or_default().to_owned();
    let count = |field: &str| expect["usage"][field].as_u64().unwrap_or(0);
    let calls = expect["tool_calls"].as_array().expect("a list").iter();
    Outcome {
        text: text("text"),
        reasoning: text("reasoning"),
        refusal: text("refusal"),
        tool_calls: calls
            .map(|call| (call["name"].as_str().expect("a name").into(), call["arguments"].clone()))
            .collect(),
        finish: expect["finish"].as_str().map(finish),
        usage: expect["usage"].is_object().then(|| Usage {
            input: count("input"),
            output: count("output"),
            cached_input: count("cached_input"),
            cache_write: count("cache_write"),
            reasoning: count("reasoning"),
        }),
        error: expect["error"].is_object().then(|| expected_error(&expect["error"])),
    }
}

fn finish(word: &str) -> Finish {
    match word {
        "stop" => Finish::Stop,
        "length" => Finish::Length,
        "tool_calls" => Finish::ToolCalls,
        "content_filter" => Finish::ContentFilter,
        "refusal" => Finish::Refusal,
        other => Finish::Other(other.to_owned()),
    }
}

fn expected_error(expect: &Value) -> (Kind, bool) {
    let kind = match expect["kind"].as_str().expect("a kind") {
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
        "network" => Kind::Network,
        "stream_interrupted" => Kind::CutShort,
        other => panic!("no kind for {other}"),
    };
    (kind, expect["retryable"].as_bool().expect("a verdict"))
}

/// Reads an answer that arrives in these pieces.
#[track_caller]
pub(crate) fn read<'a>(mut reader: impl Reader, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut events = Vec::new();
    let mut read = Ok(());
    for piece in pieces {
        if read.is_ok() && !reader.is_over() {
            read = reader.bytes(piece, &mut events);
        }
    }
    if read.is_ok() && !reader.is_over() {
        read = reader.end_of_bytes(&mut events);
    }
    Outcome::of(events.into_iter().map(Ok).chain(read.err().map(Err)))
}

/// Reads an answer whole, byte by byte, and cut in two at every byte: always the same outcome.
#[track_caller]
pub(crate) fn read_however_cut<R: Reader>(bytes: &[u8], make: impl Fn() -> R) -> Outcome {
    let whole = read(make(), [bytes]);
    assert_eq!(read(make(), bytes.chunks(1)), whole, "byte by byte");
    for at in 0..bytes.len() {
        assert_eq!(read(make(), [&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
    }
    whole
}

/// A stream has its expected outcome, however its bytes are cut.
#[track_caller]
pub(crate) fn check_stream<R: Reader>(file: &str, make: impl Fn() -> R) {
    assert_eq!(read_however_cut(&bytes(file), make), expected(file), "{file}");
}

/// A request of ours is the fixture's, apart from these members, for which our value is given
/// (null: we leave it out).
#[track_caller]
pub(crate) fn check_request(file: &str, ours: &Value, differences: &[(&str, Value)]) {
    let mut expect = json(file);
    let members = expect.as_object_mut().expect("an object");
    for (member, value) in differences {
        let theirs = if value.is_null() {
            members.remove(*member)
        } else {
            members.insert((*member).to_owned(), value.clone())
        };
        assert_ne!(theirs.as_ref(), Some(value), "{file}: {member} is no difference");
    }
    assert_eq!(*ours, expect, "{file}");
}

/// An error vector: what a server answered.
pub(crate) struct Vector {
    pub(crate) file: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    expect: (Kind, bool),
    wait: Option<Duration>,
}

impl Vector {
    /// One vector.
    #[track_caller]
    pub(crate) fn of(file: &str) -> Self {
        let vector = json(file);
        let mut headers = HeaderMap::new();
        for (name, value) in vector["headers"].as_object().expect("headers") {
            let value = value.as_str().expect("text").as_bytes();
            headers.insert(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                HeaderValue::from_bytes(value).expect("a value"),
            );
        }
        let wait = |name: &str, unit: Duration| {
            let text = vector["headers"][name].as_str()?;
            Some(unit * text.parse().expect("the vectors have whole numbers"))
        };
        Self {
            file: file.to_owned(),
            status: vector["status"].as_u64().expect("a status") as u16,
            body: match &vector["body"] {
                Value::String(text) => text.clone().into_bytes(),
                body => body.to_string().into_bytes(),
            },
            expect: expected_error(&vector["expect"]),
            wait: wait("retry-after-ms", Duration::from_millis(1))
                .or_else(|| wait("retry-after", Duration::from_secs(1))),
            headers,
        }
    }

    /// The error is of the expected kind, may be repeated as expected and after the time the
    /// headers name, and repeats no key.
    #[track_caller]
    pub(crate) fn check(&self, error: &ProviderError) {
        let retry = error.retry();
        assert_eq!((error.kind(), retry != Retry::Never), self.expect, "{}: {error}", self.file);
        if let (Some(wait), true) = (self.wait, self.expect.1) {
            assert_eq!(retry, Retry::After(wait), "{}", self.file);
        }
        assert!(!format!("{error} {error:?}").contains("sk-"), "{}: {error}", self.file);
    }
}

/// Every error vector of a folder through the mapping of a dialect.
#[track_caller]
pub(crate) fn check_errors(folder: &str, map: impl Fn(u16, &HeaderMap, &[u8]) -> ProviderError) {
    for file in files(folder).iter().filter(|file| is_error(file)) {
        let vector = Vector::of(file);
        vector.check(&map(vector.status, &vector.headers, &vector.body));
    }
}

/// Whether a fixture is an error vector, which [`check_errors`] finds by itself.
pub(crate) fn is_error(file: &str) -> bool {
    file.contains("/error.")
}

/// Whether a fixture is a stream with an expected outcome.
pub(crate) fn is_stream(file: &str) -> bool {
    [".sse", ".ndjson", ".eventstream"].iter().any(|end| file.ends_with(end))
}

/// Every fixture of a folder is an error vector or one of these, and all of these exist.
#[track_caller]
pub(crate) fn check_all_used<'a>(folder: &str, used: impl IntoIterator<Item = &'a str>) {
    let used: BTreeSet<String> = used.into_iter().map(str::to_owned).collect();
    let there: BTreeSet<String> = files(folder).into_iter().filter(|file| !is_error(file)).collect();
    assert_eq!(there, used, "fixtures on the left, those that tests look at on the right");
}
