//! From a [`Filter`] and a cursor to a condition in SQL.

use atlas_domain::{Corpus, Filter};
use rusqlite::types::Value;

use super::row;
use crate::StoreError;
use crate::cursor::Cursor;

/// SQLite takes 32,766 parameters in a statement and 1,000 levels in an expression; each label
/// condition is a level.
const MAX_VALUES: usize = 10_000;
const MAX_LABELS: usize = 256;

/// A condition on `records r` and its parameters.
pub(super) struct Selection {
    pub(super) condition: String,
    pub(super) values: Vec<Value>,
}

/// Exactly [`Filter::matches`], after `cursor` in list order.
pub(super) fn select(
    corpus: Corpus,
    filter: &Filter,
    cursor: Option<&Cursor>,
) -> Result<Selection, StoreError> {
    let Filter { since, until, service, severity, source, status, link, labels } = filter;
    let columns = [
        ("service", service),
        ("severity", severity),
        ("source", source),
        ("status", status),
        ("link", link),
    ];
    if columns.iter().map(|(_, wanted)| wanted.len()).sum::<usize>() > MAX_VALUES {
        return Err(StoreError::Limit { what: "number of values in a filter", limit: MAX_VALUES });
    }
    if labels.len() > MAX_LABELS {
        return Err(StoreError::Limit { what: "number of labels in a filter", limit: MAX_LABELS });
    }

    let mut condition = String::from("r.corpus = ?");
    let mut values: Vec<Value> = vec![Value::from(corpus.code())];
    let mut and = |sql: &str, new: Vec<Value>| {
        condition.push_str(" AND ");
        condition.push_str(sql);
        values.extend(new);
    };
    if let Some(since) = since {
        and("r.at_us >= ?", vec![row::micros_from(*since).into()]);
    }
    // One upper bound, the lower of the two: SQLite walks an index from one bound and tests a
    // second one row by row.
    let newest = match (until.map(|until| row::micros_from(until) - 1), cursor.map(|cursor| cursor.at_us)) {
        (Some(until), Some(cursor)) => Some(until.min(cursor)),
        (until, cursor) => until.or(cursor),
    };
    if let Some(newest) = newest {
        and("r.at_us <= ?", vec![newest.into()]);
    }
    if let Some(Cursor { at_us, id }) = cursor {
        and("(r.at_us < ? OR r.id > ?)", vec![(*at_us).into(), id.clone().into()]);
    }
    for (column, wanted) in columns {
        if !wanted.is_empty() {
            let marks = vec!["?"; wanted.len()].join(",");
            and(&format!("r.{column} IN ({marks})"), wanted.iter().cloned().map(Value::from).collect());
        }
    }
    for (name, value) in labels {
        and("instr(r.labels, ?) > 0", vec![row::label(name, value).into()]);
    }
    Ok(Selection { condition, values })
}
