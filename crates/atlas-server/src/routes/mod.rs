//! The table of routes.
//!
//! The router is built from [`ROUTES`] and the tests walk over it, so a route cannot exist
//! without being asked for its credential.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, MatchedPath, Request};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};

use crate::api::{
    ai, alerts, ask, backups, health, import, incidents, index, logs, openai, page, runbooks, search, tenants,
};
use crate::app::App;
use crate::extract::BodyLimit;
use crate::problem::Problem;
use crate::{auth, observe};

/// Body limit of ordinary routes.
const SMALL: usize = 1 << 20;
/// Body limit of ingestion: a batch of a log sender is a few megabytes.
const LARGE: usize = 32 << 20;
/// Body limit of runbooks: the largest runbook as JSON, every character escaped.
const DOCUMENT: usize = 8 << 20;

/// Time for an ordinary answer.
const SOON: Duration = Duration::from_secs(30);
/// Time for a large write: embedding a large batch on a small machine.
const WRITE: Duration = Duration::from_secs(300);
/// Time for copying databases: an hour at 100 MB/s is 360 GB.
const COPY: Duration = Duration::from_secs(3600);
/// Time for an answer of a model; the feature's own deadline is shorter.
const MODEL: Duration = Duration::from_secs(180);

/// One way to be called.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path pattern.
    pub path: &'static str,
    handler: fn() -> MethodRouter<App>,
    body_bytes: usize,
    time: Duration,
}

const fn route(
    method: Method,
    path: &'static str,
    body_bytes: usize,
    time: Duration,
    handler: fn() -> MethodRouter<App>,
) -> Route {
    Route { method, path, handler, body_bytes, time }
}

/// Every route of the server.
pub const ROUTES: &[Route] = &[
    route(Method::GET, "/", SMALL, SOON, || get(page::index)),
    route(Method::GET, "/livez", SMALL, SOON, || get(health::live)),
    route(Method::GET, "/readyz", SMALL, SOON, || get(health::ready)),
    route(Method::POST, "/api/ai/test", SMALL, MODEL, || post(ai::test)),
    route(Method::GET, "/api/ai/status", SMALL, SOON, || get(ai::status)),
    route(Method::POST, "/api/ai/rca", SMALL, MODEL, || post(ai::rca)),
    route(Method::POST, "/api/ask", SMALL, MODEL, || post(ask::ask)),
    route(Method::POST, "/api/search", SMALL, SOON, || post(search::post)),
    route(Method::GET, "/api/search", SMALL, SOON, || get(search::get)),
    route(Method::POST, "/api/import/runbooks", LARGE, WRITE, || post(import::runbooks)),
    route(Method::POST, "/api/import/incidents", LARGE, WRITE, || post(import::incidents)),
    route(Method::POST, "/api/runbooks", DOCUMENT, WRITE, || post(runbooks::create)),
    route(Method::GET, "/api/runbooks", SMALL, SOON, || get(runbooks::list)),
    route(Method::GET, "/api/runbooks/{*id}", SMALL, SOON, || get(runbooks::read)),
    route(Method::PUT, "/api/runbooks/{*id}", DOCUMENT, WRITE, || put(runbooks::replace)),
    route(Method::DELETE, "/api/runbooks/{*id}", SMALL, SOON, || delete(runbooks::remove)),
    route(Method::POST, "/api/incidents", SMALL, SOON, || post(incidents::create)),
    route(Method::GET, "/api/incidents", SMALL, SOON, || get(incidents::list)),
    route(Method::GET, "/api/incidents/{id}", SMALL, SOON, || get(incidents::read)),
    route(Method::PUT, "/api/incidents/{id}", SMALL, SOON, || put(incidents::replace)),
    route(Method::DELETE, "/api/incidents/{id}", SMALL, SOON, || delete(incidents::remove)),
    route(Method::GET, "/api/incidents/{id}/similar", SMALL, SOON, || get(incidents::similar)),
    route(Method::POST, "/api/alerts", SMALL, SOON, || post(alerts::create)),
    route(Method::GET, "/api/alerts", SMALL, SOON, || get(alerts::list)),
    route(Method::POST, "/api/alerts/webhook", LARGE, WRITE, || post(alerts::webhook)),
    route(Method::GET, "/api/alerts/{id}", SMALL, SOON, || get(alerts::read)),
    route(Method::PUT, "/api/alerts/{id}", SMALL, SOON, || put(alerts::replace)),
    route(Method::DELETE, "/api/alerts/{id}", SMALL, SOON, || delete(alerts::remove)),
    route(Method::GET, "/api/alerts/{id}/similar", SMALL, SOON, || get(alerts::similar)),
    route(Method::GET, "/api/alert-groups", SMALL, SOON, || get(alerts::groups)),
    route(Method::GET, "/api/alert-groups/{id}", SMALL, SOON, || get(alerts::group)),
    route(Method::POST, "/api/logs", LARGE, WRITE, || post(logs::ingest)),
    route(Method::GET, "/api/logs", SMALL, SOON, || get(logs::list)),
    route(Method::GET, "/api/logs/templates", SMALL, SOON, || get(logs::templates)),
    route(Method::GET, "/api/logs/templates/{id}", SMALL, SOON, || get(logs::template)),
    route(Method::GET, "/api/logs/surges", SMALL, SOON, || get(logs::surges)),
    route(Method::GET, "/api/logs/{id}", SMALL, SOON, || get(logs::read)),
    route(Method::DELETE, "/api/logs/{id}", SMALL, SOON, || delete(logs::remove)),
    route(Method::POST, "/loki/api/v1/push", LARGE, WRITE, || post(logs::loki)),
    route(Method::POST, "/v1/logs", LARGE, WRITE, || post(logs::otlp)),
    route(Method::POST, "/v1/chat/completions", LARGE, openai::TIME, || post(openai::chat)),
    route(Method::POST, "/v1/embeddings", LARGE, WRITE, || post(openai::embeddings::create)),
    route(Method::GET, "/v1/models", SMALL, SOON, || get(openai::models::list)),
    route(Method::GET, "/v1/models/{*id}", SMALL, SOON, || get(openai::models::read)),
    route(Method::POST, "/api/tenants", SMALL, SOON, || post(tenants::create)),
    route(Method::GET, "/api/tenants", SMALL, SOON, || get(tenants::list)),
    route(Method::POST, "/api/backups", SMALL, COPY, || post(backups::create)),
    route(Method::GET, "/api/backups", SMALL, SOON, || get(backups::list)),
    route(Method::GET, "/api/backups/{name}", SMALL, SOON, || get(backups::read)),
    route(Method::DELETE, "/api/backups/{name}", SMALL, SOON, || delete(backups::remove)),
    route(Method::POST, "/api/backups/{name}/restore", SMALL, COPY, || post(backups::restore)),
    route(Method::POST, "/api/reindex", SMALL, WRITE, || post(index::rebuild)),
    route(Method::GET, "/api/reindex", SMALL, SOON, || get(index::progress)),
];

/// The whole server as a service; usable in process.
pub fn router(app: App) -> Router {
    with_routes(app, ROUTES)
}

fn with_routes(app: App, routes: &[Route]) -> Router {
    let mut router = Router::new();
    for route in routes {
        let time = route.time;
        let in_time = middleware::from_fn(move |request, next| in_time(time, request, next));
        let limited: MethodRouter<App> =
            (route.handler)().layer::<_, Infallible>(in_time).layer(Extension(BodyLimit(route.body_bytes)));
        router = router.route(route.path, limited);
    }
    router
        .method_not_allowed_fallback(wrong_method)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(app.clone(), auth::authenticate))
        .layer(middleware::from_fn(observe::observe))
        .with_state(app)
}

/// Bounds the time until the answer begins, reading of the body included; a stream may go on.
async fn in_time(time: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("the request was not answered within {} s", time.as_secs());
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", detail)
                .retry_after(Duration::from_secs(5))
                .into_response()
        }
    }
}

async fn not_found(request: Request) -> Problem {
    let detail = format!("there is no route {}", request.uri().path());
    Problem::new(StatusCode::NOT_FOUND, "no_such_route", detail).hint("GET / lists the routes")
}

async fn wrong_method(method: Method, path: MatchedPath) -> Problem {
    let allowed: Vec<&str> = ROUTES
        .iter()
        .filter(|route| route.path == path.as_str())
        .map(|route| route.method.as_str())
        .collect();
    let detail = format!("{} does not answer {method}", path.as_str());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        .hint(format!("it answers {}", allowed.join(", ")))
        .allow(&allowed)
}

#[cfg(test)]
mod tests;
