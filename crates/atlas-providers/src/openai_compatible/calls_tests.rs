//! Whole calls against a scripted server.

use super::*;

async fn model_at(server: &FakeOpenAi, key: Option<&str>) -> Arc<dyn ChatModel> {
    let options = options(Some(&server.url()), key);
    crate::provider("compatible", options).expect("a label").connect().expect("usable")
}

async fn server(answers: impl IntoIterator<Item = Answer>) -> FakeOpenAi {
    FakeOpenAi::start(answers).await.expect("a port")
}

async fn call(model: &dyn ChatModel, request: ChatRequest) -> Outcome {
    let cleared = Guard::new().clear(request, model.destination()).expect("allowed");
    let mut outcome = Outcome::default();
    match model.stream(cleared).await {
        Ok(mut stream) => {
            while let Some(event) = stream.next().await {
                outcome.add(event);
            }
        }
        Err(error) => outcome.add(Err(error)),
    }
    outcome
}

fn text(text: &str) -> Outcome {
    Outcome { text: text.into(), finish: Some(Finish::Stop), ..Outcome::default() }
}

#[tokio::test]
async fn a_streamed_answer_arrives_with_its_usage() {
    let server = server([Answer::says("The disk is full, žluťoučký.").in_pieces_of(5)]).await;
    let model = model_at(&server, Some(CANARY)).await;
    let outcome = call(&*model, ask()).await;
    let usage = Some(Usage { input: 12, output: 3, ..Usage::default() });
    assert_eq!(outcome, Outcome { usage, ..text("The disk is full, žluťoučký.") });
    let requests = server.requests();
    let [seen] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {CANARY}").as_str()));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert!(seen.header("accept").is_some_and(|accept| accept.contains("text/event-stream")));
    assert_eq!(seen.json()["model"], "fake-1");
}

#[tokio::test]
async fn without_a_key_no_authorization_is_sent() {
    let server = server([Answer::says("ok")]).await;
    call(&*model_at(&server, Some("")).await, ask()).await;
    assert_eq!(server.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn an_answer_in_one_piece_is_read_too() {
    for (name, expect) in [
        ("compat/content_parts.response.json", text("Hello")),
        ("compat/missing_fields.response.json", text("Hello")),
        (
            "compat/error_in_200.response.json",
            Outcome { error: Some("provider_error"), ..Outcome::default() },
        ),
    ] {
        let server = server([Answer::json(200, &read_json(&fixtures().join(name)))]).await;
        assert_eq!(call(&*model_at(&server, None).await, ask()).await, expect, "{name}");
    }
}

#[tokio::test]
async fn whole_answers_of_openai_have_their_reason_and_usage() {
    for (name, finish, output, reasoning) in [
        ("chat.response.json", Finish::Stop, 15, 0),
        ("chat.cached_usage.response.json", Finish::Stop, 340, 320),
        ("chat.length.response.json", Finish::Length, 256, 256),
        ("chat.content_filter.response.json", Finish::ContentFilter, 3, 0),
        ("chat.refusal.response.json", Finish::Refusal, 9, 0),
        ("chat.tool_calls.response.json", Finish::ToolCalls, 42, 0),
        ("chat.tool_choice_named.response.json", Finish::ToolCalls, 12, 0),
    ] {
        let server = server([Answer::json(200, &read_json(&fixtures().join("openai").join(name)))]).await;
        let outcome = call(&*model_at(&server, None).await, ask()).await;
        let usage = outcome.usage.expect("usage");
        assert_eq!(
            (outcome.finish, usage.output, usage.reasoning),
            (Some(finish), output, reasoning),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_stream_under_another_content_type_is_a_stream() {
    let bytes = std::fs::read(fixtures().join("compat/no_done.stream.sse")).expect("a fixture");
    let server = server([Answer::bytes(200, "text/plain", bytes)]).await;
    assert_eq!(call(&*model_at(&server, None).await, ask()).await, text("Hello"));
}

#[tokio::test]
async fn an_answer_of_another_protocol_is_not_understood() {
    let server = server([Answer::bytes(200, "text/html", "<html>sign in</html>")]).await;
    assert_eq!(call(&*model_at(&server, None).await, ask()).await.error, Some("provider_protocol"));
}

#[tokio::test]
async fn a_cut_stream_gives_its_text_and_says_so() {
    let bytes = std::fs::read(fixtures().join("openai/chat.truncated.stream.sse")).expect("a fixture");
    for answer in [Answer::sse(bytes.clone()).cut(), Answer::sse(bytes)] {
        let server = server([answer]).await;
        let outcome = call(&*model_at(&server, None).await, ask()).await;
        assert_eq!(
            (outcome.text.as_str(), outcome.error),
            ("Partial ans", Some("provider_stream_interrupted"))
        );
    }
}

#[tokio::test]
async fn a_connection_lost_after_the_reason_is_no_loss() {
    let bytes = std::fs::read(fixtures().join("compat/no_done.stream.sse")).expect("a fixture");
    let server = server([Answer::sse(bytes).cut()]).await;
    assert_eq!(call(&*model_at(&server, None).await, ask()).await, text("Hello"));
}

fn refuses(parameter: &str) -> Answer {
    let message = format!("Unsupported parameter: '{parameter}' is not supported here.");
    let error =
        json!({ "message": message, "type": "invalid_request_error", "param": parameter, "code": null });
    Answer::json(400, &json!({ "error": error }))
}

#[tokio::test]
async fn refused_parameters_are_left_out_and_that_is_remembered() {
    for parameter in ["stream_options", "temperature"] {
        let server = server([refuses(parameter), Answer::says("ok"), Answer::says("ok")]).await;
        let model = model_at(&server, None).await;
        for _ in 0..2 {
            assert_eq!(call(&*model, ask()).await.text, "ok");
        }
        let sent: Vec<bool> = server.chats().iter().map(|body| body.get(parameter).is_some()).collect();
        assert_eq!(sent, [true, false, false], "{parameter}");
    }
}

#[tokio::test]
async fn a_server_that_wants_the_newer_token_limit_gets_it() {
    let vector = read_json(&fixtures().join("openai/error.400.unsupported_parameter.json"));
    let server = server([Answer::json(400, &vector["body"]), Answer::says("ok")]).await;
    assert_eq!(call(&*model_at(&server, None).await, ask()).await.text, "ok");
    let chats = server.chats();
    assert_eq!((&chats[0]["max_tokens"], &chats[1]["max_completion_tokens"]), (&json!(64), &json!(64)));
    assert_eq!(chats[1].get("max_tokens"), None);
}

#[tokio::test]
async fn shapes_fall_back_to_json_and_then_to_the_prompt() {
    let answers =
        [refuses("response_format"), refuses("response_format"), Answer::says("{}"), Answer::says("{}")];
    let server = server(answers).await;
    let model = model_at(&server, None).await;
    call(&*model, shaped()).await;
    call(&*model, shaped()).await;
    let kinds: Vec<Value> =
        server.chats().iter().map(|body| body["response_format"]["type"].clone()).collect();
    assert_eq!(kinds, [json!("json_schema"), json!("json_object"), Value::Null, Value::Null]);
}

#[tokio::test]
async fn one_schema_the_server_dislikes_is_not_held_against_the_next() {
    let vector = read_json(&fixtures().join("openai/error.400.invalid_schema.json"));
    let server = server([Answer::json(400, &vector["body"]), Answer::says("{}"), Answer::says("{}")]).await;
    let model = model_at(&server, None).await;
    call(&*model, shaped()).await;
    call(&*model, shaped()).await;
    let kinds: Vec<Value> =
        server.chats().iter().map(|body| body["response_format"]["type"].clone()).collect();
    assert_eq!(kinds, [json!("json_schema"), json!("json_object"), json!("json_schema")]);
}

#[tokio::test]
async fn a_refusal_of_something_else_is_given_back_at_once() {
    let server = server([refuses("messages"), Answer::says("ok")]).await;
    assert_eq!(call(&*model_at(&server, None).await, ask()).await.error, Some("provider_bad_request"));
    assert_eq!(server.chats().len(), 1);
}

#[tokio::test]
async fn a_text_cleared_for_another_place_is_not_sent() {
    let server = server([Answer::says("ok")]).await;
    let model = model_at(&server, None).await;
    let cleared = Guard::new().clear(ask(), &Destination::in_process()).expect("allowed");
    let refused = model.stream(cleared).await.err().expect("refused");
    assert_eq!((refused.code(), server.requests().len()), ("egress_denied", 0));
}

#[tokio::test]
async fn thoughts_in_tags_are_no_part_of_the_answer() {
    for (said, expect) in [
        ("<think>Hm, a < b.</think>\n\nForty-two.", ("Hm, a < b.", "Forty-two.")),
        ("  <think>x</think>", ("x", "")),
        ("<think>never closed", ("never closed", "")),
        ("The tag <think> is text here.", ("", "The tag <think> is text here.")),
        ("<thin", ("", "<thin")),
    ] {
        for piece_bytes in [1, 10_000] {
            let server = server([Answer::says(said).in_pieces_of(piece_bytes)]).await;
            let outcome = call(&*model_at(&server, None).await, ask()).await;
            assert_eq!((outcome.reasoning.as_str(), outcome.text.as_str()), expect, "{said}");
        }
    }
}

#[tokio::test]
async fn a_probe_is_the_model_list_and_one_short_answer() {
    let server = server([Answer::says("ok")]).await;
    model_at(&server, Some(CANARY)).await.probe().await.expect("alive");
    let requests = server.requests();
    let paths: Vec<&str> = requests.iter().map(|seen| seen.path.as_str()).collect();
    assert_eq!(paths, ["/v1/models", "/v1/chat/completions"]);
    assert!(server.chats()[0]["max_tokens"].as_u64().is_some_and(|limit| limit <= 8));
}

#[tokio::test]
async fn a_probe_does_without_a_model_list() {
    for status in [403, 404, 405, 500] {
        let server = server([Answer::says("ok")]).await;
        server.models(Answer::error(status, "no_list", "no list here"));
        model_at(&server, None).await.probe().await.unwrap_or_else(|error| panic!("{status}: {error}"));
    }
}

#[track_caller]
fn check_probe(result: Result<(), LlmError>, code: &str) {
    let error = result.expect_err("the probe fails");
    assert_eq!(error.code(), code);
    assert!(!format!("{error:?} {error}").contains(CANARY), "{error:?}");
}

#[tokio::test]
async fn a_probe_says_what_is_wrong() {
    let echo = format!("Incorrect API key provided: {CANARY}");
    let wrong_key = server([]).await;
    wrong_key.models(Answer::error(401, "invalid_api_key", &echo));
    check_probe(model_at(&wrong_key, Some(CANARY)).await.probe().await, "provider_credentials");
    assert_eq!(wrong_key.chats().len(), 0);

    let no_model = server([Answer::error(404, "model_not_found", "no such model")]).await;
    check_probe(model_at(&no_model, None).await.probe().await, "provider_model_not_found");

    let unlisted = server([Answer::error(400, "bad", "unknown deployment")]).await;
    unlisted.models(Answer::json(200, &json!({ "data": [{ "id": "other" }] })));
    check_probe(model_at(&unlisted, None).await.probe().await, "provider_model_not_found");

    let address = server([]).await.url();
    let gone = crate::provider("vllm", options(Some(&address), Some(CANARY))).expect("a label");
    check_probe(gone.connect().expect("usable").probe().await, "provider_unreachable");
}
