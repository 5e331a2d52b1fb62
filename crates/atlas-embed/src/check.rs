//! The check `embeddings` of the connection test.

use std::time::{Duration, Instant};

use atlas_domain::{Check, ProviderError, ProviderErrorKind as Kind};
use atlas_guard::Guard;
use tokio::time::timeout;

use crate::contract::{EmbedError, Embedder, Priority, Purpose};

const ID: &str = "embeddings";
/// Of the 15 s that a connection test has.
const TIME: Duration = Duration::from_secs(10);
/// Two plain sentences; the first is embedded twice, alone and beside another.
const SENTENCE: &str = "The disk of the database server is full.";
const OTHER: &str = "A certificate expires tomorrow.";
/// A batch changes the order of sums, so not every engine gives the same bits.
const SAME: f64 = 0.9999;
const UNIT: f64 = 0.001;

/// Embeds a sentence twice and looks at what comes back. What [`Embedder::check`] does for an
/// engine that has nothing to look at before.
pub async fn check_vectors<E: Embedder + ?Sized>(embedder: &E) -> Check {
    let started = Instant::now();
    let made = match timeout(TIME, pair(embedder)).await {
        Ok(Ok(made)) => made,
        Ok(Err(error)) => return failed(started, &error),
        Err(_) => return failed(started, &ProviderError::timeout("check").into()),
    };
    verdict(embedder, started, &made)
}

/// The vectors of both sentences, and that of the first again.
async fn pair<E: Embedder + ?Sized>(embedder: &E) -> Result<Vec<Vec<f32>>, EmbedError> {
    let guard = Guard::new();
    let mut made = Vec::with_capacity(3);
    for texts in [vec![SENTENCE, OTHER], vec![SENTENCE]] {
        let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
        let cleared = guard
            .clear(texts, embedder.destination())
            .map_err(|refusal| ProviderError::new(Kind::Egress, refusal.to_string()))?;
        made.extend(embedder.embed(cleared, Purpose::Passage, Priority::Interactive).await?);
    }
    Ok(made)
}

fn verdict<E: Embedder + ?Sized>(embedder: &E, started: Instant, made: &[Vec<f32>]) -> Check {
    let space = embedder.space();
    let [first, _, again] = made else {
        let detail = format!("{} vectors came back for 3 texts", made.len());
        return Check::failed(
            ID,
            started,
            "embedding_count",
            detail,
            "The engine is not usable with this server.",
        );
    };
    if let Some(vector) = made.iter().find(|vector| vector.len() != space.dimension) {
        let detail = format!("vectors have {} components, {} are expected", vector.len(), space.dimension);
        return Check::failed(
            ID,
            started,
            "embedding_dimension",
            detail,
            "Check EMBEDDING_MODEL and EMBEDDING_DIMENSIONS.",
        );
    }
    let length = dot(first, first).sqrt();
    if !((1.0 - UNIT)..=(1.0 + UNIT)).contains(&length) {
        let detail = format!("vectors have the length {length:.4}, 1 is expected");
        return Check::failed(
            ID,
            started,
            "embedding_norm",
            detail,
            "The engine is not usable with this server.",
        );
    }
    let similarity = dot(first, again);
    if similarity < SAME {
        let detail = format!("the same text twice has a similarity of {similarity:.4}");
        let hint = "Search results will vary: look for load balancing between different models or versions.";
        return Check::warning(ID, started, "embedding_varies", detail, hint);
    }
    let detail = format!(
        "{} {}: {} components, unit length, the same vector for the same text",
        space.engine, space.model, space.dimension
    );
    Check::passed(ID, started, detail)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn failed(started: Instant, error: &EmbedError) -> Check {
    match error {
        EmbedError::Provider(error) => Check::provider(ID, started, error, hint(error.kind())),
        EmbedError::Model { .. } => {
            Check::failed(ID, started, "embedding_model", error.to_string(), "Check EMBEDDING_MODEL_PATH.")
        }
        EmbedError::Busy => Check::failed(
            ID,
            started,
            "embedding_busy",
            error.to_string(),
            "Test again when the import is over.",
        ),
        EmbedError::Failed { .. } | EmbedError::Stopped => {
            Check::failed(ID, started, "embedding_failed", error.to_string(), "The log has the cause.")
        }
    }
}

/// What to do. No wildcard: a new kind must have advice.
fn hint(kind: Kind) -> &'static str {
    match kind {
        Kind::Credentials => "Check EMBEDDING_API_KEY (or OPENAI_API_KEY): the provider does not accept it.",
        Kind::Forbidden => {
            "Ask for permission to use this embedding model, or check the provider's network rules."
        }
        Kind::NotFound => {
            "Check EMBEDDING_MODEL (for azure: the name of the deployment) and EMBEDDING_ENDPOINT_URL."
        }
        Kind::BadRequest | Kind::Protocol => {
            "Check that EMBEDDING_MODEL is an embedding model and that EMBEDDING_PROVIDER fits the server."
        }
        Kind::PromptTooLong | Kind::ContentFilter => {
            "The provider refuses even a short sentence: check EMBEDDING_MODEL."
        }
        Kind::Throttled | Kind::Overloaded | Kind::Conflict => {
            "The provider is busy: test again in a minute."
        }
        Kind::Quota => "Check the account's credit and limits at the provider.",
        Kind::Server | Kind::CutShort => "The provider fails: look at its status page or its log.",
        Kind::Network => "Check EMBEDDING_ENDPOINT_URL, DNS, firewalls and proxies.",
        Kind::Timeout => {
            "The provider is slow or packets are dropped: check EMBEDDING_ENDPOINT_URL and firewalls."
        }
        Kind::Egress => "The egress policy forbids this address: check EMBEDDING_ENDPOINT_URL and TP_EGRESS.",
        Kind::Settings => "Correct the named setting.",
    }
}

#[cfg(test)]
mod tests {
    use atlas_domain::CheckStatus;

    use super::*;
    use crate::testing::MadeUp;

    /// Checks an embedder that answers its calls with the next of these vectors for every text.
    async fn check(answers: Vec<Result<Vec<f32>, Kind>>, status: CheckStatus, code: Option<&str>) -> Check {
        let embedder = MadeUp::new("m", 2, move |n, texts| match &answers[n] {
            Ok(vector) => Ok(vec![vector.clone(); texts.len()]),
            Err(kind) => Err(ProviderError::new(*kind, "words of the provider").with_status(400).into()),
        });
        let checks = embedder.check().await;
        let [check] = checks.as_slice() else { panic!("one check, not {checks:?}") };
        assert_eq!((check.id, check.status, check.code), (ID, status, code), "{check:?}");
        check.clone()
    }

    #[tokio::test]
    async fn good_vectors_pass() {
        let check = check(vec![Ok(vec![0.6, 0.8]), Ok(vec![0.6, 0.8])], CheckStatus::Passed, None).await;
        assert!(check.detail.contains("2 components"), "{}", check.detail);
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_vector_has_its_own_code() {
        check(vec![Ok(vec![1.0]), Ok(vec![1.0])], CheckStatus::Failed, Some("embedding_dimension")).await;
        check(vec![Ok(vec![3.0, 4.0]), Ok(vec![3.0, 4.0])], CheckStatus::Failed, Some("embedding_norm"))
            .await;
        check(vec![Ok(vec![1.0, 0.0]), Ok(vec![0.6, 0.8])], CheckStatus::Warning, Some("embedding_varies"))
            .await;
    }

    #[tokio::test]
    async fn a_refusal_is_shown_in_our_words_with_advice() {
        let check =
            check(vec![Err(Kind::Credentials)], CheckStatus::Failed, Some("provider_credentials")).await;
        assert!(!check.detail.contains("words of the provider"), "{}", check.detail);
        assert!(check.hint.expect("advice").contains("EMBEDDING_API_KEY"));
    }
}
