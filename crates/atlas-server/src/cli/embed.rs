//! `embed`: texts in, vectors out.

use std::io::{BufRead, stdin};

use anyhow::{Context, bail};
use atlas_config::Settings;
use atlas_embed::{Embedding, Priority, Purpose};
use atlas_guard::Guard;

use super::Output;
use crate::wiring;

/// Lines embedded together: enough to fill the engine's batches, little enough that vectors of a
/// long input begin to appear at once.
const LINES_AT_A_TIME: usize = 512;

/// Embeds standard input line by line.
pub(crate) async fn run(settings: Settings, output: &mut Output) -> anyhow::Result<()> {
    let Embedding::Vectors(embedder) = wiring::load_embedding(&settings).await? else {
        bail!("EMBEDDING_PROVIDER={} makes no vectors; unset it or use `local`", settings.embedding.provider);
    };
    let guard = Guard::new();
    let mut lines = stdin().lock().lines().enumerate().peekable();
    while lines.peek().is_some() {
        let mut texts = Vec::with_capacity(LINES_AT_A_TIME);
        for (number, line) in lines.by_ref().take(LINES_AT_A_TIME) {
            texts.push(line.with_context(|| format!("line {} of standard input is not UTF-8", number + 1))?);
        }
        let cleared = guard.clear(texts, embedder.destination())?;
        for vector in embedder.embed(cleared, Purpose::Passage, Priority::Bulk).await? {
            output.json(&vector)?;
        }
    }
    Ok(())
}
