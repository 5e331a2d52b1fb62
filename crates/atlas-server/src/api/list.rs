//! The parameters that all lists share.

use atlas_domain::Filter;
use atlas_store::ListQuery;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::extract::Params;
use crate::problem::Problem;

pub(super) const KNOWN: &str =
    "since, until, service, severity, source, status, label.NAME, limit and cursor";
pub(super) const TIME: &str = "an RFC 3339 time such as 2026-11-23T14:00:00Z";

/// A page of a list, as the query string asks for it.
pub(crate) struct List(pub(crate) ListQuery);

impl<S: Send + Sync> FromRequestParts<S> for List {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut params = Params::from_request_parts(parts, state).await?;
        let query = ListQuery {
            filter: filter(&mut params)?,
            limit: limit(&mut params, 50, 500)?,
            cursor: params.one("cursor")?,
        };
        params.nothing_else(KNOWN)?;
        Ok(Self(query))
    }
}

/// The conditions; values of one name are alternatives.
pub(super) fn filter(params: &mut Params) -> Result<Filter, Problem> {
    let lower = |values: Vec<String>| values.into_iter().map(|value| value.to_lowercase()).collect();
    Ok(Filter {
        since: params.parsed("since", TIME)?,
        until: params.parsed("until", TIME)?,
        service: params.all("service"),
        severity: lower(params.all("severity")),
        source: params.all("source"),
        status: lower(params.all("status")),
        link: Vec::new(),
        labels: params.prefixed("label.").into_iter().collect(),
    })
}

/// How many items.
pub(super) fn limit(params: &mut Params, default: usize, most: usize) -> Result<usize, Problem> {
    match params.parsed::<usize>("limit", "a whole number")? {
        None => Ok(default),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(limit) => Err(Params::invalid("limit", &format!("{limit} is not between 1 and {most}"))),
    }
}
