//! Every dialect against a server that somebody else wrote, through the whole product: settings,
//! connection test, our OpenAI-compatible API. `cargo xtask peers` sets `ATLAS_PEERS` to the
//! folder with the scripts; without it every test here prints SKIPPED.

mod common;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use common::asking::{
    ask, asks_for_the_weather_of_paris, chat, rung, start, stream, test_connection, weather_tool,
};
use common::data_dir;
use common::peer::Peer;
use serde_json::json;

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

/// A server of Ollama's that is stopped when the test ends.
struct Ollama(Child);

impl Drop for Ollama {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ollama's own program: one that is installed, or one built by Go.
fn ollama() -> Option<PathBuf> {
    let works = |program: &Path| Command::new(program).arg("--version").output().is_ok();
    let installed = PathBuf::from("ollama");
    if works(&installed) {
        return Some(installed);
    }
    let output = |arguments: &[&str]| Command::new("go").args(arguments).output().ok();
    output(&["install", "github.com/ollama/ollama@latest"])?;
    let folder = String::from_utf8(output(&["env", "GOPATH"])?.stdout).ok()?;
    Some(Path::new(folder.trim()).join("bin/ollama")).filter(|built| works(built))
}

#[test]
fn a_real_ollama_answers_with_the_context_it_was_asked_for() {
    let test = "a real Ollama";
    // The peer's script makes the model that Ollama is given.
    let Some(peer) = Peer::start_as(test, "llama_server.sh", "install", &[]) else { return };
    let Some(program) = ollama() else {
        eprintln!("SKIPPED: {test}: neither ollama nor Go is on this machine");
        return;
    };
    let data = data_dir();
    let address = "127.0.0.1:14040";
    let ollama = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).env("OLLAMA_HOST", address).env("OLLAMA_MODELS", data.path().join("models"));
        command
    };
    let _server = Ollama(ollama(&["serve"]).spawn().expect("ollama starts"));
    while TcpStream::connect(address).is_err() {
        std::thread::yield_now();
    }
    let recipe = data.path().join("Modelfile");
    let model = peer.peers_dir().join("llama/tiny.gguf");
    std::fs::write(&recipe, format!("FROM {}\n", model.display())).expect("written");
    let recipe = recipe.to_str().expect("a path of text");
    assert!(ollama(&["create", "tiny", "-f", recipe]).status().is_ok_and(|status| status.success()));
    let store = data_dir();
    let endpoint = format!("http://{address}");
    let server = start(
        &store,
        &[
            ("BYOC_PROVIDER", "ollama"),
            ("BYOC_ENDPOINT_URL", &endpoint),
            ("BYOC_MODEL", "tiny"),
            ("BYOC_CONTEXT_TOKENS", "2048"),
        ],
    );
    let (status, tested) = test_connection(&server, false);
    assert_eq!((status, rung(&tested, "chat").as_str()), (200, "passed"), "{tested:#}");
    let (status, answer) = chat(&server, &ask(&"more than the context holds ".repeat(2_000)));
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("context_length_exceeded")), "{answer}");
}
