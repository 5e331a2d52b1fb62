use atlas_llm::{AssistantTurn, ChatRequest, Message, Output, Tool, ToolCall, ToolChoice};
use serde_json::{Value, json};

use crate::api::openai::request::{Asked, ChatBody};
use crate::problem::Problem;

fn read(body: Value) -> Result<Asked, Problem> {
    serde_json::from_value::<ChatBody>(body).expect("JSON of the right types").read()
}

/// A question with these members beside.
fn with(members: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
    let whole = body.as_object_mut().expect("an object");
    whole.extend(members.as_object().expect("an object").clone());
    body
}

#[track_caller]
fn request(members: Value) -> ChatRequest {
    read(with(members)).expect("accepted").request
}

#[track_caller]
fn refused(members: Value, param: &str, code: &str) {
    let error = read(with(members.clone())).map(|_| ()).expect_err("refused").to_openai();
    let error = &error["error"];
    assert_eq!(
        (error["param"].as_str(), error["code"].as_str()),
        (Some(param), Some(code)),
        "{members}: {error}"
    );
    assert_eq!(error["type"], "invalid_request_error");
}

#[track_caller]
fn messages(turns: Value) -> Vec<Message> {
    request(json!({ "messages": turns })).messages
}

#[test]
fn openais_own_examples_are_read() {
    let read = |text: &str| serde_json::from_str::<ChatBody>(text).expect("JSON").read().expect("accepted");
    let plain = read(include_str!("../fixtures/chat.request.json"));
    assert_eq!(plain.model.as_deref(), Some("gpt-4o-mini"));
    assert_eq!(
        plain.request,
        ChatRequest {
            messages: vec![
                Message::system("Answer in one sentence."),
                Message::user("What is an index in a database?")
            ],
            max_output_tokens: Some(256),
            temperature: Some(0.2),
            ..ChatRequest::default()
        }
    );
    let stream = read(include_str!("../fixtures/chat.stream.request.json"));
    assert!(stream.stream && stream.include_usage);
    assert!(!plain.stream && !plain.include_usage);
    let tools = read(include_str!("../fixtures/chat.tools.request.json")).request;
    assert_eq!((tools.messages.len(), tools.tools.len(), tools.parallel_tool_calls), (4, 1, Some(true)));
    assert!(tools.tools[0].strict);
    let named = read(include_str!("../fixtures/chat.tool_choice_named.request.json")).request;
    assert_eq!(named.tool_choice, ToolChoice::Named("get_weather".into()));
    let json = read(include_str!("../fixtures/chat.json_object.request.json")).request;
    assert_eq!(json.output, Output::Json);
    let shape = read(include_str!("../fixtures/chat.json_schema.request.json")).request;
    let schema = shape.output.schema().expect("a schema");
    assert_eq!((schema.name.as_ref(), &schema.schema["type"]), ("invoice", &json!("object")));
    let effort = read(include_str!("../fixtures/chat.reasoning_tools_effort_none.request.json")).request;
    assert_eq!(effort.messages[0], Message::system("Use tools when helpful."));
}

#[test]
fn every_parameter_arrives() {
    let request = request(json!({
        "max_tokens": 7, "temperature": 1.5, "top_p": 0.5, "stop": ["a", "b"], "seed": 3,
        "tools": [{"type": "function", "function": {"name": "get"}}], "parallel_tool_calls": false,
    }));
    assert_eq!((request.max_output_tokens, request.seed), (Some(7), Some(3)));
    assert_eq!((request.temperature, request.top_p), (Some(1.5), Some(0.5)));
    assert_eq!(request.stop, ["a", "b"]);
    assert_eq!(request.parallel_tool_calls, Some(false));
    let parameters = json!({"type": "object", "properties": {}});
    assert_eq!(
        request.tools,
        [Tool { name: "get".into(), description: String::new(), parameters, strict: false }]
    );
}

#[test]
fn the_newer_name_of_the_token_limit_wins() {
    let request = request(json!({"max_tokens": 7, "max_completion_tokens": 9}));
    assert_eq!(request.max_output_tokens, Some(9));
}

#[test]
fn one_stop_text_is_a_list_of_one() {
    assert_eq!(request(json!({"stop": "end"})).stop, ["end"]);
}

#[test]
fn without_tools_nothing_is_said_about_them() {
    let request = request(json!({"parallel_tool_calls": true, "tool_choice": "auto", "tools": []}));
    assert_eq!((request.parallel_tool_calls, request.tool_choice), (None, ToolChoice::Auto));
}

#[test]
fn words_choose_tools() {
    let tools = json!([{"type": "function", "function": {"name": "get"}}]);
    for (word, expect) in
        [("auto", ToolChoice::Auto), ("none", ToolChoice::None), ("required", ToolChoice::Required)]
    {
        assert_eq!(request(json!({"tools": tools, "tool_choice": word})).tool_choice, expect);
    }
}

#[test]
fn the_default_model_is_the_operators() {
    for body in [json!({"model": ""}), json!({"model": "default"}), json!({"model": null})] {
        assert_eq!(read(with(body)).expect("accepted").model, None);
    }
    assert_eq!(read(with(json!({}))).expect("accepted").model.as_deref(), Some("m"));
}

#[test]
fn what_nobody_knows_and_what_changes_nothing_is_ignored() {
    let plain = request(json!({}));
    let with_more = request(json!({
        "x_vendor": {"a": 1}, "user": "u", "metadata": {"k": "v"}, "store": true, "service_tier": "auto",
        "n": 1, "logprobs": false, "top_logprobs": null, "logit_bias": {}, "presence_penalty": 0,
        "frequency_penalty": 0.0, "modalities": ["text"], "audio": null, "functions": null,
        "response_format": {"type": "text"}, "stream": false, "tools": null, "stop": null,
        "reasoning_effort": "low", "prediction": null,
    }));
    assert_eq!(plain, with_more);
}

#[test]
fn what_would_change_the_answer_is_refused() {
    for (param, value) in [
        ("n", json!(2)),
        ("logprobs", json!(true)),
        ("top_logprobs", json!(3)),
        ("logit_bias", json!({"50256": -100})),
        ("presence_penalty", json!(0.5)),
        ("frequency_penalty", json!(-1)),
        ("modalities", json!(["text", "audio"])),
        ("audio", json!({"voice": "x"})),
        ("functions", json!([{"name": "get"}])),
        ("function_call", json!("auto")),
        ("web_search_options", json!({})),
    ] {
        refused(json!({ param: value }), param, "unsupported_parameter");
    }
    refused(json!({"tools": [{"type": "custom"}]}), "tools[0].type", "unsupported_parameter");
    refused(json!({"tool_choice": {"type": "allowed_tools"}}), "tool_choice.type", "unsupported_parameter");
}

#[test]
fn values_that_cannot_be_are_refused_by_name() {
    let tool = json!([{"type": "function", "function": {"name": "get"}}]);
    let other = json!({"type": "function", "function": {"name": "put"}});
    for (members, param) in [
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"max_completion_tokens": 0}), "max_completion_tokens"),
        (json!({"temperature": 2.1}), "temperature"),
        (json!({"top_p": -0.1}), "top_p"),
        (json!({"seed": -1}), "seed"),
        (json!({"stop": ["a", "b", "c", "d", "e"]}), "stop"),
        (json!({"stop": ""}), "stop"),
        (json!({"stream_options": {"include_usage": true}}), "stream_options"),
        (json!({"tool_choice": "any"}), "tool_choice"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"tools": tool, "tool_choice": other}), "tool_choice.function.name"),
        (json!({"tools": [{"type": "function", "function": {"name": "a b"}}]}), "tools[0].function.name"),
        (
            json!({"tools": [{"type": "function", "function": {"name": "a", "parameters": []}}]}),
            "tools[0].function.parameters",
        ),
        (json!({"response_format": {"type": "xml"}}), "response_format.type"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": 1}}}),
            "response_format.json_schema.schema",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "", "schema": {}}}}),
            "response_format.json_schema.name",
        ),
        (json!({"messages": []}), "messages"),
    ] {
        refused(members, param, "invalid_value");
    }
    let shapeless = json!({"response_format": {"type": "json_schema"}});
    refused(shapeless, "response_format.json_schema", "missing_required_parameter");
    refused(json!({"messages": null}), "messages", "missing_required_parameter");
}

#[test]
fn parts_of_text_are_one_text() {
    let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    assert_eq!(messages(json!([{"role": "user", "content": parts}])), [Message::user("a\nb")]);
}

#[test]
fn other_parts_are_refused_by_place() {
    for kind in ["image_url", "input_audio", "file"] {
        let parts = json!([{"type": "text", "text": "a"}, {"type": kind}]);
        let turns = json!([{"role": "user", "content": parts}]);
        refused(json!({"messages": turns}), "messages[0].content[1].type", "unsupported_parameter");
    }
}

#[test]
fn instructions_move_to_the_front_in_their_order() {
    let turns = json!([
        {"role": "system", "content": "1"}, {"role": "user", "content": "a"},
        {"role": "developer", "content": "2"}, {"role": "user", "content": "b"},
    ]);
    let expect = [Message::system("1"), Message::system("2"), Message::user("a"), Message::user("b")];
    assert_eq!(messages(turns), expect);
}

fn call(id: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "get", "arguments": "{}"}})
}

#[test]
fn a_conversation_with_tools_is_kept_whole() {
    let turns = json!([
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": null, "tool_calls": [call("1"), call("2")]},
        {"role": "tool", "tool_call_id": "2", "content": "two"},
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "one"}]},
        {"role": "assistant", "content": "done", "tool_calls": []},
    ]);
    let called = |id: &str| ToolCall { id: id.into(), name: "get".into(), arguments: "{}".into() };
    let result =
        |id: &str, text: &str| Message::Tool { call_id: id.into(), text: text.into(), is_error: false };
    let asks = AssistantTurn { tool_calls: vec![called("1"), called("2")], ..AssistantTurn::default() };
    let expect = [
        Message::user("a"),
        Message::Assistant(asks),
        result("2", "two"),
        result("1", "one"),
        Message::assistant("done"),
    ];
    assert_eq!(messages(turns), expect);
}

#[test]
fn a_refusal_of_an_earlier_turn_is_its_text() {
    let turns =
        json!([{"role": "assistant", "content": null, "refusal": "no"}, {"role": "user", "content": "a"}]);
    assert_eq!(messages(turns)[0], Message::assistant("no"));
}

#[test]
fn calls_and_results_belong_together() {
    let asks = json!({"role": "assistant", "content": null, "tool_calls": [call("1")]});
    let user = json!({"role": "user", "content": "a"});
    let result = json!({"role": "tool", "tool_call_id": "1", "content": "x"});
    for (turns, param) in [
        (json!([user, result]), "messages[1].tool_call_id"),
        (json!([asks, result, result]), "messages[2].tool_call_id"),
        (json!([asks, user]), "messages[1]"),
        (json!([user, asks]), "messages"),
    ] {
        refused(json!({"messages": turns}), param, "invalid_value");
    }
}

#[test]
fn a_turn_must_say_who_and_what() {
    let missing = "missing_required_parameter";
    for (turn, param, code) in [
        (json!({"content": "a"}), "messages[0].role", missing),
        (json!({"role": "user"}), "messages[0].content", missing),
        (json!({"role": "assistant", "content": null}), "messages[0].content", missing),
        (json!({"role": "tool", "content": "x"}), "messages[0].tool_call_id", missing),
        (json!({"role": "boss", "content": "x"}), "messages[0].role", "invalid_value"),
        (json!({"role": "function", "content": "x"}), "messages[0].role", "unsupported_parameter"),
        (
            json!({"role": "assistant", "tool_calls": [{"id": "1", "type": "custom"}]}),
            "messages[0].tool_calls[0].type",
            "unsupported_parameter",
        ),
        (
            json!({"role": "assistant", "tool_calls": [{"id": "1"}]}),
            "messages[0].tool_calls[0].function",
            missing,
        ),
    ] {
        refused(json!({"messages": [turn]}), param, code);
    }
}
