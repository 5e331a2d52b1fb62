//! OpenAI's protocol as its clients meet it: the whole server before a scripted provider.

use std::collections::BTreeMap;

use atlas_testkit::fake_embedder::Words;
use atlas_testkit::fake_openai::{Answer as Script, FakeOpenAi};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const CHAT: &str = "/v1/chat/completions";

async fn before(fake: &FakeOpenAi) -> Server {
    at(&fake.url()).await
}

async fn at(url: &str) -> Server {
    Server::with(&[
        ("BYOC_PROVIDER", "openai"),
        ("BYOC_ENDPOINT_URL", url),
        ("BYOC_API_KEY", "test-key"),
        ("BYOC_MODEL", "fake-1"),
        ("BYOC_MODEL_RCA", "org/thinker"),
    ])
    .await
}

async fn scripted(chat: impl IntoIterator<Item = Script>) -> (FakeOpenAi, Server) {
    let fake = FakeOpenAi::start(chat).await.expect("a port");
    let server = before(&fake).await;
    (fake, server)
}

/// A question with these members beside.
fn question(members: Value) -> String {
    let mut body = json!({"messages": [{"role": "user", "content": "hello"}]});
    body.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    body.to_string()
}

/// The data of an event stream, `[DONE]` as a string.
fn frames(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}

#[tokio::test]
async fn a_conversation_is_answered_in_one_piece() {
    let (fake, server) = scripted([Script::says("Hello, wörld ✓")]).await;
    let answer = server
        .call(
            "POST",
            CHAT,
            &question(json!({"model": "fake-1", "temperature": 0.5, "max_tokens": 9, "stop": "x"})),
        )
        .await;
    let body = answer.json();
    assert_eq!(answer.status, 200, "{body}");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["x-atlasai-served-by"], "byoc/openai/fake-1");
    assert_eq!((&body["object"], &body["model"]), (&json!("chat.completion"), &json!("fake-1")));
    let choice = &body["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("Hello, wörld ✓"), &json!("stop"))
    );
    assert_eq!(body["usage"]["total_tokens"], 15);
    assert_eq!(body["atlasai"]["served_by"]["host"], "127.0.0.1");
    let asked = &fake.chats()[0];
    assert_eq!(asked["messages"], json!([{"role": "user", "content": "hello"}]));
    assert_eq!(
        (&asked["model"], &asked["temperature"], &asked["stop"]),
        (&json!("fake-1"), &json!(0.5), &json!(["x"]))
    );
}

/// What a client makes of a stream: text, refusal, calls, why it ended, tokens, and whether it
/// was whole.
fn made_of(frames: &[Value]) -> Value {
    let (mut text, mut refusal) = (String::new(), String::new());
    let (mut finish, mut total, mut error) = (Value::Null, Value::Null, false);
    let mut calls: BTreeMap<u64, (String, String, String)> = BTreeMap::new();
    for frame in frames {
        let choice = &frame["choices"][0];
        text += choice["delta"]["content"].as_str().unwrap_or_default();
        refusal += choice["delta"]["refusal"].as_str().unwrap_or_default();
        for piece in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let call = calls.entry(piece["index"].as_u64().expect("an index")).or_default();
            call.0 += piece["id"].as_str().unwrap_or_default();
            call.1 += piece["function"]["name"].as_str().unwrap_or_default();
            call.2 += piece["function"]["arguments"].as_str().unwrap_or_default();
        }
        if choice["finish_reason"].is_string() {
            finish = choice["finish_reason"].clone();
        }
        if frame["usage"].is_object() {
            total = frame["usage"]["total_tokens"].clone();
        }
        error |= frame["error"].is_object();
    }
    let done = frames.last().is_some_and(|frame| frame == "[DONE]");
    json!({"text": text, "refusal": refusal, "calls": calls, "finish": finish, "total": total, "error": error, "done": done})
}

#[tokio::test]
async fn openais_own_streams_come_out_as_they_went_in() {
    for stream in [
        include_str!("../../api/openai/fixtures/chat.stream.sse"),
        include_str!("../../api/openai/fixtures/chat.tool_calls.stream.sse"),
        include_str!("../../api/openai/fixtures/chat.refusal.stream.sse"),
    ] {
        let (_fake, server) = scripted([Script::sse(stream)]).await;
        let ask = question(json!({"stream": true, "stream_options": {"include_usage": true}}));
        let answer = server.call("POST", CHAT, &ask).await;
        assert_eq!(answer.headers["content-type"], "text/event-stream");
        assert_eq!(answer.headers["x-accel-buffering"], "no");
        assert_eq!(answer.headers["x-atlasai-served-by"], "byoc/openai/fake-1");
        let ours = frames(&answer.text);
        assert_eq!(ours[0]["choices"][0]["delta"]["role"], "assistant", "{}", answer.text);
        assert_eq!(made_of(&ours), made_of(&frames(stream)));
    }
}

#[tokio::test]
async fn a_stream_that_breaks_in_the_middle_ends_with_an_error() {
    for stream in [
        include_str!("../../api/openai/fixtures/chat.error_midstream.sse"),
        include_str!("../../api/openai/fixtures/chat.truncated.stream.sse"),
    ] {
        let (_fake, server) = scripted([Script::sse(stream)]).await;
        let answer = server.call("POST", CHAT, &question(json!({"stream": true}))).await;
        let ours = frames(&answer.text);
        let made = made_of(&ours);
        assert_eq!((&made["error"], &made["done"]), (&json!(true), &json!(false)), "{}", answer.text);
        assert_eq!(made["text"], made_of(&frames(stream))["text"]);
        let error = &ours.last().expect("frames")["error"];
        assert_eq!(error["type"], "server_error", "{error}");
    }
}

#[tokio::test]
async fn tools_are_handed_on_and_their_calls_come_back() {
    let stream = include_str!("../../api/openai/fixtures/chat.tool_calls.stream.sse");
    let (fake, server) = scripted([Script::sse(stream)]).await;
    let tools =
        json!([{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]);
    let ask = question(json!({"tools": tools, "tool_choice": "required"}));
    let body = server.call("POST", CHAT, &ask).await.json();
    let choice = &body["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&Value::Null, &json!("tool_calls"))
    );
    let calls = choice["message"]["tool_calls"].as_array().expect("calls");
    assert_eq!((calls.len(), &calls[1]["function"]["name"]), (2, &json!("get_weather")));
    let asked = &fake.chats()[0];
    assert_eq!(asked["tool_choice"], "required");
    assert_eq!(asked["tools"][0]["function"]["name"], "get_weather");
}

#[tokio::test]
async fn models_are_those_that_are_configured() {
    let (fake, server) = scripted([Script::says("a"), Script::says("b")]).await;
    let list = server.call("GET", "/v1/models", "").await.json();
    let ids: Vec<&Value> =
        list["data"].as_array().expect("a list").iter().map(|model| &model["id"]).collect();
    assert_eq!((&list["object"], ids), (&json!("list"), vec![&json!("fake-1"), &json!("org/thinker")]));
    for path in ["/v1/models/org/thinker", "/v1/models/org%2Fthinker"] {
        let model = server.call("GET", path, "").await.json();
        assert_eq!(
            model,
            json!({"id": "org/thinker", "object": "model", "created": 0, "owned_by": "openai"})
        );
    }
    let error = server.call("GET", "/v1/models/gpt-9", "").await.openai_error(404, "model_not_found");
    assert!(error["message"].as_str().expect("text").contains("fake-1, org/thinker"), "{error}");

    let ask = question(json!({"model": "org/thinker"}));
    assert_eq!(server.call("POST", CHAT, &ask).await.json()["model"], "org/thinker");
    let ask = question(json!({"model": "default"}));
    assert_eq!(server.call("POST", CHAT, &ask).await.json()["model"], "fake-1");
    let models: Vec<Value> = fake.chats().iter().map(|chat| chat["model"].clone()).collect();
    assert_eq!(models, ["org/thinker", "fake-1"]);
    let error = server
        .call("POST", CHAT, &question(json!({"model": "gpt-9"})))
        .await
        .openai_error(404, "model_not_found");
    assert_eq!(error["param"], "model");
    assert!(error["message"].as_str().expect("text").contains("fake-1, org/thinker"), "{error}");
    assert_eq!(fake.chats().len(), 2);
}

#[tokio::test]
async fn the_providers_refusals_do_not_look_like_the_callers() {
    let refused = Script::error(401, "invalid_api_key", "Incorrect API key provided: test-key");
    let long = Script::error(400, "context_length_exceeded", "maximum context length is 10 tokens");
    let slow = Script::error(429, "rate_limit_exceeded", "slow down").header("retry-after", "300");
    let (_fake, server) = scripted([refused, long, slow]).await;
    let answer = server.call("POST", CHAT, &question(json!({}))).await;
    answer.openai_error(502, "upstream_credentials");
    assert_eq!(answer.headers["x-should-retry"], "false");
    assert!(!answer.text.contains("test-key"), "{}", answer.text);
    let streamed = question(json!({"stream": true}));
    let error = server.call("POST", CHAT, &streamed).await.openai_error(400, "context_length_exceeded");
    assert_eq!((&error["type"], &error["param"]), (&json!("invalid_request_error"), &json!("messages")));
    let answer = server.call("POST", CHAT, &streamed).await;
    answer.openai_error(429, "rate_limit_exceeded");
    assert_eq!(answer.headers["retry-after"], "300");
}

#[tokio::test]
async fn without_a_provider_chat_is_503_and_there_are_no_models() {
    let server = Server::start().await;
    let answer = server.call("POST", CHAT, &question(json!({}))).await;
    let error = answer.openai_error(503, "ai_not_configured");
    let message = error["message"].as_str().expect("text");
    assert!(message.starts_with("AI provider temporarily unavailable"), "{message}");
    assert!(message.contains("BYOC_PROVIDER"), "{message}");
    assert_eq!(server.call("GET", "/v1/models", "").await.json()["data"], json!([]));
}

#[tokio::test]
async fn every_error_below_v1_is_openais_but_those_of_otlp() {
    let server = Server::start().await;
    for (method, path, body, status, code) in [
        ("POST", CHAT, "{\"messages\": ", 400, "malformed_json"),
        ("POST", CHAT, "", 400, "malformed_json"),
        ("POST", CHAT, "{}", 400, "missing_required_parameter"),
        ("POST", CHAT, "{\"messages\": [{\"role\": \"user\", \"content\": 5}]}", 400, "invalid_type"),
        ("GET", CHAT, "", 405, "method_not_allowed"),
        ("POST", "/v1/responses", "{}", 404, "no_such_route"),
        ("POST", "/v1/embeddings", "{}", 400, "missing_required_parameter"),
    ] {
        server.call(method, path, body).await.openai_error(status, code);
    }
    let wrong = "{\"messages\": [{\"role\": \"user\", \"content\": 5}]}";
    let error = server.call("POST", CHAT, wrong).await.openai_error(400, "invalid_type");
    assert_eq!(error["param"], "messages[0].content");
    let headers = [("x-tenant-id", "../x")];
    server.call_with("POST", CHAT, question(json!({})), &headers).await.openai_error(400, "invalid_tenant");
    let form = [("content-type", "text/plain")];
    server.call_with("POST", CHAT, "x", &form).await.openai_error(415, "unsupported_media_type");
    server.call("POST", CHAT, &" ".repeat(33 << 20)).await.openai_error(413, "body_too_large");
    server.call("POST", "/v1/logs", "").await.problem(400, "malformed_json");
}

#[tokio::test]
async fn a_long_conversation_is_read_too() {
    let (fake, server) = scripted([Script::says("ok")]).await;
    let content = "word ".repeat(200_000);
    let ask = json!({"messages": [{"role": "user", "content": content}]}).to_string();
    assert_eq!(server.call("POST", CHAT, &ask).await.status, 200);
    assert_eq!(fake.chats()[0]["messages"][0]["content"], content);
}

#[tokio::test]
async fn a_tenant_is_not_needed_and_need_not_exist() {
    let (_fake, server) = scripted([Script::says("ok")]).await;
    let headers = [("x-tenant-id", "nobody")];
    let answer = server.call_with("POST", CHAT, question(json!({})), &headers).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn a_client_that_goes_away_closes_the_connection_to_the_provider() {
    for stream in [true, false] {
        let upstream = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/v1", upstream.local_addr().expect("an address"));
        let server = at(&url).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving =
            tokio::spawn(crate::server::serve(listener, server.app.clone(), std::future::pending()));

        let mut client = TcpStream::connect(address).await.expect("connected");
        let ask = question(json!({ "stream": stream }));
        let request = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{ask}",
            ask.len()
        );
        client.write_all(request.as_bytes()).await.expect("sent");
        let (mut asked, _) = upstream.accept().await.expect("called");
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("hello") {
            assert_ne!(asked.read_buf(&mut seen).await.expect("read"), 0);
        }
        let chunk = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"first\"}}]}\n\n";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        asked.write_all(format!("{head}{chunk}").as_bytes()).await.expect("sent");
        if stream {
            let mut received = Vec::new();
            while !String::from_utf8_lossy(&received).contains("first") {
                assert_ne!(client.read_buf(&mut received).await.expect("read"), 0);
            }
        }
        drop(client);
        // Ends with the connection, or the test does not end.
        asked.read_to_end(&mut seen).await.ok();
        serving.abort();
    }
}

#[tokio::test]
async fn texts_become_vectors_as_numbers_and_as_base64() {
    let server = Server::with_engine(Words::new()).await;
    let ask = |more: Value| {
        let mut body = json!({"model": "bag-of-words", "input": ["disk full", "node down"]});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body.to_string()
    };
    let answer = server.call("POST", "/v1/embeddings", &ask(json!({}))).await;
    let body = answer.json();
    assert_eq!(answer.status, 200, "{body}");
    assert_eq!((&body["object"], &body["model"]), (&json!("list"), &json!("bag-of-words")));
    let vector: Vec<f64> = body["data"][1]["embedding"]
        .as_array()
        .expect("numbers")
        .iter()
        .map(|component| component.as_f64().expect("a number"))
        .collect();
    assert_eq!((&body["data"][1]["index"], vector.len()), (&json!(1), 2_048));
    assert!((vector.iter().map(|c| c * c).sum::<f64>() - 1.0).abs() < 1e-3);
    assert_eq!(body["usage"]["prompt_tokens"], body["usage"]["total_tokens"]);
    assert!(body["usage"]["total_tokens"].as_u64().expect("tokens") > 0);

    let packed =
        server.call("POST", "/v1/embeddings", &ask(json!({"encoding_format": "base64"}))).await.json();
    let text = packed["data"][1]["embedding"].as_str().expect("base64");
    // 2048 components of 4 bytes, 3 bytes in 4 characters.
    assert_eq!(text.len(), (2_048 * 4_usize).div_ceil(3) * 4);

    let error = server
        .call("POST", "/v1/embeddings", &ask(json!({"dimensions": 3})))
        .await
        .openai_error(400, "invalid_value");
    assert_eq!(error["param"], "dimensions");
    assert_eq!(server.call("POST", "/v1/embeddings", &ask(json!({"dimensions": 2_048}))).await.status, 200);
    assert_eq!(server.call("POST", "/v1/embeddings", &ask(json!({"model": "default"}))).await.status, 200);
    let error = server
        .call("POST", "/v1/embeddings", &ask(json!({"model": "other"})))
        .await
        .openai_error(404, "model_not_found");
    assert!(error["message"].as_str().expect("text").contains("bag-of-words"), "{error}");
    let models = server.call("GET", "/v1/models", "").await.json();
    assert_eq!(
        (&models["data"][0]["id"], &models["data"][0]["owned_by"]),
        (&json!("bag-of-words"), &json!("fake"))
    );
}

#[tokio::test]
async fn without_an_engine_embeddings_are_503_with_the_setting() {
    let server = Server::start().await;
    let answer = server.call("POST", "/v1/embeddings", r#"{"model":"x","input":"a"}"#).await;
    let error = answer.openai_error(503, "embeddings_not_configured");
    assert!(error["message"].as_str().expect("text").contains("EMBEDDING_PROVIDER"), "{error}");
}
