//! What happens inside a write transaction.
//!
//! The row of the tenant is locked first, so the batches of one tenant follow each other however
//! many servers write, and its change numbers become visible in order. A batch is worked out here
//! and written by a handful of statements over arrays: its length costs no ways there and back.

use std::collections::{HashMap, HashSet};

use atlas_domain::{RecordDraft, RecordKey, Seq, SpaceId, TenantId, TextHash, Timestamp};
use futures_util::future::join;
use tokio_postgres::Row;

use super::connect::{Params, Session, params};
use super::failure::Failure;
use super::plan::{Numbers, Plan, Vectors};
use super::row::{self, signed};
use super::segments::{key, segments};
use crate::work::Work;
use crate::{Change, ChunkDraft, ChunkId, Committed, Outcome, StoreError, columns};

/// The longest vector that the extension stores.
const MAX_DIMENSION: usize = 16_000;

/// A transaction whose work is done and which waits to be confirmed.
pub(super) struct Pending {
    pub(super) committed: Committed,
    /// Its number, by which the database can be asked later what became of it.
    pub(super) transaction: String,
}

/// A transaction that writes as one tenant.
pub(super) fn begin(tenant: &TenantId) -> String {
    format!("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL atlasai.tenant = '{tenant}'")
}

/// `false` when it was there.
pub(super) async fn create_tenant(session: &Session, tenant: &TenantId) -> Result<bool, Failure> {
    session.run(&begin(tenant)).await?;
    let sql = "INSERT INTO atlasai.tenants (tenant) VALUES ($1) ON CONFLICT DO NOTHING";
    let n_created = session.execute(sql, &params([Box::new(tenant.as_str().to_owned())])).await?;
    session.run("COMMIT").await?;
    Ok(n_created == 1)
}

/// Removes vectors of a space, at most `limit`; how many.
pub(super) async fn drop_vectors(
    session: &Session,
    tenant: &TenantId,
    space: &SpaceId,
    limit: usize,
) -> Result<u64, Failure> {
    session.run(&begin(tenant)).await?;
    let sql = "DELETE FROM atlasai.vectors v WHERE v.tenant = $1 AND v.space = $2 AND v.chunk IN (
                   SELECT o.chunk FROM atlasai.vectors o WHERE o.tenant = $1 AND o.space = $2 LIMIT $3)";
    let values = params([
        Box::new(tenant.as_str().to_owned()),
        Box::new(space.as_str().to_owned()),
        Box::new(i64::try_from(limit).unwrap_or(i64::MAX)),
    ]);
    let n_dropped = session.execute(sql, &values).await?;
    session.run("COMMIT").await?;
    Ok(n_dropped)
}

/// Does everything but the confirmation.
pub(super) async fn apply(session: &Session, tenant: &TenantId, work: &Work) -> Result<Pending, Failure> {
    let begin = begin(tenant);
    let lock = session
        .prepare(
            "SELECT t.seq, t.numbers, pg_current_xact_id()::text
             FROM atlasai.tenants t WHERE t.tenant = $1 FOR UPDATE",
        )
        .await?;
    let name = params([Box::new(tenant.as_str().to_owned())]);
    let (begun, locked) = join(session.run(&begin), session.rows(&lock, &name)).await;
    begun?;
    let locked = locked?;
    let Some(state) = locked.first() else {
        return Err(StoreError::UnknownTenant { tenant: tenant.clone() }.into());
    };
    let before = row::unsigned(state, 0)?;
    let mut writer = Writer {
        session,
        tenant: tenant.as_str(),
        seq: before,
        number: state.try_get(1)?,
        now_us: columns::micros(Timestamp::now()),
        space: work.space().map(SpaceId::as_str),
    };
    let first_number = writer.number;
    writer.check_dimension(work).await?;
    let outcomes = match work {
        Work::Batch(batch) => {
            let mut outcomes = Vec::with_capacity(batch.changes.len());
            for segment in segments(&batch.changes) {
                outcomes.extend(writer.segment(segment).await?);
            }
            outcomes
        }
        Work::Vectors { vectors, .. } => {
            writer.add_vectors(vectors).await?;
            Vec::new()
        }
        Work::Times(times) => {
            writer.restore_times(times).await?;
            Vec::new()
        }
    };
    if writer.seq != before || writer.number != first_number {
        let values = writer.values([Box::new(signed(writer.seq)), Box::new(writer.number)]);
        session
            .execute("UPDATE atlasai.tenants t SET seq = $2, numbers = $3 WHERE t.tenant = $1", &values)
            .await?;
    }
    let transaction = state.try_get(2)?;
    Ok(Pending { committed: Committed { seq: writer.seq, outcomes }, transaction })
}

pub(super) struct Writer<'a> {
    pub(super) session: &'a Session,
    tenant: &'a str,
    seq: Seq,
    /// The last number that a record or chunk was given.
    number: i64,
    pub(super) now_us: i64,
    pub(super) space: Option<&'a str>,
}

/// A record as it stands before the segment.
struct Stored {
    number: i64,
    hash: [u8; 32],
}

/// A put, with what decides about it.
pub(super) struct Put<'a> {
    pub(super) draft: &'a RecordDraft,
    pub(super) chunks: &'a [ChunkDraft],
    pub(super) body: String,
    pub(super) labels: Vec<u8>,
    pub(super) hash: [u8; 32],
}

impl<'a> Put<'a> {
    fn of(draft: &'a RecordDraft, chunks: &'a [ChunkDraft]) -> Self {
        let (body, labels) = (draft.body.to_string(), columns::labels(&draft.facets.labels));
        let hash = columns::content_hash(draft, &body, &labels, chunks);
        Self { draft, chunks, body, labels, hash }
    }

    fn has_vectors(&self) -> bool {
        self.chunks.iter().any(|chunk| chunk.vector.is_some())
    }
}

impl Writer<'_> {
    pub(super) fn values<const N: usize>(
        &self,
        more: [Box<dyn tokio_postgres::types::ToSql + Sync>; N],
    ) -> Params {
        let mut values = params([Box::new(self.tenant.to_owned())]);
        values.extend(more);
        values
    }

    /// The lengths inside the work agree; they have to agree with what the space holds as well.
    async fn check_dimension(&self, work: &Work) -> Result<(), Failure> {
        let (Some(space), Some(vector)) = (self.space, work.vectors().next()) else { return Ok(()) };
        if vector.len() > MAX_DIMENSION {
            return Err(StoreError::Limit { what: "length of a vector", limit: MAX_DIMENSION }.into());
        }
        let values = self.values([Box::new(space.to_owned())]);
        let rows = self
            .session
            .query(
                "SELECT vector_dims(v.data) FROM atlasai.vectors v WHERE v.tenant = $1 AND v.space = $2 LIMIT 1",
                &values,
            )
            .await?;
        let stored: Option<i32> = rows.first().map(|row| row.try_get(0)).transpose()?;
        if stored.is_some_and(|stored| usize::try_from(stored) != Ok(vector.len())) {
            return Err(StoreError::Vector { detail: "the space holds vectors of another length" }.into());
        }
        Ok(())
    }

    async fn segment(&mut self, changes: &[Change]) -> Result<Vec<Outcome>, Failure> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let stored = self.stored(changes).await?;
        let puts: Vec<Option<Put<'_>>> = changes
            .iter()
            .map(|change| match change {
                Change::Put { record, chunks } => Some(Put::of(record, chunks)),
                Change::Delete(_) => None,
            })
            .collect();

        // The chunks of records that change, for their vectors; and of those that do not change
        // but bring vectors that may be missing.
        let wanted = changes.iter().zip(&puts).filter_map(|(change, put)| {
            let (stored, put) = (stored.get(key(change))?, put.as_ref()?);
            (stored.hash != put.hash || put.has_vectors()).then_some(stored.number)
        });
        let old_chunks = self.chunks_of(wanted.collect()).await?;
        let embedded = match self.space {
            Some(space) => self.embedded(space, &old_chunks).await?,
            None => HashSet::new(),
        };

        let mut plan = Plan { last_old: self.number, ..Plan::default() };
        let mut outcomes = Vec::with_capacity(changes.len());
        for (change, put) in changes.iter().zip(puts) {
            let stored = stored.get(key(change));
            outcomes.push(match (put, stored) {
                (None, None) => Outcome::Missing,
                (None, Some(_)) => {
                    self.seq += 1;
                    plan.deleted.push(key(change), self.seq);
                    Outcome::Deleted
                }
                (Some(put), Some(stored)) if stored.hash == put.hash => {
                    let chunks = old_chunks.get(&stored.number).map_or(&[][..], Vec::as_slice);
                    let missing = put.chunks.iter().zip(chunks).filter_map(|(chunk, (id, _))| {
                        let vector = chunk.vector.as_ref().filter(|_| !embedded.contains(id))?;
                        Some((*id, vector))
                    });
                    if plan.vectors.extend(put.draft.key.corpus, stored.number, missing) > 0 {
                        // Derived structures have to hear of them.
                        self.seq += 1;
                        plan.touched.push(stored.number, self.seq);
                    }
                    Outcome::Unchanged
                }
                (Some(put), stored) => {
                    self.seq += 1;
                    let number = match stored {
                        Some(stored) => stored.number,
                        None => {
                            self.number += 1;
                            plan.created.push(&put.draft.key, self.seq);
                            self.number
                        }
                    };
                    let old = old_chunks.get(&number).map_or(&[][..], Vec::as_slice);
                    self.put(&mut plan, put, number, old);
                    match stored {
                        Some(_) => {
                            plan.replaced.push(number);
                            Outcome::Updated
                        }
                        None => Outcome::Created,
                    }
                }
            });
        }
        plan.write(self).await?;
        Ok(outcomes)
    }

    /// Plans a new version of a record with its chunks. A piece whose text was embedded before
    /// keeps its vectors: moving a paragraph must not cost an embedding.
    fn put(&mut self, plan: &mut Plan, put: Put<'_>, number: i64, old: &[(i64, TextHash)]) {
        for (ordinal, chunk) in (0i32..).zip(put.chunks) {
            self.number += 1;
            plan.chunks.push(self.number, number, ordinal, chunk);
            let vector = chunk.vector.as_ref().map(|vector| (self.number, vector));
            plan.vectors.extend(put.draft.key.corpus, number, vector);
            for (from, _) in old.iter().filter(|(_, hash)| *hash == chunk.hash) {
                plan.kept.from.push(*from);
                plan.kept.to.push(self.number);
            }
        }
        plan.records.push(put, number, self.seq);
    }

    async fn stored(&self, changes: &[Change]) -> Result<HashMap<RecordKey, Stored>, Failure> {
        let corpora: Vec<i16> = changes.iter().map(|change| row::code(key(change).corpus)).collect();
        let ids: Vec<String> = changes.iter().map(|change| key(change).id.as_str().to_owned()).collect();
        let values = self.values([Box::new(corpora), Box::new(ids)]);
        let rows = self
            .session
            .query(
                "SELECT r.corpus, r.id, r.num, r.hash FROM unnest($2::smallint[], $3::text[]) AS k (corpus, id)
                 JOIN atlasai.records r ON r.tenant = $1 AND r.corpus = k.corpus AND r.id = k.id",
                &values,
            )
            .await?;
        let stored = |row: &Row| {
            let key = RecordKey::new(row::corpus(row, 0)?, row::record_id(row, 1)?);
            Ok((key, Stored { number: row.try_get(2)?, hash: row::hash(row, 3)? }))
        };
        rows.iter().map(stored).collect()
    }

    /// Number and hash of the chunks of some records, in order.
    async fn chunks_of(&self, records: Vec<i64>) -> Result<HashMap<i64, Vec<(i64, TextHash)>>, Failure> {
        let mut chunks: HashMap<i64, Vec<_>> = HashMap::new();
        if records.is_empty() {
            return Ok(chunks);
        }
        let rows = self
            .session
            .query(
                "SELECT c.record, c.id, c.hash FROM atlasai.chunks c
                 WHERE c.tenant = $1 AND c.record = ANY($2) ORDER BY c.record, c.ordinal",
                &self.values([Box::new(records)]),
            )
            .await?;
        for row in &rows {
            chunks.entry(row.try_get(0)?).or_default().push((row.try_get(1)?, row::text_hash(row, 2)?));
        }
        Ok(chunks)
    }

    /// Which of these chunks have a vector in the space.
    async fn embedded(
        &self,
        space: &str,
        chunks: &HashMap<i64, Vec<(i64, TextHash)>>,
    ) -> Result<HashSet<i64>, Failure> {
        let ids: Vec<i64> = chunks.values().flatten().map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let rows = self
            .session
            .query(
                "SELECT v.chunk FROM atlasai.vectors v
                 WHERE v.tenant = $1 AND v.chunk = ANY($2) AND v.space = $3",
                &self.values([Box::new(ids), Box::new(space.to_owned())]),
            )
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    async fn restore_times(&self, times: &[(RecordKey, Timestamp, Timestamp)]) -> Result<(), Failure> {
        let corpora: Vec<i16> = times.iter().map(|(key, ..)| row::code(key.corpus)).collect();
        let ids: Vec<String> = times.iter().map(|(key, ..)| key.id.as_str().to_owned()).collect();
        let created: Vec<i64> = times.iter().map(|(_, created, _)| columns::micros(*created)).collect();
        let updated: Vec<i64> = times.iter().map(|(.., updated)| columns::micros(*updated)).collect();
        let values = self.values([Box::new(corpora), Box::new(ids), Box::new(created), Box::new(updated)]);
        let sql = "UPDATE atlasai.records r SET created_us = k.created_us, updated_us = k.updated_us
             FROM unnest($2::smallint[], $3::text[], $4::bigint[], $5::bigint[]) AS k (corpus, id, created_us, updated_us)
             WHERE r.tenant = $1 AND r.corpus = k.corpus AND r.id = k.id";
        self.session.execute(sql, &values).await.map(drop)
    }

    async fn add_vectors(&mut self, vectors: &[(ChunkId, Vec<f32>)]) -> Result<(), Failure> {
        // The last one counts where a chunk occurs twice.
        let by_chunk: HashMap<i64, &Vec<f32>> =
            vectors.iter().map(|(chunk, vector)| (signed(*chunk), vector)).collect();
        let chunks: Vec<i64> = by_chunk.keys().copied().collect();
        let owners = self
            .session
            .query(
                "SELECT c.id, c.record, r.corpus FROM atlasai.chunks c
                 JOIN atlasai.records r ON r.tenant = $1 AND r.num = c.record
                 WHERE c.tenant = $1 AND c.id = ANY($2)",
                &self.values([Box::new(chunks)]),
            )
            .await?;
        let mut new = Vectors::default();
        for owner in &owners {
            let chunk: i64 = owner.try_get(0)?;
            let vector = by_chunk.get(&chunk).map(|vector| (chunk, *vector));
            new.extend(row::corpus(owner, 2)?, owner.try_get(1)?, vector);
        }
        let sql = format!(
            "{} ON CONFLICT (tenant, chunk, space) DO UPDATE SET data = excluded.data
             WHERE v.data <> excluded.data RETURNING v.record",
            Vectors::INSERT
        );
        let changed = self.session.query(&sql, &new.values(self)).await?;
        let mut touched = changed.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
        touched.sort_unstable();
        touched.dedup();
        let mut numbers = Numbers::default();
        for record in touched {
            self.seq += 1;
            numbers.push(record, self.seq);
        }
        numbers.write(self).await
    }
}
