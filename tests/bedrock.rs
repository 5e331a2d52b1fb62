//! Bedrock against an endpoint that checks signatures and speaks the binary event stream, and
//! against a fake AWS account. `cargo xtask peers` starts them; without it every test here prints
//! SKIPPED.

mod common;

use common::asking::{
    ask, asks_for_the_weather_of_paris, chat, rung, start, stream, test_connection, weather_tool,
};
use common::peer::Peer;
use common::{Server, data_dir};
use serde_json::json;

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
