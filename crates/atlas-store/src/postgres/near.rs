//! Search by vectors inside the database.
//!
//! Few candidates are compared one by one, which is exact: that is every corpus below
//! [`GRAPH_FROM`] vectors, and every filter that leaves no more than [`EXACT_UP_TO`]. Above, a graph
//! (HNSW) of its own for each tenant, space and corpus finds them, and goes on looking while
//! conditions leave too few (an iterative scan). A graph shared by tenants would walk through the
//! vectors of all of them to find those of one.
//!
//! Building a graph takes an owner of the table, so the servers use what `atlasai-tp migrate` built.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use atlas_domain::{Corpus, TenantId};
use futures_util::future::join4;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_postgres::Row;

use super::connect::{Session, params};
use super::failure::Failure;
use super::lock;
use super::read::{ask, begin, tenants};
use super::row::{self, Components};
use super::select::{Selection, narrow};
use crate::{Near, NearQuery};

/// Vectors from which a graph is built. At 10,000 of 384 components one comparison of all costs
/// some 10 ms in the database, and a walk some 2 ms.
const GRAPH_FROM: i64 = 10_000;
/// Candidates of a filter that are compared one by one although there is a graph.
const EXACT_UP_TO: i64 = 10_000;
/// Longest vectors that a graph takes as they are, and with components of half the size.
const WHOLE: usize = 2_000;
const HALF: usize = 4_000;
/// Candidates that a walk keeps: recall@10 above 0.99 on 62,000 vectors of text.
const EF_SEARCH: usize = 120;
/// Tuples after which an iterative scan gives up. Where it does with too few answers, the exact
/// comparison answers.
const MAX_SCAN_TUPLES: usize = 40_000;
/// How long a list of graphs is believed.
const LIST_AGE: Duration = Duration::from_secs(30);

/// The graphs that are ready, as last seen.
#[derive(Debug, Default)]
pub(super) struct Graphs(Mutex<Option<(Instant, HashSet<String>)>>);

impl Graphs {
    /// Whether there is a graph for what is asked.
    pub(super) async fn covers(
        &self,
        session: &Session,
        tenant: &TenantId,
        corpus: Corpus,
        query: &NearQuery<'_>,
    ) -> Result<bool, Failure> {
        let Some(graph) = Graph::of(tenant, query.space.as_str(), corpus, query.vector.len()) else {
            return Ok(false);
        };
        if let Some((seen, names)) = &*lock(&self.0)
            && seen.elapsed() < LIST_AGE
        {
            return Ok(names.contains(&graph.name));
        }
        let names = ready(session).await?;
        let covers = names.contains(&graph.name);
        *lock(&self.0) = Some((Instant::now(), names));
        Ok(covers)
    }
}

/// The names of the graphs that are complete.
async fn ready(session: &Session) -> Result<HashSet<String>, Failure> {
    let rows = session
        .query(
            "SELECT i.relname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
             JOIN pg_namespace n ON n.oid = i.relnamespace
             WHERE n.nspname = 'atlasai' AND i.relname LIKE 'near\\_%' AND x.indisvalid AND x.indisready",
            &params([]),
        )
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// One graph: of one tenant, space and corpus.
struct Graph {
    name: String,
    /// Exactly its rows. Names of tenants and spaces have no character that a literal escapes.
    condition: String,
    /// What is compared: the column as a type of fixed length.
    kind: String,
    operators: &'static str,
}

impl Graph {
    /// `None` for vectors that are too long for a graph.
    fn of(tenant: &TenantId, space: &str, corpus: Corpus, dimension: usize) -> Option<Self> {
        let (kind, operators) = match dimension {
            1..=WHOLE => ("vector", "vector_cosine_ops"),
            _ if dimension <= HALF => ("halfvec", "halfvec_cosine_ops"),
            _ => return None,
        };
        let code = row::code(corpus);
        let digest = Sha256::digest(tenant.as_str().as_bytes());
        let digest: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self {
            name: format!("near_{digest}_{space}_{code}_{dimension}"),
            condition: format!("v.tenant = '{tenant}' AND v.space = '{space}' AND v.corpus = {code}"),
            kind: format!("{kind}({dimension})"),
            operators,
        })
    }
}

/// The nearest records.
pub(super) async fn nearest(
    session: &Session,
    tenant: &TenantId,
    corpus: Corpus,
    query: &NearQuery<'_>,
    has_graph: bool,
) -> Result<Vec<Near>, Failure> {
    let space = query.space.as_str();
    let graph = Graph::of(tenant, space, corpus, query.vector.len()).filter(|_| has_graph);
    if let Some(graph) = graph
        && (query.filter.is_empty() || !few(session, tenant, corpus, query).await?)
        && let Some(found) = walk(session, tenant, &graph, query).await?
    {
        return Ok(found);
    }
    compare(session, tenant, corpus, query).await
}

/// A selection of `records r` behind the parameters every question here has: tenant, corpus,
/// space, vector.
fn selection(tenant: &TenantId, corpus: Corpus, query: &NearQuery<'_>) -> Result<Selection, Failure> {
    let values = params([
        Box::new(tenant.as_str().to_owned()),
        Box::new(row::code(corpus)),
        Box::new(query.space.as_str().to_owned()),
        Box::new(Components(query.vector.to_vec())),
    ]);
    let mut selection = Selection { condition: "r.tenant = $1".into(), values };
    narrow(&mut selection, query.filter, None)?;
    Ok(selection)
}

/// Whether the filter leaves few enough records to look at each.
async fn few(
    session: &Session,
    tenant: &TenantId,
    corpus: Corpus,
    query: &NearQuery<'_>,
) -> Result<bool, Failure> {
    let mut selection = super::select::select(tenant.as_str(), corpus, query.filter, None)?;
    let most = selection.push(EXACT_UP_TO + 1);
    let sql = format!(
        "SELECT count(*) FROM (SELECT FROM atlasai.records r WHERE {} LIMIT {most}) AS few",
        selection.condition
    );
    let rows = ask(session, tenant, &sql, &selection.values).await?;
    Ok(rows.first().map(|row| row.try_get::<_, i64>(0)).transpose()?.unwrap_or(0) <= EXACT_UP_TO)
}

/// Compares every candidate: exact. They are collected first, so that no index decides which.
async fn compare(
    session: &Session,
    tenant: &TenantId,
    corpus: Corpus,
    query: &NearQuery<'_>,
) -> Result<Vec<Near>, Failure> {
    let mut selection = selection(tenant, corpus, query)?;
    let limit = selection.push(i64::try_from(query.limit).unwrap_or(i64::MAX));
    let candidates = if query.filter.is_empty() {
        "SELECT v.record, v.chunk, (v.data <=> $4)::real AS distance FROM atlasai.vectors v
         WHERE v.tenant = $1 AND v.corpus = $2 AND v.space = $3"
            .to_owned()
    } else {
        format!(
            "SELECT v.record, v.chunk, (v.data <=> $4)::real AS distance FROM atlasai.records r
             JOIN atlasai.vectors v ON v.tenant = $1 AND v.corpus = $2 AND v.space = $3 AND v.record = r.num
             WHERE r.corpus = $2 AND {}",
            selection.condition
        )
    };
    // A record counts by its nearest chunk. Distances are rounded to floats: sums in another order
    // differ in the last bits of a double, and are the same distance. Equals at the end of the list are all looked at, so
    // that ids decide between them.
    let sql = format!(
        "WITH candidates AS MATERIALIZED ({candidates}),
              best AS (SELECT DISTINCT ON (record) record, chunk, distance FROM candidates
                       ORDER BY record, distance, chunk),
              nearest AS (SELECT * FROM best ORDER BY distance FETCH FIRST {limit} ROWS WITH TIES)
         SELECT r.id, n.chunk, n.distance FROM nearest n
         JOIN atlasai.records r ON r.tenant = $1 AND r.num = n.record"
    );
    let rows = ask(session, tenant, &sql, &selection.values).await?;
    near(&rows, query.limit)
}

/// Walks the graph; `None` when it gave fewer records than were asked for, which then may or may
/// not be all there are.
async fn walk(
    session: &Session,
    tenant: &TenantId,
    graph: &Graph,
    query: &NearQuery<'_>,
) -> Result<Option<Vec<Near>>, Failure> {
    let values = params([Box::new(tenant.as_str().to_owned()), Box::new(Components(query.vector.to_vec()))]);
    let mut selection = Selection { condition: "r.tenant = $1 AND r.num = v.record".into(), values };
    narrow(&mut selection, query.filter, None)?;
    // A question about the record rather than a join: nothing tempts the planner to leave the graph.
    let admitted = match query.filter.is_empty() {
        true => String::new(),
        false => format!("AND (SELECT true FROM atlasai.records r WHERE {})", selection.condition),
    };
    // Several chunks of one record may be near.
    let n_chunks = selection.push(i64::try_from(query.limit.saturating_mul(3)).unwrap_or(i64::MAX));
    let Graph { condition, kind, .. } = graph;
    let sql = format!(
        "WITH walked AS MATERIALIZED (
             SELECT v.record, v.chunk, (v.data::{kind} <=> $2::vector::{kind})::real AS distance FROM atlasai.vectors v
             WHERE v.tenant = $1 AND {condition} {admitted}
             ORDER BY v.data::{kind} <=> $2::vector::{kind} LIMIT {n_chunks}),
              best AS (SELECT DISTINCT ON (record) record, chunk, distance FROM walked
                       ORDER BY record, distance, chunk)
         SELECT r.id, b.chunk, b.distance FROM best b
         JOIN atlasai.records r ON r.tenant = $1 AND r.num = b.record"
    );
    let statement = session.prepare(&sql).await?;
    let begin = begin(tenant);
    let ef = EF_SEARCH.max(query.limit.saturating_mul(3)).min(1000);
    // A condition is proved from values that are known, so the statement is planned with them.
    let tuned = format!(
        "SET LOCAL hnsw.ef_search = {ef}; SET LOCAL hnsw.iterative_scan = 'strict_order';
         SET LOCAL hnsw.max_scan_tuples = {MAX_SCAN_TUPLES}; SET LOCAL plan_cache_mode = 'force_custom_plan';
         SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off"
    );
    let (begun, tuned, rows, ended) = join4(
        session.run(&begin),
        session.run(&tuned),
        session.rows(&statement, &selection.values),
        session.run("COMMIT"),
    )
    .await;
    begun?;
    tuned?;
    let rows = rows?;
    ended?;
    let found = near(&rows, query.limit)?;
    Ok((found.len() == query.limit).then_some(found))
}

fn near(rows: &[Row], limit: usize) -> Result<Vec<Near>, Failure> {
    let read = |row: &Row| {
        let distance: f32 = row.try_get(2)?;
        // The zero vector has no direction: its cosine with everything is 0.
        let score = if distance.is_nan() { 0.0 } else { 1.0 - distance };
        Ok(Near { id: row::record_id(row, 0)?, chunk: row::unsigned(row, 1)?, score })
    };
    let mut found = rows.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    found.truncate(limit);
    Ok(found)
}

/// Builds the graphs that are worth it and drops those that are not.
pub(super) async fn build(session: &Session) -> Result<Vec<String>, Failure> {
    session
        .run("SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0")
        .await?;
    let mut done = Vec::new();
    let mut wanted = HashSet::new();
    let existing = ready(session).await?;
    for tenant in tenants(session).await? {
        for (space, corpus, dimension) in large(session, &tenant).await? {
            let Some(graph) = Graph::of(&tenant, &space, corpus, dimension) else { continue };
            let name = graph.name.clone();
            if !existing.contains(&name) {
                let Graph { condition, kind, operators, .. } = graph;
                let condition = condition.replace("v.", "");
                // One that was interrupted is there and of no use.
                session.run(&format!("DROP INDEX CONCURRENTLY IF EXISTS atlasai.{name}")).await?;
                session
                    .run(&format!(
                        "CREATE INDEX CONCURRENTLY {name} ON atlasai.vectors
                         USING hnsw ((data::{kind}) {operators}) WITH (m = 16, ef_construction = 200) WHERE {condition}"
                    ))
                    .await?;
                done.push(format!("built {name} for {corpus} of {tenant}"));
            }
            wanted.insert(name);
        }
    }
    for name in existing.difference(&wanted) {
        session.run(&format!("DROP INDEX CONCURRENTLY IF EXISTS atlasai.{name}")).await?;
        done.push(format!("dropped {name}"));
    }
    Ok(done)
}

/// The spaces and corpora of a tenant with so many vectors that a graph pays.
async fn large(session: &Session, tenant: &TenantId) -> Result<Vec<(String, Corpus, usize)>, Failure> {
    let sql = "SELECT v.corpus, min(vector_dims(v.data)), v.space FROM atlasai.vectors v WHERE v.tenant = $1
               GROUP BY v.corpus, v.space HAVING count(*) >= $2";
    let values = params([Box::new(tenant.as_str().to_owned()), Box::new(GRAPH_FROM)]);
    let rows = ask(session, tenant, sql, &values).await?;
    let read = |row: &Row| {
        let dimension: i32 = row.try_get(1)?;
        let dimension = usize::try_from(dimension).map_err(|_| Failure::Odd("a length is negative"))?;
        Ok((row.try_get(2)?, row::corpus(row, 0)?, dimension))
    };
    rows.iter().map(read).collect()
}
