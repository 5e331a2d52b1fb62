use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use atlas_inference::{InferenceError, Plane, ServedBy};
use atlas_llm::{ChatEvent, Finish, Usage};
use atlas_llm::{ProviderError, ProviderErrorKind};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::api::openai::answer::{Gathering, Identity, Served, word};
use crate::api::openai::chunks::Chunks;
use crate::api::openai::refusal;
use crate::api::openai::stream::{Frames, HEARTBEAT};

fn identity() -> Identity {
    let served_by = ServedBy {
        plane: Plane::Byoc,
        provider: "openai".into(),
        model: "fake-1\"}".into(),
        host: "127.0.0.1".into(),
        destination: "loopback".into(),
    };
    let served = Served { served_by, degraded: vec!["tools"], redactions: 2 };
    Identity::new(served, Arc::default())
}

fn usage() -> Usage {
    Usage { input: 9, output: 5, cached_input: 4, cache_write: 1, reasoning: 2 }
}

fn whole(events: impl IntoIterator<Item = ChatEvent>) -> Value {
    let (mut gathering, identity) = (Gathering::default(), identity());
    let body = events.into_iter().find_map(|event| gathering.push(event, &identity)).expect("an end");
    serde_json::from_slice(&body).expect("JSON")
}

/// The events of a stream, `[DONE]` as a string.
fn chunks(include_usage: bool, events: impl IntoIterator<Item = ChatEvent>) -> Vec<Value> {
    let mut chunks = Chunks::new(&identity(), include_usage);
    let _ = events.into_iter().any(|event| chunks.push(event));
    frames(&chunks.take().expect("bytes"))
}

fn frames(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    let data = text.split_terminator("\n\n").map(|frame| frame.strip_prefix("data: ").expect("data"));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}

fn call(index: usize, id: &str) -> ChatEvent {
    ChatEvent::ToolCall { index, id: id.into(), name: "get".into() }
}

fn arguments(index: usize, json: &str) -> ChatEvent {
    ChatEvent::Arguments { index, json: json.into() }
}

#[test]
fn a_whole_answer_has_openais_members() {
    let body = whole([
        ChatEvent::Reasoning("hm".into()),
        ChatEvent::Text("Hel".into()),
        ChatEvent::Text("lo ✓".into()),
        ChatEvent::Usage(usage()),
        ChatEvent::Finished(Finish::Stop),
    ]);
    assert!(body["id"].as_str().expect("an id").starts_with("chatcmpl-"));
    assert!(body["created"].as_i64().expect("seconds") > 1_700_000_000);
    assert_eq!((&body["object"], &body["model"]), (&json!("chat.completion"), &json!("fake-1\"}")));
    let message =
        json!({"role": "assistant", "content": "Hello ✓", "refusal": null, "reasoning_content": "hm"});
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"});
    assert_eq!(body["choices"], json!([choice]));
    assert_eq!(
        body["usage"],
        json!({
            "prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 2},
        })
    );
    let atlasai = &body["atlasai"];
    assert_eq!((&atlasai["degraded"], &atlasai["redactions"]), (&json!(["tools"]), &json!(2)));
    assert_eq!(atlasai["served_by"]["plane"], "byoc");
}

#[test]
fn content_is_null_beside_calls_and_refusals_only() {
    let finished = ChatEvent::Finished(Finish::ToolCalls);
    let message = whole([call(0, "a"), arguments(0, "{\"x\":1}"), finished])["choices"][0]["message"].clone();
    let called =
        json!([{"id": "a", "type": "function", "function": {"name": "get", "arguments": "{\"x\":1}"}}]);
    assert_eq!((&message["content"], &message["tool_calls"]), (&Value::Null, &called));
    let declined = whole([ChatEvent::Refusal("no".into()), ChatEvent::Finished(Finish::Refusal)]);
    let choice = &declined["choices"][0];
    assert_eq!((&choice["message"]["refusal"], &choice["finish_reason"]), (&json!("no"), &json!("stop")));
    assert_eq!(choice["message"]["content"], Value::Null);
    let empty = whole([ChatEvent::Finished(Finish::Length)]);
    assert_eq!(empty["choices"][0]["message"]["content"], "");
    assert_eq!(empty["usage"], Value::Null);
}

#[test]
fn clients_meet_no_finish_reason_that_they_do_not_know() {
    for (finish, expect) in [
        (Finish::Stop, "stop"),
        (Finish::Length, "length"),
        (Finish::ToolCalls, "tool_calls"),
        (Finish::ContentFilter, "content_filter"),
        (Finish::Refusal, "stop"),
        (Finish::Other("pause_turn".into()), "stop"),
    ] {
        assert_eq!(word(&finish), expect);
    }
}

#[test]
fn a_stream_is_role_text_finish_usage_done() {
    let events = || {
        [
            ChatEvent::Text("a\n\"✓".into()),
            ChatEvent::Text(String::new()),
            ChatEvent::Usage(usage()),
            ChatEvent::Finished(Finish::Length),
        ]
    };
    let plain = chunks(false, events());
    let deltas: Vec<&Value> = plain.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
    let role = json!({"role": "assistant", "content": ""});
    assert_eq!(deltas, [&role, &json!({"content": "a\n\"✓"}), &json!({}), &Value::Null]);
    assert_eq!(plain[2]["choices"][0]["finish_reason"], "length");
    assert_eq!(plain[3], "[DONE]");
    assert!(plain.iter().all(|chunk| chunk.get("usage").is_none()));
    assert_eq!(plain[0]["atlasai"]["redactions"], 2);
    for chunk in &plain[..3] {
        assert_eq!((&chunk["id"], &chunk["object"]), (&plain[0]["id"], &json!("chat.completion.chunk")));
        assert_eq!((&chunk["model"], &chunk["choices"][0]["index"]), (&json!("fake-1\"}"), &json!(0)));
    }

    let counted = chunks(true, events());
    assert_eq!(counted.len(), 5);
    assert!(counted[..3].iter().all(|chunk| chunk["usage"] == Value::Null && chunk.get("usage").is_some()));
    assert_eq!((&counted[3]["choices"], &counted[3]["usage"]["total_tokens"]), (&json!([]), &json!(14)));
    assert_eq!(counted[4], "[DONE]");
}

#[test]
fn a_guess_of_the_tokens_is_marked() {
    let identity = identity();
    identity.usage_estimated.store(true, Ordering::Relaxed);
    let end = || [ChatEvent::Usage(usage()), ChatEvent::Finished(Finish::Stop)];
    let mut gathering = Gathering::default();
    let body = end().into_iter().find_map(|event| gathering.push(event, &identity)).expect("an end");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["atlasai"]["usage_estimated"], true);
    let mut chunks = Chunks::new(&identity, true);
    assert!(end().into_iter().any(|event| chunks.push(event)));
    let stream = frames(&chunks.take().expect("bytes"));
    assert_eq!(stream[2]["atlasai"], json!({"usage_estimated": true}));
}

#[test]
fn reasoning_and_refusals_have_deltas_of_their_own() {
    let stream = chunks(
        false,
        [
            ChatEvent::Reasoning("hm".into()),
            ChatEvent::Refusal("no".into()),
            ChatEvent::Finished(Finish::Refusal),
        ],
    );
    assert_eq!(stream[1]["choices"][0]["delta"], json!({"reasoning_content": "hm"}));
    assert_eq!(stream[2]["choices"][0]["delta"], json!({"refusal": "no"}));
    assert_eq!(stream[3]["choices"][0]["finish_reason"], "stop");
}

#[test]
fn tool_calls_are_streamed_by_index() {
    let stream = chunks(
        false,
        [
            call(0, "a"),
            arguments(0, "{\"x\":"),
            call(1, "b"),
            arguments(0, "1}"),
            ChatEvent::Finished(Finish::ToolCalls),
        ],
    );
    let deltas: Vec<Value> =
        stream[1..5].iter().map(|chunk| chunk["choices"][0]["delta"]["tool_calls"][0].clone()).collect();
    let begun = |index: usize, id: &str| json!({"index": index, "id": id, "type": "function", "function": {"name": "get", "arguments": ""}});
    let more = |json: &str| json!({"index": 0, "function": {"arguments": json}});
    assert_eq!(deltas, [begun(0, "a"), more("{\"x\":"), begun(1, "b"), more("1}")]);
    assert_eq!(stream[5]["choices"][0]["finish_reason"], "tool_calls");
}

async fn read(events: Vec<Result<ChatEvent, ProviderError>>) -> Vec<Value> {
    let events = stream::iter(events).boxed();
    let frames_of = Frames::new(events, Chunks::new(&identity(), false), CancellationToken::new(), HEARTBEAT);
    let bytes: Vec<u8> = frames_of.map(|bytes| bytes.expect("infallible")).collect::<Vec<_>>().await.concat();
    frames(&bytes)
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_and_without_done() {
    let text = || Ok(ChatEvent::Text("a".into()));
    let throttled = ProviderError::new(ProviderErrorKind::Throttled, "slower");
    let broken = read(vec![text(), Err(throttled), text()]).await;
    assert_eq!(broken.len(), 3, "{broken:?}");
    assert_eq!(broken[2]["error"]["code"], "rate_limit_exceeded");
    let cut = read(vec![text()]).await;
    assert_eq!(cut.last().expect("an error")["error"]["code"], "provider_stream_interrupted");
    let whole = read(vec![text(), Ok(ChatEvent::Finished(Finish::Stop))]).await;
    assert_eq!(whole.last().expect("an end"), "[DONE]");
}

#[tokio::test]
async fn a_silent_stream_says_that_it_is_alive() {
    let (events, silence) = (stream::pending().boxed(), Duration::from_millis(1));
    let mut frames = Frames::new(events, Chunks::new(&identity(), false), CancellationToken::new(), silence);
    let first = frames.next().await.expect("the role").expect("infallible");
    assert!(first.starts_with(b"data: {"));
    for _ in 0..3 {
        assert_eq!(frames.next().await.expect("a comment").expect("infallible"), ": waiting\n\n");
    }
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams_with_an_error() {
    let stopping = CancellationToken::new();
    let mut streamed =
        Frames::new(stream::pending().boxed(), Chunks::new(&identity(), false), stopping.clone(), HEARTBEAT);
    streamed.next().await.expect("the role").expect("infallible");
    stopping.cancel();
    let last = streamed.next().await.expect("an error").expect("infallible");
    assert_eq!(frames(&last)[0]["error"]["code"], "stopping");
    assert!(streamed.next().await.is_none());
}

#[test]
fn every_failure_of_the_provider_has_its_status_and_code() {
    use ProviderErrorKind as Kind;
    for kind in Kind::ALL {
        let (status, code) = match kind {
            Kind::Credentials | Kind::Forbidden => (502, "upstream_credentials"),
            Kind::NotFound => (502, "upstream_model_not_found"),
            Kind::BadRequest => (400, "invalid_request_error"),
            Kind::PromptTooLong => (400, "context_length_exceeded"),
            Kind::ContentFilter => (400, "content_filter"),
            Kind::Throttled => (429, "rate_limit_exceeded"),
            Kind::Quota => (429, "insufficient_quota"),
            Kind::Conflict | Kind::Overloaded | Kind::Server | Kind::Network | Kind::Timeout => {
                (503, kind.code())
            }
            Kind::Egress | Kind::Settings => (503, kind.code()),
            Kind::CutShort | Kind::Protocol => (502, kind.code()),
        };
        let problem = refusal::upstream(&ProviderError::new(kind, "detail"));
        assert_eq!((problem.status().as_u16(), problem.code()), (status, code), "{kind:?}");
        let message = problem.to_openai()["error"]["message"].as_str().expect("text").to_owned();
        assert_eq!(status == 503, message.starts_with("AI provider temporarily unavailable"), "{message}");
    }
}

#[test]
fn an_unknown_model_is_404_with_the_known_ones() {
    let error = InferenceError::UnknownModel { model: "gpt-9".into(), known: vec!["a".into(), "b".into()] };
    let problem = refusal::inference(&error);
    assert_eq!((problem.status().as_u16(), problem.code()), (404, "model_not_found"));
    let error = problem.to_openai();
    assert_eq!(error["error"]["param"], "model");
    assert!(error["error"]["message"].as_str().expect("text").contains("a, b"), "{error}");
}
