//! Every dialect against a server that somebody else wrote, through the whole product: settings,
//! connection test, our OpenAI-compatible API. `cargo xtask peers` sets `ATLAS_PEERS` to the
//! folder with the scripts; without it every test here prints SKIPPED.

mod common;

use common::peer::Peer;
use common::{Server, data_dir};
use serde_json::{Value, json};

fn with<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut settings = vec![("EMBEDDING_PROVIDER", "fallback")];
    settings.retain(|(name, _)| pairs.iter().all(|(other, _)| other != name));
    settings.extend_from_slice(pairs);
    settings
}

fn start(data: &tempfile::TempDir, pairs: &[(&str, &str)]) -> Server {
    Server::start(data.path(), &with(pairs), &[])
}

fn test_connection(server: &Server, deep: bool) -> (u16, Value) {
    server.json("POST", "/api/ai/test", &json!({ "test": true, "deep": deep }).to_string())
}

#[track_caller]
fn rung(answer: &Value, id: &str) -> String {
    let checks = answer["checks"].as_array().unwrap_or_else(|| panic!("no checks in {answer}"));
    let check = checks.iter().find(|check| check["id"] == id);
    check.map_or("absent", |check| check["status"].as_str().unwrap_or_default()).to_owned()
}

fn ask(text: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": text }], "max_tokens": 60 })
}

fn chat(server: &Server, body: &Value) -> (u16, Value) {
    server.json("POST", "/v1/chat/completions", &body.to_string())
}

/// The text of a streamed answer, and its last reason to finish.
fn stream(server: &Server, mut body: Value) -> (String, String) {
    body["stream"] = json!(true);
    let (status, events) = server.call("POST", "/v1/chat/completions", &body.to_string());
    assert_eq!(status, 200, "{events}");
    let (mut text, mut finish) = (String::new(), String::new());
    for data in events.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]")
    {
        let chunk: Value = serde_json::from_str(data).expect("JSON");
        if let Some(error) = chunk.get("error") {
            return (text, format!("error: {error}"));
        }
        text.push_str(chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        finish = chunk["choices"][0]["finish_reason"].as_str().map_or(finish, str::to_owned);
    }
    (text, finish)
}

fn weather_tool() -> Value {
    json!([{ "type": "function", "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": { "city": { "type": "string" } },
            "required": ["city"],
            "additionalProperties": false
        }
    } }])
}

#[track_caller]
fn asks_for_the_weather_of_paris(answer: &Value) {
    let call = &answer["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["function"]["name"], "get_weather", "{answer}");
    let arguments = call["function"]["arguments"].as_str().expect("JSON text");
    let arguments: Value = serde_json::from_str(arguments).expect("JSON");
    assert_eq!(arguments, json!({ "city": "Paris" }), "{answer}");
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn llama_cpp_speaks_openai_and_its_embeddings_are_searched() {
    let Some(_peer) = Peer::start_as("llama openai", "llama_server.sh", "start", &[]) else { return };
    let Some(_embed) = Peer::start_as("llama embeddings", "llama_server.sh", "start-embed", &[]) else {
        return;
    };
    let data = data_dir();
    let server = start(
        &data,
        &[
            ("BYOC_PROVIDER", "openai"),
            ("BYOC_ENDPOINT_URL", "http://127.0.0.1:14020/v1"),
            ("BYOC_API_KEY", "test-key"),
            ("BYOC_MODEL", "tiny"),
            ("EMBEDDING_PROVIDER", "compatible"),
            ("EMBEDDING_ENDPOINT_URL", "http://127.0.0.1:14021/v1"),
            ("EMBEDDING_API_KEY", "test-key"),
            ("EMBEDDING_MODEL", "minilm"),
            ("EMBEDDING_DIMENSIONS", "384"),
        ],
    );
    let (status, tested) = test_connection(&server, true);
    assert_eq!(status, 200, "{tested:#}");
    for id in ["config", "policy", "tcp", "auth", "model", "chat", "stream", "embeddings", "index"] {
        assert_eq!(rung(&tested, id), "passed", "{id} in {tested:#}");
    }
    let (text, finish) = stream(&server, ask("hello"));
    assert!(!text.is_empty() && matches!(finish.as_str(), "stop" | "length"), "{text} {finish}");
    let (status, answer) = server.json(
        "POST",
        "/v1/embeddings",
        &json!({ "model": "minilm", "input": ["disk is full", "no space left"] }).to_string(),
    );
    assert_eq!(
        (status, answer["data"][1]["embedding"].as_array().map(Vec::len)),
        (200, Some(384)),
        "{answer}"
    );
}

#[test]
fn llama_cpp_speaks_anthropic() {
    let Some(_peer) = Peer::start_as("llama anthropic", "llama_server.sh", "start", &[]) else { return };
    let data = data_dir();
    let server = start(
        &data,
        &[
            ("BYOC_PROVIDER", "anthropic"),
            ("BYOC_ENDPOINT_URL", "http://127.0.0.1:14020"),
            ("BYOC_API_KEY", "test-key"),
            ("BYOC_MODEL", "tiny"),
        ],
    );
    let (status, tested) = test_connection(&server, false);
    assert_eq!((status, rung(&tested, "chat").as_str()), (200, "passed"), "{tested:#}");
    let (text, finish) = stream(&server, ask("hello"));
    assert!(!text.is_empty() && matches!(finish.as_str(), "stop" | "length"), "{text} {finish}");
}

#[test]
fn aimock_speaks_azure_anthropic_and_ollama() {
    let Some(_peer) = Peer::start_as("aimock dialects", "aimock.sh", "start", &[]) else { return };
    let base = "http://127.0.0.1:14010";
    for (provider, model, more) in [
        ("azure", "my-deployment", &[("BYOC_AZURE_API_VERSION", "2024-10-21")][..]),
        ("azure", "my-deployment", &[][..]),
        ("anthropic", "claude-test", &[][..]),
        ("ollama", "llama3", &[][..]),
        ("openai", "gpt-4o-mini", &[][..]),
    ] {
        let data = data_dir();
        let mut settings = vec![
            ("BYOC_PROVIDER", provider),
            ("BYOC_ENDPOINT_URL", base),
            ("BYOC_API_KEY", "test-key"),
            ("BYOC_MODEL", model),
        ];
        settings.extend_from_slice(more);
        if provider == "openai" {
            settings[1].1 = "http://127.0.0.1:14010/v1";
        }
        let server = start(&data, &settings);
        let (status, answer) = chat(&server, &ask("hello"));
        let what = format!("{provider} {more:?}: {answer:#}");
        assert_eq!(
            (status, &answer["choices"][0]["message"]["content"]),
            (200, &json!("Hello from the peer.")),
            "{what}"
        );
        assert_eq!(answer["choices"][0]["finish_reason"], "stop", "{what}");
        assert_eq!(stream(&server, ask("hello")).0, "Hello from the peer.", "{what}");
        let mut tools = ask("What is the weather in Paris?");
        tools["tools"] = weather_tool();
        asks_for_the_weather_of_paris(&chat(&server, &tools).1);
        let (_, cut) = stream(&server, ask("cut"));
        assert!(cut.starts_with("error"), "{provider}: {cut}");
        let (status, answer) = chat(&server, &ask("rate"));
        assert_eq!(status, 429, "{provider}: {answer}");
    }
}

#[test]
fn litellm_is_one_more_openai_compatible_server() {
    let Some(_peer) = Peer::start_as("litellm", "litellm.sh", "start", &[]) else { return };
    let data = data_dir();
    let server = start(
        &data,
        &[
            ("BYOC_PROVIDER", "compatible"),
            ("BYOC_ENDPOINT_URL", "http://127.0.0.1:14000/v1"),
            ("BYOC_API_KEY", "sk-test-master"),
            ("BYOC_MODEL", "gpt-4o-mini"),
            ("BYOC_MODEL_RUNBOOK", "always-context"),
            ("BYOC_MODEL_COPILOT", "always-429"),
            ("BYOC_MODEL_SEARCH", "always-500"),
        ],
    );
    let (status, tested) = test_connection(&server, false);
    assert_eq!((status, &tested["status"]), (200, &json!("ok")), "{tested:#}");
    assert_eq!(stream(&server, ask("hello")).0, "Hello from the mock.");
    // Its mocked streams hold no tool calls and every answer here is streamed, so what is left to
    // see are its errors.
    let of = |model: &str| {
        let mut body = ask("hello");
        body["model"] = json!(model);
        chat(&server, &body)
    };
    let (status, answer) = of("always-context");
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("context_length_exceeded")), "{answer}");
    assert_eq!(of("always-429").0, 429);
    assert_eq!(of("always-500").0, 503);
}

const BEDROCK: &str = "http://127.0.0.1:14030";
const CLAUDE: &str = "us.anthropic.claude-haiku-4-5-20251001-v1:0";

fn bedrock<'a>(identity: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut settings = vec![
        ("BYOC_PROVIDER", "bedrock"),
        ("BYOC_REGION", "us-east-1"),
        ("BYOC_ENDPOINT_URL", BEDROCK),
        ("BYOC_MODEL", CLAUDE),
    ];
    settings.extend_from_slice(identity);
    settings
}

const KEYS: [(&str, &str); 2] =
    [("BYOC_AWS_ACCESS_KEY_ID", "AKIDTEST"), ("BYOC_AWS_SECRET_ACCESS_KEY", "SECRETTEST")];
const TASK_ROLE: [(&str, &str); 4] = [
    ("TP_BEDROCK_USE_TASK_ROLE", "1"),
    ("TP_BEDROCK_MODEL_ID", CLAUDE),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:14030/task-credentials"),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "task-token"),
];
const INSTANCE_ROLE: [(&str, &str); 4] = [
    ("TP_BEDROCK_USE_TASK_ROLE", "1"),
    ("TP_BEDROCK_MODEL_ID", CLAUDE),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:14030"),
    ("AWS_EC2_METADATA_DISABLED", "false"),
];

#[test]
fn bedrock_answers_to_keys_task_role_and_instance_role() {
    let Some(_peer) = Peer::start_as("bedrock identities", "bedrock.sh", "start", &[]) else { return };
    for (identity, says) in
        [(&KEYS[..], "access keys"), (&TASK_ROLE, "container credentials"), (&INSTANCE_ROLE, "instance role")]
    {
        let data = data_dir();
        let server = start(&data, &bedrock(identity));
        let (status, tested) = test_connection(&server, false);
        assert_eq!((status, &tested["status"]), (200, &json!("ok")), "{says}: {tested:#}");
        assert!(tested["checks"].to_string().contains(says), "{says} is not named in {tested:#}");
        let (status, answer) = chat(&server, &ask("hello"));
        assert_eq!(
            (status, &answer["choices"][0]["message"]["content"]),
            (200, &json!("Answer to: hello")),
            "{answer}"
        );
        assert_eq!(stream(&server, ask("hello")), ("Answer to: hello".to_owned(), "stop".to_owned()));
        let mut tools = ask("What is the weather in Paris?");
        tools["tools"] = weather_tool();
        asks_for_the_weather_of_paris(&chat(&server, &tools).1);
    }
}

#[test]
fn bedrock_embeds_with_titan_and_cohere() {
    let Some(_peer) = Peer::start_as("bedrock embeddings", "bedrock.sh", "start", &[]) else { return };
    for (model, dimension) in [
        ("amazon.titan-embed-text-v1", 1536),
        ("amazon.titan-embed-text-v2:0", 1024),
        ("cohere.embed-english-v3", 1024),
        ("cohere.embed-v4:0", 1536),
    ] {
        let data = data_dir();
        let mut settings = bedrock(&KEYS);
        settings.extend_from_slice(&[
            ("EMBEDDING_PROVIDER", "bedrock"),
            ("EMBEDDING_MODEL", model),
            ("EMBEDDING_ENDPOINT_URL", BEDROCK),
            ("AWS_REGION", "us-east-1"),
        ]);
        let server = start(&data, &settings);
        let body = json!({ "model": model, "input": ["disk is full", "no space left"] }).to_string();
        let (status, answer) = server.json("POST", "/v1/embeddings", &body);
        assert_eq!(status, 200, "{model}: {answer}");
        assert_eq!(answer["data"][1]["embedding"].as_array().map(Vec::len), Some(dimension), "{model}");
    }
}

#[test]
fn bedrock_failures_have_their_meaning() {
    let Some(_peer) = Peer::start_as("bedrock failures", "bedrock.sh", "start", &[]) else { return };
    let data = data_dir();
    let mut settings = bedrock(&KEYS);
    settings.extend_from_slice(&[
        ("BYOC_MODEL_RCA", "error.throttled"),
        ("BYOC_MODEL_RUNBOOK", "error.denied"),
        ("BYOC_MODEL_COPILOT", "error.unavailable"),
        ("BYOC_MODEL_SEARCH", "error.validation"),
    ]);
    let server = start(&data, &settings);
    let of = |server: &Server, model: &str| {
        let mut body = ask("hello");
        body["model"] = json!(model);
        chat(server, &body).0
    };
    assert_eq!(of(&server, "error.throttled"), 429);
    assert_eq!(of(&server, "error.denied"), 502);
    assert_eq!(of(&server, "error.unavailable"), 503);
    assert_eq!(of(&server, "error.validation"), 400);
    let data = data_dir();
    settings.truncate(bedrock(&KEYS).len());
    settings.extend_from_slice(&[
        ("BYOC_MODEL_RCA", "error.timeout"),
        ("BYOC_MODEL_RUNBOOK", "error.midstream"),
        ("BYOC_MODEL_COPILOT", "error.cut"),
        ("BYOC_MODEL_SEARCH", "error.slow"),
        ("BYOC_FIRST_TOKEN_TIMEOUT", "2"),
    ]);
    let server = start(&data, &settings);
    for model in ["error.midstream", "error.cut"] {
        let mut body = ask("hello there, my old friend");
        body["model"] = json!(model);
        let (_, finish) = stream(&server, body);
        assert!(finish.starts_with("error"), "{model}: {finish}");
    }
    assert_eq!(of(&server, "error.slow"), 503);
    // By now the breaker may be open, which is the same answer.
    assert_eq!(of(&server, "error.timeout"), 503);
    for (what, identity) in [
        ("a wrong secret", vec![KEYS[0], ("BYOC_AWS_SECRET_ACCESS_KEY", "WRONGSECRET")]),
        ("a wrong task token", {
            let mut role = TASK_ROLE.to_vec();
            role[3].1 = "wrong-token";
            role
        }),
    ] {
        let data = data_dir();
        let server = start(&data, &bedrock(&identity));
        let (status, tested) = test_connection(&server, false);
        assert_eq!((status, rung(&tested, "auth").as_str()), (503, "failed"), "{what}: {tested:#}");
    }
}

#[test]
fn moto_accepts_our_signature_and_refuses_a_wrong_one() {
    let Some(peer) = Peer::start_as("moto", "moto.sh", "start", &[]) else { return };
    let keys = peer.output("keys");
    let value = |name: &str| {
        let words = keys.split_whitespace();
        let found = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')).next();
        found.unwrap_or_else(|| panic!("no {name} in what the peer printed")).to_owned()
    };
    let (id, secret) = (value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY"));
    let (denied_id, denied_secret) =
        (value("DENIED_AWS_ACCESS_KEY_ID"), value("DENIED_AWS_SECRET_ACCESS_KEY"));
    // Its answers are empty, so what is compared is who refused: the signature was checked before.
    for (what, id, secret, auth) in [
        ("the right keys", &id, &secret, "passed"),
        ("a wrong secret", &id, &"wrong".repeat(8), "failed"),
        ("an unknown key", &"AKIAUNKNOWNUNKNOWN00".to_owned(), &secret, "failed"),
        ("a key without the permission", &denied_id, &denied_secret, "failed"),
    ] {
        let data = data_dir();
        let settings = [
            ("BYOC_PROVIDER", "bedrock"),
            ("AWS_REGION", "us-east-1"),
            ("BYOC_ENDPOINT_URL", "http://127.0.0.1:15000"),
            ("BYOC_MODEL", "amazon.titan-embed-text-v2:0"),
            ("BYOC_AWS_ACCESS_KEY_ID", id.as_str()),
            ("BYOC_AWS_SECRET_ACCESS_KEY", secret.as_str()),
            ("EMBEDDING_PROVIDER", "bedrock"),
            ("EMBEDDING_MODEL", "amazon.titan-embed-text-v2:0"),
            ("EMBEDDING_ENDPOINT_URL", "http://127.0.0.1:15000"),
        ];
        let server = start(&data, &settings);
        let (_, tested) = test_connection(&server, false);
        let embeddings = tested["checks"]
            .as_array()
            .and_then(|checks| checks.iter().find(|check| check["id"] == "embeddings"))
            .unwrap_or_else(|| panic!("{what}: {tested:#}"));
        let refused =
            matches!(embeddings["code"].as_str(), Some("provider_credentials" | "provider_forbidden"));
        assert_eq!(refused, auth == "failed", "{what}: {embeddings:#}");
    }
}

#[test]
fn a_private_authority_and_a_client_certificate_open_the_way() {
    let Some(_mock) = Peer::start_as("tls front", "aimock.sh", "start", &[]) else { return };
    let chain = |name: &str, port: &'static str, environment: &[(&str, &str)]| {
        Peer::start_with(
            "tls front",
            "tls_front.sh",
            &["start", name, port, "14010"],
            &["stop", name],
            environment,
        )
    };
    let (Some(plain), Some(_mutual), Some(_expired)) = (
        chain("plain", "14443", &[]),
        chain("mutual", "14444", &[("MTLS", "1")]),
        chain("expired", "14445", &[("CERT", "expired")]),
    ) else {
        return;
    };
    let folder = plain.peers_dir().join("tls");
    let file = |name: &str| folder.join(name).to_str().expect("a path of text").to_owned();
    let (ca, other, cert, key) =
        (file("ca.pem"), file("other-ca.pem"), file("client.pem"), file("client.key"));
    let identity = [("BYOC_CLIENT_CERT", cert.as_str()), ("BYOC_CLIENT_KEY", key.as_str())];
    let trusting = [("BYOC_CA_BUNDLE", ca.as_str())];
    let both = [trusting[0], identity[0], identity[1]];
    for (what, port, more, tls) in [
        ("the right authority", "14443", &trusting[..], "passed"),
        ("no authority", "14443", &[][..], "failed"),
        ("another authority", "14443", &[("BYOC_CA_BUNDLE", other.as_str())][..], "failed"),
        ("a client certificate", "14444", &both[..], "passed"),
        ("no client certificate", "14444", &trusting[..], "failed"),
        ("an expired certificate", "14445", &trusting[..], "failed"),
    ] {
        let data = data_dir();
        let endpoint = format!("https://127.0.0.1:{port}/v1");
        let mut settings = vec![
            ("BYOC_PROVIDER", "openai"),
            ("BYOC_ENDPOINT_URL", endpoint.as_str()),
            ("BYOC_API_KEY", "test-key"),
            ("BYOC_MODEL", "gpt-4o-mini"),
        ];
        settings.extend_from_slice(more);
        let server = start(&data, &settings);
        let (_, tested) = test_connection(&server, false);
        assert_eq!(rung(&tested, "tls"), tls, "{what}: {tested:#}");
        if tls == "passed" {
            let (status, answer) = chat(&server, &ask("hello"));
            assert_eq!(
                (status, &answer["choices"][0]["message"]["content"]),
                (200, &json!("Hello from the peer.")),
                "{what}"
            );
        }
    }
}
