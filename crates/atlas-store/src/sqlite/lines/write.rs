//! Writing blocks, inside a transaction.

use std::collections::{BTreeMap, HashMap};

use atlas_domain::{Record, RecordId, Seq};
use rusqlite::{Transaction, params};

use super::read::blocks_with;
use super::{Kind, Line, MOST_LINES, bucket, pack, record};

/// Writes lines that are nowhere yet, with the change numbers after `seq`; gives the last one.
pub(in crate::sqlite) fn put(
    tx: &Transaction<'_>,
    lines: Vec<(Kind, Line)>,
    mut seq: Seq,
    now_us: i64,
) -> rusqlite::Result<Seq> {
    let mut blocks: BTreeMap<(Kind, String), Vec<Line>> = BTreeMap::new();
    for (kind, line) in lines {
        let bucket = bucket(line.id.as_str()).to_owned();
        blocks.entry((kind, bucket)).or_default().push(line);
    }
    for ((kind, _), mut lines) in blocks {
        lines.sort_unstable_by(|a, b| a.id.as_str().cmp(b.id.as_str()));
        for lines in lines.chunks(MOST_LINES) {
            insert(tx, &kind, lines, seq + 1, now_us)?;
            seq += lines.len() as u64;
        }
    }
    Ok(seq)
}

fn insert(
    tx: &Transaction<'_>,
    kind: &Kind,
    lines: &[Line],
    seq_first: Seq,
    now_us: i64,
) -> rusqlite::Result<()> {
    let ordinals: Vec<u64> = (0..lines.len() as u64).collect();
    let (at_first_us, at_last_us) = span(lines);
    tx.prepare_cached(
        "INSERT INTO line_blocks (link, service, severity, source, at_first_us, at_last_us, id_first, id_last,
             seq_first, seq_last, n_lines, created_us, keys, texts)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        kind.link,
        kind.service,
        kind.severity,
        kind.source,
        at_first_us,
        at_last_us,
        lines[0].id.as_str(),
        lines[lines.len() - 1].id.as_str(),
        seq_first,
        seq_first + lines.len() as u64 - 1,
        lines.len(),
        now_us,
        pack::keys(&ordinals, lines),
        pack::texts(lines),
    ])?;
    Ok(())
}

/// Takes a line out of its block and gives it as it was.
pub(in crate::sqlite) fn remove(tx: &Transaction<'_>, id: &RecordId) -> rusqlite::Result<Option<Record>> {
    let mut holder = None;
    blocks_with(tx, &[id], |block, places| {
        let mut lines = block.lines()?;
        let mut ordinals = block.keys.ordinals.clone();
        let line = lines.remove(places[0]);
        let ordinal = ordinals.remove(places[0]);
        let removed = record(&block.kind, line, block.seq_first + ordinal, block.created_us);
        holder = Some((block.num, block.seq_first, ordinals, lines, removed));
        Ok(())
    })?;
    let Some((num, seq_first, ordinals, lines, removed)) = holder else { return Ok(None) };
    if let ([first, ..], [.., last], [.., last_ordinal]) = (&lines[..], &lines[..], &ordinals[..]) {
        let (at_first_us, at_last_us) = span(&lines);
        tx.prepare_cached(
            "UPDATE line_blocks SET at_first_us = ?, at_last_us = ?, id_first = ?, id_last = ?, seq_last = ?,
                 n_lines = ?, keys = ?, texts = ? WHERE num = ?",
        )?
        .execute(params![
            at_first_us,
            at_last_us,
            first.id.as_str(),
            last.id.as_str(),
            seq_first + last_ordinal,
            lines.len(),
            pack::keys(&ordinals, &lines),
            pack::texts(&lines),
            num,
        ])?;
    } else {
        tx.prepare_cached("DELETE FROM line_blocks WHERE num = ?")?.execute([num])?;
    }
    Ok(removed)
}

/// Gives lines the time at which they were written, in microseconds. A block has one: the lines of
/// blocks that would need several are left as they are, and returned.
pub(in crate::sqlite) fn set_times(
    tx: &Transaction<'_>,
    times: &HashMap<&RecordId, i64>,
) -> rusqlite::Result<Vec<RecordId>> {
    let ids: Vec<&RecordId> = times.keys().copied().collect();
    let (mut whole, mut others) = (Vec::new(), Vec::new());
    blocks_with(tx, &ids, |block, places| {
        let mut wanted = places.iter().map(|place| times[&block.keys.ids[*place]]);
        let first = wanted.next();
        if places.len() == block.keys.ids.len() && wanted.all(|time| Some(time) == first) {
            whole.push((block.num, first));
        } else {
            let ids = places.iter().map(|place| &block.keys.ids[*place]);
            others.extend(ids.filter(|id| times[id] != block.created_us).cloned());
        }
        Ok(())
    })?;
    let mut statement = tx.prepare_cached("UPDATE line_blocks SET created_us = ? WHERE num = ?")?;
    for (num, time) in whole {
        statement.execute(params![time, num])?;
    }
    Ok(others)
}

/// The first and last microsecond of lines, of which there is one at least.
fn span(lines: &[Line]) -> (i64, i64) {
    let times = || lines.iter().map(Line::at_us);
    (times().min().unwrap_or_default(), times().max().unwrap_or_default())
}
