//! Requests as they would go out.

use atlas_llm::{AssistantTurn, JsonSchema, Message, Output, Tool, ToolCall, ToolChoice};
use serde_json::json;

use super::request::{ANSWER_TOOL, Asked, Shape, ask};
use super::tests::{asked, facts, refused};
use super::*;
use crate::fixture_tests::{check_request, json as fixture};

fn form(shape: Shape) -> Form {
    Form { shape, forced: true, strict: true, sampling: true }
}

fn user(text: &str) -> ChatRequest {
    ChatRequest { messages: vec![Message::user(text)], ..ChatRequest::default() }
}

fn weather() -> Tool {
    Tool {
        name: "get_weather".into(),
        description: "Current weather for one city.".into(),
        parameters: fixture("anthropic/messages.tools.request.json")["tools"][0]["input_schema"].clone(),
        strict: true,
    }
}

fn invoice() -> Output {
    let schema = &fixture("anthropic/messages.json_schema.request.json")["output_config"]["format"]["schema"];
    Output::Schema(JsonSchema { name: "invoice".into(), schema: schema.clone() })
}

fn weather_call(id: &str, city: &str) -> ToolCall {
    let arguments = json!({ "city": city, "unit": "c" }).to_string();
    ToolCall { id: id.into(), name: "get_weather".into(), arguments }
}

#[test]
fn requests_are_the_fixtures() {
    let streamed = ("stream", json!(true));
    let question = ChatRequest {
        messages: vec![
            Message::system("Answer in one sentence."),
            Message::user("What is an index in a database?"),
        ],
        max_output_tokens: Some(1024),
        ..ChatRequest::default()
    };
    check_request("anthropic/messages.request.json", &asked(&question), std::slice::from_ref(&streamed));

    let hello = ChatRequest { max_output_tokens: Some(1024), ..user("Say hello.") };
    check_request("anthropic/messages.stream.request.json", &asked(&hello), &[]);

    let shaped = ChatRequest { output: invoice(), max_output_tokens: Some(512), ..user("ACME, 41.50 EUR") };
    check_request(
        "anthropic/messages.json_schema.request.json",
        &asked(&shaped),
        std::slice::from_ref(&streamed),
    );

    // Without the mark for the cache, which is not used.
    let cached = ChatRequest {
        messages: vec![Message::system("Long stable instructions."), Message::user("Hello")],
        max_output_tokens: Some(512),
        ..ChatRequest::default()
    };
    let system = ("system", json!("Long stable instructions."));
    check_request(
        "anthropic/messages.cached_system.request.json",
        &asked(&cached),
        &[streamed.clone(), system],
    );

    let looped = ChatRequest {
        messages: vec![
            Message::user("Weather in Oslo and Lima?"),
            Message::Assistant(AssistantTurn {
                text: "Let me look.".into(),
                tool_calls: vec![weather_call("toolu_a1", "Oslo"), weather_call("toolu_b2", "Lima")],
                continuation: None,
            }),
            Message::Tool { call_id: "toolu_a1".into(), text: "{\"temp\":-2}".into(), is_error: false },
            Message::Tool { call_id: "toolu_b2".into(), text: "station offline".into(), is_error: true },
        ],
        tools: vec![weather()],
        parallel_tool_calls: Some(true),
        max_output_tokens: Some(1024),
        ..ChatRequest::default()
    };
    check_request("anthropic/messages.tools.request.json", &asked(&looped), &[streamed]);
}

#[test]
fn a_token_limit_is_always_sent() {
    assert_eq!(asked(&user("a"))["max_tokens"], 128_000);
    let huge = ChatRequest { max_output_tokens: Some(999_999), ..user("a") };
    assert_eq!(asked(&huge)["max_tokens"], 128_000);
    let unknown = ModelFacts::default();
    assert_eq!(ask("m", &user("a"), &unknown, Form::first(&unknown)).body["max_tokens"], 4096);
}

#[test]
fn sampling_is_one_parameter_or_none() {
    let request = ChatRequest { temperature: Some(1.7), top_p: Some(0.2), ..user("a") };
    assert_eq!(asked(&request).get("temperature"), None, "the facts say that it refuses");
    let body = ask("m", &request, &facts(), form(Shape::Format)).body;
    assert_eq!((body["temperature"].as_f64(), body.get("top_p")), (Some(1.0), None));
    let top_p = ChatRequest { temperature: None, ..request };
    assert_eq!(ask("m", &top_p, &facts(), form(Shape::Format)).body["top_p"], 0.2);
}

#[test]
fn turns_alternate_and_results_come_before_text() {
    let request = ChatRequest {
        messages: vec![
            Message::user("one"),
            Message::user("two"),
            Message::Assistant(AssistantTurn {
                tool_calls: vec![ToolCall {
                    id: "t1".into(),
                    name: "get".into(),
                    arguments: "not json".into(),
                }],
                ..AssistantTurn::default()
            }),
            Message::user("and quickly"),
            Message::Tool { call_id: "t1".into(), text: String::new(), is_error: false },
            Message::assistant(" "),
            Message::user("three"),
        ],
        stop: vec!["\n".into(), "END".into()],
        ..ChatRequest::default()
    };
    let text = |text: &str| json!({ "type": "text", "text": text });
    let body = asked(&request);
    assert_eq!(
        body["messages"],
        json!([
            { "role": "user", "content": [text("one"), text("two")] },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "t1", "name": "get", "input": {} }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t1" }, text("and quickly")] },
            { "role": "user", "content": "three" },
        ])
    );
    assert_eq!(body["stop_sequences"], json!(["END"]));
}

#[test]
fn instructions_alone_are_a_question() {
    let request = ChatRequest { messages: vec![Message::system("Say hi.")], ..ChatRequest::default() };
    let body = asked(&request);
    assert_eq!((&body["messages"][0]["content"], body.get("system")), (&json!("Say hi."), None));
}

#[test]
fn choices_are_expressed_or_said() {
    let with = |tool_choice, parallel_tool_calls, forced| {
        let request = ChatRequest { tools: vec![weather()], tool_choice, parallel_tool_calls, ..user("a") };
        let body = ask("m", &request, &facts(), Form { forced, ..form(Shape::Format) }).body;
        (body.get("tool_choice").cloned(), body.get("system").cloned())
    };
    assert_eq!(with(ToolChoice::Auto, None, true), (None, None));
    assert_eq!(with(ToolChoice::None, Some(false), true), (Some(json!({ "type": "none" })), None));
    assert_eq!(
        with(ToolChoice::Required, Some(false), true),
        (Some(json!({ "type": "any", "disable_parallel_tool_use": true })), None)
    );
    let named = || ToolChoice::Named("get_weather".into());
    assert_eq!(with(named(), None, true).0, Some(json!({ "type": "tool", "name": "get_weather" })));
    let said = json!("Answer by calling the tool get_weather.");
    assert_eq!(with(named(), None, false), (None, Some(said)));
}

fn shaped(shape: Shape, tools: Vec<Tool>) -> Asked {
    ask("m", &ChatRequest { output: invoice(), tools, ..user("a") }, &facts(), form(shape))
}

#[test]
fn without_a_format_the_answer_is_the_arguments_of_a_forced_tool() {
    let asked = shaped(Shape::Tool, vec![]);
    assert!(asked.answers_by_tool);
    assert_eq!(asked.body["tool_choice"], json!({ "type": "tool", "name": ANSWER_TOOL }));
    assert_eq!((&asked.body["tools"][0]["strict"], asked.body.get("output_config")), (&json!(true), None));

    // Beside the caller's tools, and where none can be forced, it is said.
    for asked in [shaped(Shape::Tool, vec![weather()]), shaped(Shape::Prompt, vec![])] {
        assert!(!asked.answers_by_tool);
        assert!(asked.body["system"].as_str().is_some_and(|system| system.contains("JSON Schema")));
        assert_eq!(asked.body.get("tool_choice"), None);
    }
}

#[test]
fn what_is_refused_by_name_is_left_out_step_by_step() {
    let request = ChatRequest { output: invoice(), temperature: Some(0.5), ..user("a") };
    let unknown = ModelFacts::default();
    let mut form = Form::first(&unknown);
    assert_eq!(form.shape, Shape::Format, "a model without facts is taken for a new one");
    let mut step = |message: &str| {
        let asked = ask("m", &request, &unknown, form);
        let adapted = form.adapt(&asked, &refused(400, message));
        form = adapted.unwrap_or(form);
        (adapted.is_some(), form)
    };
    assert!(step("output_config: Extra inputs are not permitted").1.shape == Shape::Tool);
    assert!(!step("`temperature` is deprecated for this model.").1.sampling);
    assert!(
        step("tools.0.custom.strict: Extra inputs are not permitted").1
            == Form { shape: Shape::Tool, forced: true, strict: false, sampling: false }
    );
    assert!(step("tool_choice forces tool use is not compatible with this model").1.shape == Shape::Prompt);
    for message in ["temperature: again", "prompt is too long: 3 tokens > 2 maximum", "max_tokens: too large"]
    {
        assert!(!step(message).0, "{message}");
    }
}
