//! The page for people who open the address in a browser.

use std::fmt::Write;
use std::sync::Arc;

use atlas_config::Live;
use atlas_retrieval::{EmbeddingState, Retrieval};
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;

use crate::routes::ROUTES;

/// Nothing on the page is loaded or run: no script, no image, no font.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// What runs here and which routes there are. It shows no data and needs no credential, so it
/// names neither the provider nor any path on the disk.
pub(crate) async fn index(
    State(retrieval): State<Arc<Retrieval>>,
    State(live): State<Live>,
) -> impl IntoResponse {
    let embedding = match retrieval.embedding() {
        EmbeddingState::Ready { .. } => "by meaning and by keyword",
        EmbeddingState::KeywordsOnly => "by keyword",
        EmbeddingState::Failing { .. } => "by keyword (the embedding engine is failing)",
    };
    let ai = if live.snapshot().settings.byoc.provider.is_some() { "configured" } else { "not configured" };
    let mut routes = String::new();
    for route in ROUTES {
        let path = route.path.replace("{*id}", "{id}");
        // Writing to a string does not fail.
        let _ = writeln!(routes, "<tr><td>{}</td><td><code>{path}</code></td></tr>", route.method);
    }
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>AtlasAI BYOC</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;\
         color:#1b1f24;background:#fff}}td{{padding:.1rem 1rem .1rem 0}}code{{font-family:ui-monospace,monospace}}\
         @media(prefers-color-scheme:dark){{body{{color:#e6e8eb;background:#14171a}}a{{color:#8ab4f8}}}}</style>\n\
         </head><body><h1>AtlasAI BYOC</h1>\n<p>Version {}. Search {embedding}. AI provider {ai}.</p>\n\
         <p><a href=\"/livez\">/livez</a> and <a href=\"/readyz\">/readyz</a> say whether the server is well. \
         All other routes need the header <code>Authorization: Bearer &lt;admin token&gt;</code>.</p>\n\
         <table>{routes}</table></body></html>\n",
        env!("CARGO_PKG_VERSION"),
    );
    let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    (
        [
            kind,
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (HeaderName::from_static("referrer-policy"), "no-referrer"),
        ],
        page,
    )
}
