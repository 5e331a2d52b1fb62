//! The header that selects a tenant. It authenticates nothing.

use atlas_domain::{InvalidTenant, TenantId};
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use crate::problem::Problem;

/// The header.
pub(crate) const TENANT_HEADER: &str = "x-tenant-id";

/// The tenant when the header is absent.
pub(crate) const DEFAULT_TENANT: &str = "default";

/// The tenant id that a request names, checked for its form only.
#[derive(Debug, Clone)]
pub(crate) struct NamedTenant(pub(crate) TenantId);

impl<S: Sync> FromRequestParts<S> for NamedTenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let invalid = |detail: String| {
            Problem::new(StatusCode::BAD_REQUEST, "invalid_tenant", format!("{TENANT_HEADER}: {detail}"))
                .field(TENANT_HEADER)
        };
        let mut values = parts.headers.get_all(TENANT_HEADER).iter();
        let name = match (values.next(), values.next()) {
            (None, _) => DEFAULT_TENANT,
            (Some(value), None) => {
                value.to_str().map_err(|_| invalid("the value is not plain text".into()))?
            }
            (Some(_), Some(_)) => return Err(invalid("the header is given more than once".into())),
        };
        name.trim().parse().map(Self).map_err(|error: InvalidTenant| invalid(error.to_string()))
    }
}
