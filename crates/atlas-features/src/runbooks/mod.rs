//! Runbooks: CommonMark with optional front matter.

mod front_matter;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use atlas_domain::{Corpus, Filter, RecordId, RecordKey, Runbook, TenantScope, Timestamp};
use atlas_retrieval::{Document, PutReport, Retrieval, SearchAnswer, Write};
use atlas_store::ListQuery;

use crate::error::FeatureError;
use crate::ids;
use crate::incidents::within;
use crate::records::{self, Listed, Stored, TenantLocks};

/// Longest text in bytes. A larger file is a book, and wants to be cut by its authors.
const MARKDOWN_LIMIT: usize = 1 << 20;

/// Keys of the front matter with a field of their own; the others become labels.
const FIELDS: [&str; 5] = ["title", "service", "source", "url", "id"];

/// Reads a Markdown file. The title comes from the front matter, else from the first heading,
/// else from the id as a file name. Other keys of the front matter become labels.
pub fn from_markdown(id: RecordId, text: &str, source: Option<String>) -> Result<Runbook, FeatureError> {
    if text.len() > MARKDOWN_LIMIT {
        let reason = format!("it is longer than {MARKDOWN_LIMIT} bytes");
        return Err(FeatureError::invalid(
            "markdown",
            reason,
            "split it into one file per alert or procedure",
        ));
    }
    let mut split = front_matter::split(text);
    let mut take = |key: &str| split.keys.remove(key).filter(|value| !value.is_empty());
    let title = take("title");
    let [service, named_source, url] = ["service", "source", "url"].map(&mut take);
    let title = title.or_else(|| first_heading(split.body)).unwrap_or_else(|| file_name(id.as_str()));
    let mut labels = split.labels;
    labels.extend(split.keys.into_iter().filter(|(key, _)| !FIELDS.contains(&key.as_str())));
    let runbook = Runbook {
        id,
        title,
        markdown: split.body.to_owned(),
        service,
        source: source.or(named_source),
        url,
        labels,
        updated_at: Timestamp::now(),
    };
    check(&runbook)?;
    Ok(runbook)
}

fn check(runbook: &Runbook) -> Result<(), FeatureError> {
    if runbook.title.trim().is_empty() {
        return Err(FeatureError::invalid("title", "it is empty", "name the alert or the procedure"));
    }
    if runbook.markdown.trim().is_empty() {
        return Err(FeatureError::invalid("markdown", "it is empty", "write at least one paragraph"));
    }
    Ok(())
}

/// The text of the first ATX or underlined heading outside a code block.
fn first_heading(markdown: &str) -> Option<String> {
    let mut in_code = false;
    let mut previous = "";
    for line in markdown.lines().map(str::trim) {
        if line.starts_with("```") || line.starts_with("~~~") {
            in_code = !in_code;
        } else if !in_code {
            let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
            if (1..=6).contains(&hashes) && line[hashes..].starts_with(' ') {
                let heading = line[hashes..].trim().trim_end_matches('#').trim();
                if !heading.is_empty() {
                    return Some(heading.to_owned());
                }
            }
            if line.len() >= 3 && line.bytes().all(|byte| byte == b'=') && !previous.is_empty() {
                return Some(previous.to_owned());
            }
        }
        previous = line;
    }
    None
}

/// `kube/pod-crash-looping.md` reads `pod crash looping`.
fn file_name(id: &str) -> String {
    let name = id.rsplit('/').next().unwrap_or(id);
    let name = name.strip_suffix(".md").or_else(|| name.strip_suffix(".markdown")).unwrap_or(name);
    let words = name.replace(['-', '_'], " ");
    if words.trim().is_empty() { id.to_owned() } else { words.trim().to_owned() }
}

/// Runbooks of all tenants.
pub struct Runbooks {
    retrieval: Arc<Retrieval>,
    locks: TenantLocks,
}

impl Runbooks {
    pub(crate) fn new(retrieval: Arc<Retrieval>) -> Self {
        Self { retrieval, locks: TenantLocks::new("runbooks") }
    }

    /// A name for a runbook that came without one.
    pub fn fresh_id() -> RecordId {
        ids::fresh("rb-")
    }

    /// Writes a new runbook.
    pub async fn create(
        &self,
        scope: &TenantScope,
        runbook: Runbook,
    ) -> Result<Stored<Runbook>, FeatureError> {
        check(&runbook)?;
        let _turn = self.locks.lock(&self.retrieval, scope).await?;
        if records::find::<Runbook>(&self.retrieval, scope, &runbook.id).await?.is_some() {
            return Err(FeatureError::Exists { corpus: Corpus::Runbooks, id: runbook.id.to_string() });
        }
        records::put(&self.retrieval, scope, &runbook).await
    }

    /// Replaces a runbook.
    pub async fn update(
        &self,
        scope: &TenantScope,
        runbook: Runbook,
    ) -> Result<Stored<Runbook>, FeatureError> {
        check(&runbook)?;
        let _turn = self.locks.lock(&self.retrieval, scope).await?;
        self.get(scope, &runbook.id).await?;
        records::put(&self.retrieval, scope, &runbook).await
    }

    /// Writes many, new or not, in one commit. One whose text has not changed keeps its time of
    /// change, so that importing a folder again changes nothing.
    pub async fn import(
        &self,
        scope: &TenantScope,
        runbooks: Vec<Runbook>,
    ) -> Result<PutReport, FeatureError> {
        for (position, runbook) in runbooks.iter().enumerate() {
            check(runbook).map_err(|error| within(format!("runbooks[{position}]"), error))?;
        }
        let _turn = self.locks.lock(&self.retrieval, scope).await?;
        let ids = runbooks.iter().map(|runbook| runbook.id.clone()).collect();
        let kept: Vec<Runbook> = records::get_many(&self.retrieval, scope, ids).await?;
        let kept: HashMap<&RecordId, &Runbook> = kept.iter().map(|runbook| (&runbook.id, runbook)).collect();
        let writes = runbooks.iter().map(|runbook| {
            let before = kept.get(&runbook.id).copied();
            let same = before
                .filter(|before| Runbook { updated_at: before.updated_at, ..runbook.clone() } == **before);
            Write::Put(Document::of(same.unwrap_or(runbook)))
        });
        Ok(self.retrieval.write(scope, writes.collect()).await?)
    }

    /// One runbook.
    pub async fn get(&self, scope: &TenantScope, id: &RecordId) -> Result<Stored<Runbook>, FeatureError> {
        records::get(&self.retrieval, scope, id).await
    }

    /// A page of runbooks.
    pub async fn list(&self, scope: &TenantScope, query: ListQuery) -> Result<Listed<Runbook>, FeatureError> {
        records::list(&self.retrieval, scope, query).await
    }

    /// Removes a runbook.
    pub async fn delete(&self, scope: &TenantScope, id: &RecordId) -> Result<(), FeatureError> {
        records::delete(&self.retrieval, scope, RecordKey::new(Corpus::Runbooks, id.clone())).await
    }

    /// Runbooks for an incident or an alert.
    pub async fn matching(
        &self,
        scope: &TenantScope,
        key: &RecordKey,
        limit: usize,
    ) -> Result<SearchAnswer, FeatureError> {
        Ok(self.retrieval.similar(scope, key, Corpus::Runbooks, Filter::default(), limit).await?)
    }
}
