//! What a tenant's records say about how to read a question: the values of their facets, and when
//! the latest change was.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use atlas_domain::{Corpus, Filter, Record, TenantId, TenantScope, Timestamp};
use atlas_retrieval::{ListQuery, Retrieval};
use jiff::SignedDuration;

use super::vocabulary::{Field, Vocabulary};
use crate::error::FeatureError;

/// Newest records of each kind that are looked at. Every service that is alive is in one of them:
/// templates stand for all log lines.
const LOOKED_AT: usize = 300;
/// How long a vocabulary is kept. A new service has its name in questions a minute later.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Most tenants whose vocabulary is kept.
const MOST_KEPT: usize = 256;

/// Where records of changes come from, by what the usual tools are called.
const CHANGES: [&str; 14] = [
    "deploy",
    "deploys",
    "deployment",
    "deployments",
    "release",
    "releases",
    "rollout",
    "change",
    "changes",
    "argocd",
    "flux",
    "spinnaker",
    "helm",
    "octopus",
];

/// Vocabularies of the tenants that ask.
#[derive(Default)]
pub(super) struct Vocabularies {
    kept: Mutex<HashMap<TenantId, (Instant, Arc<Vocabulary>)>>,
}

impl Vocabularies {
    /// The values of a tenant's records.
    pub(super) async fn of(
        &self,
        retrieval: &Retrieval,
        scope: &TenantScope,
    ) -> Result<Arc<Vocabulary>, FeatureError> {
        let tenant = scope.tenant();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned();
        if let Some((made_at, vocabulary)) = kept
            && made_at.elapsed() < KEPT_FOR
        {
            return Ok(vocabulary);
        }
        let vocabulary = Arc::new(made(retrieval, scope).await?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (made_at, _)| made_at.elapsed() < KEPT_FOR);
        if kept.len() < MOST_KEPT {
            kept.insert(tenant.clone(), (Instant::now(), vocabulary.clone()));
        }
        Ok(vocabulary)
    }
}

async fn made(retrieval: &Retrieval, scope: &TenantScope) -> Result<Vocabulary, FeatureError> {
    let mut vocabulary = Vocabulary::default();
    let corpora = [Corpus::Runbooks, Corpus::Incidents, Corpus::Alerts, Corpus::LogTemplates, Corpus::Logs];
    for corpus in corpora {
        for record in newest(retrieval, scope, corpus, Filter::default(), LOOKED_AT).await? {
            let facets = record.facets;
            let values = [
                (Field::Service, facets.service),
                (Field::Severity, facets.severity),
                (Field::Source, facets.source),
            ];
            for (field, value) in values {
                value.iter().for_each(|value| vocabulary.add(field, value));
            }
            facets.labels.iter().for_each(|(label, value)| vocabulary.add_label(label, value));
        }
    }
    Ok(vocabulary)
}

pub(super) async fn newest(
    retrieval: &Retrieval,
    scope: &TenantScope,
    corpus: Corpus,
    filter: Filter,
    limit: usize,
) -> Result<Vec<Record>, FeatureError> {
    let (scope, query) = (scope.clone(), ListQuery { filter, limit, cursor: None });
    Ok(retrieval.read(move |store| store.list(&scope, corpus, &query)).await?.records)
}

/// Records of one change are no further apart: a rollout says something every few minutes.
const ONE_CHANGE: SignedDuration = SignedDuration::from_mins(10);
/// Most records of one change.
const OF_ONE_CHANGE: usize = 50;

/// When the latest change before `now` began, of one of these services if any is named.
pub(super) async fn deployed_at(
    retrieval: &Retrieval,
    scope: &TenantScope,
    services: Vec<String>,
    now: Timestamp,
) -> Result<Option<Timestamp>, FeatureError> {
    let source = CHANGES.map(str::to_owned).to_vec();
    let mut times = Vec::new();
    for corpus in [Corpus::Logs, Corpus::Alerts, Corpus::Incidents] {
        let (service, source) = (services.clone(), source.clone());
        let filter = Filter { service, source, until: Some(now), ..Filter::default() };
        let records = newest(retrieval, scope, corpus, filter, OF_ONE_CHANGE).await?;
        times.extend(records.into_iter().map(|record| record.facets.at));
    }
    times.sort_unstable_by(|a, b| b.cmp(a));
    let begin = times
        .into_iter()
        .reduce(|begin, earlier| if begin.duration_since(earlier) <= ONE_CHANGE { earlier } else { begin });
    Ok(begin)
}
