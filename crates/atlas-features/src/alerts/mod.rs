//! Alerts in: recognised when repeated, grouped on arrival, one commit per delivery.
//!
//! Not here: Alertmanager's wire format; that is the server's.

pub mod correlation;
mod grouping;
mod incoming;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use atlas_domain::{Alert, AlertGroup, AlertStatus, Corpus, Filter, RecordId, RecordKey, TenantScope};
use atlas_retrieval::{Document, Retrieval, RetrievalError, SearchAnswer, Write};
use atlas_store::ListQuery;
use serde::Serialize;

pub use grouping::Grouping;
pub use incoming::IncomingAlert;

use crate::error::FeatureError;
use crate::records::{self, Listed, Stored, TenantLocks};
use grouping::{OpenGroup, Voice};

/// Open groups looked at per delivery, newest first.
const OPEN_GROUPS: usize = 200;

/// Members of an open group that an alert is compared to, newest first. A storm of one rule has
/// thousands of members that say the same.
const VOICES: usize = 16;

/// What a delivery did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct AlertsReport {
    /// Alerts that are new.
    pub created: usize,
    /// Known alerts that changed state or text.
    pub updated: usize,
    /// Known alerts that only were delivered once more.
    pub unchanged: usize,
    /// New alerts that opened a group.
    pub groups_opened: usize,
    /// New alerts that joined one.
    pub groups_joined: usize,
}

/// Alerts of all tenants.
pub struct Alerts {
    retrieval: Arc<Retrieval>,
    locks: TenantLocks,
    grouping: Grouping,
}

impl Alerts {
    pub(crate) fn new(retrieval: Arc<Retrieval>, grouping: Grouping) -> Self {
        Self { retrieval, locks: TenantLocks::new("alerts"), grouping }
    }

    /// Takes a delivery in, all of it or nothing. A (fingerprint, start) that is known is the
    /// same alert: its state follows the last delivery and its deliveries are counted.
    pub async fn receive(
        &self,
        scope: &TenantScope,
        incoming: Vec<IncomingAlert>,
    ) -> Result<AlertsReport, FeatureError> {
        let news: Vec<Alert> = incoming
            .into_iter()
            .enumerate()
            .map(|(position, alert)| alert.read(position))
            .collect::<Result<_, _>>()?;
        let _turn = self.locks.lock(&self.retrieval, scope).await?;
        let mut report = AlertsReport::default();

        let wanted: HashSet<&RecordId> = news.iter().map(|alert| &alert.id).collect();
        let wanted = wanted.into_iter().cloned().collect();
        let kept: Vec<Alert> = records::get_many(&self.retrieval, scope, wanted).await?;
        let mut known: HashMap<RecordId, Alert> =
            kept.into_iter().map(|alert| (alert.id.clone(), alert)).collect();
        let mut fresh: Vec<Alert> = Vec::new();
        let mut touched_groups: HashSet<RecordId> = HashSet::new();
        for alert in news {
            if let Some(kept) = known.get_mut(&alert.id) {
                let state = kept.status;
                let changed = incoming::absorb(kept, alert);
                *(if changed { &mut report.updated } else { &mut report.unchanged }) += 1;
                if kept.status != state {
                    touched_groups.extend(kept.group_id.clone());
                }
            } else if let Some(twin) = fresh.iter_mut().find(|twin| twin.id == alert.id) {
                incoming::absorb(twin, alert);
            } else {
                fresh.push(alert);
            }
        }
        report.created = fresh.len();

        // Arrival order inside a delivery means nothing; the order of events does.
        fresh.sort_by(|a, b| a.starts_at.cmp(&b.starts_at).then_with(|| a.id.cmp(&b.id)));
        let mut groups = self.groups_for(scope, &fresh, &touched_groups, &known).await?;
        let vectors = self.vectors(fresh.iter().map(Alert::wording).collect()).await?;
        for (position, alert) in fresh.iter_mut().enumerate() {
            let vector = vectors.as_ref().and_then(|vectors| vectors.get(position).cloned());
            let (group, opened) = self.grouping.place(alert, Voice::of(alert, vector), &mut groups);
            alert.group_id = Some(group);
            *(if opened { &mut report.groups_opened } else { &mut report.groups_joined }) += 1;
        }

        let groups: Vec<AlertGroup> =
            groups.into_iter().filter(|open| open.changed).map(|open| open.group).collect();
        let mut writes: Vec<Write> = Vec::with_capacity(fresh.len() + known.len() + groups.len());
        writes.extend(fresh.iter().chain(known.values()).map(|alert| Write::Put(Document::of(alert))));
        writes.extend(groups.iter().map(|group| Write::Put(Document::of(group))));
        if !writes.is_empty() {
            self.retrieval.write(scope, writes).await?;
        }
        Ok(report)
    }

    /// The groups that this delivery may change: those still open for the new alerts, and those
    /// of known alerts that changed state, with `firing` already brought up to date.
    async fn groups_for(
        &self,
        scope: &TenantScope,
        fresh: &[Alert],
        touched: &HashSet<RecordId>,
        known: &HashMap<RecordId, Alert>,
    ) -> Result<Vec<OpenGroup>, FeatureError> {
        let mut groups: Vec<AlertGroup> =
            records::get_many(&self.retrieval, scope, touched.iter().cloned().collect()).await?;
        if let Some(first) = fresh.iter().map(|alert| alert.starts_at).min() {
            let since = first.checked_sub(self.grouping.window).ok();
            let filter = Filter { since, ..Filter::default() };
            let recent: Vec<AlertGroup> =
                records::newest(&self.retrieval, scope, filter, OPEN_GROUPS).await?;
            groups.extend(recent.into_iter().filter(|group| !touched.contains(&group.id)));
        }
        groups.sort_by(|a, b| a.first_at.cmp(&b.first_at).then_with(|| a.id.cmp(&b.id)));

        let members = self.members(scope, &groups, touched, known).await?;
        let spoken: Vec<&Alert> = groups.iter().flat_map(|group| voices(group, &members)).collect();
        // Without new alerts nothing is compared, and a delivery of "resolved" embeds nothing.
        let vectors = match fresh.is_empty() {
            true => None,
            false => self.vectors(spoken.iter().map(|alert| alert.wording()).collect()).await?,
        };
        let vector_of: HashMap<&RecordId, &Vec<f32>> =
            spoken.iter().map(|alert| &alert.id).zip(vectors.iter().flatten()).collect();

        let open = groups.iter().map(|group| {
            let voices = voices(group, &members)
                .map(|alert| Voice::of(alert, vector_of.get(&alert.id).map(|vector| (*vector).clone())))
                .collect();
            let mut group = group.clone();
            let changed = touched.contains(&group.id);
            if changed {
                group.firing = group.members.iter().any(|member| {
                    members.get(&member.alert_id).is_some_and(|a| a.status == AlertStatus::Firing)
                });
            }
            OpenGroup { group, members: voices, changed }
        });
        Ok(open.collect())
    }

    /// The member alerts that are needed: all of a touched group, the newest of the others; as
    /// this delivery leaves them.
    async fn members(
        &self,
        scope: &TenantScope,
        groups: &[AlertGroup],
        touched: &HashSet<RecordId>,
        known: &HashMap<RecordId, Alert>,
    ) -> Result<HashMap<RecordId, Alert>, FeatureError> {
        let mut wanted = Vec::new();
        for group in groups {
            let skip =
                if touched.contains(&group.id) { 0 } else { group.members.len().saturating_sub(VOICES) };
            wanted.extend(group.members[skip..].iter().map(|member| member.alert_id.clone()));
        }
        let stored: Vec<Alert> = records::get_many(&self.retrieval, scope, wanted).await?;
        let mut members: HashMap<RecordId, Alert> =
            stored.into_iter().map(|alert| (alert.id.clone(), alert)).collect();
        for (id, alert) in known {
            if let Some(member) = members.get_mut(id) {
                member.clone_from(alert);
            }
        }
        Ok(members)
    }

    /// Vectors of wordings; `None` without a vector leg. An engine that is down must not cost an
    /// alert: grouping then goes by name and words.
    async fn vectors(&self, texts: Vec<String>) -> Result<Option<Vec<Vec<f32>>>, FeatureError> {
        if texts.is_empty() {
            return Ok(None);
        }
        match self.retrieval.embed(texts).await {
            Ok(vectors) => Ok(vectors),
            Err(RetrievalError::Embed(error)) => {
                tracing::warn!(%error, "alerts are grouped by name and words: the embedding engine failed");
                Ok(None)
            }
            Err(RetrievalError::Guard(error)) => {
                tracing::warn!(%error, "alerts are grouped by name and words: the guard refused the engine");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// One alert.
    pub async fn get(&self, scope: &TenantScope, id: &RecordId) -> Result<Stored<Alert>, FeatureError> {
        records::get(&self.retrieval, scope, id).await
    }

    /// A page of alerts.
    pub async fn list(&self, scope: &TenantScope, query: ListQuery) -> Result<Listed<Alert>, FeatureError> {
        records::list(&self.retrieval, scope, query).await
    }

    /// Replaces an alert by what `change` makes of it, in turn with deliveries, so that neither
    /// overwrites the other. A changed state reaches its group.
    pub async fn replace<E: From<FeatureError>>(
        &self,
        scope: &TenantScope,
        id: &RecordId,
        change: impl FnOnce(Alert) -> Result<Alert, E>,
    ) -> Result<Stored<Alert>, E> {
        let _turn = self.locks.lock(&self.retrieval, scope).await?;
        let before = self.get(scope, id).await?.item;
        let state = before.status;
        let alert = change(before)?;
        let mut writes = vec![Write::Put(Document::of(&alert))];
        if alert.status != state {
            let touched: HashSet<RecordId> = alert.group_id.clone().into_iter().collect();
            let known = HashMap::from([(alert.id.clone(), alert)]);
            let groups = self.groups_for(scope, &[], &touched, &known).await?;
            writes.extend(groups.iter().map(|open| Write::Put(Document::of(&open.group))));
        }
        self.retrieval.write(scope, writes).await.map_err(FeatureError::from)?;
        Ok(self.get(scope, id).await?)
    }

    /// Removes an alert. Its group keeps the name of it.
    pub async fn delete(&self, scope: &TenantScope, id: &RecordId) -> Result<(), FeatureError> {
        records::delete(&self.retrieval, scope, RecordKey::new(Corpus::Alerts, id.clone())).await
    }

    /// One group.
    pub async fn group(
        &self,
        scope: &TenantScope,
        id: &RecordId,
    ) -> Result<Stored<AlertGroup>, FeatureError> {
        records::get(&self.retrieval, scope, id).await
    }

    /// A page of groups.
    pub async fn groups(
        &self,
        scope: &TenantScope,
        query: ListQuery,
    ) -> Result<Listed<AlertGroup>, FeatureError> {
        records::list(&self.retrieval, scope, query).await
    }

    /// Alerts that read like this one.
    pub async fn similar(
        &self,
        scope: &TenantScope,
        id: &RecordId,
        limit: usize,
    ) -> Result<SearchAnswer, FeatureError> {
        let key = RecordKey::new(Corpus::Alerts, id.clone());
        Ok(self.retrieval.similar(scope, &key, Corpus::Alerts, Filter::default(), limit).await?)
    }
}

/// The members that a new alert is compared to.
fn voices<'a>(group: &AlertGroup, members: &'a HashMap<RecordId, Alert>) -> impl Iterator<Item = &'a Alert> {
    let newest = group.members.iter().rev().take(VOICES);
    newest.filter_map(|member| members.get(&member.alert_id)).collect::<Vec<_>>().into_iter()
}
