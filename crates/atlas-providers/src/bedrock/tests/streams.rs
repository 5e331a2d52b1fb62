//! Streams split and cut at every byte, and every error vector.

use std::sync::Arc;

use atlas_llm::{ChatEvent, ChatModel, ProviderError, ToolCalls};

use super::super::double::ask;
use super::*;

/// The outcome of a stream, for comparing: its events with adjacent texts joined.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    text: String,
    reasoning: String,
    tool_calls: Vec<(String, Value)>,
    finish: Option<Finish>,
    usage: Option<Usage>,
    error: Option<Kind>,
}

/// One model for many answers: making one loads certificates, which takes longer than an answer.
struct Asking {
    double: Double,
    model: Arc<dyn ChatModel>,
}

fn asking() -> Asking {
    let double = Double::answering([]);
    Asking { model: double.model(HAIKU), double }
}

impl Asking {
    async fn outcome(&self, answer: Answer) -> Outcome {
        self.double.push(answer);
        outcome_of(ask(&*self.model, question("x")).await)
    }
}

fn outcome_of(events: Vec<Result<ChatEvent, ProviderError>>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut calls = ToolCalls::default();
    for event in events {
        assert_eq!((outcome.finish.as_ref(), outcome.error), (None, None), "nothing follows the end");
        match event {
            Ok(ChatEvent::Text(text)) => outcome.text += &text,
            Ok(ChatEvent::Reasoning(text)) => outcome.reasoning += &text,
            Ok(ChatEvent::ToolCall { index, id, name }) => calls.begin(index, id, name),
            Ok(ChatEvent::Arguments { index, json }) => calls.append(index, &json),
            Ok(ChatEvent::Usage(usage)) => assert_eq!(outcome.usage.replace(usage), None),
            Ok(ChatEvent::Finished(finish)) => outcome.finish = Some(finish),
            Ok(other) => panic!("unexpected {other:?}"),
            Err(error) => outcome.error = Some(error.kind()),
        }
    }
    let parsed = |call: ToolCall| (call.name, serde_json::from_str(&call.arguments).unwrap_or(Value::Null));
    outcome.tool_calls = calls.finish().into_iter().map(parsed).collect();
    outcome
}

fn kind(word: &str) -> Kind {
    match word {
        "auth" => Kind::Credentials,
        "permission" => Kind::Forbidden,
        "not_found" => Kind::NotFound,
        "bad_request" => Kind::BadRequest,
        "context_length" => Kind::PromptTooLong,
        "rate_limit" => Kind::Throttled,
        "quota" => Kind::Quota,
        "overloaded" => Kind::Overloaded,
        "server" => Kind::Server,
        "timeout" => Kind::Timeout,
        other => panic!("no kind for {other}"),
    }
}

/// Stream fixtures with what has to come out of them.
fn streams() -> Vec<(String, Outcome)> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/expected_streams.json");
    let all: Value = serde_json::from_slice(&std::fs::read(path).expect("a fixture")).expect("JSON");
    let all = all["streams"].as_object().expect("a table").clone();
    let streams = all.into_iter().filter_map(|(name, expect)| {
        let name = name.strip_prefix("bedrock/")?.to_owned();
        let count = |field: &str| expect["usage"][field].as_u64().unwrap_or(0);
        let text = |field: &str| expect[field].as_str().unwrap_or_default().to_owned();
        let tool_calls = expect["tool_calls"].as_array().expect("a list").iter();
        let outcome = Outcome {
            text: text("text"),
            reasoning: text("reasoning"),
            tool_calls: tool_calls
                .map(|call| (call["name"].as_str().expect("a name").to_owned(), call["arguments"].clone()))
                .collect(),
            finish: match expect["finish"].as_str() {
                None => None,
                Some("stop") => Some(Finish::Stop),
                Some("tool_calls") => Some(Finish::ToolCalls),
                Some(other) => panic!("no finish for {other}"),
            },
            usage: expect["usage"].is_object().then(|| Usage {
                input: count("input"),
                output: count("output"),
                cached_input: count("cached_input"),
                cache_write: count("cache_write"),
                reasoning: count("reasoning"),
            }),
            error: expect["error"]["kind"].as_str().map(kind),
        };
        Some((name, outcome))
    });
    streams.collect()
}

#[tokio::test]
async fn every_stream_has_its_expected_outcome_however_it_is_split() {
    let streams = streams();
    assert_eq!(streams.len(), names("converse_stream.", "eventstream").len());
    let asking = asking();
    for (name, expect) in streams {
        let bytes = fixture(&name);
        assert_eq!(asking.outcome(Answer::stream([&bytes[..]])).await, expect, "{name}");
        assert_eq!(asking.outcome(Answer::stream(bytes.chunks(1))).await, expect, "{name} byte by byte");
        for at in 0..bytes.len() {
            let halves = [&bytes[..at], &bytes[at..]];
            assert_eq!(asking.outcome(Answer::stream(halves)).await, expect, "{name} split at {at}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_anywhere_says_so_until_the_answer_is_whole() {
    let asking = asking();
    for (name, expect) in streams() {
        let bytes = fixture(&name);
        let mut has_finished = false;
        for at in 0..bytes.len() {
            let cut = asking.outcome(Answer::stream([&bytes[..at]])).await;
            match cut.finish {
                None => {
                    assert!(!has_finished, "{name} cut at {at}");
                    assert_eq!(cut.error, Some(Kind::CutShort), "{name} cut at {at}");
                    assert!(expect.text.starts_with(&cut.text), "{name} cut at {at}");
                }
                // Only the count of tokens is missing.
                Some(_) => {
                    has_finished = true;
                    assert_eq!(
                        cut,
                        Outcome { usage: None, ..asking.outcome(done_of(&name)).await },
                        "{name} at {at}"
                    );
                }
            }
        }
        assert_eq!(has_finished, expect.finish.is_some(), "{name}");
    }
}

fn done_of(name: &str) -> Answer {
    Answer::stream([&fixture(name)[..]])
}

#[tokio::test]
async fn a_damaged_stream_is_an_error_and_no_answer() {
    let asking = asking();
    let mut bytes = fixture("converse_stream.eventstream");
    let at = bytes.windows(3).position(|window| window == b"Hel").expect("the first text");
    bytes[at] ^= 1;
    let damaged = asking.outcome(Answer::stream([&bytes[..]])).await;
    assert_eq!((damaged.finish, damaged.error), (None, Some(Kind::Protocol)));
}

#[tokio::test]
async fn every_error_vector_has_its_kind() {
    let names = names("error.", ".json");
    assert_eq!(names.len(), 18);
    for name in names {
        let vector = fixture_json(&name);
        let status = vector["status"].as_u64().expect("a status").try_into().expect("small");
        let mut answer = Answer::json(status, &vector["body"]);
        for (name, value) in vector["headers"].as_object().expect("headers") {
            answer.headers.push((name.clone(), value.as_str().expect("text").to_owned()));
        }
        // A model that is not in the catalog and a plain question: nothing to ask again without.
        let double = Double::answering([answer]);
        let error = complete(&*double.model("example.model-v1:0"), question("x")).await.expect_err("refused");
        assert_eq!(error.kind(), kind(vector["expect"]["kind"].as_str().expect("a kind")), "{name}");
        let may_retry = vector["expect"]["retryable"].as_bool().expect("a truth");
        // Access keys that have ended are not renewed by asking again; a role's are, below.
        let may_retry = may_retry && !name.contains("expired_token");
        assert_eq!(error.retry() != Retry::Never, may_retry, "{name}: {error}");
        assert_eq!(error.status(), Some(status), "{name}");
        assert!(error.request_id().is_some_and(|id| id.starts_with("7f0c0f1e")), "{name}");
        let message = vector["body"]["message"].as_str().expect("a message");
        assert!(error.detail().starts_with(message), "{name}: {error}");
    }
}
