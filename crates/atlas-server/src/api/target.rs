//! `?check=true`: read and judge a body without writing it.
//!
//! An import of many requests asks for all of them first, so that a mistake in the last one is
//! found before the first one is written. The tenant may not exist yet then.

use std::sync::Arc;

use atlas_domain::TenantScope;
use atlas_retrieval::Retrieval;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use crate::auth::Tenant;
use crate::extract::Params;
use crate::problem::Problem;
use crate::tenant_header::NamedTenant;

/// What becomes of a body.
pub(crate) enum Target {
    /// It is judged only.
    Check,
    /// It is written for a tenant.
    Write(TenantScope),
}

impl<S> FromRequestParts<S> for Target
where
    S: Send + Sync,
    Arc<Retrieval>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut params = Params::from_request_parts(parts, state).await?;
        if params.parsed("check", "true or false")?.unwrap_or(false) {
            NamedTenant::from_request_parts(parts, state).await?;
            return Ok(Self::Check);
        }
        Tenant::from_request_parts(parts, state).await.map(|Tenant(scope)| Self::Write(scope))
    }
}
