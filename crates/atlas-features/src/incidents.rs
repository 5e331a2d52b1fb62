//! Incidents: what people and tools record of them, and which past one an open one resembles.

use std::collections::BTreeMap;
use std::sync::Arc;

use atlas_domain::{
    Alert, Corpus, Filter, Incident, IncidentStatus, RecordId, RecordKey, TenantScope, Timestamp,
};
use atlas_retrieval::{Document, PutReport, Retrieval, SearchAnswer, Write};
use atlas_store::ListQuery;
use serde::{Deserialize, Serialize};

use crate::error::FeatureError;
use crate::ids;
use crate::records::{self, Listed, Stored, TenantLocks};

/// Longest title in characters; it is one line in lists and chat messages.
const TITLE_LIMIT: usize = 500;

/// An incident as a caller gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncidentDraft {
    /// Name; made by the server when left out.
    #[serde(default)]
    pub id: Option<RecordId>,
    /// One line.
    pub title: String,
    /// What is or was wrong.
    #[serde(default)]
    pub description: String,
    /// State; `open` when left out, or `resolved` where there is an end.
    #[serde(default)]
    pub status: Option<IncidentStatus>,
    /// For example `critical`.
    #[serde(default)]
    pub severity: Option<String>,
    /// The service most affected.
    #[serde(default)]
    pub service: Option<String>,
    /// Where it came from.
    #[serde(default)]
    pub source: Option<String>,
    /// Begin of the impact; now when left out.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// End, when over.
    #[serde(default)]
    pub resolved_at: Option<Timestamp>,
    /// What the cause turned out to be.
    #[serde(default)]
    pub root_cause: Option<String>,
    /// What fixed it.
    #[serde(default)]
    pub resolution: Option<String>,
    /// Alerts that belong to it; they must exist.
    #[serde(default)]
    pub alert_ids: Vec<RecordId>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl IncidentDraft {
    /// Checks what can be checked without the store. `started_at`: for an incident that had one.
    fn read(self, id: RecordId, started_at: Timestamp) -> Result<Incident, FeatureError> {
        let title = self.title.trim().to_owned();
        if title.is_empty() {
            return Err(FeatureError::invalid("title", "it is empty", "say in one line what is wrong"));
        }
        if title.chars().count() > TITLE_LIMIT {
            let reason = format!("it is longer than {TITLE_LIMIT} characters");
            return Err(FeatureError::invalid("title", reason, "put the details into the description"));
        }
        let started_at = self.started_at.unwrap_or(started_at);
        if self.resolved_at.is_some_and(|end| end < started_at) {
            return Err(FeatureError::invalid(
                "resolved_at",
                "it is before started_at",
                "exchange the two times",
            ));
        }
        let status = self.status.unwrap_or(match self.resolved_at {
            Some(_) => IncidentStatus::Resolved,
            None => IncidentStatus::Open,
        });
        if status == IncidentStatus::Open && self.resolved_at.is_some() {
            let hint = "leave out resolved_at, or set the status to resolved";
            return Err(FeatureError::invalid("resolved_at", "an open incident has no end", hint));
        }
        Ok(Incident {
            id,
            title,
            description: self.description,
            status,
            severity: self.severity.map(|severity| severity.trim().to_lowercase()),
            service: self.service,
            source: self.source,
            started_at,
            resolved_at: self.resolved_at,
            root_cause: self.root_cause,
            resolution: self.resolution,
            alert_ids: self.alert_ids,
            labels: self.labels,
        })
    }
}

/// Incidents of all tenants.
pub struct Incidents {
    retrieval: Arc<Retrieval>,
    locks: TenantLocks,
}

impl Incidents {
    pub(crate) fn new(retrieval: Arc<Retrieval>) -> Self {
        Self { retrieval, locks: TenantLocks::new("incidents") }
    }

    /// Records a new incident.
    pub async fn create(
        &self,
        scope: &TenantScope,
        draft: IncidentDraft,
    ) -> Result<Stored<Incident>, FeatureError> {
        let id = draft.id.clone().unwrap_or_else(|| ids::fresh("inc-"));
        let incident = draft.read(id, Timestamp::now())?;
        self.check_alerts(scope, &incident.alert_ids).await?;
        let _turn = self.locks.lock(&self.retrieval, scope).await?;
        if records::find::<Incident>(&self.retrieval, scope, &incident.id).await?.is_some() {
            return Err(FeatureError::Exists { corpus: Corpus::Incidents, id: incident.id.to_string() });
        }
        records::put(&self.retrieval, scope, &incident).await
    }

    /// Replaces an incident; what the draft leaves out is gone, except the begin.
    pub async fn update(
        &self,
        scope: &TenantScope,
        id: &RecordId,
        draft: IncidentDraft,
    ) -> Result<Stored<Incident>, FeatureError> {
        if draft.id.as_ref().is_some_and(|named| named != id) {
            return Err(FeatureError::invalid("id", "it is not the id in the path", "leave it out"));
        }
        let _turn = self.locks.lock(&self.retrieval, scope).await?;
        let before = self.get(scope, id).await?.item;
        let incident = draft.read(id.clone(), before.started_at)?;
        self.check_alerts(scope, &incident.alert_ids).await?;
        records::put(&self.retrieval, scope, &incident).await
    }

    /// Writes many, new or not, in one commit: for imports. Alerts they name may come later.
    pub async fn import(
        &self,
        scope: &TenantScope,
        drafts: Vec<IncidentDraft>,
    ) -> Result<PutReport, FeatureError> {
        let now = Timestamp::now();
        let mut writes = Vec::with_capacity(drafts.len());
        for (position, draft) in drafts.into_iter().enumerate() {
            let id = draft.id.clone().unwrap_or_else(|| ids::fresh("inc-"));
            let incident =
                draft.read(id, now).map_err(|error| within(format!("incidents[{position}]"), error))?;
            writes.push(Write::Put(Document::of(&incident)));
        }
        let _turn = self.locks.lock(&self.retrieval, scope).await?;
        Ok(self.retrieval.write(scope, writes).await?)
    }

    async fn check_alerts(&self, scope: &TenantScope, ids: &[RecordId]) -> Result<(), FeatureError> {
        let found: Vec<Alert> = records::get_many(&self.retrieval, scope, ids.to_vec()).await?;
        let missing = ids.iter().enumerate().find(|(_, id)| !found.iter().any(|alert| alert.id == **id));
        match missing {
            None => Ok(()),
            Some((position, id)) => Err(FeatureError::invalid(
                format!("alert_ids[{position}]"),
                format!("there is no alert with id {id}"),
                "send the alert first, or leave its id out",
            )),
        }
    }

    /// One incident.
    pub async fn get(&self, scope: &TenantScope, id: &RecordId) -> Result<Stored<Incident>, FeatureError> {
        records::get(&self.retrieval, scope, id).await
    }

    /// A page of incidents.
    pub async fn list(
        &self,
        scope: &TenantScope,
        query: ListQuery,
    ) -> Result<Listed<Incident>, FeatureError> {
        records::list(&self.retrieval, scope, query).await
    }

    /// Removes an incident.
    pub async fn delete(&self, scope: &TenantScope, id: &RecordId) -> Result<(), FeatureError> {
        records::delete(&self.retrieval, scope, RecordKey::new(Corpus::Incidents, id.clone())).await
    }

    /// Incidents that resemble an incident or an alert.
    pub async fn similar(
        &self,
        scope: &TenantScope,
        key: &RecordKey,
        limit: usize,
    ) -> Result<SearchAnswer, FeatureError> {
        Ok(self.retrieval.similar(scope, key, Corpus::Incidents, Filter::default(), limit).await?)
    }
}

/// Says in which item of a list the field is.
pub(crate) fn within(item: String, error: FeatureError) -> FeatureError {
    match error {
        FeatureError::Invalid { field, reason, hint } => {
            FeatureError::Invalid { field: format!("{item}.{field}"), reason, hint }
        }
        other => other,
    }
}
