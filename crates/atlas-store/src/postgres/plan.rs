//! What a segment of a batch writes, gathered column by column and sent in a handful of statements.

use atlas_domain::{Corpus, RecordDraft, RecordKey, Seq};
use futures_util::future::try_join_all;

use super::connect::Params;
use super::failure::Failure;
use super::row::{self, Components, signed};
use super::write::{Put, Writer};
use crate::{ChunkDraft, columns};

/// What a segment writes, column by column.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) records: Records,
    /// Keys that are new, with nothing to say about them in the log of removals any more.
    pub(super) created: Keys,
    pub(super) deleted: Keys,
    /// Records whose older chunks go.
    pub(super) replaced: Vec<i64>,
    pub(super) chunks: Chunks,
    pub(super) vectors: Vectors,
    pub(super) kept: Kept,
    pub(super) touched: Numbers,
    /// The last number before the segment: no chunk of it is older.
    pub(super) last_old: i64,
}

impl Plan {
    /// Sends everything at once; the database works through it in this order.
    pub(super) async fn write(self, writer: &Writer<'_>) -> Result<(), Failure> {
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
pub(super) struct Keys {
    corpora: Vec<i16>,
    ids: Vec<String>,
    seqs: Vec<i64>,
}

impl Keys {
    pub(super) fn push(&mut self, key: &RecordKey, seq: Seq) {
        self.corpora.push(row::code(key.corpus));
        self.ids.push(key.id.as_str().to_owned());
        self.seqs.push(signed(seq));
    }

    pub(super) fn values(&self, writer: &Writer<'_>) -> Params {
        writer.values([
            Box::new(self.corpora.clone()),
            Box::new(self.ids.clone()),
            Box::new(self.seqs.clone()),
        ])
    }
}

#[derive(Default)]
pub(super) struct Records {
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
    pub(super) const UPSERT: &str = "
        INSERT INTO atlasai.records (tenant, num, corpus, id, seq, at_us, service, severity, source, status, link,
            labels, title, text, body, hash, created_us, updated_us)
        SELECT $1, k.*, $17::bigint, $17::bigint FROM unnest($2::bigint[], $3::smallint[], $4::text[], $5::bigint[], $6::bigint[],
            $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::bytea[], $13::text[], $14::text[],
            $15::text[], $16::bytea[]) AS k
        ON CONFLICT (tenant, corpus, id) DO UPDATE SET seq = excluded.seq, at_us = excluded.at_us,
            service = excluded.service, severity = excluded.severity, source = excluded.source,
            status = excluded.status, link = excluded.link, labels = excluded.labels, title = excluded.title,
            text = excluded.text, body = excluded.body, hash = excluded.hash, updated_us = excluded.updated_us";

    pub(super) fn push(&mut self, put: Put<'_>, number: i64, seq: Seq) {
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

    pub(super) fn values(self, writer: &Writer<'_>) -> Params {
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
pub(super) struct Chunks {
    id: Vec<i64>,
    record: Vec<i64>,
    ordinal: Vec<i32>,
    heading: Vec<String>,
    text: Vec<String>,
    hash: Vec<Vec<u8>>,
}

impl Chunks {
    pub(super) const INSERT: &str = "
        INSERT INTO atlasai.chunks (tenant, id, record, ordinal, heading, text, hash)
        SELECT $1, k.* FROM unnest($2::bigint[], $3::bigint[], $4::integer[], $5::text[], $6::text[], $7::bytea[]) AS k";

    pub(super) fn push(&mut self, id: i64, record: i64, ordinal: i32, chunk: &ChunkDraft) {
        self.id.push(id);
        self.record.push(record);
        self.ordinal.push(ordinal);
        self.heading.push(row::text(&chunk.heading));
        self.text.push(row::text(&chunk.text));
        self.hash.push(chunk.hash.0.to_vec());
    }

    pub(super) fn values(self, writer: &Writer<'_>) -> Params {
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
pub(super) struct Vectors {
    chunk: Vec<i64>,
    corpus: Vec<i16>,
    record: Vec<i64>,
    data: Vec<Components>,
}

impl Vectors {
    pub(super) const INSERT: &str = "
        INSERT INTO atlasai.vectors AS v (tenant, space, chunk, corpus, record, data)
        SELECT $1, $2, k.* FROM unnest($3::bigint[], $4::smallint[], $5::bigint[], $6::vector[]) AS k";

    /// Gives how many there were.
    pub(super) fn extend<'a>(
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

    pub(super) fn values(self, writer: &Writer<'_>) -> Params {
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
pub(super) struct Kept {
    pub(super) from: Vec<i64>,
    pub(super) to: Vec<i64>,
}

impl Kept {
    pub(super) const INSERT: &str = "
        INSERT INTO atlasai.vectors (tenant, space, chunk, corpus, record, data)
        SELECT $1, v.space, k.new, v.corpus, v.record, v.data
        FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS k (old, new, place)
        JOIN atlasai.vectors v ON v.tenant = $1 AND v.chunk = k.old
        ORDER BY k.place ON CONFLICT DO NOTHING";
}

/// New change numbers of records that stay as they are otherwise.
#[derive(Default)]
pub(super) struct Numbers {
    records: Vec<i64>,
    seqs: Vec<i64>,
}

impl Numbers {
    pub(super) fn push(&mut self, record: i64, seq: Seq) {
        self.records.push(record);
        self.seqs.push(signed(seq));
    }

    pub(super) async fn write(self, writer: &Writer<'_>) -> Result<(), Failure> {
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
