//! Fixtures through the reader and the mapping of errors, and requests as they would go out.

use atlas_llm::{
    AssistantTurn, ChatEvent, Finish, JsonSchema, Message, Output, ProviderErrorKind as Kind, Tool, ToolCall,
    ToolChoice, Usage,
};
use atlas_vendor::Scrubber;
use serde_json::{Value, json};

use super::*;
use crate::fixture_tests::{
    Outcome, bytes, check_all_used, check_errors, check_request, check_stream, files, is_stream,
    json as fixture, read, read_however_cut,
};

fn reader() -> Reader {
    reader_of(&ChatRequest::default())
}

fn reader_of(request: &ChatRequest) -> Reader {
    Reader::new(Scrubber::default(), request, CONTEXT_TOKENS)
}

fn user(text: &str) -> ChatRequest {
    ChatRequest { messages: vec![Message::user(text)], ..ChatRequest::default() }
}

fn body(request: &ChatRequest) -> Value {
    request::body("llama3.1:8b", request, CONTEXT_TOKENS)
}

fn weather() -> Tool {
    let function = &fixture("ollama/api_chat.tools.request.json")["tools"][0]["function"];
    Tool {
        name: "get_weather".into(),
        description: "Current weather for one city.".into(),
        parameters: function["parameters"].clone(),
        strict: true,
    }
}

fn shape() -> Output {
    let schema = fixture("ollama/api_chat.json_schema.request.json")["format"].clone();
    Output::Schema(JsonSchema { name: "invoice".into(), schema })
}

#[test]
fn every_stream_has_its_expected_outcome_however_it_is_cut() {
    for file in files("ollama").iter().filter(|file| is_stream(file)) {
        check_stream(file, reader);
    }
}

#[test]
fn every_error_vector_has_its_kind() {
    check_errors("ollama", |status, headers, body| {
        error::advised(Refusal::of(status, headers, body, &Scrubber::default()), "llama9")
    });
}

#[test]
fn every_answer_in_one_piece_is_read() {
    let said = |text: &str, finish| Outcome {
        text: text.into(),
        finish: Some(finish),
        usage: Some(Usage { input: 26, output: 12, ..Usage::default() }),
        ..Outcome::default()
    };
    let call = ("get_weather".to_owned(), json!({ "city": "Oslo", "unit": "c" }));
    for (file, expect) in [
        ("ollama/api_chat.response.json", said("An index is a lookup structure.", Finish::Stop)),
        ("ollama/api_chat.length.response.json", said("An index is", Finish::Length)),
        (
            "ollama/api_chat.tool_calls.response.json",
            Outcome { tool_calls: vec![call], ..said("", Finish::ToolCalls) },
        ),
    ] {
        let line = format!("{}\n", fixture(file));
        assert_eq!(read_however_cut(line.as_bytes(), reader), expect, "{file}");
    }
}

#[test]
fn requests_are_the_fixtures() {
    let streamed = ("stream", json!(true));
    let question = ChatRequest {
        messages: vec![Message::system("Answer in one sentence."), Message::user("What is an index?")],
        max_output_tokens: Some(256),
        temperature: Some(0.2),
        ..ChatRequest::default()
    };
    let ours = request::body("llama3.1:8b", &question, 16384);
    check_request("ollama/api_chat.request.json", &ours, &[streamed.clone(), ("keep_alive", Value::Null)]);

    let no_cuts = [("truncate", json!(false)), ("shift", json!(false))];
    let shaped =
        ChatRequest { output: shape(), temperature: Some(0.0), ..user("ACME, 41.50 EUR. Reply as JSON.") };
    let mut ours = body(&shaped);
    // Ours says the shape in words as well.
    let said = ours["messages"].as_array_mut().expect("messages").remove(0);
    assert!(said["content"].as_str().is_some_and(|text| text.contains("\"vendor\"")), "{said}");
    ours["options"]["temperature"] = json!(0);
    let differences = [streamed, no_cuts[0].clone(), no_cuts[1].clone()];
    check_request("ollama/api_chat.json_schema.request.json", &ours, &differences);

    let looped = ChatRequest {
        messages: vec![
            Message::user("Weather in Oslo?"),
            Message::Assistant(AssistantTurn {
                tool_calls: vec![ToolCall {
                    id: "call_a1".into(),
                    name: "get_weather".into(),
                    arguments: "{\"city\":\"Oslo\",\"unit\":\"c\"}".into(),
                }],
                ..AssistantTurn::default()
            }),
            Message::Tool { call_id: "call_a1".into(), text: "{\"temp\":-2}".into(), is_error: false },
        ],
        tools: vec![weather()],
        ..ChatRequest::default()
    };
    let ours = request::body("qwen3:8b", &looped, 16384);
    let differences = [("think", Value::Null), no_cuts[0].clone(), no_cuts[1].clone()];
    check_request("ollama/api_chat.tools.request.json", &ours, &differences);
}

#[test]
fn every_fixture_is_looked_at() {
    let streams = files("ollama").into_iter().filter(|file| is_stream(file)).collect::<Vec<_>>();
    let others = [
        "api_chat.request",
        "api_chat.json_schema.request",
        "api_chat.tools.request",
        "api_chat.response",
        "api_chat.length.response",
        "api_chat.tool_calls.response",
        "api_show.response",
        "api_ps.response",
        "api_tags.response",
    ];
    let others = others.map(|name| format!("ollama/{name}.json"));
    check_all_used("ollama", streams.iter().chain(&others).map(String::as_str));
}

#[test]
fn every_option_has_its_name() {
    let request = ChatRequest {
        max_output_tokens: Some(9),
        temperature: Some(0.2),
        top_p: Some(0.9),
        stop: vec!["END".into()],
        seed: Some(7),
        ..user("a")
    };
    assert_eq!(
        body(&request)["options"],
        json!({ "num_ctx": 8192, "num_predict": 9, "temperature": 0.2, "top_p": 0.9, "seed": 7, "stop": ["END"] })
    );
    assert_eq!(body(&user("a"))["options"], json!({ "num_ctx": 8192 }));
}

#[test]
fn json_without_a_shape_is_a_mode_and_an_instruction() {
    let body = body(&ChatRequest { output: Output::Json, ..user("a") });
    assert_eq!(body["format"], "json");
    assert!(body["messages"][0]["content"].as_str().is_some_and(|text| text.contains("one JSON object")));
}

#[test]
fn choices_are_imitated() {
    let with = |tool_choice, output| {
        let other = Tool { name: "other".into(), ..weather() };
        let messages = vec![Message::system("Be short."), Message::user("a")];
        let tools = vec![weather(), other];
        body(&ChatRequest { messages, tools, tool_choice, output, ..ChatRequest::default() })
    };
    let n_tools = |body: &Value| body["tools"].as_array().map_or(0, Vec::len);
    let system = |body: &Value| body["messages"][0]["content"].as_str().expect("text").to_owned();

    let auto = with(ToolChoice::Auto, Output::Text);
    assert_eq!((n_tools(&auto), &*system(&auto)), (2, "Be short."));
    assert_eq!(n_tools(&with(ToolChoice::None, Output::Text)), 0);
    let required = with(ToolChoice::Required, Output::Text);
    assert_eq!(
        (n_tools(&required), &*system(&required)),
        (2, "Be short.\n\nAnswer by calling one of the tools.")
    );
    let named = with(ToolChoice::Named("other".into()), Output::Text);
    assert_eq!((n_tools(&named), &named["tools"][0]["function"]["name"]), (1, &json!("other")));

    let shaped = with(ToolChoice::Auto, shape());
    assert_eq!(shaped.get("format"), None, "it would rule out the calls");
    assert!(system(&shaped).contains("JSON Schema"));
    assert!(with(ToolChoice::None, shape()).get("format").is_some());
}

#[test]
fn a_failed_tool_says_so_and_bad_arguments_are_none() {
    let request = ChatRequest {
        messages: vec![
            Message::Assistant(AssistantTurn {
                tool_calls: vec![ToolCall { id: "1".into(), name: "get".into(), arguments: "[".into() }],
                ..AssistantTurn::default()
            }),
            Message::Tool { call_id: "1".into(), text: "offline".into(), is_error: true },
            Message::Tool { call_id: "lost".into(), text: "x".into(), is_error: false },
        ],
        ..ChatRequest::default()
    };
    let messages = &body(&request)["messages"];
    assert_eq!(messages[0]["tool_calls"][0]["function"]["arguments"], json!({}));
    assert_eq!(
        messages[1],
        json!({ "role": "tool", "content": "Error: offline", "tool_call_id": "1", "tool_name": "get" })
    );
    assert_eq!(messages[2].get("tool_name"), None);
}

fn ids(request: &ChatRequest, calls: Value) -> Vec<String> {
    use crate::reading::Reader as _;
    let line = json!({ "message": { "content": "", "tool_calls": calls }, "done": true });
    let mut events = Vec::new();
    reader_of(request).bytes(format!("{line}\n").as_bytes(), &mut events).expect("an answer");
    let id = |event: ChatEvent| match event {
        ChatEvent::ToolCall { id, .. } => Some(id),
        _ => None,
    };
    events.into_iter().filter_map(id).collect()
}

#[test]
fn calls_have_ids_that_the_conversation_does_not_have() {
    let call = |id: Option<&str>| json!({ "id": id, "function": { "name": "get", "arguments": {} } });
    assert_eq!(
        ids(&ChatRequest::default(), json!([call(None), call(Some("a")), call(Some("a"))])),
        ["call_0", "a", "call_2"]
    );
    let turn = |id: &str| AssistantTurn {
        tool_calls: vec![ToolCall { id: id.into(), name: "get".into(), arguments: "{}".into() }],
        ..AssistantTurn::default()
    };
    let messages = vec![Message::Assistant(turn("call_1"))];
    let request = ChatRequest { messages, ..ChatRequest::default() };
    assert_eq!(ids(&request, json!([call(None), call(Some("call_1"))])), ["call_2", "call_3"]);
}

fn ends_with(request: &ChatRequest, prompt_eval_count: Value) -> Outcome {
    let line = json!({
        "message": { "content": "ok" }, "done": true, "done_reason": "stop",
        "prompt_eval_count": prompt_eval_count, "eval_count": 1,
    });
    read(reader_of(request), [format!("{line}\n").as_bytes()])
}

#[test]
fn a_prompt_that_was_cut_is_no_answer() {
    let cut = Some((Kind::PromptTooLong, false));
    let long = user(&"The disk of node 7 is full. ".repeat(1000));
    assert_eq!(ends_with(&long, json!(2048)).error, cut, "a sixth of the prompt");
    assert_eq!(ends_with(&long, json!(8192)).error, cut, "no room was left for the answer");
    assert_eq!(ends_with(&long, json!(7000)).error, None);
    assert_eq!(ends_with(&user("short"), json!(1)).error, None);
    // White space and lines of dashes are few tokens.
    let sparse = user(&format!("{}{}a", " ".repeat(5000), "-".repeat(5000)));
    assert_eq!(ends_with(&sparse, json!(40)).error, None);
}

#[test]
fn without_a_count_of_the_prompt_nothing_is_claimed() {
    let long = user(&"The disk of node 7 is full. ".repeat(1000));
    for count in [Value::Null, json!(0)] {
        let outcome = ends_with(&long, count);
        assert_eq!((outcome.error, outcome.usage, outcome.finish), (None, None, Some(Finish::Stop)));
    }
}

#[test]
fn a_stream_without_its_last_line_was_cut() {
    let stream = bytes("ollama/api_chat.stream.ndjson");
    let last = stream.len() - 40;
    assert_eq!(read(reader(), [&stream[..last]]).error, Some((Kind::CutShort, false)));
    let whole = read(reader(), [stream.trim_ascii_end()]);
    assert_eq!(whole.finish, Some(Finish::Stop), "the last line may lack its end");
    assert_eq!(read(reader(), [&b"<html>\n"[..]]).error, Some((Kind::Protocol, false)));
}

#[test]
fn errors_say_what_to_do() {
    let say = |status, text: &str| {
        let body = json!({ "error": text }).to_string();
        let refusal = Refusal::of(status, &Default::default(), body.as_bytes(), &Scrubber::default());
        error::advised(refusal, "llama9").to_string()
    };
    assert!(say(404, "model 'llama9' not found").contains("`ollama pull llama9`"));
    assert!(say(404, "404 page not found").contains("is it an Ollama server?"));
    assert!(say(400, "gemma:2b does not support tools").contains("capability tools"));
    assert!(say(400, "the input length exceeds the context length").contains("BYOC_CONTEXT_TOKENS"));
}

#[test]
fn a_card_says_what_the_model_can_do_and_what_is_loaded() {
    let card = fixture("ollama/api_show.response.json");
    let loaded = fixture("ollama/api_ps.response.json");
    let seen = inspect::card_and_loaded(&card, &loaded, "llama3.1:8b", 8192);
    assert_eq!((seen.model_listed, seen.tools, seen.context_tokens), (Some(true), Some(true), Some(4096)));
    assert!(seen.warnings[0].contains("loaded with 4096 tokens"), "{:?}", seen.warnings);

    let fits = inspect::card_and_loaded(&card, &loaded, "llama3.1:8b", 4096);
    assert_eq!((fits.context_tokens, fits.warnings), (Some(4096), vec![]));
    let huge = inspect::card_and_loaded(&card, &Value::Null, "llama3.1:8b", 200_000);
    assert_eq!(huge.context_tokens, Some(131_072));
    assert!(huge.warnings[0].contains("BYOC_CONTEXT_TOKENS"), "{:?}", huge.warnings);
}

#[test]
fn bases_are_read_however_they_are_pasted() {
    for (pasted, base) in [
        (None, "http://127.0.0.1:11434/"),
        (Some(""), "http://127.0.0.1:11434/"),
        (Some("http://ollama:11434"), "http://ollama:11434/"),
        (Some("http://ollama:11434/v1/"), "http://ollama:11434/"),
        (Some("http://ollama:11434/v1/chat/completions"), "http://ollama:11434/"),
        (Some("http://ollama:11434/api"), "http://ollama:11434/"),
        (Some("http://ollama:11434/api/chat"), "http://ollama:11434/"),
        (Some("https://gate.example/llm/api/"), "https://gate.example/llm"),
        (Some("https://gate.example/llm"), "https://gate.example/llm"),
    ] {
        assert_eq!(options::base(pasted).expect("a base").as_str(), base, "{pasted:?}");
    }
    for pasted in ["ollama:11434", "ftp://a", "http://a/?b=c"] {
        let error = options::base(Some(pasted)).expect_err(pasted);
        assert_eq!(error.named_setting(), Some("BYOC_ENDPOINT_URL"), "{pasted}");
    }
}
