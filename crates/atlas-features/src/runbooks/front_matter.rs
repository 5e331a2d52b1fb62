//! Front matter: the flat beginning of YAML that runbooks use, read tolerantly.
//!
//! A runbook with a front matter that we do not understand is still a runbook, so nothing here
//! is an error: what is not `key: value` at the top level is passed over. Lists become one value
//! joined by commas; one level of nesting under `labels` is read.

use std::collections::BTreeMap;

/// A document in two parts.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Split<'a> {
    /// The keys in lower case; those under `labels:` as they are written.
    pub(super) keys: BTreeMap<String, String>,
    /// What was under `labels:`.
    pub(super) labels: BTreeMap<String, String>,
    /// The text without front matter.
    pub(super) body: &'a str,
}

/// Splits a document. Without both fences everything is body.
pub(super) fn split(text: &str) -> Split<'_> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Some((head, body)) = fenced(text) else { return Split { body: text, ..Split::default() } };
    let mut split = Split { body, ..Split::default() };
    // The key whose value goes on in the indented lines or list items below it.
    let mut open: Option<String> = None;
    for line in head.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let nested = line.starts_with([' ', '\t']) || trimmed.starts_with("- ");
        match (nested, &open) {
            (true, Some(key)) => continued(&mut split, key, trimmed),
            (true, None) => {}
            (false, _) => {
                open = None;
                if let Some((key, value)) = trimmed.split_once(':') {
                    let key = key.trim().to_lowercase();
                    let value = scalar(value);
                    if value.is_empty() {
                        open = Some(key);
                    } else {
                        split.keys.insert(key, value);
                    }
                }
            }
        }
    }
    split
}

fn continued(split: &mut Split<'_>, key: &str, line: &str) {
    if let Some(item) = line.strip_prefix("- ") {
        let value = split.keys.entry(key.to_owned()).or_default();
        if !value.is_empty() {
            value.push(',');
        }
        value.push_str(&scalar(item));
    } else if key == "labels"
        && let Some((name, value)) = line.split_once(':')
    {
        split.labels.insert(name.trim().to_owned(), scalar(value));
    }
}

/// The text between a `---` on the first line and the next `---` or `...` on a line of its own.
fn fenced(text: &str) -> Option<(&str, &str)> {
    let first = text.lines().next()?;
    if first.trim_end() != "---" {
        return None;
    }
    let head_start = text.find('\n')? + 1;
    let mut at = head_start;
    for line in text[head_start..].split_inclusive('\n') {
        if matches!(line.trim_end(), "---" | "...") {
            let body = text[at + line.len()..].trim_start_matches(['\r', '\n']);
            return Some((&text[head_start..at], body));
        }
        at += line.len();
    }
    None
}

/// A value without quotes, comment and list brackets.
fn scalar(value: &str) -> String {
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some((inside, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return inside.to_owned();
        }
    }
    let value = value.split(" #").next().unwrap_or(value).trim();
    match value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(items) => {
            items.split(',').map(scalar).filter(|item| !item.is_empty()).collect::<Vec<_>>().join(",")
        }
        None => value.to_owned(),
    }
}
