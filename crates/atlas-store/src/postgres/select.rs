//! From a [`Filter`] and a cursor to a condition in SQL.

use atlas_domain::{Corpus, Filter};

use super::connect::Params;
use super::row;
use crate::cursor::Cursor;
use crate::{StoreError, columns};

/// As many as the embedded store takes.
const MAX_VALUES: usize = 10_000;
const MAX_LABELS: usize = 256;

/// A condition on `records r` and its parameters, of which the first is the tenant.
pub(super) struct Selection {
    pub(super) condition: String,
    pub(super) values: Params,
}

impl Selection {
    /// Adds a parameter; gives its name.
    pub(super) fn push(&mut self, value: impl tokio_postgres::types::ToSql + Sync + 'static) -> String {
        self.values.push(Box::new(value));
        format!("${}", self.values.len())
    }

    fn and(&mut self, sql: &str) {
        self.condition.push_str(" AND ");
        self.condition.push_str(sql);
    }
}

/// Exactly [`Filter::matches`], after `cursor` in list order.
pub(super) fn select(
    tenant: &str,
    corpus: Corpus,
    filter: &Filter,
    cursor: Option<&Cursor>,
) -> Result<Selection, StoreError> {
    let values: Params = vec![Box::new(tenant.to_owned()), Box::new(row::code(corpus))];
    let mut selection = Selection { condition: "r.tenant = $1 AND r.corpus = $2".into(), values };
    narrow(&mut selection, filter, cursor)?;
    Ok(selection)
}

/// Adds what the filter and the cursor ask.
pub(super) fn narrow(
    selection: &mut Selection,
    filter: &Filter,
    cursor: Option<&Cursor>,
) -> Result<(), StoreError> {
    let Filter { since, until, service, severity, source, status, link, labels } = filter;
    let wanted = [
        ("service", service),
        ("severity", severity),
        ("source", source),
        ("status", status),
        ("link", link),
    ];
    if wanted.iter().map(|(_, values)| values.len()).sum::<usize>() > MAX_VALUES {
        return Err(StoreError::Limit { what: "number of values in a filter", limit: MAX_VALUES });
    }
    if labels.len() > MAX_LABELS {
        return Err(StoreError::Limit { what: "number of labels in a filter", limit: MAX_LABELS });
    }
    if let Some(since) = since {
        let since = selection.push(columns::micros_from(*since));
        selection.and(&format!("r.at_us >= {since}"));
    }
    let until = until.map(|until| columns::micros_from(until) - 1);
    let newest = match (until, cursor.map(|cursor| cursor.at_us)) {
        (Some(until), Some(cursor)) => Some(until.min(cursor)),
        (until, cursor) => until.or(cursor),
    };
    if let Some(newest) = newest {
        let newest = selection.push(newest);
        selection.and(&format!("r.at_us <= {newest}"));
    }
    if let Some(Cursor { at_us, id }) = cursor {
        let (at_us, id) = (selection.push(*at_us), selection.push(row::text(id)));
        selection.and(&format!("(r.at_us < {at_us} OR r.id > {id})"));
    }
    for (column, values) in wanted {
        // One value is compared plainly, so that the index on it is walked in list order.
        match values.as_slice() {
            [] => {}
            [value] => {
                let value = selection.push(row::text(value));
                selection.and(&format!("r.{column} = {value}"));
            }
            values => {
                let values: Vec<String> = values.iter().map(|value| row::text(value)).collect();
                let values = selection.push(values);
                selection.and(&format!("r.{column} = ANY({values})"));
            }
        }
    }
    for (name, value) in labels {
        let label = selection.push(columns::label(name, value));
        selection.and(&format!("position({label}::bytea IN r.labels) > 0"));
    }
    Ok(())
}
