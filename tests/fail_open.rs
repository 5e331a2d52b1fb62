//! Who answers when the provider does not: the control plane is asked exactly where the operator
//! allowed it, it is connected, and the provider is down. Everywhere else it receives nothing.

mod common;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use atlas_config::Settings;
use atlas_inference::{ChatRequest, Feature, Job, Message, Plane};
use atlas_server::wiring;
use common::upstream::{Received, Reply, Upstream, chat_chunks};
use futures_util::stream::{self, StreamExt};
use serde_json::json;

/// A way to fail, whether it means that the provider is down, and how a provider fails so.
type Failure = (&'static str, bool, fn(&Received) -> Reply);

fn status(status: u16) -> Reply {
    Reply::json(status, &json!({ "error": { "message": "no" } }))
}

const FAILURES: &[Failure] = &[
    ("silence until the first-token limit", true, |_| Reply::Silence),
    ("the connection is closed without a byte", true, |_| Reply::HangUp),
    ("status 500", true, |_| status(500)),
    ("status 502", true, |_| status(502)),
    ("status 503", true, |_| status(503)),
    ("status 529", true, |_| status(529)),
    ("a stream that breaks before the first text", true, |_| Reply::Cut(Vec::new())),
    ("a stream that breaks after some text", false, |_| Reply::Cut(chat_chunks("half an")[..1].to_vec())),
    ("status 401", false, |_| status(401)),
    ("status 429", false, |_| status(429)),
    ("status 400", false, |_| status(400)),
];

/// The values of `AI_CREDITS_FAIL_OPEN`, and whether they allow a fallback.
const VALUES: [(Option<&str>, bool); 5] =
    [(None, false), (Some("0"), false), (Some("1"), true), (Some("true"), false), (Some("1 "), false)];

struct Case {
    failure: &'static str,
    endpoint: String,
    is_down: bool,
    value: Option<&'static str>,
    allowed: bool,
    connected: bool,
}

/// The control plane's double: it lists its models and answers, or it is not connected and
/// refuses its own token.
fn control_plane(connected: bool) -> Upstream {
    Upstream::start(move |request| match (connected, request.path.as_str()) {
        (true, "/v1/models") => Reply::models(&["default"]),
        (true, _) => Reply::chat(request, "from the control plane"),
        (false, _) => status(503),
    })
}

async fn check(case: &Case) {
    let what = format!(
        "{}, AI_CREDITS_FAIL_OPEN {:?}, control plane {}",
        case.failure,
        case.value,
        if case.connected { "connected" } else { "not connected" },
    );
    let plane = control_plane(case.connected);
    let (plane_url, data) = (plane.base(), common::data_dir());
    let mut source = BTreeMap::from([
        ("TP_DATA_DIR", data.path().to_str().expect("a path of text")),
        ("TP_LISTEN", "127.0.0.1:0"),
        ("EMBEDDING_PROVIDER", "fallback"),
        ("BYOC_PROVIDER", "openai"),
        ("BYOC_ENDPOINT_URL", case.endpoint.as_str()),
        ("BYOC_API_KEY", "test-key-of-the-provider"),
        ("BYOC_MODEL", "m"),
        ("BYOC_FIRST_TOKEN_TIMEOUT", "1"),
        ("CP_ENDPOINT_URL", plane_url.as_str()),
        ("CP_TOKEN", "test-token-of-the-control-plane"),
    ]);
    if let Some(value) = case.value {
        source.insert("AI_CREDITS_FAIL_OPEN", value);
    }
    let settings = Settings::read(&source).expect("good settings");
    let app = wiring::start(settings).await.expect("started");
    app.verify_control_plane().await;
    let verified = plane.received().len();
    let request = ChatRequest { messages: vec![Message::user("Why?")], ..ChatRequest::default() };
    let deadline = Duration::from_secs(30);
    let job = Job { feature: Feature::Rca, request, model: None, deadline, on_text: None };
    let answered = app.inference().complete(job).await;
    app.shutdown().await;
    let asked = plane.received();
    for request in &asked {
        assert_eq!(request.authorization, "Bearer test-token-of-the-control-plane", "{what}");
    }
    let asked: Vec<_> = asked.iter().filter(|request| request.path.ends_with("chat/completions")).collect();
    if case.allowed && case.connected && case.is_down {
        let answered = answered.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answered.text, "from the control plane", "{what}");
        assert_eq!(answered.served_by.plane, Plane::ControlPlane, "{what}");
        assert_eq!(asked.len(), 1, "{what}");
    } else {
        assert!(answered.is_err(), "{what}: {answered:?}");
        assert_eq!(asked.len(), 0, "{what}");
    }
    if !case.allowed {
        assert_eq!((verified, plane.received().len()), (0, 0), "{what}: 0 bytes to the control plane");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_plane_is_asked_exactly_where_it_is_allowed() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let refused = format!("http://{}/v1", closed.local_addr().expect("bound"));
    drop(closed);
    let doubles: Vec<_> = FAILURES
        .iter()
        .map(|(failure, is_down, handler)| (*failure, *is_down, Upstream::start(*handler)))
        .collect();
    let endpoints = doubles
        .iter()
        .map(|(failure, is_down, double)| (*failure, *is_down, double.base()))
        .chain([("the connection is refused", true, refused)]);
    let cases: Vec<Case> = endpoints
        .flat_map(|(failure, is_down, endpoint)| {
            VALUES.into_iter().flat_map(move |(value, allowed)| {
                let endpoint = endpoint.clone();
                [true, false].map(move |connected| Case {
                    failure,
                    endpoint: endpoint.clone(),
                    is_down,
                    value,
                    allowed,
                    connected,
                })
            })
        })
        .collect();
    assert_eq!(cases.len(), 12 * 5 * 2);
    // Each case is its own server; most of their time is waiting between retries. Not all at once:
    // a server has some twenty open files, and a login shell may have a thousand.
    stream::iter(&cases).for_each_concurrent(30, check).await;
}
