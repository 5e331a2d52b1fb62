//! One commit of lines with the templates they change.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use atlas_domain::{Corpus, LogTemplate, Noun, RecordId, RecordKey, TenantScope};
use atlas_retrieval::{Document, Retrieval, Write};
use atlas_store::Entry;

use super::read::{ReadLine, clip};
use super::tree::Tree;
use super::{LogReport, level, off_worker};
use crate::error::FeatureError;
use crate::records;

/// Longest exemplar of a template, in bytes.
const EXEMPLAR_LIMIT: usize = 2_000;

/// Templates read at once when a tree is restored.
const TEMPLATES_PER_READ: usize = 1_000;

/// The tree of a tenant as its stored templates say.
pub(super) async fn load(retrieval: &Retrieval, scope: &TenantScope) -> Result<Tree, FeatureError> {
    let scope = scope.clone();
    let mut records = retrieval
        .read(move |store| {
            let (mut records, mut after) = (Vec::new(), 0);
            loop {
                let changes = store.changes_after(&scope, Corpus::LogTemplates, after, TEMPLATES_PER_READ)?;
                let Some(last) = changes.last() else { return Ok(records) };
                after = last.seq;
                records.extend(changes.into_iter().filter_map(|change| match change.entry {
                    Entry::Present(record) => Some(record),
                    Entry::Removed => None,
                }));
            }
        })
        .await?;
    records.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.key.id.cmp(&b.key.id)));
    let mut tree = Tree::default();
    for record in records {
        // An unreadable template is no reason to refuse lines; the next like it makes it anew.
        if let Ok(template) = LogTemplate::from_record(&record) {
            tree.restore(template.id, &template.shape);
        }
    }
    Ok(tree)
}

/// Writes the lines that are not there yet. Gives the tree back as it is then.
pub(super) async fn write(
    retrieval: &Retrieval,
    scope: &TenantScope,
    tree: Tree,
    lines: Vec<ReadLine>,
    report: &mut LogReport,
) -> Result<Tree, FeatureError> {
    let n_lines = lines.len();
    let fresh = unknown(retrieval, scope, lines).await?;
    report.duplicates += n_lines - fresh.len();
    if fresh.is_empty() {
        return Ok(tree);
    }
    report.accepted += fresh.len();

    let mut tree = tree;
    let (tree, fresh, placed) = off_worker(move || {
        let placed = Placed::find(&mut tree, &fresh);
        (tree, fresh, placed)
    })
    .await;
    let ids = placed.touched.iter().map(|number| tree.id(*number).clone()).collect();
    let stored: Vec<LogTemplate> = records::get_many(retrieval, scope, ids).await?;
    let stored = stored.into_iter().map(|template| (template.id.clone(), template)).collect();
    let (tree, writes, templates_new) = off_worker(move || {
        let (writes, templates_new) = writes(&tree, fresh, placed, stored);
        (tree, writes, templates_new)
    })
    .await;
    retrieval.write(scope, writes).await?;
    report.templates_new += templates_new;
    Ok(tree)
}

async fn unknown(
    retrieval: &Retrieval,
    scope: &TenantScope,
    lines: Vec<ReadLine>,
) -> Result<Vec<ReadLine>, FeatureError> {
    let scope = scope.clone();
    let fresh = retrieval.read(move |store| {
        let ids: Vec<RecordId> = lines.iter().map(|line| line.id.clone()).collect();
        let known = store.get_many(&scope, Corpus::Logs, &ids)?;
        let known: HashSet<RecordId> = known.into_iter().map(|record| record.key.id).collect();
        Ok(lines.into_iter().filter(|line| !known.contains(&line.id)).collect())
    });
    Ok(fresh.await?)
}

/// Where the lines of a slice belong.
struct Placed {
    /// By line. All of them go by themselves: a template that was taken in is replaced.
    numbers: Vec<usize>,
    /// Templates that were taken in, with the one that took them.
    taken_in: BTreeMap<usize, usize>,
    /// Every template that is written or removed.
    touched: BTreeSet<usize>,
}

impl Placed {
    fn find(tree: &mut Tree, lines: &[ReadLine]) -> Self {
        let mut taken_in = BTreeSet::new();
        let mut numbers: Vec<usize> = lines
            .iter()
            .map(|line| {
                let placed = tree.place(&line.shape);
                taken_in.extend(placed.took_in);
                placed.number
            })
            .collect();
        numbers.iter_mut().for_each(|number| *number = tree.whole(*number));
        let taken_in: BTreeMap<usize, usize> =
            taken_in.into_iter().map(|part| (part, tree.whole(part))).collect();
        let touched = numbers.iter().chain(taken_in.keys()).chain(taken_in.values()).copied().collect();
        Self { numbers, taken_in, touched }
    }
}

/// The writes of a slice, and how many of its templates are new.
fn writes(
    tree: &Tree,
    lines: Vec<ReadLine>,
    placed: Placed,
    mut stored: HashMap<RecordId, LogTemplate>,
) -> (Vec<Write>, usize) {
    let mut writes = Vec::with_capacity(lines.len() + placed.touched.len());
    let mut taken = Vec::new();
    for (part, whole) in &placed.taken_in {
        // One that was made in this very slice was never stored.
        if let Some(part) = stored.remove(tree.id(*part)) {
            writes.push(Write::Delete(RecordKey::new(Corpus::LogTemplates, part.id.clone())));
            taken.push((*whole, part));
        }
    }
    let mut templates: BTreeMap<usize, LogTemplate> = BTreeMap::new();
    for number in &placed.touched {
        templates.extend(stored.remove(tree.id(*number)).map(|template| (*number, template)));
    }
    let n_known = templates.len();
    for (line, number) in lines.iter().zip(&placed.numbers) {
        count(templates.entry(*number).or_insert_with(|| first(tree.id(*number).clone(), line)), line);
    }
    for (whole, part) in taken {
        if let Some(whole) = templates.get_mut(&whole) {
            take_in(whole, part);
        }
    }
    let n_new = templates.len() - n_known;
    for (number, template) in &mut templates {
        template.shape = tree.shape(*number);
        writes.push(Write::Put(Document::of(template)));
    }
    for (line, number) in lines.into_iter().zip(placed.numbers) {
        writes.push(Write::Put(Document::of(&line.into_record(tree.id(number).clone()))));
    }
    (writes, n_new)
}

fn first(id: RecordId, line: &ReadLine) -> LogTemplate {
    LogTemplate {
        id,
        shape: String::new(),
        absorbed: Vec::new(),
        exemplar: clip(line.message.clone(), EXEMPLAR_LIMIT),
        count: 0,
        first_at: line.at,
        last_at: line.at,
        service: line.service.clone(),
        level: None,
    }
}

fn count(template: &mut LogTemplate, line: &ReadLine) {
    template.count += 1;
    template.first_at = template.first_at.min(line.at);
    template.last_at = template.last_at.max(line.at);
    raise(&mut template.level, &line.level);
}

fn take_in(whole: &mut LogTemplate, part: LogTemplate) {
    whole.count += part.count;
    whole.first_at = whole.first_at.min(part.first_at);
    whole.last_at = whole.last_at.max(part.last_at);
    raise(&mut whole.level, &part.level);
    whole.absorbed.push(part.id);
    whole.absorbed.extend(part.absorbed);
}

/// The higher of two levels.
fn raise(level: &mut Option<String>, other: &Option<String>) {
    if level::rank(other.as_deref()) > level::rank(level.as_deref()) {
        level.clone_from(other);
    }
}
