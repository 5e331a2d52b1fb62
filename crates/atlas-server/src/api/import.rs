//! Many records in one commit, new or not: what `atlasai-tp import` sends.

use std::sync::Arc;

use atlas_features::{Features, IncidentDraft, Runbooks};
use atlas_retrieval::{Outcome, PutReport};
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::runbooks::RunbookDraft;
use super::target::Target;
use crate::extract::Json;
use crate::problem::Problem;
use crate::wire::invalid;

/// The items of an import.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Items<T> {
    items: Vec<T>,
}

/// Writes runbooks.
pub(crate) async fn runbooks(
    State(features): State<Arc<Features>>,
    target: Target,
    Json(body): Json<Items<RunbookDraft>>,
) -> Result<Json<Value>, Problem> {
    let read = |(position, mut draft): (usize, RunbookDraft)| {
        let id = draft.id.take().unwrap_or_else(Runbooks::fresh_id);
        draft.read(id).map_err(|problem| problem.within(&format!("items[{position}]")))
    };
    let runbooks = body.items.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    match target {
        Target::Check => Ok(checked(runbooks.len())),
        Target::Write(scope) => Ok(written(&features.runbooks().import(&scope, runbooks).await?)),
    }
}

/// Writes incidents.
pub(crate) async fn incidents(
    State(features): State<Arc<Features>>,
    target: Target,
    Json(body): Json<Items<IncidentDraft>>,
) -> Result<Json<Value>, Problem> {
    if let Some(position) = body.items.iter().position(|draft| draft.title.trim().is_empty()) {
        return Err(invalid(format!("items[{position}].title"), "is empty"));
    }
    match target {
        Target::Check => Ok(checked(body.items.len())),
        Target::Write(scope) => Ok(written(&features.incidents().import(&scope, body.items).await?)),
    }
}

/// The answer to a check that found nothing wrong.
pub(super) fn checked(items: usize) -> Json<Value> {
    Json(json!({"checked": items}))
}

fn written(report: &PutReport) -> Json<Value> {
    let count = |wanted: Outcome| report.outcomes.iter().filter(|outcome| **outcome == wanted).count();
    Json(json!({
        "created": count(Outcome::Created),
        "updated": count(Outcome::Updated),
        "unchanged": count(Outcome::Unchanged),
    }))
}
