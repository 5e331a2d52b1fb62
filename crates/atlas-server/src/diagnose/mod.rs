//! The connection test: one ladder from the settings to the index, for the API and for `doctor`.
//!
//! It walks with the clients and the snapshot that serve traffic, takes no target from anybody,
//! and repeats nothing that a provider said.

mod limit;
pub(crate) mod machine;
pub(crate) mod profiles;

use std::sync::Arc;
use std::time::{Duration, Instant};

use atlas_config::Live;
use atlas_domain::{Check, CheckStatus};
use atlas_embed::Embedding;
use atlas_inference::{ControlPlane, Inference, TestReport};
use atlas_retrieval::EmbeddingState;
use tokio::time::timeout;

pub(crate) use limit::TestLimit;

/// For the embedding engine, which may be a provider too.
const EMBEDDING_TIME: Duration = Duration::from_secs(15);

/// What the connection test found.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    /// About the provider.
    pub(crate) report: TestReport,
    /// Every rung, in order.
    pub(crate) checks: Vec<Check>,
    /// Whether the control plane may be called and was verified within the last minute.
    pub(crate) cp_connected: bool,
}

impl Diagnosis {
    /// `ok`; `degraded` where the provider answers and something else is wrong; else what the
    /// provider's part says.
    pub(crate) fn status(&self) -> &'static str {
        let failed = self.checks.iter().any(|check| check.status == CheckStatus::Failed);
        match self.report.status {
            "ok" if failed => "degraded",
            status => status,
        }
    }
}

/// What is tested: the parts that serve traffic.
pub(crate) struct Subject<'a> {
    pub(crate) live: &'a Live,
    pub(crate) inference: &'a Inference,
    /// Present where the settings allow calling it.
    pub(crate) control_plane: Option<Arc<ControlPlane>>,
    /// The engine, or why there is none.
    pub(crate) embedding: Result<Embedding, String>,
    /// The index; `None` where no server is running.
    pub(crate) index: Option<EmbeddingState>,
}

/// Tests everything that answers depend on. `deep` also measures what the model can do, which
/// costs some tokens and up to a minute or two.
pub(crate) async fn connection(subject: Subject<'_>, deep: bool) -> Diagnosis {
    let Subject { live, inference, control_plane, embedding, index } = subject;
    let mut checks = vec![config(live)];
    let (report, engine) = tokio::join!(inference.test(deep), engine(embedding));
    if report.status == "ok" {
        profiles::save(&live.snapshot().settings.data_dir, inference.profiles()).await;
    }
    checks.extend(report.checks.iter().cloned());
    checks.extend(engine);
    checks.push(index_check(index));
    checks.push(control_plane_check(control_plane.as_deref()).await);
    let cp_connected = control_plane.is_some_and(|plane| plane.connected());
    Diagnosis { report, checks, cp_connected }
}

/// Whether the settings in effect are those that were written last.
fn config(live: &Live) -> Check {
    let started = Instant::now();
    let status = live.status();
    if let Some(rejected) = &status.rejected {
        return Check::failed(
            "config",
            started,
            "settings_rejected",
            format!("the newest settings cannot be used: {}", rejected.reason),
            "Correct the named setting; the last good settings go on until then.",
        );
    }
    let notes: Vec<String> = status
        .needs_restart
        .iter()
        .map(|name| format!("{name} takes effect with the next start"))
        .chain(status.unknown.iter().map(|name| format!("{name} is no setting of this program")))
        .chain(status.warnings.iter().cloned())
        .collect();
    if notes.is_empty() {
        return Check::passed("config", started, format!("settings {} are in effect", status.generation));
    }
    let hint = "Run `atlasai-tp config check` for details.";
    Check::warning("config", started, "settings_noted", notes.join("; "), hint)
}

/// The engine does what it says.
async fn engine(embedding: Result<Embedding, String>) -> Vec<Check> {
    let started = Instant::now();
    let hint = "Check EMBEDDING_PROVIDER, EMBEDDING_MODEL, EMBEDDING_ENDPOINT_URL and the engine's key.";
    match embedding {
        Err(reason) => vec![Check::failed("embeddings", started, "engine_unusable", reason, hint)],
        Ok(Embedding::KeywordsOnly) => {
            vec![Check::skipped("embeddings", "EMBEDDING_PROVIDER is `fallback`: keywords only")]
        }
        Ok(Embedding::Vectors(embedder)) => match timeout(EMBEDDING_TIME, embedder.check()).await {
            Ok(checks) => checks,
            Err(_) => {
                let detail = "the embedding engine did not answer in time";
                vec![Check::failed("embeddings", started, "provider_timeout", detail, hint)]
            }
        },
    }
}

/// Whether the index was made with the engine.
fn index_check(index: Option<EmbeddingState>) -> Check {
    let started = Instant::now();
    match index {
        None => Check::skipped("index", "it belongs to the running server"),
        Some(EmbeddingState::Ready { space }) => {
            let found = format!("it holds vectors of {} {}", space.engine, space.model);
            Check::passed("index", started, found)
        }
        Some(EmbeddingState::Failing { .. }) => Check::warning(
            "index",
            started,
            "index_waits_for_vectors",
            "the embedding engine fails; search answers by keywords and says so",
            "Correct what the check `embeddings` names; the index catches up by itself.",
        ),
        Some(EmbeddingState::KeywordsOnly) => Check::skipped("index", "search is by keywords only"),
    }
}

async fn control_plane_check(plane: Option<&ControlPlane>) -> Check {
    let started = Instant::now();
    let Some(plane) = plane else {
        return Check::skipped("control_plane", "nothing is sent to it with these settings");
    };
    match plane.verify().await {
        Ok(()) => Check::passed("control_plane", started, "it accepts our token"),
        Err(error) => Check::provider(
            "control_plane",
            started,
            &error,
            "Check CP_ENDPOINT_URL and CP_TOKEN, and that this network can reach it.",
        ),
    }
}
