//! A changed record as the lexical leg takes it, with every name it is called by.

use std::path::Path;

use atlas_domain::{Corpus, Record};
use atlas_index::LexicalChange;
use atlas_store::{ChangeEntry, Entry};

pub(crate) fn lexical_change(change: &ChangeEntry) -> LexicalChange {
    match &change.entry {
        Entry::Removed => LexicalChange::Remove { id: change.key.id.clone() },
        Entry::Present(record) => LexicalChange::Put {
            id: record.key.id.clone(),
            title: record.title.clone(),
            text: record.text.clone(),
            facets: record.facets.clone(),
            exact: names(record),
        },
    }
}

/// What a person or another tool calls the record, besides its id and title. Read from the body,
/// because the columns hold what records are filtered by, not what they are called.
fn names(record: &Record) -> Vec<String> {
    let fields: &[&str] = match record.key.corpus {
        Corpus::Runbooks => &["url"],
        Corpus::Alerts => &["name", "fingerprint", "runbook_url"],
        Corpus::Incidents | Corpus::Logs | Corpus::LogTemplates | Corpus::AlertGroups => &[],
    };
    let text = |field: &&str| record.body.get(*field).and_then(|value| value.as_str()).map(str::to_owned);
    let mut names: Vec<String> = fields.iter().filter_map(text).filter(|name| !name.is_empty()).collect();
    if record.key.corpus == Corpus::Runbooks {
        // `alertmanager/AlertmanagerFailedReload.md` is the runbook of that alert.
        let stem = Path::new(record.key.id.as_str()).file_stem().and_then(|stem| stem.to_str());
        names.extend(stem.map(str::to_owned));
    }
    names
}
