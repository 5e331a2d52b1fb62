//! What happens inside a write transaction.
//!
//! The row of the tenant is locked first, so the batches of one tenant follow each other however
//! many servers write, and its change numbers become visible in order. A batch is worked out here
//! and written by a handful of statements over arrays: its length costs no ways there and back.

use std::collections::{HashMap, HashSet};

use atlas_domain::{Corpus, RecordDraft, RecordKey, Seq, SpaceId, TenantId, TextHash, Timestamp};
use futures_util::future::{join, try_join_all};
use tokio_postgres::Row;

use super::connect::{Params, Session, params};
use super::failure::Failure;
use super::row::{self, Components, signed};
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

/// Parts of a batch in which no record occurs twice, so that each part can be written as a set.
fn segments(changes: &[Change]) -> Vec<&[Change]> {
    let mut segments = Vec::new();
    let (mut seen, mut begin) = (HashSet::new(), 0);
    for (place, change) in changes.iter().enumerate() {
        if !seen.insert(key(change)) {
            segments.push(&changes[begin..place]);
            begin = place;
            seen = HashSet::from([key(change)]);
        }
    }
    segments.push(&changes[begin..]);
    segments
}

fn key(change: &Change) -> &RecordKey {
    match change {
        Change::Put { record, .. } => &record.key,
        Change::Delete(key) => key,
    }
}

struct Writer<'a> {
    session: &'a Session,
    tenant: &'a str,
    seq: Seq,
    /// The last number that a record or chunk was given.
    number: i64,
    now_us: i64,
    space: Option<&'a str>,
}

/// A record as it stands before the segment.
struct Stored {
    number: i64,
    hash: [u8; 32],
}

/// A put, with what decides about it.
struct Put<'a> {
    draft: &'a RecordDraft,
    chunks: &'a [ChunkDraft],
    body: String,
    labels: Vec<u8>,
    hash: [u8; 32],
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
    fn values<const N: usize>(&self, more: [Box<dyn tokio_postgres::types::ToSql + Sync>; N]) -> Params {
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

/// What a segment writes, column by column.
#[derive(Default)]
struct Plan {
    records: Records,
    /// Keys that are new, with nothing to say about them in the log of removals any more.
    created: Keys,
    deleted: Keys,
    /// Records whose older chunks go.
    replaced: Vec<i64>,
    chunks: Chunks,
    vectors: Vectors,
    kept: Kept,
    touched: Numbers,
    /// The last number before the segment: no chunk of it is older.
    last_old: i64,
}

impl Plan {
    /// Sends everything at once; the database works through it in this order.
    async fn write(self, writer: &Writer<'_>) -> Result<(), Failure> {
        let mut statements: Vec<(&str, Params)> = Vec::new();
        if !self.deleted.ids.is_empty() {
            // Chunks and vectors follow by their foreign keys.
            statements.push((
                "DELETE FROM atlasai.records r USING unnest($2::smallint[], $3::text[], $4::bigint[]) AS k (corpus, id, seq)
                 WHERE r.tenant = $1 AND r.corpus = k.corpus AND r.id = k.id",
                self.deleted.values(writer),
            ));
            statements.push((
                "INSERT INTO atlasai.tombstones (tenant, corpus, id, seq)
                 SELECT $1, k.* FROM unnest($2::smallint[], $3::text[], $4::bigint[]) AS k (corpus, id, seq)",
                self.deleted.values(writer),
            ));
        }
        if !self.created.ids.is_empty() {
            statements.push((
                "DELETE FROM atlasai.tombstones d USING unnest($2::smallint[], $3::text[], $4::bigint[]) AS k (corpus, id, seq)
                 WHERE d.tenant = $1 AND d.corpus = k.corpus AND d.id = k.id",
                self.created.values(writer),
            ));
        }
        if !self.records.number.is_empty() {
            statements.push((Records::UPSERT, self.records.values(writer)));
        }
        if !self.chunks.id.is_empty() {
            statements.push((Chunks::INSERT, self.chunks.values(writer)));
        }
        let insert_vectors = format!("{} ON CONFLICT DO NOTHING", Vectors::INSERT);
        if !self.vectors.chunk.is_empty() {
            statements.push((&insert_vectors, self.vectors.values(writer)));
        }
        if !self.kept.from.is_empty() {
            let kept = writer.values([Box::new(self.kept.from), Box::new(self.kept.to)]);
            statements.push((Kept::INSERT, kept));
        }
        if !self.replaced.is_empty() {
            statements.push((
                "DELETE FROM atlasai.chunks c WHERE c.tenant = $1 AND c.record = ANY($2) AND c.id <= $3",
                writer.values([Box::new(self.replaced), Box::new(self.last_old)]),
            ));
        }
        // Prepared one by one, which is done once per connection, and then sent together.
        let session = writer.session;
        for (sql, _) in &statements {
            session.prepare(sql).await?;
        }
        try_join_all(statements.iter().map(|(sql, values)| session.execute(sql, values))).await?;
        self.touched.write(writer).await
    }
}

#[derive(Default)]
struct Keys {
    corpora: Vec<i16>,
    ids: Vec<String>,
    seqs: Vec<i64>,
}

impl Keys {
    fn push(&mut self, key: &RecordKey, seq: Seq) {
        self.corpora.push(row::code(key.corpus));
        self.ids.push(key.id.as_str().to_owned());
        self.seqs.push(signed(seq));
    }

    fn values(&self, writer: &Writer<'_>) -> Params {
        writer.values([
            Box::new(self.corpora.clone()),
            Box::new(self.ids.clone()),
            Box::new(self.seqs.clone()),
        ])
    }
}

#[derive(Default)]
struct Records {
    number: Vec<i64>,
    corpus: Vec<i16>,
    id: Vec<String>,
    seq: Vec<i64>,
    at_us: Vec<i64>,
    service: Vec<Option<String>>,
    severity: Vec<Option<String>>,
    source: Vec<Option<String>>,
    status: Vec<Option<String>>,
    link: Vec<Option<String>>,
    labels: Vec<Vec<u8>>,
    title: Vec<String>,
    text: Vec<String>,
    body: Vec<String>,
    hash: Vec<Vec<u8>>,
}

impl Records {
    /// The number and the time of creation of a record that exists stay what they are.
    const UPSERT: &str = "
        INSERT INTO atlasai.records (tenant, num, corpus, id, seq, at_us, service, severity, source, status, link,
            labels, title, text, body, hash, created_us, updated_us)
        SELECT $1, k.*, $17::bigint, $17::bigint FROM unnest($2::bigint[], $3::smallint[], $4::text[], $5::bigint[], $6::bigint[],
            $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::bytea[], $13::text[], $14::text[],
            $15::text[], $16::bytea[]) AS k
        ON CONFLICT (tenant, corpus, id) DO UPDATE SET seq = excluded.seq, at_us = excluded.at_us,
            service = excluded.service, severity = excluded.severity, source = excluded.source,
            status = excluded.status, link = excluded.link, labels = excluded.labels, title = excluded.title,
            text = excluded.text, body = excluded.body, hash = excluded.hash, updated_us = excluded.updated_us";

    fn push(&mut self, put: Put<'_>, number: i64, seq: Seq) {
        let RecordDraft { key, title, facets, text, body: _ } = put.draft;
        self.number.push(number);
        self.corpus.push(row::code(key.corpus));
        self.id.push(key.id.as_str().to_owned());
        self.seq.push(signed(seq));
        self.at_us.push(columns::micros(facets.at));
        self.service.push(row::optional(&facets.service));
        self.severity.push(row::optional(&facets.severity));
        self.source.push(row::optional(&facets.source));
        self.status.push(row::optional(&facets.status));
        self.link.push(row::optional(&facets.link));
        self.labels.push(put.labels);
        self.title.push(row::text(title));
        self.text.push(row::text(text));
        self.body.push(put.body);
        self.hash.push(put.hash.to_vec());
    }

    fn values(self, writer: &Writer<'_>) -> Params {
        writer.values([
            Box::new(self.number),
            Box::new(self.corpus),
            Box::new(self.id),
            Box::new(self.seq),
            Box::new(self.at_us),
            Box::new(self.service),
            Box::new(self.severity),
            Box::new(self.source),
            Box::new(self.status),
            Box::new(self.link),
            Box::new(self.labels),
            Box::new(self.title),
            Box::new(self.text),
            Box::new(self.body),
            Box::new(self.hash),
            Box::new(writer.now_us),
        ])
    }
}

#[derive(Default)]
struct Chunks {
    id: Vec<i64>,
    record: Vec<i64>,
    ordinal: Vec<i32>,
    heading: Vec<String>,
    text: Vec<String>,
    hash: Vec<Vec<u8>>,
}

impl Chunks {
    const INSERT: &str = "
        INSERT INTO atlasai.chunks (tenant, id, record, ordinal, heading, text, hash)
        SELECT $1, k.* FROM unnest($2::bigint[], $3::bigint[], $4::integer[], $5::text[], $6::text[], $7::bytea[]) AS k";

    fn push(&mut self, id: i64, record: i64, ordinal: i32, chunk: &ChunkDraft) {
        self.id.push(id);
        self.record.push(record);
        self.ordinal.push(ordinal);
        self.heading.push(row::text(&chunk.heading));
        self.text.push(row::text(&chunk.text));
        self.hash.push(chunk.hash.0.to_vec());
    }

    fn values(self, writer: &Writer<'_>) -> Params {
        writer.values([
            Box::new(self.id),
            Box::new(self.record),
            Box::new(self.ordinal),
            Box::new(self.heading),
            Box::new(self.text),
            Box::new(self.hash),
        ])
    }
}

#[derive(Default)]
struct Vectors {
    chunk: Vec<i64>,
    corpus: Vec<i16>,
    record: Vec<i64>,
    data: Vec<Components>,
}

impl Vectors {
    const INSERT: &str = "
        INSERT INTO atlasai.vectors AS v (tenant, space, chunk, corpus, record, data)
        SELECT $1, $2, k.* FROM unnest($3::bigint[], $4::smallint[], $5::bigint[], $6::vector[]) AS k";

    /// Gives how many there were.
    fn extend<'a>(
        &mut self,
        corpus: Corpus,
        record: i64,
        vectors: impl IntoIterator<Item = (i64, &'a Vec<f32>)>,
    ) -> usize {
        let before = self.chunk.len();
        for (chunk, vector) in vectors {
            self.chunk.push(chunk);
            self.corpus.push(row::code(corpus));
            self.record.push(record);
            self.data.push(Components(vector.clone()));
        }
        self.chunk.len() - before
    }

    fn values(self, writer: &Writer<'_>) -> Params {
        // Vectors without a space are refused before they come here.
        let space = writer.space.unwrap_or_default().to_owned();
        writer.values([
            Box::new(space),
            Box::new(self.chunk),
            Box::new(self.corpus),
            Box::new(self.record),
            Box::new(self.data),
        ])
    }
}

/// Vectors that a new chunk takes over from an old one of the same text.
#[derive(Default)]
struct Kept {
    from: Vec<i64>,
    to: Vec<i64>,
}

impl Kept {
    const INSERT: &str = "
        INSERT INTO atlasai.vectors (tenant, space, chunk, corpus, record, data)
        SELECT $1, v.space, k.new, v.corpus, v.record, v.data
        FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS k (old, new, place)
        JOIN atlasai.vectors v ON v.tenant = $1 AND v.chunk = k.old
        ORDER BY k.place ON CONFLICT DO NOTHING";
}

/// New change numbers of records that stay as they are otherwise.
#[derive(Default)]
struct Numbers {
    records: Vec<i64>,
    seqs: Vec<i64>,
}

impl Numbers {
    fn push(&mut self, record: i64, seq: Seq) {
        self.records.push(record);
        self.seqs.push(signed(seq));
    }

    async fn write(self, writer: &Writer<'_>) -> Result<(), Failure> {
        if self.records.is_empty() {
            return Ok(());
        }
        let values = writer.values([Box::new(self.records), Box::new(self.seqs)]);
        writer
            .session
            .execute(
                "UPDATE atlasai.records r SET seq = k.seq FROM unnest($2::bigint[], $3::bigint[]) AS k (num, seq)
                 WHERE r.tenant = $1 AND r.num = k.num",
                &values,
            )
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use atlas_domain::RecordId;

    use super::*;

    #[track_caller]
    fn check(ids: &str, expect: &[&str]) {
        let delete =
            |id: char| Change::Delete(RecordKey::new(Corpus::Logs, RecordId::new(id).expect("an id")));
        let changes: Vec<Change> = ids.chars().map(delete).collect();
        let parts: Vec<String> = segments(&changes)
            .into_iter()
            .map(|part| part.iter().map(|change| key(change).id.as_str()).collect())
            .collect();
        assert_eq!(parts, expect);
    }

    #[test]
    fn a_batch_is_cut_before_a_record_comes_again() {
        check("", &[""]);
        check("abc", &["abc"]);
        check("abab", &["ab", "ab"]);
        check("aabcb", &["a", "abc", "b"]);
    }
}
