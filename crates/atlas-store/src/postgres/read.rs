//! The questions, each on one state of the database.

use std::num::TryFromIntError;

use atlas_domain::{Corpus, Filter, Record, RecordId, RecordKey, Seq, SpaceId, TenantId};
use futures_util::future::{join3, join4};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connect::{Params, Session, params};
use super::failure::Failure;
use super::row;
use super::select::select;
use crate::cursor::Cursor;
use crate::{ChangeEntry, Chunk, ChunkId, Entry, ListQuery, Page, VectorCount, VectorRow};

/// In the place of a tenant's name, which it cannot be: names and counters of all, no content.
const DIRECTORY: &str = "*";
/// Most records in a page, however many are asked for.
const MAX_PAGE: usize = 1000;

/// A transaction that reads one state, as one tenant: the row policies show that tenant's rows and
/// no others, whatever the statement asks.
pub(super) fn begin(tenant: &TenantId) -> String {
    begin_as(tenant.as_str())
}

fn begin_as(name: &str) -> String {
    // A tenant's name has no character that a literal would have to escape.
    format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL atlasai.tenant = '{name}'")
}

/// One question in a transaction of its own.
pub(super) async fn ask(
    session: &Session,
    tenant: &TenantId,
    sql: &str,
    values: &Params,
) -> Result<Vec<Row>, Failure> {
    ask_as(session, tenant.as_str(), sql, values).await
}

/// Everything is sent at once: beginning and ending cost no way there and back.
async fn ask_as(session: &Session, name: &str, sql: &str, values: &Params) -> Result<Vec<Row>, Failure> {
    let statement = session.prepare(sql).await?;
    let begin = begin_as(name);
    let (begun, rows, ended) =
        join3(session.run(&begin), session.rows(&statement, values), session.run("COMMIT")).await;
    begun?;
    let rows = rows?;
    ended?;
    Ok(rows)
}

fn of<const N: usize>(tenant: &TenantId, more: [Box<dyn ToSql + Sync>; N]) -> Params {
    let mut values = params([Box::new(tenant.as_str().to_owned())]);
    values.extend(more);
    values
}

pub(super) async fn get(
    session: &Session,
    tenant: &TenantId,
    key: &RecordKey,
) -> Result<Option<Record>, Failure> {
    let sql = format!(
        "SELECT {} FROM atlasai.records r WHERE r.tenant = $1 AND r.corpus = $2 AND r.id = $3",
        row::RECORD
    );
    let values = of(tenant, [Box::new(row::code(key.corpus)), Box::new(row::text(key.id.as_str()))]);
    ask(session, tenant, &sql, &values).await?.first().map(row::record).transpose()
}

pub(super) async fn get_many(
    session: &Session,
    tenant: &TenantId,
    corpus: Corpus,
    ids: &[RecordId],
) -> Result<Vec<Record>, Failure> {
    let sql = format!(
        "SELECT {} FROM unnest($3::text[]) WITH ORDINALITY AS k (id, place)
         JOIN atlasai.records r ON r.tenant = $1 AND r.corpus = $2 AND r.id = k.id ORDER BY k.place",
        row::RECORD
    );
    let ids: Vec<String> = ids.iter().map(|id| row::text(id.as_str())).collect();
    let values = of(tenant, [Box::new(row::code(corpus)), Box::new(ids)]);
    ask(session, tenant, &sql, &values).await?.iter().map(row::record).collect()
}

pub(super) async fn list(
    session: &Session,
    tenant: &TenantId,
    corpus: Corpus,
    query: &ListQuery,
) -> Result<Page, Failure> {
    let cursor = query.cursor.as_deref().map(|text| Cursor::read(text, corpus)).transpose()?;
    let limit = query.limit.clamp(1, MAX_PAGE);
    let mut selection = select(tenant.as_str(), corpus, &query.filter, cursor.as_ref())?;
    let most = selection.push(limit as i64 + 1);
    let sql = format!(
        "SELECT {} FROM atlasai.records r WHERE {} ORDER BY r.at_us DESC, r.id LIMIT {most}",
        row::RECORD,
        selection.condition
    );
    let rows = ask(session, tenant, &sql, &selection.values).await?;
    let mut records = rows.iter().map(row::record).collect::<Result<Vec<_>, _>>()?;
    // The record beyond the page tells that there is one; it is the first of the next page.
    let more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| more).map(|record| Cursor::after(record).write(corpus));
    Ok(Page { records, next })
}

pub(super) async fn count(
    session: &Session,
    tenant: &TenantId,
    corpus: Corpus,
    filter: &Filter,
) -> Result<u64, Failure> {
    let selection = select(tenant.as_str(), corpus, filter, None)?;
    let sql = format!("SELECT count(*) FROM atlasai.records r WHERE {}", selection.condition);
    let rows = ask(session, tenant, &sql, &selection.values).await?;
    rows.first().map_or(Ok(0), |row| row::unsigned(row, 0))
}

pub(super) async fn chunks_of(
    session: &Session,
    tenant: &TenantId,
    key: &RecordKey,
) -> Result<Vec<Chunk>, Failure> {
    let sql = format!(
        "SELECT {} FROM atlasai.records r
         JOIN atlasai.chunks c ON c.tenant = $1 AND c.record = r.num
         WHERE r.tenant = $1 AND r.corpus = $2 AND r.id = $3 ORDER BY c.ordinal",
        row::CHUNK
    );
    let values = of(tenant, [Box::new(row::code(key.corpus)), Box::new(row::text(key.id.as_str()))]);
    ask(session, tenant, &sql, &values).await?.iter().map(row::chunk).collect()
}

pub(super) async fn chunks(
    session: &Session,
    tenant: &TenantId,
    ids: &[ChunkId],
) -> Result<Vec<Chunk>, Failure> {
    let sql = format!(
        "SELECT {} FROM unnest($2::bigint[]) WITH ORDINALITY AS k (id, place)
         JOIN atlasai.chunks c ON c.tenant = $1 AND c.id = k.id
         JOIN atlasai.records r ON r.tenant = $1 AND r.num = c.record ORDER BY k.place",
        row::CHUNK
    );
    let ids: Vec<i64> = ids.iter().map(|id| row::signed(*id)).collect();
    ask(session, tenant, &sql, &of(tenant, [Box::new(ids)])).await?.iter().map(row::chunk).collect()
}

/// `None` for a tenant that was never created.
pub(super) async fn last_seq(session: &Session, tenant: &TenantId) -> Result<Option<Seq>, Failure> {
    let sql = "SELECT t.seq FROM atlasai.tenants t WHERE t.tenant = $1";
    let rows = ask(session, tenant, sql, &of(tenant, [])).await?;
    rows.first().map(|row| row::unsigned(row, 0)).transpose()
}

/// Every tenant, by name.
pub(super) async fn tenants(session: &Session) -> Result<Vec<TenantId>, Failure> {
    let sql = "SELECT t.tenant FROM atlasai.tenants t ORDER BY t.tenant";
    ask_as(session, DIRECTORY, sql, &params([])).await?.iter().map(tenant_id).collect()
}

/// The last change numbers of those tenants that exist.
pub(super) async fn last_seqs(
    session: &Session,
    tenants: &[TenantId],
) -> Result<Vec<(TenantId, Seq)>, Failure> {
    let names: Vec<String> = tenants.iter().map(|tenant| tenant.as_str().to_owned()).collect();
    let sql = "SELECT t.tenant, t.seq FROM atlasai.tenants t WHERE t.tenant = ANY($1)";
    let rows = ask_as(session, DIRECTORY, sql, &params([Box::new(names)])).await?;
    rows.iter().map(|row| Ok((tenant_id(row)?, row::unsigned(row, 1)?))).collect()
}

fn tenant_id(row: &Row) -> Result<TenantId, Failure> {
    row.try_get::<_, &str>(0)?.parse().map_err(|_| Failure::Odd("a tenant's name is none"))
}

pub(super) async fn changes_after(
    session: &Session,
    tenant: &TenantId,
    corpus: Corpus,
    seq: Seq,
    limit: usize,
) -> Result<Vec<ChangeEntry>, Failure> {
    let present = format!(
        "SELECT {} FROM atlasai.records r
         WHERE r.tenant = $1 AND r.corpus = $2 AND r.seq > $3 ORDER BY r.seq LIMIT $4",
        row::RECORD
    );
    let removed = "SELECT d.seq, d.id FROM atlasai.tombstones d
         WHERE d.tenant = $1 AND d.corpus = $2 AND d.seq > $3 ORDER BY d.seq LIMIT $4";
    let (present, removed) = (session.prepare(&present).await?, session.prepare(removed).await?);
    let limit_rows = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = of(tenant, [Box::new(row::code(corpus)), Box::new(row::signed(seq)), Box::new(limit_rows)]);
    let begin = begin(tenant);
    let (begun, present, removed, ended) = join4(
        session.run(&begin),
        session.rows(&present, &values),
        session.rows(&removed, &values),
        session.run("COMMIT"),
    )
    .await;
    begun?;
    let (present, removed) = (present?, removed?);
    ended?;
    let mut entries = Vec::with_capacity(present.len() + removed.len());
    for row in &present {
        let record = row::record(row)?;
        let (seq, key) = (record.seq, record.key.clone());
        entries.push(ChangeEntry { seq, key, entry: Entry::Present(Box::new(record)) });
    }
    for row in &removed {
        let key = RecordKey::new(corpus, row::record_id(row, 1)?);
        entries.push(ChangeEntry { seq: row::unsigned(row, 0)?, key, entry: Entry::Removed });
    }
    entries.sort_by_key(|entry| entry.seq);
    entries.truncate(limit);
    Ok(entries)
}

pub(super) async fn vectors_of(
    session: &Session,
    tenant: &TenantId,
    key: &RecordKey,
    space: &SpaceId,
) -> Result<Vec<VectorRow>, Failure> {
    let sql = format!(
        "SELECT {}, c.id, v.data FROM atlasai.records r
         JOIN atlasai.chunks c ON c.tenant = $1 AND c.record = r.num
         JOIN atlasai.vectors v ON v.tenant = $1 AND v.chunk = c.id AND v.space = $4
         WHERE r.tenant = $1 AND r.corpus = $2 AND r.id = $3 ORDER BY c.ordinal",
        row::FACETS
    );
    let values = of(
        tenant,
        [
            Box::new(row::code(key.corpus)),
            Box::new(row::text(key.id.as_str())),
            Box::new(space.as_str().to_owned()),
        ],
    );
    ask(session, tenant, &sql, &values).await?.iter().map(row::vector).collect()
}

pub(super) async fn vectors_after(
    session: &Session,
    tenant: &TenantId,
    corpus: Corpus,
    space: &SpaceId,
    after: ChunkId,
    limit: usize,
) -> Result<Vec<VectorRow>, Failure> {
    let sql = format!(
        "SELECT {}, v.chunk, v.data FROM atlasai.vectors v
         JOIN atlasai.records r ON r.tenant = $1 AND r.num = v.record
         WHERE v.tenant = $1 AND v.corpus = $2 AND v.space = $3 AND v.chunk > $4 ORDER BY v.chunk LIMIT $5",
        row::FACETS
    );
    let limit: Result<i64, TryFromIntError> = limit.try_into();
    let values = of(
        tenant,
        [
            Box::new(row::code(corpus)),
            Box::new(space.as_str().to_owned()),
            Box::new(row::signed(after)),
            Box::new(limit.unwrap_or(i64::MAX)),
        ],
    );
    ask(session, tenant, &sql, &values).await?.iter().map(row::vector).collect()
}

/// The index is entered once for every space: a tenant is opened with this question, and may have
/// millions of vectors.
pub(super) async fn spaces(session: &Session, tenant: &TenantId) -> Result<Vec<SpaceId>, Failure> {
    let sql = "WITH RECURSIVE named (space) AS (
                   SELECT min(v.space) FROM atlasai.vectors v WHERE v.tenant = $1
                   UNION ALL
                   SELECT (SELECT min(v.space) FROM atlasai.vectors v
                           WHERE v.tenant = $1 AND v.space > named.space)
                   FROM named WHERE named.space IS NOT NULL
               )
               SELECT space FROM named WHERE space IS NOT NULL";
    let rows = ask(session, tenant, sql, &of(tenant, [])).await?;
    let read =
        |row: &Row| row.try_get::<_, &str>(0)?.parse().map_err(|_| Failure::Odd("a space's name is none"));
    rows.iter().map(read).collect()
}

pub(super) async fn vector_count(
    session: &Session,
    tenant: &TenantId,
    space: &SpaceId,
) -> Result<VectorCount, Failure> {
    let sql = "SELECT (SELECT count(*) FROM atlasai.chunks c WHERE c.tenant = $1),
                      (SELECT count(*) FROM atlasai.vectors v WHERE v.tenant = $1 AND v.space = $2)";
    let values = of(tenant, [Box::new(space.as_str().to_owned())]);
    let rows = ask(session, tenant, sql, &values).await?;
    let Some(counts) = rows.first() else { return Err(Failure::Odd("a count has no row")) };
    Ok(VectorCount { chunks: row::unsigned(counts, 0)?, vectors: row::unsigned(counts, 1)? })
}

pub(super) async fn chunks_without_vector(
    session: &Session,
    tenant: &TenantId,
    space: &SpaceId,
    limit: usize,
) -> Result<Vec<Chunk>, Failure> {
    let sql = format!(
        "SELECT {} FROM atlasai.chunks c JOIN atlasai.records r ON r.tenant = $1 AND r.num = c.record
         WHERE c.tenant = $1 AND NOT EXISTS (
             SELECT 1 FROM atlasai.vectors v WHERE v.tenant = $1 AND v.chunk = c.id AND v.space = $2)
         ORDER BY c.id LIMIT $3",
        row::CHUNK
    );
    let limit: Result<i64, TryFromIntError> = limit.try_into();
    let values = of(tenant, [Box::new(space.as_str().to_owned()), Box::new(limit.unwrap_or(i64::MAX))]);
    ask(session, tenant, &sql, &values).await?.iter().map(row::chunk).collect()
}
