//! Search.

use std::sync::Arc;

use atlas_domain::{Corpus, Filter, TenantScope};
use atlas_retrieval::{
    Hit, Leg, Legs, Matches, Note, ReadAs, Retrieval, SearchAnswer, SearchRequest, Syntax,
};
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::list;
use crate::auth::Tenant;
use crate::extract::{Json, Params};
use crate::problem::Problem;

/// Longest query in characters. The embedding model reads the first few hundred words anyway.
const QUERY_LIMIT: usize = 8_000;
const DEFAULT_HITS: usize = 10;
const MOST_HITS: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchBody {
    query: String,
    #[serde(default)]
    corpora: Vec<Corpus>,
    #[serde(default)]
    filter: Filter,
    limit: Option<usize>,
    legs: Option<Vec<LegName>>,
    /// Wait until everything that was acknowledged before can be found. Without it a search sees
    /// a write at most 250 ms after its acknowledgement.
    #[serde(default)]
    refresh: bool,
    /// `words` takes the query as it stands, without fields, phrases and exclusions.
    #[serde(default)]
    syntax: SyntaxName,
    /// Say of every hit how its score came about.
    #[serde(default)]
    explain: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SyntaxName {
    #[default]
    Query,
    Words,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LegName {
    Exact,
    Lexical,
    Vector,
}

/// What a search found.
#[derive(Debug, Serialize)]
pub(crate) struct SearchResult {
    hits: Vec<Hit>,
    matches: Matches,
    confidence: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_as: Option<ReadAs>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<Note>,
    degraded: Vec<Leg>,
    took_ms: u64,
}

impl From<SearchAnswer> for SearchResult {
    fn from(answer: SearchAnswer) -> Self {
        let took_ms = u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX);
        let SearchAnswer { hits, matches, confidence, read_as, notes, degraded, took: _ } = answer;
        Self { hits, matches, confidence, read_as, notes, degraded, took_ms }
    }
}

/// A search with everything it can be asked.
pub(crate) async fn post(
    State(retrieval): State<Arc<Retrieval>>,
    Tenant(scope): Tenant,
    Json(body): Json<SearchBody>,
) -> Result<Json<SearchResult>, Problem> {
    answer(&retrieval, &scope, body).await
}

/// The same for a browser or curl.
pub(crate) async fn get(
    State(retrieval): State<Arc<Retrieval>>,
    Tenant(scope): Tenant,
    mut params: Params,
) -> Result<Json<SearchResult>, Problem> {
    let mut corpora = Vec::new();
    for name in params.all("corpus") {
        corpora.push(Corpus::from_name(&name).ok_or_else(|| unsearchable("corpus", &name))?);
    }
    let body = SearchBody {
        query: params.one("q")?.unwrap_or_default(),
        corpora,
        filter: list::filter(&mut params)?,
        limit: params.parsed("limit", "a whole number")?,
        legs: None,
        refresh: params.parsed("refresh", "true or false")?.unwrap_or(false),
        syntax: SyntaxName::Query,
        explain: params.parsed("explain", "true or false")?.unwrap_or(false),
    };
    params.nothing_else(
        "q, corpus, limit, refresh, explain, since, until, service, severity, source, status and label.NAME",
    )?;
    answer(&retrieval, &scope, body).await
}

async fn answer(
    retrieval: &Retrieval,
    scope: &TenantScope,
    body: SearchBody,
) -> Result<Json<SearchResult>, Problem> {
    let refresh = body.refresh;
    let request = request(body)?;
    if refresh {
        retrieval.settled(scope).await?;
    }
    Ok(Json(retrieval.search(scope, request).await?.into()))
}

fn request(body: SearchBody) -> Result<SearchRequest, Problem> {
    let SearchBody { query, mut corpora, filter, limit, legs, refresh: _, syntax, explain } = body;
    let invalid = |field: &str, reason: String| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", format!("{field}: {reason}"))
            .field(field)
    };
    if query.trim().is_empty() {
        return Err(invalid("query", "it is missing or empty".into()).hint("say what you look for"));
    }
    if query.chars().count() > QUERY_LIMIT {
        return Err(invalid("query", format!("it is longer than {QUERY_LIMIT} characters")));
    }
    let limit = limit.unwrap_or(DEFAULT_HITS);
    if !(1..=MOST_HITS).contains(&limit) {
        return Err(invalid("limit", format!("{limit} is not between 1 and {MOST_HITS}")));
    }
    if let Some(corpus) = corpora.iter().find(|corpus| !Corpus::SEARCHABLE.contains(corpus)) {
        return Err(unsearchable("corpora", corpus.as_str()));
    }
    corpora.sort();
    corpora.dedup();
    if corpora.is_empty() {
        corpora = Corpus::SEARCHABLE.to_vec();
    }
    let legs = match legs {
        None => Legs::HYBRID,
        Some(names) if names.is_empty() => {
            return Err(invalid("legs", "none is named".into()).hint("leave it out for all of them"));
        }
        Some(names) => Legs {
            exact: names.contains(&LegName::Exact),
            lexical: names.contains(&LegName::Lexical),
            vector: names.contains(&LegName::Vector),
        },
    };
    let syntax = match syntax {
        SyntaxName::Query => Syntax::Query,
        SyntaxName::Words => Syntax::Words,
    };
    Ok(SearchRequest { text: query, syntax, corpora, filter, limit, legs, explain })
}

fn unsearchable(field: &str, name: &str) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_field",
        format!("{field}: {name:?} cannot be searched"),
    )
    .field(field)
    .hint(format!("use {}", Corpus::SEARCHABLE.map(Corpus::as_str).join(", ")))
}
