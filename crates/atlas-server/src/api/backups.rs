//! Backups: made, listed, restored and removed by name. No request names a path.

use std::sync::Arc;

use atlas_domain::{TenantId, TenantScope, Timestamp};
use atlas_store::{BackupName, BackupTenant, Manifest, SqliteStore, StoreError};
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::operator_scope;
use crate::extract::Json;
use crate::problem::Problem;

/// What a new backup is to hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Not given: the time.
    name: Option<BackupName>,
    /// Not given: all.
    tenants: Option<Vec<TenantId>>,
}

/// What of a backup is to be restored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreBody {
    /// Not given: every tenant that the backup holds.
    tenants: Option<Vec<TenantId>>,
}

/// The name in the path.
#[derive(Debug)]
pub(crate) struct Name(BackupName);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let invalid =
            |detail: String| Problem::new(StatusCode::BAD_REQUEST, "invalid_name", detail).field("name");
        let Path(name) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| invalid("the name in the path is not percent-encoded UTF-8".into()))?;
        name.parse().map(Self).map_err(|error: atlas_store::NotABackupName| invalid(error.to_string()))
    }
}

#[derive(Serialize)]
struct Restored {
    tenants: Vec<BackupTenant>,
}

/// Calls the embedded store off the async workers.
async fn store<T: Send + 'static>(
    app: &App,
    call: impl FnOnce(&SqliteStore) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let store = embedded(app)?;
    Ok(app.retrieval().read(move |_| call(&store)).await?)
}

fn embedded(app: &App) -> Result<Arc<SqliteStore>, Problem> {
    app.records.embedded.clone().ok_or_else(|| {
        let detail = "the records are in PostgreSQL, which has backups of its own";
        Problem::new(StatusCode::NOT_IMPLEMENTED, "backups_elsewhere", detail)
            .hint("back up the database with pg_dump or pg_basebackup")
    })
}

/// Copies tenants, each as it is at one moment, while others read and write.
pub(crate) async fn create(
    State(app): State<App>,
    Json(body): Json<CreateBody>,
) -> Result<Response, Problem> {
    let name = match body.name {
        Some(name) => name,
        None => name_of(Timestamp::now()),
    };
    let tenants = match body.tenants {
        Some(tenants) => tenants,
        None => app.retrieval().read(|store| store.tenants()).await?,
    };
    let scopes: Vec<TenantScope> = tenants.into_iter().map(operator_scope).collect();
    let manifest = store(&app, move |store| store.back_up(&name, &scopes)).await?;
    Ok((StatusCode::CREATED, Json(manifest)).into_response())
}

/// A name that sorts by time.
fn name_of(at: Timestamp) -> BackupName {
    let digits: String = at.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
    digits.parse().expect("digits are a name")
}

/// The backups there are.
pub(crate) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let items = store(&app, SqliteStore::backups).await?;
    Ok(Json(json!({"items": items, "next": null})))
}

/// What a backup holds.
pub(crate) async fn read(State(app): State<App>, Name(name): Name) -> Result<Json<Manifest>, Problem> {
    Ok(Json(store(&app, move |store| store.manifest(&name)).await?))
}

/// Removes a backup.
pub(crate) async fn remove(State(app): State<App>, Name(name): Name) -> Result<StatusCode, Problem> {
    store(&app, move |store| store.forget_backup(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts tenants back to what a backup holds. Everything is copied and checked before the first
/// tenant is touched; each is then swapped as a whole, and its indexes are made anew.
pub(crate) async fn restore(
    State(app): State<App>,
    Name(name): Name,
    Json(body): Json<RestoreBody>,
) -> Result<Response, Problem> {
    let prepared = store(&app, move |store| {
        let tenants = match body.tenants {
            Some(tenants) => tenants,
            None => store.manifest(&name)?.tenants.into_iter().map(|entry| entry.tenant).collect(),
        };
        let prepare = |tenant| {
            let scope = operator_scope(tenant);
            let prepared = store.prepare_restore(&name, &scope)?;
            Ok((scope, prepared))
        };
        tenants.into_iter().map(prepare).collect::<Result<Vec<_>, StoreError>>()
    })
    .await?;
    let mut tenants = Vec::with_capacity(prepared.len());
    for (scope, prepared) in prepared {
        let store = embedded(&app)?;
        tenants.push(app.retrieval().replace(&scope, move || store.swap_in(prepared)).await?);
    }
    Ok(Json(Restored { tenants }).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_made_of_the_time_sorts_by_it() {
        let name = |second| name_of(Timestamp::from_second(second).expect("in range")).to_string();
        assert_eq!(name(0), "19700101000000");
        assert!(name(1_000_000_000) < name(1_000_000_001));
    }
}
