//! Settings for people: what is set, where, and what was probably meant.

use serde::Serialize;

use crate::{Form, Group, Origin, SETTINGS, Settings, Value, fingerprint};

/// One setting as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The setting.
    pub name: &'static str,
    /// Its value; of a secret, that it is set and a fingerprint. `None`: not set.
    pub value: Option<String>,
    /// Where the value came from.
    pub origin: Origin,
    /// Whether a change takes effect while the server runs.
    pub live: bool,
    /// What it belongs to.
    pub group: Group,
}

impl Settings {
    /// Every setting, in the order of the list, without secrets.
    pub fn shown(&self) -> Vec<Shown> {
        let shown = SETTINGS.iter().map(|setting| {
            let text = self.values.get(setting.name).and_then(Value::expose);
            let value = text.map(|text| match setting.secret {
                true => format!("set (fingerprint {})", fingerprint(text)),
                false => text.to_owned(),
            });
            Shown {
                name: setting.name,
                value,
                origin: self.origin(setting.name),
                live: setting.live,
                group: setting.group,
            }
        });
        shown.collect()
    }

    /// Names of the settings whose values, or the files they point to, are not the same.
    pub fn changed_since(&self, before: &Self) -> Vec<&'static str> {
        let same = |name: &str| match (self.values.get(name), before.values.get(name)) {
            (Some(now), Some(before)) => now.expose() == before.expose() && now.content == before.content,
            (now, before) => now.is_none() && before.is_none(),
        };
        SETTINGS.iter().map(|setting| setting.name).filter(|name| !same(name)).collect()
    }
}

/// The setting that somebody who wrote `name` probably meant.
pub fn suggestion(name: &str) -> Option<&'static str> {
    let written = name.to_ascii_uppercase().replace('-', "_");
    // A content setting is a file already; who adds `_FILE` knows that from the others.
    let content =
        |stem: &str| SETTINGS.iter().find(|setting| setting.name == stem && setting.form == Form::Content);
    if let Some(setting) = written.strip_suffix("_FILE").and_then(content) {
        return Some(setting.name);
    }
    let closest = SETTINGS.iter().map(|setting| (distance(&written, setting.name), setting.name)).min();
    // More than three letters in twelve is another word.
    closest.filter(|(edits, name)| *edits <= 3 && edits * 4 <= name.len()).map(|(_, name)| name)
}

/// How many letters must be put in, taken out, replaced or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut rows = vec![(0..=right.len()).collect::<Vec<_>>()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut edits = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                edits = edits.min(rows[i - 1][j - 1] + 1);
            }
            row.push(edits);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expect: Option<&str>) {
        assert_eq!(suggestion(name), expect);
    }

    #[test]
    fn a_misspelt_name_leads_to_the_one_that_was_meant() {
        check("BYOC_PROVDER", Some("BYOC_PROVIDER"));
        check("BYOC_API_KYE", Some("BYOC_API_KEY"));
        check("byoc-model", Some("BYOC_MODEL"));
        check("CP_TOKN", Some("CP_TOKEN"));
        check("BYOC_CA_BUNDLE_FILE", Some("BYOC_CA_BUNDLE"));
    }

    #[test]
    fn another_name_leads_nowhere() {
        check("TP_SERVICE_HOST", None);
        check("POSTGRES_PASSWORD", None);
        check("CP_X", None);
    }
}
