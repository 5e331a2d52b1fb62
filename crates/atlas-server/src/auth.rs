//! Who may call, and for which tenant.
//!
//! There is one credential: the operator's token. It may act for every tenant; `x-tenant-id`
//! selects one and authenticates nothing. This is the only module that makes a [`TenantScope`],
//! so a store or search function cannot be reached without passing here.

use std::sync::Arc;

use arc_swap::ArcSwap;
use atlas_config::{ExposeSecret, SecretString};
use atlas_domain::{TenantId, TenantScope};
use atlas_retrieval::Retrieval;
use axum::extract::{FromRef, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::problem::Problem;
use crate::tenant_header::{NamedTenant, TENANT_HEADER};

/// Routes that answer without a credential. Everything else is refused by default.
pub const PUBLIC_ROUTES: &[&str] = &["/livez", "/readyz", "/"];

/// Paths below these are refused without a credential even when nothing is there.
const CLOSED_PREFIXES: &[&str] = &["/api", "/v1", "/loki"];

/// The operator's token, kept as its digest: equal lengths, so that the comparison takes the same
/// time for every guess.
#[derive(Clone)]
pub(crate) struct AdminToken {
    digest: Arc<ArcSwap<[u8; 32]>>,
}

impl AdminToken {
    /// Keeps the digest of a token.
    pub(crate) fn new(token: &SecretString) -> Self {
        Self { digest: Arc::new(ArcSwap::from_pointee(digest(token.expose_secret().as_bytes()))) }
    }

    /// Takes another token from now on, in every clone.
    pub(crate) fn replace(&self, token: &SecretString) {
        self.digest.store(Arc::new(digest(token.expose_secret().as_bytes())));
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()) else {
            return false;
        };
        let Some((scheme, token)) = value.split_at_checked("Bearer ".len()) else { return false };
        let expected = self.digest.load();
        scheme.eq_ignore_ascii_case(b"Bearer ") & bool::from(digest(token).ct_eq(expected.as_slice()))
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Lets only holders of the token through to routes that are not public.
pub(crate) async fn authenticate(State(token): State<AdminToken>, request: Request, next: Next) -> Response {
    let open = match request.extensions().get::<MatchedPath>() {
        Some(route) => PUBLIC_ROUTES.contains(&route.as_str()),
        None => {
            let path = request.uri().path();
            let below =
                |prefix: &&str| path.strip_prefix(prefix).is_some_and(|r| r.is_empty() || r.starts_with('/'));
            !CLOSED_PREFIXES.iter().any(below)
        }
    };
    if open || token.admits(request.headers()) {
        return next.run(request).await;
    }
    let detail = match request.headers().contains_key(header::AUTHORIZATION) {
        true => "the credential is not the admin token of this server",
        false => "this route needs the admin token",
    };
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
        .hint(
            "send `Authorization: Bearer <token>`; the token is ADMIN_TOKEN, or the file admin-token in the data \
             directory",
        )
        .header(header::WWW_AUTHENTICATE, "Bearer realm=\"atlasai\"")
        .into_response()
}

/// The proof that the request may act for its tenant. The route's layer has checked the
/// credential before any extractor runs.
#[derive(Debug, Clone)]
pub(crate) struct Tenant(pub(crate) TenantScope);

impl<S> FromRequestParts<S> for Tenant
where
    S: Send + Sync,
    Arc<Retrieval>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let NamedTenant(tenant) = NamedTenant::from_request_parts(parts, state).await?;
        let retrieval = Arc::<Retrieval>::from_ref(state);
        let asked = tenant.clone();
        if !retrieval.read(move |store| store.has_tenant(&asked)).await? {
            return Err(unknown_tenant(&tenant));
        }
        Ok(Self(grant(tenant)))
    }
}

/// The answer for a tenant that was never created.
pub(crate) fn unknown_tenant(tenant: &TenantId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_tenant", format!("there is no tenant {tenant}"))
        .field(TENANT_HEADER)
        .hint(format!(
            "create it with POST /api/tenants {{\"id\": \"{tenant}\"}}, or with `atlasai-tp import --tenant {tenant}`"
        ))
}

/// The scope of the operator at the machine itself: who can read the data directory may act for
/// every tenant in it. For the command line and the demo data.
pub(crate) fn operator_scope(tenant: TenantId) -> TenantScope {
    grant(tenant)
}

/// The only place that makes scopes.
#[expect(clippy::disallowed_methods, reason = "this is the authentication layer")]
fn grant(tenant: TenantId) -> TenantScope {
    TenantScope::grant(tenant)
}
