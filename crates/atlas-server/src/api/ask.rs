//! Questions in plain words.

use std::sync::Arc;

use atlas_domain::{Corpus, Filter, Timestamp};
use atlas_features::{Ask, AskRequest, Features};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::events::{streamed, wants_events};
use crate::auth::Tenant;
use crate::extract::Json;
use crate::observe::RequestId;
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskBody {
    question: String,
    #[serde(default)]
    corpora: Vec<Corpus>,
    /// Conditions to use instead of those that the question says: the `filter` of an earlier
    /// answer, edited. `{}` for none.
    filter: Option<Filter>,
    /// What to look for instead of what the question leaves: the `query` of an earlier answer,
    /// edited.
    query: Option<String>,
    limit: Option<usize>,
    /// The clock of who asks: `+02:00`.
    utc_offset: Option<String>,
    /// What "since the deploy" means; left out, the latest change among the records.
    deployed_at: Option<Timestamp>,
    /// `false` leaves the model out.
    #[serde(default = "yes")]
    model: bool,
}

fn yes() -> bool {
    true
}

impl From<AskBody> for AskRequest {
    fn from(body: AskBody) -> Self {
        let AskBody { question, corpora, filter, query, limit, utc_offset, deployed_at, model } = body;
        let usual = Self::new(question);
        let limit = limit.unwrap_or(usual.limit);
        Self { corpora, filter, query, limit, utc_offset, deployed_at, with_model: model, ..usual }
    }
}

/// Answers a question from the records: as JSON, or as events while it is being done. It needs no
/// provider; without one the passages are the answer.
pub(crate) async fn ask(
    State(features): State<Arc<Features>>,
    State(stopping): State<CancellationToken>,
    Tenant(scope): Tenant,
    request_id: RequestId,
    headers: HeaderMap,
    Json(body): Json<AskBody>,
) -> Result<Response, Problem> {
    let request = AskRequest::from(body);
    if !wants_events(&headers) {
        let answer = features.ask().answer(&scope, request, |_| {}).await?;
        return Ok(Json(answer).into_response());
    }
    // What can be refused is refused before a stream begins, with a status.
    Ask::check(&request)?;
    let (sender, progress) = mpsc::unbounded_channel();
    let work = Box::pin(async move {
        // A reader that has gone drops this future too.
        Ok(features.ask().answer(&scope, request, move |stage| drop(sender.send(stage))).await?)
    });
    Ok(streamed(work, progress, stopping, request_id))
}
