//! `migrate`: the tables of the shared store, made or updated by the role that owns them.

use std::sync::Arc;

use anyhow::Context;
use atlas_config::Settings;

use super::Output;
use crate::plugs::records::Databases;

/// Migrates, then builds what the growth since the last time asks for.
pub(crate) async fn run(settings: Settings, output: &mut Output) -> anyhow::Result<()> {
    anyhow::ensure!(
        !settings.postgres.is_empty(),
        "there is nothing to migrate: TP_STORE is sqlite, whose files are updated when they are opened"
    );
    let worked = tokio::task::spawn_blocking(move || {
        let databases = Databases::new(&settings, Arc::default())?;
        Ok::<_, atlas_store::StoreError>((databases.migrate()?, databases.index()?))
    });
    let (found, indexed) = worked.await.context("the migration panicked; the log says where")??;
    for (database, version) in found {
        output.line(&match version {
            0 => format!("{database}: the tables are made"),
            version => format!("{database}: the tables were of version {version} and are up to date"),
        })?;
    }
    for line in indexed {
        output.line(&line)?;
    }
    Ok(())
}
