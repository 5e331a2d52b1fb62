//! Questions about lines in blocks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use atlas_domain::{Corpus, Filter, Record, RecordId, Seq};
use rusqlite::types::{Type, Value};
use rusqlite::{Row, Transaction, params, params_from_iter};

use super::pack::{Keys, read_keys, read_texts};
use super::{Kind, Line, bucket, record};
use crate::cursor::Cursor;
use crate::sqlite::row;
use crate::{ChangeEntry, Entry};

/// What [`Block::of`] reads.
const COLUMNS: &str =
    "b.num, b.link, b.service, b.severity, b.source, b.seq_first, b.created_us, b.keys, b.texts";

/// A block of which the keys are read.
pub(super) struct Block {
    pub(super) num: i64,
    pub(super) kind: Kind,
    pub(super) seq_first: u64,
    pub(super) created_us: i64,
    pub(super) keys: Keys,
    texts: Vec<u8>,
}

impl Block {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            num: row.get(0)?,
            kind: Kind {
                link: row.get(1)?,
                service: row.get(2)?,
                severity: row.get(3)?,
                source: row.get(4)?,
            },
            seq_first: row.get(5)?,
            created_us: row.get(6)?,
            keys: read_keys(row.get_ref(7)?.as_blob()?).ok_or_else(|| odd(7))?,
            texts: row.get(8)?,
        })
    }

    fn len(&self) -> usize {
        self.keys.ids.len()
    }

    fn at_us(&self, place: usize) -> i64 {
        self.keys.at_ns[place].div_euclid(1000)
    }

    pub(super) fn lines(&self) -> rusqlite::Result<Vec<Line>> {
        let texts = read_texts(&self.texts, self.len()).ok_or_else(|| odd(8))?;
        let texts = texts.labels.into_iter().zip(texts.messages);
        let keys = self.keys.ids.iter().zip(&self.keys.at_ns);
        let line = |((id, at_ns), (labels, text)): ((&RecordId, &i64), _)| Line {
            id: id.clone(),
            at_ns: *at_ns,
            labels,
            text,
        };
        Ok(keys.zip(texts).map(line).collect())
    }

    fn records(&self) -> rusqlite::Result<Vec<Record>> {
        let places: Vec<usize> = (0..self.len()).collect();
        self.records_at(&places)
    }

    /// The records at some places, which ascend.
    fn records_at(&self, places: &[usize]) -> rusqlite::Result<Vec<Record>> {
        let mut lines = self.lines()?.into_iter().enumerate();
        let record = |place: &usize| {
            let (_, line) = lines.find(|(at, _)| at == place)?;
            let seq = self.seq_first.checked_add(*self.keys.ordinals.get(*place)?)?;
            record(&self.kind, line, seq, self.created_us)
        };
        places.iter().map(record).collect::<Option<Vec<_>>>().ok_or_else(|| odd(8))
    }
}

fn odd(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, "not what the store writes".into())
}

/// The lines among `ids` that are in blocks.
pub(in crate::sqlite) fn find(
    tx: &Transaction<'_>,
    ids: &[&RecordId],
) -> rusqlite::Result<HashMap<RecordId, Record>> {
    let mut found = HashMap::new();
    blocks_with(tx, ids, |block, places| {
        let records = block.records_at(places)?;
        found.extend(records.into_iter().map(|record| (record.key.id.clone(), record)));
        Ok(())
    })?;
    Ok(found)
}

/// Which of `ids` are in blocks.
pub(in crate::sqlite) fn known(
    tx: &Transaction<'_>,
    ids: &[&RecordId],
) -> rusqlite::Result<HashSet<RecordId>> {
    let mut known = HashSet::new();
    blocks_with(tx, ids, |block, places| {
        known.extend(places.iter().map(|place| block.keys.ids[*place].clone()));
        Ok(())
    })?;
    Ok(known)
}

/// Which of the lines between the first and the last of `ids` are rows of `table`. Next to none
/// are, so this is one look into an index where one look for every id would be thousands.
pub(in crate::sqlite) fn rows_between(
    tx: &Transaction<'_>,
    table: &str,
    ids: &[&RecordId],
) -> rusqlite::Result<HashSet<RecordId>> {
    let texts = || ids.iter().map(|id| id.as_str());
    let (Some(first), Some(last)) = (texts().min(), texts().max()) else { return Ok(HashSet::new()) };
    tx.prepare_cached(&format!("SELECT id FROM {table} WHERE corpus = ? AND id BETWEEN ? AND ?"))?
        .query_map(params![Corpus::Logs.code(), first, last], |row| row::record_id(row, 0))?
        .collect()
}

/// Ids up to which each is looked for by itself: a few are hits of a search, far apart, and many are
/// a delivery, side by side.
const FEW: usize = 32;

/// Calls `each` with every block that holds some of `ids`, and their places in it.
pub(super) fn blocks_with(
    tx: &Transaction<'_>,
    ids: &[&RecordId],
    mut each: impl FnMut(&Block, &[usize]) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut by_bucket: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for id in ids {
        by_bucket.entry(bucket(id.as_str())).or_default().push(id.as_str());
    }
    // Latest begin first: a line that was just found elsewhere is in the block that begins
    // nearest before it.
    let sql = format!(
        "SELECT {COLUMNS} FROM line_blocks b
         WHERE b.id_first >= ? AND b.id_first <= ? AND b.id_last >= ? ORDER BY b.id_first DESC"
    );
    let mut statement = tx.prepare_cached(&sql)?;
    for (bucket, mut wanted) in by_bucket {
        wanted.sort_unstable();
        wanted.dedup();
        while let (Some(first), Some(last)) = (wanted.first().copied(), wanted.last().copied()) {
            let first = if wanted.len() <= FEW { last } else { first };
            let mut rows = statement.query(params![bucket, last, first])?;
            while wanted.last().is_some_and(|id| *id >= first)
                && let Some(row) = rows.next()?
            {
                let block = Block::of(row)?;
                let is_wanted =
                    |place: &usize| wanted.binary_search(&block.keys.ids[*place].as_str()).is_ok();
                let places: Vec<usize> = (0..block.len()).filter(is_wanted).collect();
                if !places.is_empty() {
                    let ids = &block.keys.ids;
                    wanted.retain(|id| ids.binary_search_by(|other| other.as_str().cmp(id)).is_err());
                    each(&block, &places)?;
                }
            }
            // What was not found is nowhere.
            wanted.retain(|id| *id < first);
        }
    }
    Ok(())
}

/// The condition on blocks that may hold lines of a filter, and its parameters. `None`: none can.
fn condition(filter: &Filter, cursor: Option<&Cursor>) -> Option<(String, Vec<Value>)> {
    let Filter { since, until, service, severity, source, status, link, labels: _ } = filter;
    if !status.is_empty() {
        return None;
    }
    let (mut sql, mut values) = (String::from("TRUE"), Vec::new());
    let mut and = |condition: &str, new: Vec<Value>| {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.extend(new);
    };
    for (column, wanted) in [("service", service), ("severity", severity), ("source", source), ("link", link)]
    {
        if !wanted.is_empty() {
            let marks = vec!["?"; wanted.len()].join(",");
            and(&format!("b.{column} IN ({marks})"), wanted.iter().cloned().map(Value::from).collect());
        }
    }
    if let Some(since) = since {
        and("b.at_last_us >= ?", vec![row::micros_from(*since).into()]);
    }
    let newest = [until.map(|until| row::micros_from(until) - 1), cursor.map(|cursor| cursor.at_us)];
    if let Some(newest) = newest.into_iter().flatten().min() {
        and("b.at_first_us <= ?", vec![newest.into()]);
    }
    Some((sql, values))
}

/// A line on its way into a page: list order, then where it is.
type Candidate = (Reverse<i64>, String, usize, usize);

/// The first `most` lines of a filter in list order, after `cursor`.
pub(in crate::sqlite) fn list(
    tx: &Transaction<'_>,
    filter: &Filter,
    cursor: Option<&Cursor>,
    most: usize,
) -> rusqlite::Result<Vec<Record>> {
    let Some((condition, values)) = condition(filter, cursor) else { return Ok(Vec::new()) };
    // Where no index gives the order, numbers are sorted and not blobs.
    let sql =
        format!("SELECT b.num, b.at_last_us FROM line_blocks b WHERE {condition} ORDER BY b.at_last_us DESC");
    let mut in_order = tx.prepare_cached(&sql)?;
    let mut one = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM line_blocks b WHERE b.num = ?"))?;
    let mut rows = in_order.query(params_from_iter(values))?;
    let (mut blocks, mut page) = (Vec::new(), Vec::<Candidate>::new());
    while let Some(row) = rows.next()? {
        let (num, newest): (i64, i64) = (row.get(0)?, row.get(1)?);
        // What follows is older than all of a full page.
        if page.len() == most && page.last().is_some_and(|last| newest < last.0.0) {
            break;
        }
        let block = one.query_row([num], Block::of)?;
        let matching = matching(&block, filter, cursor)?;
        if matching.is_empty() {
            continue;
        }
        let candidate = |place: usize| {
            let id = block.keys.ids[place].as_str().to_owned();
            (Reverse(block.at_us(place)), id, blocks.len(), place)
        };
        page.extend(matching.into_iter().map(candidate));
        page.sort_unstable();
        page.truncate(most);
        blocks.push(block);
    }
    let mut records: HashMap<usize, Vec<Option<Record>>> = HashMap::new();
    for (.., block, _) in &page {
        if !records.contains_key(block) {
            records.insert(*block, blocks[*block].records()?.into_iter().map(Some).collect());
        }
    }
    let record = |(.., block, place): Candidate| records.get_mut(&block)?[place].take();
    Ok(page.into_iter().filter_map(record).collect())
}

/// The places of a block's lines that match: what the block's columns cannot decide.
fn matching(block: &Block, filter: &Filter, cursor: Option<&Cursor>) -> rusqlite::Result<Vec<usize>> {
    let since = filter.since.map(row::micros_from);
    let until = filter.until.map(row::micros_from);
    let in_time = |place: &usize| {
        let at_us = block.at_us(*place);
        since.is_none_or(|since| at_us >= since)
            && until.is_none_or(|until| at_us < until)
            && cursor.is_none_or(|cursor| cursor.is_before(at_us, block.keys.ids[*place].as_str()))
    };
    let mut places: Vec<usize> = (0..block.len()).filter(in_time).collect();
    if !filter.labels.is_empty() && !places.is_empty() {
        let lines = block.lines()?;
        let wanted: Vec<Vec<u8>> =
            filter.labels.iter().map(|(name, value)| row::label(name, value)).collect();
        places.retain(|place| {
            let labels = &lines[*place].labels;
            wanted.iter().all(|label| labels.windows(label.len()).any(|window| window == label.as_slice()))
        });
    }
    Ok(places)
}

/// How many lines match.
pub(in crate::sqlite) fn count(tx: &Transaction<'_>, filter: &Filter) -> rusqlite::Result<u64> {
    let Some((condition, values)) = condition(filter, None) else { return Ok(0) };
    let sql = format!(
        "SELECT b.num, b.n_lines, b.at_first_us >= ? AND b.at_last_us < ? FROM line_blocks b WHERE {condition}"
    );
    let bounds =
        [filter.since.map_or(i64::MIN, row::micros_from), filter.until.map_or(i64::MAX, row::micros_from)];
    let values = bounds.map(Value::from).into_iter().chain(values);
    let mut statement = tx.prepare_cached(&sql)?;
    let mut one = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM line_blocks b WHERE b.num = ?"))?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut counted = 0;
    while let Some(row) = rows.next()? {
        // A block that lies inside the time is counted without being read.
        let is_inside: bool = row.get(2)?;
        counted += match is_inside && filter.labels.is_empty() {
            true => row.get(1)?,
            false => {
                matching(&one.query_row([row.get::<_, i64>(0)?], Block::of)?, filter, None)?.len() as u64
            }
        };
    }
    Ok(counted)
}

/// Lines that were written after `seq`, oldest first, at most `limit`.
pub(in crate::sqlite) fn changes_after(
    tx: &Transaction<'_>,
    seq: Seq,
    limit: usize,
) -> rusqlite::Result<Vec<ChangeEntry>> {
    let sql = format!("SELECT {COLUMNS} FROM line_blocks b WHERE b.seq_last > ? ORDER BY b.seq_last");
    let mut statement = tx.prepare_cached(&sql)?;
    let mut rows = statement.query([i64::try_from(seq).unwrap_or(i64::MAX)])?;
    let mut entries = Vec::new();
    while entries.len() < limit
        && let Some(row) = rows.next()?
    {
        let records = Block::of(row)?.records()?.into_iter().filter(|record| record.seq > seq);
        entries.extend(records.map(|record| ChangeEntry {
            seq: record.seq,
            key: record.key.clone(),
            entry: Entry::Present(Box::new(record)),
        }));
    }
    entries.truncate(limit);
    Ok(entries)
}
