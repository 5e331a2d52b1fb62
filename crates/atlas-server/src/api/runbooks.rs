//! Runbooks: as JSON, or as the Markdown file itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use atlas_domain::{RecordId, Runbook};
use atlas_features::{Features, Listed, Runbooks, Stored, from_markdown};
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::list::List;
use super::replacement::Replacement;
use crate::auth::Tenant;
use crate::extract::{Id, Json, Params, Whole, media_type, utf8};
use crate::problem::Problem;

/// A runbook as a caller gives it. What is left out is read from the Markdown.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunbookDraft {
    pub(super) id: Option<RecordId>,
    title: Option<String>,
    markdown: String,
    service: Option<String>,
    source: Option<String>,
    url: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl RunbookDraft {
    pub(super) fn read(self, id: RecordId) -> Result<Runbook, Problem> {
        let mut runbook = from_markdown(id, &self.markdown, self.source)?;
        runbook.title = self.title.unwrap_or(runbook.title);
        runbook.service = self.service.or(runbook.service);
        runbook.url = self.url.or(runbook.url);
        runbook.labels.extend(self.labels);
        Ok(runbook)
    }
}

/// Either form of a body. Markdown has no id of its own.
enum Body {
    Json(RunbookDraft),
    Markdown(String),
}

impl Body {
    async fn read(request: Request) -> Result<Self, Problem> {
        match media_type(request.headers()).as_deref() {
            Some("text/markdown" | "text/x-markdown" | "text/plain") => {
                let Whole(body) = Whole::from_request(request, &()).await?;
                Ok(Self::Markdown(utf8(&body)?.to_owned()))
            }
            _ => Replacement::from_request(request, &()).await.map(|Replacement(draft)| Self::Json(draft)),
        }
    }
}

/// Writes a new runbook.
pub(crate) async fn create(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    mut params: Params,
    request: Request,
) -> Result<Response, Problem> {
    let named = match params.one("id")? {
        Some(id) => Some(RecordId::new(id).map_err(|error| Params::invalid("id", &error.to_string()))?),
        None => None,
    };
    params.nothing_else("id")?;
    let runbook = match Body::read(request).await? {
        Body::Markdown(text) => from_markdown(named.unwrap_or_else(Runbooks::fresh_id), &text, None)?,
        Body::Json(mut draft) => {
            let id = draft.id.take().or(named).unwrap_or_else(Runbooks::fresh_id);
            draft.read(id)?
        }
    };
    let stored = features.runbooks().create(&scope, runbook).await?;
    Ok(super::created("runbooks", &stored.item.id.clone(), stored))
}

/// A page of runbooks.
pub(crate) async fn list(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    List(query): List,
) -> Result<Json<Listed<Runbook>>, Problem> {
    Ok(Json(features.runbooks().list(&scope, query).await?))
}

/// One runbook.
pub(crate) async fn read(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
) -> Result<Json<Stored<Runbook>>, Problem> {
    Ok(Json(features.runbooks().get(&scope, &id).await?))
}

/// Replaces a runbook.
pub(crate) async fn replace(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
    request: Request,
) -> Result<Json<Stored<Runbook>>, Problem> {
    let runbook = match Body::read(request).await? {
        Body::Markdown(text) => from_markdown(id, &text, None)?,
        Body::Json(draft) if draft.id.as_ref().is_some_and(|named| *named != id) => {
            let detail = "id: it is not the id in the path";
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", detail);
            return Err(problem.field("id").hint("leave it out"));
        }
        Body::Json(draft) => draft.read(id)?,
    };
    Ok(Json(features.runbooks().update(&scope, runbook).await?))
}

/// Removes a runbook.
pub(crate) async fn remove(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    features.runbooks().delete(&scope, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
