//! `migrate-store`: a tenant moves between the data directory and the shared database.

use std::sync::Arc;

use anyhow::Context;
use atlas_config::Settings;
use atlas_domain::{Corpus, Filter, TenantScope};
use atlas_retrieval::chunk_hash;
use atlas_store::{Copied, SqliteStore, Store, copy_tenant};
use serde::Serialize;

use super::Output;
use super::arguments::{MigrateStoreArguments, StoreName};
use super::progress;
use crate::auth::operator_scope;
use crate::plugs::records::Databases;

#[derive(Serialize)]
struct Report<'a> {
    tenant: &'a str,
    records: u64,
    written: u64,
    chunks: u64,
    vectors: u64,
}

/// Copies, compares, and says what is in both stores now.
pub(crate) async fn run(
    arguments: MigrateStoreArguments,
    settings: Settings,
    output: &mut Output,
) -> anyhow::Result<()> {
    let MigrateStoreArguments { tenant, to, json } = arguments;
    let scope = operator_scope(tenant.clone());
    let worked = tokio::task::spawn_blocking(move || copy(&settings, &scope, to));
    let copied = worked.await.context("the copy panicked; the log says where")??;
    let Copied { records, written, chunks, vectors } = copied;
    if json {
        return output.json(&Report { tenant: tenant.as_str(), records, written, chunks, vectors });
    }
    output.line(&format!(
        "{tenant}: {records} records, {chunks} chunks and {vectors} vectors are the same in both stores ({written} \
         records were written now)"
    ))
}

fn copy(settings: &Settings, scope: &TenantScope, to: StoreName) -> anyhow::Result<Copied> {
    anyhow::ensure!(!settings.postgres.is_empty(), "TP_STORE names no database to move to or from");
    let database = Databases::new(settings, Arc::default())?.open()?;
    let directory = SqliteStore::open(&settings.data_dir)?;
    let (from, to): (&dyn Store, &dyn Store) = match to {
        StoreName::Postgres => (&directory, &database),
        StoreName::Sqlite => (&database, &directory),
    };
    let counts = Corpus::ALL.map(|corpus| from.count(scope, corpus, &Filter::default()));
    let n_records = counts.into_iter().sum::<Result<u64, _>>()?;
    let bar = progress::bar(usize::try_from(n_records).unwrap_or(usize::MAX), "records");
    let hash = |chunk: &atlas_store::Chunk| chunk_hash(&chunk.heading, &chunk.text);
    let copied = copy_tenant(from, to, scope, hash, |n_records| bar.set_position(n_records))?;
    bar.finish_and_clear();
    Ok(copied)
}
