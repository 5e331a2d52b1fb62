//! Writing: chunk, clear, embed, commit, acknowledge. The legs follow on their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use atlas_domain::{RecordDraft, RecordKey, SpaceId, TenantScope, TextHash};
use atlas_embed::{Priority, Purpose};
use atlas_store::{Batch, Change, ChunkDraft, Outcome, Store, StoreError};
use tokio::time::Instant;

use crate::api::{Document, Passages, PutReport, RetrievalError, Write};
use crate::chunk;
use crate::engine::Vectors;
use crate::retrieval::Shared;

/// Longest text of one document.
const TEXT_BYTES: usize = 4 << 20;
/// Longest title.
const TITLE_BYTES: usize = 4 << 10;
/// Time one write spends on vectors. What is missing then is embedded in the background.
const EMBEDDING_TIME: Duration = Duration::from_secs(20);
/// The same when the engine failed on its last use: a write must not wait for a dead engine.
const FAILING_TIME: Duration = Duration::from_secs(2);
/// Above this many chunks nobody waits at a screen for one document.
const INTERACTIVE_CHUNKS: usize = 8;

pub(crate) async fn write(
    shared: &Arc<Shared>,
    scope: &TenantScope,
    writes: Vec<Write>,
) -> Result<PutReport, RetrievalError> {
    for write in &writes {
        if let Write::Put(document) = write {
            check(document)?;
        }
    }
    let tenant = shared.tenant(scope).await?;
    let vectors = tenant.writing();
    let prepared = prepare(shared, scope, writes, vectors.clone()).await?;
    let batch = embed(vectors.as_deref(), prepared).await;
    // Without an engine nothing is missing.
    let missing = |change| chunks_of(change).iter().filter(|chunk| chunk.vector.is_none()).count();
    let counts: Vec<usize> =
        batch.changes.iter().map(|change| if batch.space.is_some() { missing(change) } else { 0 }).collect();

    // The wake-ups are inside, so that a caller who gives up does not leave the legs behind.
    let (scope, incomplete) = (scope.clone(), counts.iter().any(|n| *n > 0));
    let waker = Arc::clone(shared);
    let committed = shared
        .blocking(move |store| {
            let committed = store.commit(&scope, batch);
            waker.wake(&scope, incomplete);
            committed
        })
        .await?;
    let written = committed.outcomes.iter().zip(&counts);
    let written = written.filter(|(outcome, _)| matches!(outcome, Outcome::Created | Outcome::Updated));
    let pending_vectors = written.map(|(_, n)| n).sum();
    Ok(PutReport { seq: committed.seq, outcomes: committed.outcomes, pending_vectors })
}

fn check(document: &Document) -> Result<(), RetrievalError> {
    let too_long = |field, text: &str, limit: usize| {
        if text.len() <= limit {
            return Ok(());
        }
        let reason = format!("{} is longer than {} KiB", document.record.key.id, limit >> 10);
        Err(RetrievalError::Request { field, reason })
    };
    too_long("title", &document.record.title, TITLE_BYTES)?;
    too_long("text", &document.record.text, TEXT_BYTES)?;
    match &document.passages {
        Passages::None => Ok(()),
        Passages::Whole(text) | Passages::Markdown(text) => too_long("text", text, TEXT_BYTES),
    }
}

fn chunks_of(change: &Change) -> &[ChunkDraft] {
    match change {
        Change::Put { chunks, .. } => chunks,
        Change::Delete(_) => &[],
    }
}

/// Cuts documents into chunks and takes over the vectors of texts that did not change: editing
/// one section of a runbook embeds one chunk, and importing a folder again embeds nothing.
async fn prepare(
    shared: &Arc<Shared>,
    scope: &TenantScope,
    writes: Vec<Write>,
    vectors: Option<Arc<Vectors>>,
) -> Result<Vec<Change>, RetrievalError> {
    let scope = scope.clone();
    shared
        .blocking(move |store| {
            let change = |write| match write {
                Write::Delete(key) => Ok(Change::Delete(key)),
                Write::Put(document) => {
                    let mut chunks = chunks(&document.record, document.passages, vectors.as_deref());
                    if let Some(vectors) = &vectors {
                        take_over(store, &scope, &document.record.key, vectors.space(), &mut chunks)?;
                    }
                    Ok(Change::Put { record: document.record, chunks })
                }
            };
            writes.into_iter().map(change).collect()
        })
        .await
}

/// Without an engine there is no word-piece counter; a word is about 1.3 pieces of English.
struct RoughTokens;

impl atlas_embed::TokenCounter for RoughTokens {
    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().map(|word| word.chars().count().div_ceil(5)).sum()
    }

    fn max_tokens(&self) -> usize {
        256
    }
}

fn chunks(record: &RecordDraft, passages: Passages, vectors: Option<&Vectors>) -> Vec<ChunkDraft> {
    let draft = |heading: String, text: String| {
        let hash = chunk::chunk_hash(&heading, &text);
        ChunkDraft { heading, text, hash, vector: None }
    };
    match passages {
        Passages::None => Vec::new(),
        Passages::Whole(text) if text.trim().is_empty() => Vec::new(),
        Passages::Whole(text) => vec![draft(String::new(), text)],
        Passages::Markdown(markdown) => {
            let counter = vectors.map_or(&RoughTokens as &dyn atlas_embed::TokenCounter, Vectors::tokens);
            let pieces = chunk::split(&record.title, &markdown, counter, chunk::budget(counter));
            // A record that is nothing but a title is found by what the title means.
            if pieces.is_empty() && !record.title.trim().is_empty() {
                return vec![draft(String::new(), record.title.clone())];
            }
            pieces.into_iter().map(|piece| draft(piece.heading, piece.text)).collect()
        }
    }
}

fn take_over(
    store: &dyn Store,
    scope: &TenantScope,
    key: &RecordKey,
    space: &SpaceId,
    chunks: &mut [ChunkDraft],
) -> Result<(), StoreError> {
    if chunks.is_empty() {
        return Ok(());
    }
    let rows = store.vectors_of(scope, key, space)?;
    if rows.is_empty() {
        return Ok(());
    }
    let stored = store.chunks_of(scope, key)?;
    let hashes: HashMap<_, _> =
        stored.iter().map(|chunk| (chunk.id, chunk::chunk_hash(&chunk.heading, &chunk.text))).collect();
    let known: HashMap<TextHash, Vec<f32>> =
        rows.into_iter().filter_map(|row| Some((*hashes.get(&row.chunk)?, row.vector))).collect();
    for chunk in chunks {
        chunk.vector = known.get(&chunk.hash).cloned();
    }
    Ok(())
}

/// Adds the missing vectors as far as the engine and the time allow. Never fails: a document
/// without vectors is found by its words, a document that was refused is not found at all.
async fn embed(vectors: Option<&Vectors>, mut changes: Vec<Change>) -> Batch {
    let Some(vectors) = vectors else { return Batch { space: None, changes } };
    let unembedded = changes.iter().flat_map(chunks_of).filter(|chunk| chunk.vector.is_none());
    let texts: Vec<String> =
        unembedded.map(|chunk| chunk::embedded_text(&chunk.heading, &chunk.text)).collect();
    if !texts.is_empty() {
        let priority = if texts.len() > INTERACTIVE_CHUNKS { Priority::Bulk } else { Priority::Interactive };
        let time = if vectors.is_failing() { FAILING_TIME } else { EMBEDDING_TIME };
        let (made, _) = vectors.embed_until(texts, Purpose::Passage, priority, Instant::now() + time).await;
        let mut made = made.into_iter();
        for change in &mut changes {
            if let Change::Put { chunks, .. } = change {
                for chunk in chunks.iter_mut().filter(|chunk| chunk.vector.is_none()) {
                    chunk.vector = made.next();
                }
            }
        }
    }
    Batch { space: Some(vectors.space().clone()), changes }
}
