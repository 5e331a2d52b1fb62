//! The whole server in process, keywords only.

mod ai;
mod ask;
mod crud;
mod embedding;
mod ingest;
mod openai;
mod refusals;

use std::collections::BTreeMap;
use std::sync::Arc;

use atlas_embed::Embedding;
use atlas_guard::Guard;
use atlas_retrieval::{Options, Retrieval};
use atlas_testkit::fake_embedder::Words;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::auth::operator_scope;
use crate::wiring;

const TOKEN: &str = "a-token-for-tests";

/// A server on a folder that goes away with it.
struct Server {
    router: Router,
    app: App,
    _folder: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.status, self.text))
    }

    /// Asserts a problem document and returns it.
    #[track_caller]
    fn problem(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        assert_eq!((self.status.as_u16(), body["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(body["status"], status);
        for field in ["type", "title", "detail"] {
            assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {body}");
        }
        assert_eq!(body["request_id"], self.headers["x-request-id"].to_str().expect("ASCII"));
        body
    }

    /// Asserts an error in OpenAI's shape and returns it.
    #[track_caller]
    fn openai_error(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        let error = body["error"].clone();
        assert_eq!((self.status.as_u16(), error["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(self.headers["content-type"], "application/json");
        assert!(self.headers.contains_key("x-request-id"));
        for member in ["message", "type"] {
            assert!(error[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {body}");
        }
        assert!(error.as_object().is_some_and(|error| error.contains_key("param")), "{body}");
        error
    }
}

impl Server {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(values: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().to_str().expect("UTF-8").to_owned();
        let mut all: BTreeMap<&str, &str> = BTreeMap::from([
            ("TP_DATA_DIR", place.as_str()),
            ("ADMIN_TOKEN", TOKEN),
            ("EMBEDDING_PROVIDER", "fallback"),
        ]);
        all.extend(values.iter().copied());
        let settings = atlas_config::Settings::read(&all).expect("usable settings");
        let app = wiring::start(settings).await.expect("started");
        Self { router: router(app.clone()), app, _folder: folder }
    }

    /// One whose engine makes vectors; the fallback of the others makes none.
    async fn with_engine(engine: Arc<Words>) -> Self {
        let mut server = Self::start().await;
        let store = Arc::clone(&server.app.records.store);
        let (engine, guard) = (Embedding::Vectors(engine), Arc::new(Guard::new()));
        server.app.retrieval = Retrieval::open(store, engine, guard, Options::default());
        server.router = router(server.app.clone());
        server
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a whole body");
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Answer { status: parts.status, headers: parts.headers, text }
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.call_with(method, path, body.to_owned(), &[]).await
    }

    async fn call_with(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Body>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request =
            Request::builder().method(method).uri(path).header("authorization", format!("Bearer {TOKEN}"));
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).expect("a request")).await
    }

    /// Waits until searches cover what was written.
    async fn settle(&self) {
        let scope = operator_scope("default".parse().expect("a tenant id"));
        self.app.retrieval().settled(&scope).await.expect("settled");
    }

    async fn found(&self, query: &str, corpus: &str) -> Vec<Value> {
        let body = serde_json::json!({"query": query, "corpora": [corpus]}).to_string();
        let answer = self.call("POST", "/api/search", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["hits"].as_array().expect("hits").clone()
    }
}
