//! Answers, streams and error vectors of the servers that speak chat completions.

use std::collections::BTreeSet;

use atlas_http::HeaderMap;
use atlas_llm::{ChatRequest, Finish, ProviderError, ProviderErrorKind as Kind};
use atlas_vendor::{Refusal, Scrubber};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::dialect::{AZURE, COMPATIBLE, Dialect, OPENAI, TGI, VLLM};
use super::stream::Reader;
use crate::fixture_tests::{self as fixtures, Outcome};

/// Ollama's compatible route is one more imitation; its native API has a folder and tests of its own.
const OLLAMA_V1: &str = "ollama_v1";

const FOLDERS: [(&str, &Dialect); 6] = [
    ("openai", &OPENAI),
    ("azure", &AZURE),
    ("vllm", &VLLM),
    ("tgi", &TGI),
    ("compat", &COMPATIBLE),
    (OLLAMA_V1, &COMPATIBLE),
];

fn scrubber() -> Scrubber {
    Scrubber::new([&SecretString::from("test-canary-0123456789")])
}

fn reader() -> Reader {
    Reader::new(&ChatRequest::default(), scrubber())
}

/// The Responses API is another dialect of the same folder, with tests of its own.
fn is_ours(file: &&String) -> bool {
    !file.starts_with("openai/responses.")
}

#[test]
fn every_stream_has_its_expected_outcome_however_it_is_cut() {
    for (folder, _) in FOLDERS {
        for file in fixtures::files(folder).iter().filter(is_ours).filter(|file| fixtures::is_stream(file)) {
            fixtures::check_stream(file, reader);
        }
    }
}

#[test]
fn every_refusal_has_its_kind() {
    for (folder, dialect) in FOLDERS {
        let map = |status: u16, headers: &HeaderMap, body: &[u8]| -> ProviderError {
            super::advised(dialect, Refusal::of(status, headers, body, &scrubber())).error
        };
        fixtures::check_errors(folder, map);
    }
}

#[track_caller]
fn detail(dialect: &Dialect, file: &str) -> String {
    let vector = fixtures::Vector::of(file);
    let refusal = Refusal::of(vector.status, &vector.headers, &vector.body, &scrubber());
    super::advised(dialect, refusal).error.detail().to_owned()
}

#[test]
fn refusals_that_need_it_come_with_advice() {
    for (file, advice) in [
        ("azure/error.404.deployment.json", "name of a deployment"),
        ("azure/error.404.resource.json", "BYOC_AZURE_API_VERSION"),
        ("azure/error.403.private_endpoint.json", "address of the private endpoint"),
        ("azure/error.403.firewall.json", "network rules"),
        ("azure/error.401.permission_denied.json", "Cognitive Services OpenAI User"),
    ] {
        let detail = detail(&AZURE, file);
        assert!(detail.contains(advice), "{file}: {detail}");
    }
    let detail = detail(&VLLM, "vllm/error.400.tool_parser.json");
    assert!(detail.contains("started without tools"), "{detail}");
}

#[test]
fn azures_request_id_is_kept() {
    let vector = fixtures::Vector::of("azure/error.400.content_filter.json");
    let refusal = Refusal::of(vector.status, &vector.headers, &vector.body, &scrubber());
    assert_eq!(refusal.error.request_id(), Some("9c0e"));
}

/// Answers in one piece: the text (or refusal), the calls, the reason, and tokens in, out, cached,
/// written to the cache and for reasoning.
type Answer = (&'static str, &'static str, &'static [(&'static str, &'static str)], Finish, Option<[u64; 5]>);

fn answers() -> Vec<Answer> {
    const OSLO: &str = r#"{"city":"Oslo","unit":"c"}"#;
    const WEATHER: &[(&str, &str)] = &[("get_weather", OSLO)];
    const BOTH: &[(&str, &str)] = &[("get_weather", OSLO), ("get_weather", r#"{"city":"Lima","unit":"c"}"#)];
    let indexed = "An index is a lookup structure that finds rows without scanning the table.";
    let invoice = r#"{"vendor":"ACME","total":41.5,"currency":"EUR"}"#;
    let declined = "I can't help with that request.";
    vec![
        ("openai/chat.response.json", indexed, &[], Finish::Stop, Some([27, 15, 0, 0, 0])),
        (
            "openai/chat.cached_usage.response.json",
            "Done.",
            &[],
            Finish::Stop,
            Some([2100, 340, 1920, 128, 320]),
        ),
        ("openai/chat.json_schema.response.json", invoice, &[], Finish::Stop, Some([66, 17, 0, 0, 0])),
        ("openai/chat.length.response.json", "", &[], Finish::Length, Some([31, 256, 0, 0, 256])),
        (
            "openai/chat.content_filter.response.json",
            "The first step",
            &[],
            Finish::ContentFilter,
            Some([33, 3, 0, 0, 0]),
        ),
        ("openai/chat.refusal.response.json", declined, &[], Finish::Refusal, Some([40, 9, 0, 0, 0])),
        ("openai/chat.tool_calls.response.json", "", BOTH, Finish::ToolCalls, Some([80, 42, 0, 0, 0])),
        (
            "openai/chat.tool_choice_named.response.json",
            "",
            WEATHER,
            Finish::ToolCalls,
            Some([60, 12, 0, 0, 0]),
        ),
        ("azure/chat.response.json", "A lookup structure.", &[], Finish::Stop, Some([20, 6, 0, 0, 0])),
        (
            "azure/chat.content_filter.response.json",
            "The first step",
            &[],
            Finish::ContentFilter,
            Some([33, 3, 0, 0, 0]),
        ),
        ("vllm/chat.response.json", "Forty-two.", &[], Finish::Stop, Some([40, 18, 0, 0, 0])),
        ("vllm/chat.tool_calls.response.json", "", WEATHER, Finish::ToolCalls, Some([40, 18, 0, 0, 0])),
        (
            "tgi/chat.response.json",
            "An index is a lookup structure.",
            &[],
            Finish::Stop,
            Some([40, 18, 0, 0, 0]),
        ),
        ("tgi/chat.tool_calls.response.json", "", WEATHER, Finish::ToolCalls, Some([40, 18, 0, 0, 0])),
        (
            "tgi/chat.tool_calls_object_args.response.json",
            "",
            WEATHER,
            Finish::ToolCalls,
            Some([40, 18, 0, 0, 0]),
        ),
        ("ollama_v1/v1_chat.response.json", "Forty-two.", &[], Finish::Stop, Some([26, 12, 0, 0, 0])),
        ("compat/content_parts.response.json", "Hello", &[], Finish::Stop, None),
        ("compat/missing_fields.response.json", "Hello", &[], Finish::Stop, None),
    ]
}

/// An answer in one piece that is an error.
const ERROR_IN_200: &str = "compat/error_in_200.response.json";

#[test]
fn every_answer_in_one_piece_is_read() {
    for (file, text, calls, finish, usage) in answers() {
        let seen = fixtures::read_however_cut(&fixtures::bytes(file), reader);
        let said = if seen.finish == Some(Finish::Refusal) { &seen.refusal } else { &seen.text };
        assert_eq!(said, text, "{file}");
        let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let calls: Vec<_> =
            calls.iter().map(|(name, arguments)| (name.to_string(), json(arguments))).collect();
        assert_eq!((seen.tool_calls, seen.finish, seen.error), (calls, Some(finish), None), "{file}");
        let tokens = seen
            .usage
            .map(|usage| [usage.input, usage.output, usage.cached_input, usage.cache_write, usage.reasoning]);
        assert_eq!(tokens, usage, "{file}");
    }
    let failed = Outcome { error: Some((Kind::Server, true)), ..Outcome::default() };
    assert_eq!(fixtures::read_however_cut(&fixtures::bytes(ERROR_IN_200), reader), failed);
}

#[test]
fn every_fixture_is_looked_at() {
    for (folder, _) in FOLDERS {
        let of_folder = |file: &&str| file.split('/').next() == Some(folder);
        let there = fixtures::files(folder);
        let streams = there.iter().map(String::as_str).filter(|file| fixtures::is_stream(file));
        let responses = there.iter().map(String::as_str).filter(|file| !is_ours(&&(*file).to_owned()));
        let answers = answers();
        let answers = answers.iter().map(|(file, ..)| *file).chain([ERROR_IN_200]).filter(of_folder);
        let requests = super::request_tests::requests();
        let requests = requests.iter().map(|(file, ..)| *file).filter(of_folder);
        let tables = crate::labels_tests::TABLES.into_iter().filter(of_folder);
        let lists =
            ["openai/models.response.json", "vllm/models.response.json"].into_iter().filter(of_folder);
        let used: BTreeSet<&str> =
            streams.chain(responses).chain(answers).chain(requests).chain(tables).chain(lists).collect();
        fixtures::check_all_used(folder, used);
    }
}

#[track_caller]
fn check(chunks: &[Value], expect: Outcome) {
    let stream: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    assert_eq!(fixtures::read_however_cut(stream.as_bytes(), reader), expect);
}

fn delta(delta: Value, finish: Value) -> Value {
    json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
}

#[test]
fn the_form_of_calls_before_there_were_several_is_read() {
    check(
        &[
            delta(json!({ "function_call": { "name": "get", "arguments": "{\"x\":" } }), Value::Null),
            delta(json!({ "function_call": { "arguments": "1}" } }), json!("function_call")),
        ],
        Outcome {
            tool_calls: vec![("get".into(), json!({ "x": 1 }))],
            finish: Some(Finish::ToolCalls),
            ..Outcome::default()
        },
    );
}

#[test]
fn the_chunk_with_the_reason_may_hold_the_rest_of_the_arguments() {
    let call = |arguments| json!({ "tool_calls": [{ "index": 0, "id": "a", "function": { "name": "get", "arguments": arguments } }] });
    check(
        &[delta(call("{\"x\":"), Value::Null), delta(call("1}"), json!("tool_calls"))],
        Outcome {
            tool_calls: vec![("get".into(), json!({ "x": 1 }))],
            finish: Some(Finish::ToolCalls),
            ..Outcome::default()
        },
    );
}

#[test]
fn an_unknown_reason_is_kept_and_an_error_as_reason_is_one() {
    let said = |finish| [delta(json!({ "content": "Hi" }), json!(finish))];
    let text = "Hi".to_owned();
    check(
        &said("moon_phase"),
        Outcome {
            text: text.clone(),
            finish: Some(Finish::Other("moon_phase".into())),
            ..Outcome::default()
        },
    );
    check(&said("error"), Outcome { text, error: Some((Kind::Server, false)), ..Outcome::default() });
    let in_choice = json!({ "choices": [{ "delta": {}, "error": { "code": 429, "message": "slow" } }] });
    check(&[in_choice], Outcome { error: Some((Kind::Throttled, true)), ..Outcome::default() });
}

#[test]
fn thoughts_in_details_are_thoughts() {
    let details =
        json!([{ "type": "reasoning.text", "text": "Hm." }, { "type": "reasoning.encrypted", "data": "x" }]);
    check(
        &[
            delta(json!({ "reasoning_details": details }), Value::Null),
            delta(json!({ "content": "Yes" }), json!("stop")),
        ],
        Outcome {
            reasoning: "Hm.".into(),
            text: "Yes".into(),
            finish: Some(Finish::Stop),
            ..Outcome::default()
        },
    );
}

#[test]
fn what_is_no_answer_is_not_understood() {
    for (said, kind) in [
        ("<html>sign in</html>", Kind::Protocol),
        ("Please sign in", Kind::Protocol),
        ("data: {\"choices\": nonsense}\n\n", Kind::Protocol),
        ("", Kind::CutShort),
        ("\u{feff} \n", Kind::CutShort),
        ("{\"choices\":[{\"message\":{\"con", Kind::CutShort),
        ("data: {\"choi", Kind::CutShort),
    ] {
        let outcome = fixtures::read_however_cut(said.as_bytes(), reader);
        assert_eq!(outcome, Outcome { error: Some((kind, false)), ..Outcome::default() }, "{said}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>, json: String) {
        for bytes in [bytes, format!("data: {{\"choices\":[{{\"delta\":{json:?}}}]}}\n\n").into_bytes()] {
            fixtures::read(reader(), [&bytes[..]]);
        }
    }
}
