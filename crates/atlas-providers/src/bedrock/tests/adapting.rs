//! What is imitated, what is learnt by being refused, and histories that came from elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use atlas_aws::{AwsIdentityOptions, PlatformVariables};
use atlas_http::{ConnectOptions, EgressPolicy, Ledger, Outbound};
use atlas_llm::{Continuation, Provider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn tooluse(name: &str, input: Value) -> Answer {
    let content = json!([
        { "text": "Thinking." },
        { "toolUse": { "toolUseId": "t1", "name": name, "input": input } },
    ]);
    let usage = json!({ "inputTokens": 1, "outputTokens": 1, "totalTokens": 2 });
    answer_with("tool_use", content, usage)
}

#[tokio::test]
async fn a_shape_by_a_forced_tool_is_text() {
    let double = Double::answering([tooluse("invoice", json!({ "vendor": "ACME" }))]);
    let request = ChatRequest { output: invoice(), ..question("ACME, 41.50 EUR") };
    let completion = complete(&*double.model(LLAMA), request).await.expect("an answer");
    assert_eq!((completion.text.as_str(), completion.finish), (r#"{"vendor":"ACME"}"#, Finish::Stop));
    assert_eq!(completion.tool_calls, []);
    let config = &double.seen()[0].body["toolConfig"];
    assert_eq!(config["toolChoice"], json!({ "tool": { "name": "invoice" } }));
    assert_eq!(config["tools"][0]["toolSpec"]["inputSchema"]["json"]["required"][0], "vendor");
}

#[tokio::test]
async fn a_shape_by_a_forced_tool_streams() {
    let events = fixture("converse_stream.tool_use.eventstream");
    let double = Double::answering([Answer::stream([&events[..]])]);
    let Output::Schema(schema) = invoice() else { panic!("a schema") };
    let output = Output::Schema(JsonSchema { name: "get_weather".into(), ..schema });
    let completion =
        complete(&*double.model(NOVA), ChatRequest { output, ..question("x") }).await.expect("an answer");
    assert_eq!(completion.text, r#"{"city": "Oslo", "unit": "c"}"#);
    assert_eq!(double.operations(), ["converse-stream"]);
}

#[tokio::test]
async fn a_shape_is_asked_for_in_words_where_nothing_else_is_known() {
    let double = Double::answering([done(), done()]);
    let model = double.model("example.model-v1:0");
    complete(&*model, ChatRequest { output: invoice(), ..question("x") }).await.expect("an answer");
    complete(&*model, ChatRequest { output: Output::Json, ..question("x") }).await.expect("an answer");
    for (seen, has_schema) in double.seen().iter().zip([true, false]) {
        let system = seen.body["system"][0]["text"].as_str().expect("words");
        assert_eq!(system.contains("\"vendor\""), has_schema, "{system}");
        assert_eq!(seen.body.get("toolConfig"), None);
        assert_eq!(seen.body.get("outputConfig"), None);
    }
}

#[tokio::test]
async fn a_model_that_refuses_system_turns_is_asked_without_and_that_is_remembered() {
    let refusal = fixture_json("error.400.no_system.json");
    let refusal =
        Answer::refusal(400, "ValidationException", refusal["body"]["message"].as_str().expect("text"));
    let double = Double::answering([refusal, done(), done()]);
    let provider = double.provider("us-east-1");
    for _ in 0..2 {
        let model = provider.connect("example.model-v1:0").expect("a model");
        let request = ChatRequest {
            messages: vec![Message::system("Be brief."), Message::user("Why?")],
            ..ChatRequest::default()
        };
        complete(&*model, request).await.expect("an answer");
    }
    let texts: Vec<_> =
        double.seen().iter().map(|seen| seen.body["messages"][0]["content"][0].clone()).collect();
    let one = json!({ "text": "Be brief.\n\nWhy?" });
    assert_eq!(texts, [json!({ "text": "Why?" }), one.clone(), one]);
}

#[tokio::test]
async fn a_model_that_refuses_tools_in_streams_is_asked_for_the_whole() {
    let refusal = fixture_json("error.400.no_stream_tools.json");
    let refusal =
        Answer::refusal(400, "ValidationException", refusal["body"]["message"].as_str().expect("text"));
    let double = Double::answering([refusal, tooluse("get_weather", json!({}))]);
    let request = ChatRequest { tools: vec![weather()], ..question("x") };
    let completion = complete(&*double.model("example.model-v1:0"), request).await.expect("an answer");
    assert_eq!(completion.tool_calls[0].arguments, "{}");
    assert_eq!(double.operations(), ["converse-stream", "converse"]);
}

#[tokio::test]
async fn a_model_that_refuses_tools_gets_the_history_as_text() {
    let refusal = fixture_json("error.400.no_tools.json");
    let refusal =
        Answer::refusal(400, "ValidationException", refusal["body"]["message"].as_str().expect("text"));
    let double = Double::answering([refusal, done()]);
    let request = ChatRequest {
        messages: calls_and_results(["a", "b"]),
        tools: vec![weather()],
        ..ChatRequest::default()
    };
    complete(&*double.model("example.model-v1:0"), request).await.expect("an answer");
    let body = &double.seen()[1].body;
    assert_eq!(body.get("toolConfig"), None);
    assert!(!body.to_string().contains("toolUse"), "{body}");
    assert!(body.to_string().contains("station offline"), "{body}");
}

#[tokio::test]
async fn sampling_is_left_out_for_models_that_refuse_it() {
    let refusal = Answer::refusal(
        400,
        "ValidationException",
        "`temperature` and `top_p` are deprecated for this model.",
    );
    let double = Double::answering([refusal, done()]);
    let request = ChatRequest { temperature: Some(1.7), top_p: Some(0.5), ..question("x") };
    complete(&*double.model("example.model-v1:0"), request).await.expect("an answer");
    let configs: Vec<_> = double.seen().iter().map(|seen| seen.body["inferenceConfig"].clone()).collect();
    assert_eq!(
        configs,
        [json!({ "maxTokens": 4096, "temperature": 1.0, "topP": 0.5 }), json!({ "maxTokens": 4096 })]
    );
}

#[tokio::test]
async fn a_refusal_that_teaches_nothing_new_is_final() {
    let refusal =
        || Answer::refusal(400, "ValidationException", "This model doesn't support system messages.");
    let double = Double::answering([refusal(), refusal()]);
    let request = ChatRequest {
        messages: vec![Message::system("Be brief."), Message::user("Why?")],
        ..ChatRequest::default()
    };
    let error = complete(&*double.model("example.model-v1:0"), request).await.expect_err("refused twice");
    assert_eq!(error.kind(), Kind::BadRequest);
}

#[tokio::test]
async fn a_limit_beyond_the_models_is_the_models() {
    let double = Double::answering([done()]);
    let request = ChatRequest { max_output_tokens: Some(1_000_000), ..question("x") };
    complete(&*double.model(NOVA), request).await.expect("an answer");
    assert_eq!(double.seen()[0].body["inferenceConfig"]["maxTokens"], 10_000);
}

#[tokio::test]
async fn claude_gets_one_of_temperature_and_top_p() {
    let double = Double::answering([done()]);
    let request = ChatRequest { temperature: Some(0.5), top_p: Some(0.5), ..question("x") };
    complete(&*double.model(HAIKU), request).await.expect("an answer");
    assert_eq!(double.seen()[0].body["inferenceConfig"], json!({ "maxTokens": 4096, "temperature": 0.5 }));
}

#[tokio::test]
async fn turns_alternate_and_begin_with_the_user() {
    let double = Double::answering([done()]);
    let request = ChatRequest {
        messages: vec![
            Message::assistant("Hello."),
            Message::user("One."),
            Message::user("  "),
            Message::user("Two."),
            Message::assistant(""),
            Message::user("Three."),
        ],
        ..ChatRequest::default()
    };
    complete(&*double.model(HAIKU), request).await.expect("an answer");
    let body = &double.seen()[0].body;
    let roles: Vec<_> =
        body["messages"].as_array().expect("turns").iter().map(|turn| turn["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    let last = &body["messages"][2]["content"];
    assert_eq!(*last, json!([{ "text": "One." }, { "text": "Two." }, { "text": "Three." }]));
}

#[tokio::test]
async fn instructions_alone_are_asked_by_the_user() {
    let double = Double::answering([done()]);
    let request = ChatRequest { messages: vec![Message::system("Say hello.")], ..ChatRequest::default() };
    complete(&*double.model(HAIKU), request).await.expect("an answer");
    let body = &double.seen()[0].body;
    assert_eq!(body["messages"], json!([{ "role": "user", "content": [{ "text": "Say hello." }] }]));
    assert_eq!(body.get("system"), None);
}

#[tokio::test]
async fn nothing_to_say_is_refused_here() {
    let double = Double::answering([]);
    let error = complete(&*double.model(HAIKU), ChatRequest::default()).await.expect_err("no text");
    assert_eq!(error.kind(), Kind::BadRequest);
}

#[tokio::test]
async fn ids_of_other_providers_are_made_acceptable_and_stay_apart() {
    let double = Double::answering([done()]);
    let long = "x".repeat(65);
    let request = ChatRequest {
        messages: calls_and_results(["call|1 ä", &long]),
        tools: vec![weather()],
        ..ChatRequest::default()
    };
    complete(&*double.model(HAIKU), request).await.expect("an answer");
    let body = &double.seen()[0].body;
    let calls = [1, 2].map(|n| body["messages"][1]["content"][n]["toolUse"]["toolUseId"].clone());
    let results = [0, 1].map(|n| body["messages"][2]["content"][n]["toolResult"]["toolUseId"].clone());
    assert_eq!(calls, results);
    assert_eq!(calls, ["call_0", "call_1"]);
}

#[tokio::test]
async fn a_history_with_calls_keeps_its_tools() {
    let double = Double::answering([done(), done()]);
    let model = double.model(HAIKU);
    let request = ChatRequest { messages: calls_and_results(["a", "b"]), ..ChatRequest::default() };
    complete(&*model, request.clone()).await.expect("an answer");
    let request = ChatRequest { tools: vec![weather()], tool_choice: ToolChoice::None, ..request };
    complete(&*model, request).await.expect("an answer");
    for seen in double.seen() {
        let tools = seen.body["toolConfig"]["tools"].as_array().expect("tools").clone();
        assert_eq!(tools.len(), 1);
        assert_eq!(tools[0]["toolSpec"]["name"], "get_weather");
    }
}

#[tokio::test]
async fn signed_reasoning_goes_back_with_the_results() {
    let content = json!([
        { "reasoningContent": { "reasoningText": { "text": "Look it up.", "signature": "c2ln" } } },
        { "toolUse": { "toolUseId": "a", "name": "get_weather", "input": { "city": "Oslo", "unit": "c" } } },
    ]);
    let usage = json!({ "inputTokens": 1, "outputTokens": 1, "totalTokens": 2 });
    let double = Double::answering([answer_with("tool_use", content, usage), done()]);
    let model = double.model(LLAMA);
    let request = ChatRequest { tools: vec![weather()], ..question("x") };
    let completion = complete(&*model, request.clone()).await.expect("an answer");
    let blocks = json!([{ "text": "Look it up.", "signature": "c2ln" }]);
    assert_eq!(completion.continuation, Some(Continuation { dialect: "bedrock", blocks }));
    let turn = AssistantTurn {
        text: completion.text,
        tool_calls: completion.tool_calls,
        continuation: completion.continuation,
    };
    let messages = vec![Message::user("x"), Message::Assistant(turn), result("a", "cold", false)];
    let double = Double::answering([done()]);
    complete(&*double.model(HAIKU), ChatRequest { messages, ..request }).await.expect("an answer");
    let content = &double.seen()[0].body["messages"][1]["content"];
    assert_eq!(
        content[0]["reasoningContent"]["reasoningText"],
        json!({ "text": "Look it up.", "signature": "c2ln" })
    );
    assert_eq!(content[1]["toolUse"]["toolUseId"], "a");
}

#[tokio::test]
async fn a_profile_is_suggested_and_never_chosen() {
    let refusal = fixture_json("error.400.on_demand.json");
    let message = refusal["body"]["message"].as_str().expect("text");
    let model = "anthropic.claude-haiku-4-5-20251001-v1:0";
    for (region, expect) in [
        ("us-west-2", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("eu-central-1", "eu.anthropic."),
        ("ap-northeast-1", "jp.anthropic."),
        ("ap-southeast-2", "au.anthropic."),
        ("us-gov-west-1", "us-gov.anthropic."),
        ("sa-east-1", "global.anthropic."),
    ] {
        let double = Double::answering([Answer::refusal(400, "ValidationException", message)]);
        let model = double.provider(region).connect(model).expect("a model");
        let error = complete(&*model, question("x")).await.expect_err("refused");
        assert!(error.detail().contains(expect), "{error}");
    }
}

#[tokio::test]
async fn a_retired_model_names_its_successor() {
    let refusal = Answer::refusal(
        404,
        "ResourceNotFoundException",
        "This model version has reached the end of its life.",
    );
    let double = Double::answering([refusal]);
    let error = complete(&*double.model("anthropic.claude-3-haiku-20240307-v1:0"), question("x")).await;
    let error = error.expect_err("refused");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.detail().contains(HAIKU), "{error}");
}

/// Container credentials on loopback, a key after the other.
async fn credentials() -> (AwsIdentityOptions, Outbound, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let n_asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n_asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            counter.fetch_add(1, Ordering::SeqCst);
            let body = r#"{"AccessKeyId":"ASIATESTKEY00001","SecretAccessKey":"test-key-secret","Token":"test-key-token","Expiration":"2999-01-01T00:00:00Z"}"#;
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = socket.write_all((head + body).as_bytes()).await;
        }
    });
    let policy = EgressPolicy::credential_sources([url.parse().expect("an origin")]);
    let outbound = Outbound::new(policy, &ConnectOptions::default(), Arc::new(Ledger::new()));
    let options = AwsIdentityOptions {
        use_task_role: true,
        platform: PlatformVariables { full_uri: Some(url), ..PlatformVariables::default() },
        ..AwsIdentityOptions::default()
    };
    (options, outbound.expect("a client"), n_asked)
}

#[tokio::test]
async fn a_role_whose_credentials_ended_is_renewed_and_the_request_sent_again() {
    let (options, outbound, n_asked) = credentials().await;
    let expired = || Answer::refusal(403, "ExpiredTokenException", "The security token is expired");
    let double = Double::answering([expired(), done(), expired(), expired()]);
    let model = double.provider_as("us-east-1", &options, Some(&outbound)).connect(HAIKU).expect("a model");
    complete(&*model, question("x")).await.expect("an answer");
    let error = complete(&*model, question("x")).await.expect_err("twice is enough");
    assert_eq!((error.kind(), error.retry()), (Kind::Credentials, Retry::Now));
    assert_eq!(double.operations().len(), 4);
    let inspection =
        double.provider_as("us-east-1", &options, Some(&outbound)).runtime.identity.report().await;
    assert_eq!(inspection.expect("a report").source, "container credentials");
    assert_eq!(n_asked.load(Ordering::SeqCst), 1, "the SDK in these tests signs with keys of its own");
}

#[tokio::test]
async fn an_inspection_says_who_we_are_and_whether_the_model_is_there() {
    let counted = Answer::json(200, &json!({ "inputTokens": 8 }));
    for (answer, checked, listed) in [
        (counted, true, Some(true)),
        (Answer::refusal(404, "ResourceNotFoundException", "Not here."), true, Some(false)),
        (
            Answer::refusal(
                400,
                "ValidationException",
                "The provided model doesn't support counting tokens.",
            ),
            true,
            None,
        ),
        (
            Answer::refusal(403, "AccessDeniedException", "not authorized to perform: bedrock:CountTokens"),
            true,
            None,
        ),
        (Answer::refusal(404, "UnknownOperationException", ""), false, None),
        (Answer::refusal(429, "ThrottlingException", "slow down"), false, None),
    ] {
        let double = Double::answering([answer]);
        let inspection = double.model(HAIKU).inspect().await.expect("an inspection");
        assert_eq!((inspection.credentials_checked, inspection.model_listed), (checked, listed));
        assert_eq!(inspection.identity.as_deref(), Some("access keys, key …0001"));
        assert_eq!(double.operations(), ["count-tokens"]);
    }
    for (answer, kind) in [
        (
            Answer::refusal(403, "UnrecognizedClientException", "The security token is invalid."),
            Kind::Credentials,
        ),
        (Answer::refusal(503, "ServiceUnavailableException", "away"), Kind::Overloaded),
    ] {
        let error = Double::answering([answer]).model(HAIKU).inspect().await.expect_err("refused");
        assert_eq!(error.kind(), kind);
    }
}

#[test]
fn settings_are_checked_before_anything_is_sent() {
    let double = Double::answering([]);
    for model in ["", " ", "a model", "x?y", "x#y", "x%2Fy"] {
        let error = double.provider("us-east-1").connect(model).err().expect("no model");
        assert_eq!(error.named_setting(), Some("BYOC_MODEL"), "{model}");
    }
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
    assert!(double.provider("us-east-1").connect(arn).is_ok());
}

#[test]
fn origins_are_the_region_the_endpoint_and_where_credentials_come_from() {
    let listed = |options: crate::Options| {
        let origins = crate::bedrock::options::origins(&options).expect("origins");
        let text = |origin: &atlas_http::Origin| origin.to_string();
        (
            origins.calls.iter().map(text).collect::<Vec<_>>(),
            origins.credentials.iter().map(text).collect::<Vec<_>>(),
        )
    };
    let role = AwsIdentityOptions {
        region: Some("eu-west-1".into()),
        use_task_role: true,
        ..AwsIdentityOptions::default()
    };
    let runtime = "https://bedrock-runtime.eu-west-1.amazonaws.com:443".to_owned();
    let options = crate::Options { aws: role.clone(), ..crate::Options::default() };
    assert_eq!(listed(options), (vec![runtime.clone()], vec!["http://169.254.169.254:80".to_owned()]));
    let irsa = PlatformVariables {
        web_identity_token_file: Some("/token".into()),
        role_arn: Some("arn:aws:iam::123456789012:role/pod".into()),
        ..PlatformVariables::default()
    };
    let options =
        crate::Options { aws: AwsIdentityOptions { platform: irsa, ..role }, ..crate::Options::default() };
    assert_eq!(
        listed(options),
        (vec![runtime, "https://sts.eu-west-1.amazonaws.com:443".to_owned()], vec![])
    );
}
