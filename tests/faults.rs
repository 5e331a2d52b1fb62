//! The connection test against everything that can be wrong: the right check fails, with a hint
//! that helps.

mod common;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use common::upstream::{Blackhole, Received, Reply, Upstream, chat_chunks};
use common::{Server, data_dir};
use serde_json::{Value, json};

/// A provider that works.
fn healthy(request: &Received) -> Reply {
    match request.path.as_str() {
        "/v1/models" => Reply::models(&["m"]),
        "/v1/chat/completions" => Reply::chat(request, "ok"),
        _ => Reply::json(404, &json!({ "error": { "message": "no such path" } })),
    }
}

fn settings<'a>(endpoint: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut settings = vec![
        ("BYOC_PROVIDER", "openai"),
        ("BYOC_ENDPOINT_URL", endpoint),
        ("BYOC_API_KEY", "test-key-of-the-provider"),
        ("BYOC_MODEL", "m"),
        ("EMBEDDING_PROVIDER", "fallback"),
    ];
    settings.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    settings.extend_from_slice(more);
    settings
}

fn test(settings: &[(&str, &str)], deep: bool) -> (u16, Value) {
    let data = data_dir();
    let server = Server::start(data.path(), settings, &[]);
    server.json("POST", "/api/ai/test", &json!({ "test": true, "deep": deep }).to_string())
}

/// The test fails at `rung`, every rung before it did not fail, and the hint names what to look at.
#[track_caller]
fn fails_at(rung: &str, hint_names: &str, settings: &[(&str, &str)], deep: bool) -> Value {
    let (_, answer) = test(settings, deep);
    let checks = answer["checks"].as_array().unwrap_or_else(|| panic!("no checks in {answer}"));
    let failed: Vec<&Value> = checks.iter().filter(|check| check["status"] == "failed").collect();
    let first = failed.first().unwrap_or_else(|| panic!("nothing failed in {answer}"));
    assert_eq!(first["id"], rung, "{answer:#}");
    let hint = first["hint"].as_str().unwrap_or_default();
    assert!(hint.contains(hint_names), "{hint_names} is not in the hint of {first:#}");
    assert!(first["ms"].as_u64().is_some_and(|ms| ms <= 15_000), "{first:#}");
    assert!(!answer.to_string().contains("test-key-of-the-provider"), "{answer}");
    (*first).clone()
}

#[test]
fn a_healthy_provider_passes_with_the_documented_fields() {
    let upstream = Upstream::start(healthy);
    let (status, answer) = test(&settings(&upstream.base(), &[]), false);
    assert_eq!(status, 200, "{answer:#}");
    for (field, expect) in [("status", json!("ok")), ("provider", json!("openai")), ("model", json!("m"))] {
        assert_eq!(answer[field], expect, "{field} in {answer:#}");
    }
    assert!(answer["latency_ms"].is_u64(), "{answer:#}");
    assert_eq!(answer["cp_connected"], json!(false));
    let checks = answer["checks"].as_array().expect("a list");
    assert!(checks.iter().all(|check| check["status"] != "failed"), "{answer:#}");
    assert!(!answer.to_string().contains("test-key-of-the-provider"));
}

#[test]
fn a_wrong_name_fails_at_dns() {
    fails_at("dns", "DNS", &settings("http://no-such-host.invalid:9/v1", &[]), false);
}

#[test]
fn a_closed_port_fails_at_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}/v1", listener.local_addr().expect("bound"));
    drop(listener);
    fails_at("tcp", "port", &settings(&endpoint, &[]), false);
}

#[test]
fn dropped_packets_fail_at_tcp() {
    let hole = Blackhole::new();
    fails_at("tcp", "firewall", &settings(&format!("http://{}/v1", hole.address()), &[]), false);
}

#[test]
fn a_proxy_that_wants_a_password_fails_at_proxy() {
    let proxy = Upstream::start(|_| Reply::Whole(407, "text/plain", "who are you?".to_owned()));
    let proxy_url = format!("http://{}", proxy.address());
    let settings = settings("https://llm.example.com/v1", &[("BYOC_PROXY_URL", &proxy_url)]);
    fails_at("proxy", "BYOC_PROXY_URL", &settings, false);
}

#[test]
fn a_wrong_key_fails_at_auth() {
    let upstream = Upstream::start(|_| {
        Reply::json(
            401,
            &json!({ "error": { "message": "Incorrect API key provided: test-key-of-the-provider" } }),
        )
    });
    fails_at("auth", "BYOC_API_KEY", &settings(&upstream.base(), &[]), false);
}

#[test]
fn a_key_without_the_right_fails_at_auth() {
    let upstream = Upstream::start(|request| match request.path.as_str() {
        "/v1/models" => Reply::models(&["m"]),
        _ => Reply::json(403, &json!({ "error": { "message": "project has no access" } })),
    });
    fails_at("auth", "permission", &settings(&upstream.base(), &[]), false);
}

#[test]
fn an_unknown_model_fails_at_model() {
    let upstream = Upstream::start(|request| match request.path.as_str() {
        "/v1/models" => Reply::models(&["another"]),
        _ => Reply::json(404, &json!({ "error": { "message": "model m does not exist" } })),
    });
    fails_at("model", "BYOC_MODEL", &settings(&upstream.base(), &[]), false);
}

#[test]
fn a_model_that_is_still_loading_fails_at_chat() {
    let upstream = Upstream::start(|request| match request.path.as_str() {
        "/v1/models" => Reply::models(&["m"]),
        _ => Reply::Silence,
    });
    fails_at("chat", "loading", &settings(&upstream.base(), &[]), false);
}

#[test]
fn a_stream_that_is_held_back_fails_at_stream() {
    let upstream = Upstream::start(|request| match request.path.as_str() {
        "/v1/models" => Reply::models(&["m"]),
        _ => {
            let whole = chat_chunks("one two three four five six seven eight nine ten").concat();
            Reply::Late(Duration::from_millis(300), vec![whole])
        }
    });
    let (_, answer) = test(&settings(&upstream.base(), &[]), true);
    let stream = rung(&answer, "stream");
    assert_ne!(stream["status"], "passed", "{answer:#}");
    assert!(stream["hint"].as_str().is_some_and(|hint| hint.contains("proxy")), "{stream:#}");
}

#[test]
fn an_embedding_of_another_dimension_fails_at_embeddings() {
    let upstream = Upstream::start(|request| match request.path.as_str() {
        "/v1/embeddings" => {
            let n_inputs = request.json()["input"].as_array().map_or(1, Vec::len);
            let vectors: Vec<Value> = (0..n_inputs)
                .map(|index| json!({ "object": "embedding", "index": index, "embedding": [1.0, 0.0, 0.0, 0.0] }))
                .collect();
            Reply::json(200, &json!({ "object": "list", "data": vectors, "model": "e" }))
        }
        _ => healthy(request),
    });
    let base = upstream.base();
    let settings = settings(
        &base,
        &[
            ("EMBEDDING_PROVIDER", "compatible"),
            ("EMBEDDING_ENDPOINT_URL", &base),
            ("EMBEDDING_MODEL", "e"),
            ("EMBEDDING_DIMENSIONS", "8"),
        ],
    );
    let failed = fails_at("embeddings", "setting", &settings, false);
    assert!(
        failed["detail"].as_str().is_some_and(|detail| detail.contains("EMBEDDING_DIMENSIONS")),
        "{failed:#}"
    );
}

#[test]
fn bad_certificates_fail_at_tls_and_a_private_authority_is_accepted_with_its_bundle() {
    let authority = tls::Authority::new();
    let other = tls::Authority::new();
    let good = authority.issue("127.0.0.1", tls::Validity::Now);
    let cases = [
        ("expired", authority.issue("127.0.0.1", tls::Validity::Past), true, "expired"),
        ("of an unknown authority", other.issue("127.0.0.1", tls::Validity::Now), true, "BYOC_CA_BUNDLE"),
        ("self-signed", tls::Certificate::self_signed("127.0.0.1"), true, "BYOC_CA_BUNDLE"),
        ("of another name", authority.issue("other.example", tls::Validity::Now), true, "name"),
        ("of a private authority without the bundle", good.clone(), false, "BYOC_CA_BUNDLE"),
    ];
    let bundle = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(bundle.path(), authority.pem()).expect("written");
    let bundle = bundle.path().to_str().expect("a path of text");
    for (what, certificate, with_bundle, hint) in cases {
        let endpoint = tls::upstream(certificate);
        let more: &[(&str, &str)] = if with_bundle { &[("BYOC_CA_BUNDLE", bundle)] } else { &[] };
        let failed = fails_at("tls", hint, &settings(&endpoint, more), false);
        assert!(!failed["detail"].as_str().unwrap_or_default().is_empty(), "{what}: {failed:#}");
    }
    let endpoint = tls::upstream(good);
    let (status, answer) = test(&settings(&endpoint, &[("BYOC_CA_BUNDLE", bundle)]), false);
    assert_eq!((status, &rung(&answer, "tls")["status"]), (200, &json!("passed")), "{answer:#}");
}

#[test]
fn certificates_that_are_none_turn_the_ai_off_and_search_goes_on() {
    let bundle = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(bundle.path(), "not a certificate").expect("written");
    let bundle = bundle.path().to_str().expect("a path of text");
    let data = data_dir();
    let server =
        Server::start(data.path(), &settings("https://127.0.0.1:9/v1", &[("BYOC_CA_BUNDLE", bundle)]), &[]);
    let (status, answer) = server.json("POST", "/api/ai/test", r#"{"test":true}"#);
    assert_eq!((status, &answer["code"]), (503, &json!("provider_settings")), "{answer:#}");
    assert!(answer["detail"].as_str().is_some_and(|detail| detail.contains("BYOC_CA_BUNDLE")), "{answer:#}");
    let (status, found) = server.json("POST", "/api/search", r#"{"query":"disk"}"#);
    assert_eq!(status, 200, "{found}");
}

#[track_caller]
fn rung<'a>(answer: &'a Value, id: &str) -> &'a Value {
    let checks = answer["checks"].as_array().expect("a list of checks");
    checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no check {id} in {answer:#}"))
}

/// Certificates made for one test, and a provider behind one of them.
mod tls {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    pub(crate) enum Validity {
        Now,
        Past,
    }

    #[derive(Clone)]
    pub(crate) struct Certificate {
        der: Vec<u8>,
        key: Vec<u8>,
    }

    pub(crate) struct Authority {
        issuer: Issuer<'static, KeyPair>,
        pem: String,
    }

    impl Authority {
        pub(crate) fn new() -> Self {
            let mut params = CertificateParams::new(Vec::new()).expect("no names");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().expect("a key");
            let certificate = params.self_signed(&key).expect("signed");
            Self { issuer: Issuer::new(params, key), pem: certificate.pem() }
        }

        pub(crate) fn pem(&self) -> &str {
            &self.pem
        }

        pub(crate) fn issue(&self, name: &str, validity: Validity) -> Certificate {
            let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
            if let Validity::Past = validity {
                params.not_before = date_time_ymd(2020, 1, 1);
                params.not_after = date_time_ymd(2020, 2, 1);
            }
            let key = KeyPair::generate().expect("a key");
            let certificate = params.signed_by(&key, &self.issuer).expect("signed");
            Certificate { der: certificate.der().to_vec(), key: key.serialize_der() }
        }
    }

    impl Certificate {
        pub(crate) fn self_signed(name: &str) -> Self {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new([name.to_owned()]).expect("a name");
            let certificate = params.self_signed(&key).expect("signed");
            Self { der: certificate.der().to_vec(), key: key.serialize_der() }
        }
    }

    /// A healthy provider behind the certificate; its base URL.
    pub(crate) fn upstream(certificate: Certificate) -> String {
        let key = PrivateKeyDer::try_from(certificate.key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der.into()], key)
            .expect("a certificate and its key");
        let config = Arc::new(config);
        let upstream = Upstream::wrapped(healthy, move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            Some(Box::new(StreamOwned::new(connection, stream)))
        });
        format!("https://{}/v1", upstream.address())
    }
}
